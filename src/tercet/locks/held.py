"""A lock that is held: renewed while it is, and lost aloud when it is not."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.errors import LockLost, NotOpen, StoreError
from tercet.locks.desk import is_passing
from tercet.locks.lease import Lease, Moment

if TYPE_CHECKING:
    from collections.abc import Callable

    from tercet.clock import Clock
    from tercet.locks.desk import Desk
    from tercet.locks.name import LockName
    from tercet.locks.waiting import Farewells

# A renewal that failed is tried again after this share of the ttl: some ten times before the lease is over. A long
# lease is no reason to be slow.
_AGAIN_AFTER = 0.05
_AGAIN_SECONDS_MAX = 1.0
# One that was not answered is given up after this share, so that one frozen connection does not use it all up.
_ATTEMPT = 0.2
_ATTEMPT_SECONDS_MAX = 2.0

# What a process said that nobody heard is said again for so long beyond the lease. A server that stood still
# may yet read an old request of ours, and would then hold the lock for nobody.
FAREWELL_SECONDS = 600.0

_log = logging.getLogger("tercet.locks")


@dataclass(frozen=True, slots=True)
class Grant:
    """What was won: the wish as Redis has it, the number of the grant, and how long it may be believed in."""

    name: LockName
    wish: bytes
    token: int
    lease: Lease


@dataclass(frozen=True, slots=True)
class _Body:
    """The task that works under the lock, how often it had been cancelled before, and at which depth it entered."""

    task: asyncio.Task[object]
    cancelling: int
    depth: int


class Held:
    """A lock that this process holds: its `token`, and whether it is still ours.

    `token` grows with every grant of this name. `lost` is set when the lock has ended without having been given
    back; inside `async with` the work is cancelled then, and LockLost raised at the end of it.
    """

    def __init__(
        self, grant: Grant, *, clock: Clock, desk: Desk, farewells: Farewells, ended: Callable[[Held], None]
    ) -> None:
        self.token = grant.token
        self.lost = asyncio.Event()
        self.depth = 1
        self.task: asyncio.Task[object] | None = asyncio.current_task()
        self._grant = grant
        self._lease = grant.lease
        self._clock = clock
        self._desk = desk
        self._farewells = farewells
        self._ended = ended
        self._over = False
        self._reason = ""
        self._body: _Body | None = None
        self._interrupted = False
        self._timer: asyncio.TimerHandle | None = None
        self._plan()

    @property
    def name(self) -> str:
        """The lock's name, as it was given."""
        return self._grant.name.text

    @property
    def key(self) -> LockName:
        """The lock's name with its keys."""
        return self._grant.name

    def remaining(self) -> float:
        """Seconds for which the lock is surely ours, if it is not renewed; 0 when that cannot be said any more."""
        if self._over or self._reason:
            return 0.0
        return max(0.0, self._lease.remaining(Moment.now(self._clock)))

    def check(self) -> None:
        """Raise LockLost unless the lock is ours at this moment, by our own clock; costs no round trip.

        One that was given back raises NotOpen. For work that does not await for long, or that may have been asleep:
        right before something is written.
        """
        if self._over and not self._reason:
            raise NotOpen(self._grant.name.title, closed=True)
        if not self._reason and self.remaining() <= 0:
            self._lose("its time was over before it was renewed")
        self._raise_if_lost()

    async def renew(self) -> None:
        """Ask Redis to keep it for another ttl, now; raises LockLost when it is not ours any more.

        Raises a StoreError when Redis did not answer; the lock may still be ours then, and goes on being renewed.
        """
        self.check()
        sent = Moment.now(self._clock)
        if not await self._desk.renew(self._grant.name, self._grant.wish, self.token):
            self._lose("Redis says that it is not ours any more")
        elif not self._reason and not self._over:
            self._lease = Lease(sent, self._lease.ttl)
            self._plan()
        self.check()

    async def release(self) -> None:
        """Give the lock back, to whoever waits first; twice is fine.

        Raises LockLost when it had ended before. When Redis does not answer it is told later, or the lock ends
        with its lease; that is no error of the work, which was done in time.
        """
        if self._over:
            return
        if self.depth > 1:
            self.depth -= 1
            return
        await self._give_back()
        self._raise_if_lost()

    def guard(self) -> None:
        """From now on the task that calls this is cancelled when the lock is lost."""
        task = asyncio.current_task()
        if self._body is None and task is not None:
            self._body = _Body(task, task.cancelling(), self.depth)

    async def leave(self, error: BaseException | None) -> None:
        """End the work that began with guard() and that has ended with this error, or with none.

        As asyncio.timeout does it: a cancellation that was ours becomes LockLost, one that came from elsewhere
        stays one. What the work made of our cancellation, another error or a result, does not hide the loss; an
        error that came before the loss is told as it is.
        """
        body = self._body
        if body is None or body.depth != self.depth:
            return await self._release_after(error)
        self._body = None
        if not self._interrupted:
            return await self._release_after(error)
        ours = body.task.uncancel() <= body.cancelling
        await self._give_back()
        if isinstance(error, LockLost) or (isinstance(error, asyncio.CancelledError) and not ours):
            return None
        if error is None or isinstance(error, Exception | asyncio.CancelledError):
            raise self._loss() from error
        return None

    async def _release_after(self, error: BaseException | None) -> None:
        try:
            await self.release()
        except LockLost:
            if error is None:
                raise

    async def _give_back(self) -> None:
        """Tell Redis, once; what Redis answers decides whether the lock was lost."""
        self._over = True
        self._stop()
        self._ended(self)
        late = self._lease.remaining(Moment.now(self._clock)) <= 0
        if self._reason:
            self._say_later()
            return
        try:
            kept = await self._desk.leave(self._grant.name, self._grant.wish, self.token)
        except StoreError as error:
            self._say_later()
            _log.warning("%s could not be given back yet: %s", self._grant.name, type(error).__name__)
            if late:
                self._lose("its time was over, and Redis cannot be asked whether somebody else has had it")
        except BaseException:
            self._say_later()
            raise
        else:
            if not kept:
                self._lose("somebody else may have held it before it was given back")

    def _say_later(self) -> None:
        self._farewells.say(self._grant.name, self._grant.wish, self.token, self._lease.ttl + FAREWELL_SECONDS)

    def _plan(self) -> None:
        """Have it renewed in time."""
        self._stop()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, self._lease.renew_in(Moment.now(self._clock))), self._begin)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self) -> None:
        self._farewells.spawn(self._keep())

    async def _keep(self) -> None:
        """Renew it, again and again until that works; when the time is over, it is lost."""
        ttl = self._lease.ttl
        while (left := self.remaining()) > 0:
            sent = Moment.now(self._clock)
            attempt = min(left, ttl * _ATTEMPT, _ATTEMPT_SECONDS_MAX)
            try:
                # The wire has a deadline of its own; that the loss is told in time does not depend on it.
                async with asyncio.timeout(attempt):
                    ours = await self._desk.renew(self._grant.name, self._grant.wish, self.token, deadline=attempt)
            except (StoreError, TimeoutError) as error:
                if self._over:
                    break
                if isinstance(error, StoreError) and not is_passing(error):
                    _log.warning("%s cannot be renewed: %s", self._grant.name, type(error).__name__)
                await asyncio.sleep(min(left, ttl * _AGAIN_AFTER, _AGAIN_SECONDS_MAX))
                continue
            if self._over or self._reason:
                break
            if not ours:
                self._lose("Redis says that it is not ours any more")
                return
            self._lease = Lease(sent, ttl)
            self._plan()
            return
        if self._over:
            # Given back while this was on its way: it must not be what Redis has heard last.
            self._say_later()
        elif not self._reason:
            self._lose("it could not be renewed before its time was over")

    def _lose(self, reason: str) -> None:
        if self._reason:
            return
        self._reason = reason
        self._stop()
        self.lost.set()
        _log.warning("%s (token %s) was lost: %s", self._grant.name, self.token, reason)
        # Work that finds out by itself is told by an error, where it stands.
        if self._body is not None and self._body.task is not asyncio.current_task():
            self._interrupted = True
            self._body.task.cancel()

    def _loss(self) -> LockLost:
        return LockLost(self.name, token=self.token, reason=self._reason)

    def _raise_if_lost(self) -> None:
        if self._reason:
            raise self._loss()
