"""The breaker: whether a server is asked at all, and how long to wait before it is tried again."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tercet.clock import Clock
    from tercet.errors import StoreError

# The first pause is about as long as a restart under a supervisor takes at least.
PAUSE_SECONDS = 0.05
# A server that is back is used again within about a second, and one that is down costs one try a second.
PAUSE_SECONDS_MAX = 1.0


class Breaker:
    """Open after a server has failed; then everybody is refused at once, until a probe gets through."""

    __slots__ = ("_clock", "_make", "_pause", "opened", "since")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._make: Callable[[], StoreError] | None = None
        self._pause = PAUSE_SECONDS
        # How often it has opened, and when last.
        self.opened = 0
        self.since = 0.0

    @property
    def is_open(self) -> bool:
        """Whether callers are refused."""
        return self._make is not None

    def trip(self, make: Callable[[], StoreError]) -> bool:
        """Refuse callers from now on, each with an error of its own made by `make`; whether that is new."""
        fresh = self._make is None
        if fresh:
            self.opened += 1
            self.since = self._clock.monotonic()
        self._make = make
        return fresh

    def mend(self) -> bool:
        """Let callers pass again, and begin with short pauses the next time; whether that is new."""
        was_open, self._make = self._make is not None, None
        self._pause = PAUSE_SECONDS
        return was_open

    def refusal(self) -> StoreError:
        """The error for one caller: a new one each time, for a raised one carries its caller's traceback."""
        if self._make is None:
            raise RuntimeError("a closed breaker refuses nobody")
        return self._make()

    def open_for(self) -> float:
        """Seconds since it has opened; 0 when it is closed."""
        return self._clock.monotonic() - self.since if self.is_open else 0.0

    def pause(self) -> float:
        """How long to wait before the next try: longer each time, and spread, so that a fleet is out of step."""
        pause = self._pause
        self._pause = min(pause * 2, PAUSE_SECONDS_MAX)
        return random.uniform(pause / 2, pause)  # noqa: S311 - spreads tries, guards nothing
