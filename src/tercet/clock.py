"""Time as something that is handed over, and that a test can stop."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What a room asks of time."""

    def monotonic(self) -> float:
        """Seconds that never run backwards; only differences mean anything."""
        ...

    def now(self) -> datetime:
        """The moment, with its time zone (UTC)."""
        ...

    def timestamp(self) -> float:
        """The same moment as seconds since 1970."""
        ...


class SystemClock:
    """The machine's own clock."""

    __slots__ = ()

    # Bound to the C function itself: the cache asks for the time on every hit.
    monotonic = staticmethod(time.monotonic)
    timestamp = staticmethod(time.time)

    def now(self) -> datetime:
        """The moment in UTC."""
        return datetime.now(UTC)


class StoppedClock:
    """A clock that moves only when told to; for tests, the user's too."""

    __slots__ = ("_monotonic", "_now")

    def __init__(self, now: datetime | None = None) -> None:
        self._monotonic = 0.0
        self._now = now or datetime(2024, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        """Seconds since this clock was made, as far as it was moved."""
        return self._monotonic

    def now(self) -> datetime:
        """The moment it was made with, and what it was moved since."""
        return self._now

    def timestamp(self) -> float:
        """The same moment as seconds since 1970."""
        return self._now.timestamp()

    def advance(self, by: float) -> None:
        """Move on by this many seconds; never backwards."""
        if by < 0:
            raise ValueError("a clock does not go backwards")
        self._monotonic += by
        self._now += timedelta(seconds=by)
