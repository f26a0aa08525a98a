"""Many callers, one load: the flight belongs to the cache, and callers only wait for it."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tercet.errors import WrongLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tercet.cache.encoding.tags import Cell

T = TypeVar("T")

# A load that nobody waits for any more may still end and fill the cache: whoever gave up will often ask
# again. After this it is cancelled, so that no loader runs for ever for nobody.
ORPHAN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Landing(Generic[T]):
    """How a flight has ended: with a value, with the loader's error, or cancelled from inside."""

    value: T | None = None
    error: Exception | None = None
    cancelled: bool = False


class Flight(Generic[T]):
    """One load under way and those who wait for it."""

    __slots__ = ("_grace", "cells", "refused", "task", "waiters")

    def __init__(self, cells: tuple[Cell, ...]) -> None:
        self.cells = cells
        # Set when the key was dropped or written meanwhile: what lands then is for those who wait, not for
        # keeping.
        self.refused = False
        self.waiters: set[asyncio.Future[Landing[T]]] = set()
        self.task: asyncio.Task[T] | None = None
        self._grace: asyncio.TimerHandle | None = None

    def is_fresh(self) -> bool:
        """Whether nothing that this load depends on was dropped since it began."""
        return not self.refused and all(cell.alive for cell in self.cells)

    def board(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Landing[T]]:
        """A place for one more caller; giving it up hurts nobody else."""
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        place: asyncio.Future[Landing[T]] = loop.create_future()
        self.waiters.add(place)
        place.add_done_callback(self._leave)
        return place

    def _leave(self, place: asyncio.Future[Landing[T]]) -> None:
        self.waiters.discard(place)
        if not self.waiters and self.task is not None and not self.task.done():
            self._grace = place.get_loop().call_later(ORPHAN_SECONDS, self.task.cancel)

    def land(self, landing: Landing[T]) -> None:
        """Tell everybody who waits how it has ended: the first gets the error itself, each other a copy."""
        if self._grace is not None:
            self._grace.cancel()
        for number, place in enumerate(tuple(self.waiters)):
            if place.done():
                continue
            if landing.error is None or number == 0:
                place.set_result(landing)
            else:
                place.set_result(Landing(error=duplicate(landing.error)))


class Flights(Generic[T]):
    """The flights of one cache, by key; they live in one event loop."""

    __slots__ = ("_loop", "_open", "_running")

    def __init__(self) -> None:
        self._open: dict[str, Flight[T]] = {}
        # asyncio itself keeps tasks only weakly, and a flight that was replaced is in no other place.
        self._running: set[asyncio.Task[T]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def join(
        self,
        name: str,
        cells: Callable[[], tuple[Cell, ...]],
        launch: Callable[[Flight[T]], Coroutine[Any, Any, T]],
        *,
        anew: bool = False,
    ) -> asyncio.Future[Landing[T]]:
        """A place in the flight to `name`; one is launched where none is under way that may be joined.

        A flight from before a drop is not joined: it may carry what was dropped. `anew` joins none at all.
        """
        loop = self._here()
        flight = self._open.get(name)
        if flight is None or anew or not flight.is_fresh():
            if flight is not None:
                flight.refused = True
            flight = self._launch(name, Flight(cells()), launch, loop)
        return flight.board(loop)

    def refuse(self, name: str) -> None:
        """Let nobody join, and let nothing be kept of, what is under way to `name`."""
        flight = self._open.pop(name, None)
        if flight is not None:
            flight.refused = True

    def cancel(self) -> list[asyncio.Task[T]]:
        """Cancel everything under way; returns the tasks to wait for."""
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        return tasks

    def __len__(self) -> int:
        return len(self._running)

    def _launch(
        self,
        name: str,
        flight: Flight[T],
        launch: Callable[[Flight[T]], Coroutine[Any, Any, T]],
        loop: asyncio.AbstractEventLoop,
    ) -> Flight[T]:
        task = loop.create_task(launch(flight))
        flight.task = task
        self._open[name] = flight
        self._running.add(task)

        def landed(done: asyncio.Task[T]) -> None:
            self._running.discard(done)
            if self._open.get(name) is flight:
                del self._open[name]
            flight.land(_landing(done))

        task.add_done_callback(landed)
        return flight

    def _here(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # One asyncio.run after the other is fine; two loops at once would wake each other's futures.
            if self._loop is not None and not self._loop.is_closed():
                raise WrongLoop("This cache", forked=False)
            self._open.clear()
            self._running.clear()
            self._loop = loop
        return loop


def _landing(done: asyncio.Task[T]) -> Landing[T]:
    if done.cancelled():
        return Landing(cancelled=True)
    error = done.exception()
    if error is None:
        return Landing(value=done.result())
    return Landing(error=error) if isinstance(error, Exception) else Landing(cancelled=True)


def duplicate(error: Exception) -> Exception:
    """A copy of an exception that can be raised beside it; the exception itself where it cannot be copied.

    Raised in several tasks, one object would collect all their tracebacks.
    """
    try:
        twin = copy.copy(error)
    except Exception:  # noqa: BLE001 - the constructor of any exception may run in here
        return error
    if type(twin) is not type(error) or twin.args != error.args:
        return error
    twin.__cause__, twin.__context__ = error.__cause__, error.__context__
    twin.__suppress_context__ = error.__suppress_context__
    return twin.with_traceback(error.__traceback__)
