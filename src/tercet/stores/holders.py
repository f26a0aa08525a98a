"""Who holds which connection, and since when; cheap enough to be known always."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Hashable
from pathlib import PurePath
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from types import FrameType

T = TypeVar("T", bound=Hashable)

# A holder is a place in somebody's program: what lies between that place and the pool is passed over.
_PASSED = frozenset(
    {
        "_pytest", "asyncio", "asyncpg", "concurrent", "contextlib", "greenlet", "pluggy", "pymongo",
        "pytest_asyncio", "redis", "runpy", "sqlalchemy", "tercet", "threading", "uvloop",
    }
)  # fmt: skip

# Below these there is only whoever runs the event loop, who has nothing to do with it.
_BOTTOM = frozenset({"asyncio.base_events", "asyncio.events", "asyncio.runners"})

# Nobody's call stack is deeper than this between a pool and the place that wanted a connection.
_FRAMES_MAX = 60

Site = tuple[str, int]


def site(frame: FrameType | None) -> Site:
    """File and line of the nearest frame that belongs to the program and not to a library in between."""
    for _ in range(_FRAMES_MAX):
        if frame is None:
            break
        name = frame.f_globals.get("__name__", "")
        if name in _BOTTOM:
            break
        if name.partition(".")[0] not in _PASSED:
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
    return _task_name(), 0


def here() -> Site:
    """The place in the program that has led to this call."""
    return site(sys._getframe(1))  # noqa: SLF001 - the documented way to a frame; inspect's costs 100 times more


def shown(place: Site) -> str:
    """A place for people: "shop/orders.py:88"."""
    path, line = place
    return f"{'/'.join(PurePath(path).parts[-2:])}:{line}" if line else path


def _task_name() -> str:
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return f"{task.get_name()} ({getattr(task.get_coro(), '__qualname__', '')})" if task else "an unknown place"


class Holders(Generic[T]):
    """The connections that are out, each with the place that took it and the moment."""

    __slots__ = ("_monotonic", "_out")

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        # A dict keeps its order: the first one in it has been out longest.
        self._out: dict[T, tuple[float, Site]] = {}

    def __len__(self) -> int:
        return len(self._out)

    def take(self, thing: T, place: Site) -> None:
        """Note that `place` has taken this connection now."""
        self._out[thing] = (self._monotonic(), place)

    def give(self, thing: T) -> None:
        """Note that it is back; one that was not out is fine."""
        self._out.pop(thing, None)

    def things(self) -> tuple[T, ...]:
        """The connections that are out, longest first."""
        return tuple(self._out)

    def longest(self) -> tuple[str, float] | tuple[None, None]:
        """The place that has held one longest and for how many seconds, or two Nones."""
        for since, place in self._out.values():
            return shown(place), self._monotonic() - since
        return None, None
