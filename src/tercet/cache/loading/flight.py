"""Many callers, one load: the flight belongs to the cache, and callers only wait for it."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tercet.errors import WrongLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tercet.cache.memory import Memory
    from tercet.cache.shelf import Drop

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

    __slots__ = (
        "_grace", "_mark", "_memory", "_name", "_tags", "begun", "joined_until", "replaced", "task", "waiters",
    )  # fmt: skip

    def __init__(self, name: str, tags: tuple[str, ...], memory: Memory, *, begun: float) -> None:
        self._name, self._tags, self._memory = name, tags, memory
        self.begun = begun
        self._mark = memory.mark
        # Set when a newer load took its place: what lands then is for those who wait, not for keeping.
        self.replaced = False
        # Until when others may join: what is loaded while a commit may not be seen yet is not for those who come later.
        self.joined_until = float("inf")
        self.waiters: set[asyncio.Future[Landing[T]]] = set()
        self.task: asyncio.Task[T] | None = None
        self._grace: asyncio.TimerHandle | None = None

    def is_fresh(self) -> bool:
        """Whether nothing that this load depends on was dropped since it began."""
        return not self.replaced and not self._memory.dropped_since(self._mark, self._name, self._tags)

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
        if not self.waiters:
            self.leave_alone(place.get_loop())

    def leave_alone(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give it a time to end in, now that nobody waits for it."""
        if self.task is not None and not self.task.done() and self._grace is None:
            self._grace = loop.call_later(ORPHAN_SECONDS, self.task.cancel)

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

    __slots__ = ("_loop", "_memory", "_now", "_running", "under_way")

    def __init__(self, memory: Memory, now: Callable[[], float]) -> None:
        self._memory, self._now = memory, now
        self.under_way: dict[str, Flight[T]] = {}
        # asyncio itself keeps tasks only weakly, and a flight that was replaced is in no other place.
        self._running: set[asyncio.Task[T]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def find(self, name: str) -> Flight[T] | None:
        """The flight to `name` that may be joined, if one is under way.

        A flight from before a drop is not joined: it may carry what was dropped.
        """
        flight = self.under_way.get(name)
        return flight if flight is not None and flight.is_fresh() and flight.joined_until > self._now() else None

    def launch(
        self, name: str, tags: tuple[str, ...], work: Callable[[Flight[T]], Coroutine[Any, Any, T]]
    ) -> Flight[T]:
        """A new flight to `name`, in place of one that is under way; it ends by itself if nobody boards."""
        loop = self.here()
        before = self.under_way.get(name)
        if before is not None:
            before.replaced = True
        flight: Flight[T] = Flight(name, tags, self._memory, begun=self._now())
        task = loop.create_task(work(flight))
        flight.task = task
        self.under_way[name] = flight
        self._running.add(task)

        def landed(done: asyncio.Task[T]) -> None:
            self._running.discard(done)
            if self.under_way.get(name) is flight:
                del self.under_way[name]
            flight.land(_landing(done))

        task.add_done_callback(landed)
        flight.leave_alone(loop)
        return flight

    def cancel(self) -> list[asyncio.Task[T]]:
        """Cancel everything under way; returns the tasks to wait for."""
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        return tasks

    def __len__(self) -> int:
        return len(self._running)

    def here(self) -> asyncio.AbstractEventLoop:
        """The one event loop in which this cache is used; raises WrongLoop for a second one."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # One asyncio.run after the other is fine; two loops at once would wake each other's futures.
            if self._loop is not None and not self._loop.is_closed():
                raise WrongLoop("This cache", forked=False)
            self.under_way.clear()
            self._running.clear()
            self._loop = loop
        return loop


# Failures that are remembered at once; beyond, the oldest is forgotten, which costs one load.
FAILURES_MAX = 10_000


class Throttle:
    """Loads that failed a moment ago, and are not tried again before their time."""

    __slots__ = ("_failed", "_now")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._failed: dict[str, tuple[float, Exception]] = {}

    def failed(self, name: str, error: Exception, seconds: float) -> None:
        """This load has failed, and is to be left alone for so long."""
        if seconds <= 0.0:
            return
        self._failed.pop(name, None)
        self._failed[name] = (self._now() + seconds, error)
        if len(self._failed) > FAILURES_MAX:
            del self._failed[next(iter(self._failed))]

    def error(self, name: str) -> Exception | None:
        """The error to answer with instead of a load; None where one may be tried."""
        held = self._failed.get(name) if self._failed else None
        if held is None:
            return None
        if held[0] <= self._now():
            del self._failed[name]
            return None
        return duplicate(held[1])

    def dropped(self, drop: Drop | None) -> None:
        """What was dropped may be loaded again at once; every one where that is not known."""
        if drop is None or drop.tags or drop.patterns or drop.everything:
            self.forget()
            return
        for name in drop.names:
            self.forget(name)

    def forget(self, name: str | None = None) -> None:
        """Let this load, or every one, be tried again at once."""
        if name is None:
            self._failed.clear()
        else:
            self._failed.pop(name, None)


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
