"""The bus: every drop is heard in order or known to be missed, and trust is given only for what was proved."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.cache.shelf.gather import every
from tercet.cache.shelf.layout import message
from tercet.cache.shelf.port import TRUST_SECONDS, BusState
from tercet.errors import CommandRefused, StoreError, UsageError
from tercet.telemetry import Operation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tercet.cache.shelf.port import Drop
    from tercet.clock import Clock
    from tercet.telemetry import Telemetry
    from tercet.wire import Wire

# How often a quiet bus is looked at. A quarter of the trust it gives: three looks may come late.
HEARTBEAT_SECONDS = 0.5

# Messages that are read at once. More would hold the loop up; what is left is read right after.
BATCH = 500

# Redis is away: how long until the next try. Short, as it ends a time without memory.
PAUSE_SECONDS = 0.1

# Redis is there and does not let us listen. An ACL is changed by people.
REFUSED_SECONDS = 15.0

# Refusals that no waiting mends.
_LASTING = frozenset({"NOPERM", "NOAUTH", "WRONGTYPE"})

# A message has one field: its name and its value.
_FIELDS = 2

_log = logging.getLogger("tercet.cache")


class Bus:
    """Listens to the stream of drops, in one task of the loop in which it was last told to.

    Two questions, on two connections. XREAD waits for messages and brings them at once: the hint. The truth is
    XRANGE, asked every HEARTBEAT_SECONDS on the connection that entries are read by: while the last message
    that was proved is still in the stream, none was trimmed, flushed or lost in a failover since, and all
    that came after it are known. Only that gives trust, counted from the moment before it was asked.
    """

    def __init__(
        self,
        wire: Wire,
        stream: bytes,
        mark: Callable[[], Awaitable[bytes]],
        beat: Callable[[], Awaitable[None]],
        *,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._wire = wire
        self._stream = stream
        self._mark = mark
        # What else is to be done while it is heard; it fails in silence.
        self._beat = beat
        self._clock = clock
        self._telemetry = telemetry
        self._task: asyncio.Task[None] | None = None
        self._hear: Callable[[Drop | None], None] = _nothing
        self._trusted: Callable[[float], None] = _nothing
        # The last message that was heard, and the last one of which it is proved that none before it is missing.
        self._last = b""
        self._proved = b""
        self._due = 0.0
        # Some are missing, and nobody was told yet.
        self._lost = False
        self._refused = False
        self._tried = asyncio.Event()
        self.state = BusState()

    def follow(self, hear: Callable[[Drop | None], None], trusted: Callable[[float], None]) -> None:
        """Listen in this loop from now on; nothing when it is listened to already."""
        loop = asyncio.get_running_loop()
        self._hear, self._trusted = hear, trusted
        if self._task is not None and self._task.get_loop() is loop and not self._task.done():
            return
        self._due = 0.0
        # Events belong to the loop in which they were first waited for.
        self._tried = asyncio.Event()
        self._task = loop.create_task(self._run(), name="tercet-cache-bus")

    async def tried(self) -> None:
        """Return once the bus was heard in this loop, or has failed to be."""
        await self._tried.wait()

    async def close(self) -> None:
        """End it; what was heard is remembered, so another loop can go on from there."""
        task, self._task = self._task, None
        self.state = replace(self.state, connected=False)
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        while True:
            pause = PAUSE_SECONDS
            try:
                await self._listen()
            except CommandRefused as error:
                pause = self._refuse(error)
            except StoreError as error:
                _log.debug("the bus is not heard (%s)", type(error).__name__)
            except UsageError:
                # The wire was closed, or belongs to another loop: whoever opens it follows again.
                self.state = replace(self.state, connected=False)
                self._tried.set()
                return
            except Exception:  # noqa: BLE001 - logged; a bus that had ended would never be trusted again
                # A listener's fault, or ours: what it left undone is not known.
                _log.exception("the bus has failed, and begins anew")
                self._last, self._lost = b"", True
            self._due = 0.0
            self._tried.set()
            if self.state.connected:
                self.state = replace(self.state, connected=False)
            _heed_cancelling()
            await asyncio.sleep(pause)

    async def _listen(self) -> None:
        """Prove what is due, then wait for what comes; ends by an error only."""
        while True:
            if self._clock.monotonic() >= self._due or not self._last:
                await self._prove()
                await self._beat()
            rows = await self._wire.block(
                "XREAD", "COUNT", BATCH, "BLOCK", int(HEARTBEAT_SECONDS * 1000), "STREAMS", self._stream, self._last,
                key=self._stream, seconds=HEARTBEAT_SECONDS,
            )  # fmt: skip
            self._refused = False
            _heed_cancelling()
            if rows:
                self._take(rows[self._stream])
            else:
                self._due = 0.0

    async def _prove(self) -> None:
        """Give trust once everything is known; where something is missing, begin where the stream is now."""
        sent, complete = 0.0, False
        while not complete:
            sent = self._clock.monotonic()
            if self._last:
                complete = await self._catch_up()
            else:
                await self._begin()
        self._due = sent + HEARTBEAT_SECONDS
        if not self.state.connected:
            self.state = replace(self.state, connected=True)
        if not self._refused:
            self._trusted(sent + TRUST_SECONDS)
        self._tried.set()

    async def _catch_up(self) -> bool:
        """Read on from the last message, and see that none is missing; False when there may be more."""
        asked = [self._wire.call("XRANGE", self._stream, self._last, "+", "COUNT", BATCH + 1, key=self._stream)]
        if self._proved != self._last:
            asked.append(self._wire.call("XRANGE", self._stream, self._proved, self._proved, key=self._stream))
        after, *proved = await every(asked)
        # The stream loses its oldest messages first: while one is there, so are all that came after it.
        if not after or after[0][0] != self._last or not all(proved):
            self._lose()
            return False
        self._take(after[1:])
        self._proved = self._last
        return len(after) <= BATCH

    def _lose(self) -> None:
        """Some may have been missed, and nobody can say which."""
        _log.info("messages on the cache's bus may have been missed: what this process keeps is forgotten")
        self._last, self._lost = b"", True
        self.state = replace(self.state, gaps=self.state.gaps + 1)
        self._telemetry.tell(Operation("cache", "messages missed", 0.0, "failed", "redis"))

    async def _begin(self) -> None:
        """Listen from here; what was kept before is from a time that was not listened to."""
        try:
            self._last = self._proved = await self._mark()
        except StoreError:
            if self._lost:
                self._lost = False
                self._hear(None)
            raise
        # Only now: what is kept from here on is from a time that is listened to.
        self._lost = False
        self._hear(None)

    def _take(self, rows: Sequence[tuple[bytes, Sequence[bytes]]]) -> None:
        heard = foreign = 0
        for number, fields in rows:
            self._last = number
            drop = _read(fields)
            if drop is None:
                foreign += 1
            elif drop:
                heard += drop.drops
                self._hear(drop)
        if not rows:
            return
        sent_ms = int(self._last.partition(b"-")[0])
        self.state = replace(
            self.state,
            last_id=self._last.decode(),
            heard=self.state.heard + heard,
            foreign=self.state.foreign + foreign,
            lag_seconds=max(0.0, self._clock.now().timestamp() - sent_ms / 1000),
        )

    def _refuse(self, error: CommandRefused) -> float:
        """Seconds until the next try: a refusal by an ACL lasts, and is said once."""
        if error.code not in _LASTING:
            return PAUSE_SECONDS
        if not self._refused:
            self._refused = True
            _log.warning("the cache may not listen to its bus, so every answer is asked of Redis: %s", error)
        return REFUSED_SECONDS


def _read(fields: Sequence[bytes]) -> Drop | None:
    """The drop in a message of the stream; None for one that is none of ours."""
    return message(fields[1]) if len(fields) >= _FIELDS and fields[0] == b"d" else None


def _heed_cancelling() -> None:
    """End a task that was told to end: drivers have been seen to swallow that while they connect."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _nothing(_: object) -> None:
    """Nobody listens yet."""
