"""The way into a pool: who waits, who holds, what is told about it; the same for each store."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from tercet.errors import NotOpen, PoolExhausted
from tercet.stores.gate import Gate
from tercet.stores.holders import Holders
from tercet.stores.port import PoolState
from tercet.telemetry import ConnectionWaited

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from tercet.clock import Clock
    from tercet.stores.budget import Budget
    from tercet.telemetry import Telemetry
    from tercet.telemetry.event import Outcome
    from tercet.telemetry.event import Store as StoreName

T = TypeVar("T", bound="Hashable")

# How often close() looks whether callers have finished: closing happens once in a process's life.
_LOOK_SECONDS = 0.05


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

    def sized(self, budget: Budget) -> None:
        """Set what `budget` is from now on."""
        self._budget = budget

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

    async def settle(self, patience: float) -> None:
        """Wait until nobody holds a connection, but no longer than `patience`."""
        for _ in range(round(patience / _LOOK_SECONDS)):
            if not len(self.holders):
                return
            await asyncio.sleep(_LOOK_SECONDS)
