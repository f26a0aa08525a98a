"""A feed: where this process leads, it reads a place and hands on what was committed, in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.changes.feeding.pause import Pause
from tercet.changes.feeding.status import SubscriptionStatus
from tercet.errors import FeedRefused, LoginRefused, NotOpen, PositionLost, StoreError, UsageError
from tercet.telemetry import ChangesHeard, FeedState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.changes.change import Commit
    from tercet.changes.feeding.place import Place
    from tercet.changes.feeding.port import Lag, Leader, Sources
    from tercet.changes.feeding.status import State
    from tercet.changes.port import Listener, Source
    from tercet.clock import Clock
    from tercet.telemetry import Telemetry

# A connection was lost: a server that restarts is back within seconds, and many processes may be waiting for it.
RECONNECT_SECONDS = (0.1, 15.0)
# What people have to mend first: a login, a publication. Asked often enough that nobody waits for us long.
REFUSED_SECONDS = 15.0
# A listener has failed: mostly a store of its own that is away for a moment.
LISTENER_SECONDS = (0.05, 30.0)
# After so many tries, some four seconds, a listener of an ephemeral place is told to begin anew instead:
# what it derives can be made again, and holding up everything after it would cost more than that.
LISTENER_TRIES = 7

# Why a listener of an ephemeral place is to begin anew.
BEGUN = "it was not read until now"
GIVEN_UP = "the listener has failed too often on the same commits"

_log = logging.getLogger("tercet.changes")


class Feed:
    """Reads one place for one listener, in one task of the loop in which it was started.

    While another process of the service leads, it waits. A durable place goes on where it was, and its listener is
    asked again until it has taken care of what it was told. An ephemeral one begins now, each time, and its listener
    is told so by `resync`; a listener that goes on failing is told the same, and what it failed on is passed over.
    """

    def __init__(
        self, listener: Listener, place: Place, sources: Sources, leader: Leader, *, clock: Clock, telemetry: Telemetry
    ) -> None:
        self._listener = listener
        self._place = place
        self._sources = sources
        self._leader = leader
        self._clock = clock
        self._telemetry = telemetry
        self._task: asyncio.Task[None] | None = None
        self._changed, self._wanted = asyncio.Event(), asyncio.Event()
        self._failures = 0
        self._error: Exception | None = None
        self._warned = ""
        self.status = SubscriptionStatus(place.name, place.durable, "opening")

    def start(self) -> None:
        """Begin, in the running loop; nothing when it has begun, or was closed."""
        if self._task is None and self.status.state != "closed":
            self._changed, self._wanted = asyncio.Event(), asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"tercet-feed-{self._place.name}")

    async def ready(self) -> None:
        """Return once changes are heard, by this process or by the one that leads.

        Raises what people must mend first (FeedRefused, LoginRefused, a UsageError), and NotOpen after the end; a
        store that is away is waited for. What was refused before somebody waits is asked anew first, at once: it may
        have been mended.
        """
        asked = self._failures
        if self.status.state == "away":
            self._wanted.set()
        while self.status.state not in {"reading", "following", "retrying"}:
            if self.status.state == "closed":
                raise NotOpen(f"The subscription {self._place.name}", closed=True)
            refused = self.status.state == "away" and self._failures > asked
            if refused and isinstance(self._error, FeedRefused | LoginRefused | UsageError):
                raise self._error
            await self._changed.wait()

    async def close(self) -> None:
        """End it: no task, no connection and no temporary slot is left. Twice is fine."""
        task, self._task = self._task, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait([task])
        self._become("closed")

    async def _run(self) -> None:
        pause = Pause(*RECONNECT_SECONDS)
        try:
            while True:
                try:
                    await self._leader.lead(lambda: self._become("following"))
                    pause.well()
                    await self._while_leading()
                except Exception as error:  # noqa: BLE001 - told and logged; a feed that had ended would never be missed
                    self._fail(error)
                await self._nap(self._wait(pause))
        finally:
            await self._leader.close()

    async def _while_leading(self) -> None:
        """Read until another process may lead: then the listener is told nothing more, at once."""
        tasks = (
            asyncio.create_task(self._read_on(), name=f"tercet-feed-{self._place.name}-read"),
            asyncio.create_task(self._leader.led(self._note), name=f"tercet-feed-{self._place.name}-lead"),
        )
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        errors = [task.exception() for task in tasks if not task.cancelled()]
        for error in filter(None, errors):
            raise error

    async def _read_on(self) -> None:
        """Read, and read again when that has ended; only cancelling ends it."""
        place, why, pause = self._place, BEGUN, Pause(*RECONNECT_SECONDS)
        while True:
            self._become("opening")
            began = self._clock.monotonic()
            source = self._sources(place)
            try:
                await source.open(self._listener.wants, self.status.position if place.durable else None)
                if place.anew or not place.durable:
                    await self._resync(why)
                place = self._place
                await self._hand_on(source, pause)
            except PositionLost as lost:
                place, why = place.renewed(), lost.reason
                self.status = replace(self.status, position=None)
                _log.log(
                    logging.INFO if pause.tries == 0 else logging.WARNING, "%s begins anew: %s", self._place.name, why
                )
            except Exception as error:  # noqa: BLE001 - told and logged; a feed that had ended would never be missed
                self._fail(error)
            finally:
                await source.close()
            if self._clock.monotonic() - began > RECONNECT_SECONDS[1]:
                pause.well()
            await self._nap(self._wait(pause))

    async def _hand_on(self, source: Source, pause: Pause) -> None:
        self._become("reading")
        reading = source.commits()
        try:
            async for commits in reading:
                began = self._clock.monotonic()
                await self._hear(commits)
                await source.confirm(commits[-1].position)
                pause.well()
                self._count(commits, self._clock.monotonic() - began)
        finally:
            # A generator that nobody ends would be ended by the loop, some time later.
            if isinstance(reading, AsyncGenerator):
                await reading.aclose()

    async def _hear(self, commits: Sequence[Commit]) -> None:
        """Have these taken care of, however often it takes."""
        pause = Pause(*LISTENER_SECONDS)
        while True:
            try:
                await self._listener.hear(commits)
            except Exception as error:  # noqa: BLE001 - a listener's fault, whatever it is: told, logged, tried again
                _log.log(
                    logging.WARNING if pause.tries == 0 else logging.DEBUG,
                    "the listener of %s has failed, and is asked again",
                    self._place.name,
                    exc_info=error,
                )
                self._become("retrying", error)
            else:
                _heed_cancelling()
                if self.status.state == "retrying":
                    self._become("reading")
                return
            if not self._place.durable and pause.tries >= LISTENER_TRIES:
                await self._resync(GIVEN_UP)
                self._become("reading")
                return
            await asyncio.sleep(pause.next())

    async def _resync(self, why: str) -> None:
        """Have the listener begin anew; nothing else is told before it has."""
        self.status = replace(self.status, resyncs=self.status.resyncs + 1)
        self._become("lost", self._error)
        pause = Pause(*LISTENER_SECONDS)
        while True:
            try:
                await self._listener.resync(why)
            except Exception as error:  # noqa: BLE001 - as above
                _log.warning(
                    "the listener of %s could not begin anew, and is asked again", self._place.name, exc_info=error
                )
                self._become("lost", error)
            else:
                _heed_cancelling()
                return
            await asyncio.sleep(pause.next())

    async def _nap(self, seconds: float) -> None:
        """Wait so long, or until somebody waits for this feed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wanted.wait()
        self._wanted.clear()

    def _wait(self, pause: Pause) -> float:
        """Seconds until the next try."""
        due = pause.next()
        if isinstance(self._error, StoreError) and not self._error.retryable:
            return max(due, REFUSED_SECONDS)
        return due

    def _count(self, commits: Sequence[Commit], seconds: float) -> None:
        now, last = self.status, commits[-1]
        whole = changes = messages = 0
        for commit in commits:
            whole += commit.last
            changes += len(commit.changes)
            messages += len(commit.messages)
        self.status = replace(
            now,
            position=last.position,
            last_commit=last.at,
            commits=now.commits + whole,
            changes=now.changes + changes,
            messages=now.messages + messages,
        )
        if self._telemetry.heard:
            lag = max(0.0, (self._clock.now() - last.at).total_seconds())
            self._telemetry.tell(ChangesHeard(now.place, whole, changes + messages, seconds, lag))

    def _note(self, lag: Lag) -> None:
        """What the store keeps for us, every few seconds."""
        self.status = replace(self.status, lag_bytes=lag.bytes, keeps_bytes_max=lag.bytes_max)
        if lag.warning and lag.warning != self._warned:
            _log.warning("the place %s: %s", self._place.name, lag.warning)
        self._warned = lag.warning
        self._tell()

    def _fail(self, error: Exception) -> None:
        if isinstance(error, StoreError | UsageError):
            # Once for each kind: a server that is away is tried very often.
            again = type(error) is type(self._error)
            # A store that is being closed is no news: so will this feed be, in a moment.
            again = again or isinstance(error, NotOpen)
            _log.log(logging.DEBUG if again else logging.WARNING, "the feed of %s: %s", self._place.name, error)
        else:
            _log.error("the feed of %s has failed, and begins anew", self._place.name, exc_info=error)
        self._failures += 1
        self._become("away", error)

    def _become(self, state: State, error: Exception | None = None) -> None:
        if state == "opening":
            # Kept until all is well: whoever looks wants to know why it is opened again.
            error = self._error
        if state == self.status.state and error is self._error:
            return
        self._error = error
        self.status = replace(
            self.status, state=state, error=type(error).__name__ if error else None, says=str(error) if error else ""
        )
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._tell()

    def _tell(self) -> None:
        now = self.status
        self._telemetry.tell(
            FeedState(now.place, now.state, now.lag_bytes, now.keeps_bytes_max, now.resyncs, now.error)
        )


def _heed_cancelling() -> None:
    """End a task that was told to end: a listener may have swallowed that."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
