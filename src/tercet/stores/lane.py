"""The way to a connection: whether one may pass here and now, who waits, who holds, what is told about it."""

from __future__ import annotations

import asyncio
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from tercet.errors import NotOpen, PoolExhausted, WrongLoop
from tercet.stores.budget import plan
from tercet.stores.holders import Holders
from tercet.stores.port import PoolState
from tercet.telemetry import ConnectionWaited

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterator

    from tercet.clock import Clock
    from tercet.settings import Settings
    from tercet.stores.budget import Budget
    from tercet.telemetry import Telemetry
    from tercet.telemetry.event import Outcome
    from tercet.telemetry.event import Store as StoreName

T = TypeVar("T", bound="Hashable")

# How often close() looks whether callers have finished: closing happens once in a process's life.
_LOOK_SECONDS = 0.05


class Gate:
    """Remembers where it was opened, and refuses everybody else; a check costs less than a microsecond."""

    __slots__ = ("_loop", "_pid", "_state", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._state: Literal["new", "open", "closed"] = "new"
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has been opened and not yet closed."""
        return self._state == "open"

    @property
    def is_closed(self) -> bool:
        """Whether it has been closed."""
        return self._state == "closed"

    @property
    def is_abroad(self) -> bool:
        """Whether this is another process than the one that opened it."""
        return self._pid not in {0, os.getpid()}

    def open(self) -> None:
        """From now on this process and this event loop may pass."""
        self._pid = os.getpid()
        self._loop = asyncio.get_running_loop()
        self._state = "open"

    def close(self) -> None:
        """From now on nobody may pass."""
        self._state = "closed"

    def check(self) -> None:
        """Pass, or raise NotOpen or WrongLoop."""
        if self._state != "open":
            raise NotOpen(self._what, closed=self._state == "closed")
        if self._pid != os.getpid():
            raise WrongLoop(self._what, forked=True)
        if self._loop is not _running_loop():
            raise WrongLoop(self._what, forked=False)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Lane(Generic[T]):
    """One pool's gate, its budget, the callers that wait for it and the connections that are out."""

    def __init__(self, store: StoreName, *, clock: Clock, telemetry: Telemetry) -> None:
        self.store = store
        self.gate = Gate("This Tercet")
        self.holders: Holders[T] = Holders(clock.monotonic)
        self._clock, self._telemetry = clock, telemetry
        # How many callers wait right now; an edge that does not use `wait` counts itself.
        self.waiting = 0
        self._budget: Budget | None = None

    @property
    def budget(self) -> Budget:
        """How the pool's size came about; known from opening on."""
        if self._budget is None:
            raise NotOpen("This Tercet", closed=self.gate.is_closed)
        return self._budget

    def size(self, settings: Settings, *, limit: int | None, reserved: int = 0) -> int:
        """The pool's size under this server's limit, as settings and the other instances allow it."""
        explicit = settings.pool_size(self.store)
        self._budget = plan(self.store, limit=limit, reserved=reserved, instances=settings.instances, explicit=explicit)
        return self._budget.size

    def check(self) -> None:
        """Refuse whoever wants a connection of a store that has been closed."""
        if self.gate.is_closed:
            raise NotOpen("This Tercet", closed=True)

    @contextmanager
    def wait(self) -> Iterator[float]:
        """The time in which a caller waits for a connection; gives the moment at which it began."""
        self.check()
        started = self._clock.monotonic()
        outcome: Outcome = "failed"
        self.waiting += 1
        try:
            yield started
            outcome = "ok"
        except PoolExhausted:
            outcome = "timeout"
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            self.waiting -= 1
            self.told(self.since(started), outcome)

    def told(self, waited: float, outcome: Outcome) -> None:
        """Tell whoever listens how long a caller has waited."""
        if self._telemetry.heard:
            self._telemetry.tell(ConnectionWaited(self.store, waited, outcome, self.budget.size))

    def since(self, started: float) -> float:
        """Seconds since a moment that `wait` has given."""
        return self._clock.monotonic() - started

    def exhausted(self, waited: float) -> PoolExhausted:
        """The error for a caller who has waited in vain."""
        holder, held = self.holders.longest()
        return PoolExhausted(self.store, size=self.budget.size, waited=waited, held=held, holder=holder)

    def state(self, *, in_use: int, idle: int) -> PoolState:
        """How the pool stands, given how many of its connections are out and how many lie in it."""
        holder, held = self.holders.longest()
        return PoolState(self.store, self.budget.size, in_use, idle, self.waiting, holder, held)

    async def shut(self, patience: float, end: Callable[[], Awaitable[None]]) -> None:
        """Let nobody in any more, wait for callers as long as `patience`, and `end` what is left; twice is fine.

        In a forked child nothing is touched: the sockets are the parent's, and closing them here would take them
        out of its event loop.
        """
        was_open = self.gate.is_open
        self.gate.close()
        if self.gate.is_abroad:
            return
        try:
            if was_open:
                await self._settle(patience)
        finally:
            await end()

    async def _settle(self, patience: float) -> None:
        """Wait until nobody holds a connection, but no longer than `patience`."""
        for _ in range(round(patience / _LOOK_SECONDS)):
            if not len(self.holders):
                return
            await asyncio.sleep(_LOOK_SECONDS)
