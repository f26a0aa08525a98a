"""Being told: one channel for all who wait in this process, and a bell for each of them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from tercet.errors import StoreError
from tercet.locks.desk import is_passing
from tercet.locks.name import new_process

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tercet.locks.desk import Desk
    from tercet.locks.name import LockName
    from tercet.locks.port import Link

# Those who have left and could not say so; beyond that, the eldest is left to the end of its lease.
FAREWELLS_MAX = 10_000
# So many are said at once, and so long is waited after one that was not heard.
_FAREWELLS_AT_ONCE = 100
_FAREWELL_PAUSE_SECONDS = 0.1

_log = logging.getLogger("tercet.locks")


class Ticket:
    """A place in a line, seen from here: its bell, and the token that came with it."""

    __slots__ = ("_bell", "_rung", "token")

    def __init__(self) -> None:
        self.token: int | None = None
        self._rung = False
        self._bell: asyncio.Future[None] | None = None

    def ring(self, token: int | None) -> None:
        """Wake who rests: with the lock, or (None) to ask again."""
        self._rung = True
        if token is not None:
            self.token = token
        _stop(self._bell)

    async def rest(self, seconds: float, *, after: int = 0) -> int | None:
        """Wait until it rings, so long at most; the token, if one has come that is above `after`.

        A message can be late: that of a grant which has ended since, before Redis was last asked, means nothing.
        """
        if not self._rung:
            loop = asyncio.get_running_loop()
            self._bell = bell = loop.create_future()
            timer = loop.call_later(seconds, _stop, bell)
            try:
                await bell
            finally:
                timer.cancel()
                self._bell = None
        self._rung = False
        token, self.token = self.token, None
        return token if token is not None and token > after else None


def _stop(bell: asyncio.Future[None] | None) -> None:
    if bell is not None and not bell.done():
        bell.set_result(None)


class Post:
    """The channel of this process in one event loop, and those who wait on it."""

    def __init__(self, wire: Link, prefix: bytes) -> None:
        self.process = new_process()
        self._wire = wire
        self._channel = prefix + self.process.encode()
        self._tickets: dict[bytes, Ticket] = {}
        self._listening = False
        self._beginning = asyncio.Lock()

    def open(self, wish: bytes) -> Ticket:
        """A ticket for this wish."""
        ticket = self._tickets[wish] = Ticket()
        return ticket

    def drop(self, wish: bytes) -> None:
        """Nobody waits for it any more."""
        self._tickets.pop(wish, None)

    async def listen(self) -> None:
        """Be told from now on; once is enough."""
        if self._listening:
            return
        async with self._beginning:
            if not self._listening:
                await self._wire.listen(self._channel, self._hear)
                self._listening = True

    async def close(self) -> None:
        """Be told no more."""
        if self._listening:
            self._listening = False
            # A server that does not answer has nothing to be told: it notices when the connection ends.
            with suppress(StoreError):
                await self._wire.unlisten(self._channel, self._hear)

    def _hear(self, message: bytes | None) -> None:
        if message is None:
            for ticket in self._tickets.values():
                ticket.ring(None)
            return
        wish, _, token = message.rpartition(b" ")
        known = self._tickets.get(wish)
        # Who has left meanwhile says so to Redis, which then hands the lock on.
        if known is not None:
            known.ring(int(token))


class Farewells:
    """Leaving for those who no longer wait for the answer; said again until Redis has heard it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._unheard: dict[bytes, tuple[LockName, int, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._repeating = False

    def say(self, name: LockName, wish: bytes, token: int, within: float) -> asyncio.Task[None]:
        """Leave, now or as soon as Redis hears it; after `within` seconds it has forgotten us by itself.

        The task that is returned ends when it was said once.
        """
        until = asyncio.get_running_loop().time() + within
        return self.spawn(self._say(name, wish, token, until))

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """A task that is kept until it has ended."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Give up what could not be said."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _say(self, name: LockName, wish: bytes, token: int, until: float) -> None:
        try:
            await self._desk.leave(name, wish, token)
        except StoreError as error:
            if not is_passing(error):
                _log.warning("%s cannot be given back (%s): it ends with its lease", name, type(error).__name__)
                return
            if len(self._unheard) >= FAREWELLS_MAX:
                del self._unheard[next(iter(self._unheard))]
            self._unheard[wish] = (name, token, until)
            if not self._repeating:
                self._repeating = True
                self.spawn(self._repeat())

    async def _repeat(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._unheard:
                await asyncio.sleep(_FAREWELL_PAUSE_SECONDS)
                some = list(self._unheard.items())[:_FAREWELLS_AT_ONCE]
                for wish, _ in some:
                    del self._unheard[wish]
                living = [(wish, *what) for wish, what in some if what[2] > loop.time()]
                await asyncio.gather(*(self._say(name, wish, token, until) for wish, name, token, until in living))
        finally:
            self._repeating = False
