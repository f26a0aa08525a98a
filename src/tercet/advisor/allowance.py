"""Time that several share: what one takes, the others no longer have."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Why something was not run.
TIME_UP = "the time for all of them was up"


class Allowance:
    """So many seconds for all that is run; they begin when they are first asked for."""

    __slots__ = ("_monotonic", "_until", "seconds")

    def __init__(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self._monotonic = seconds, monotonic
        self._until: float | None = None

    @property
    def left(self) -> float:
        """Seconds that are left, and none below zero."""
        now = self._monotonic()
        if self._until is None:
            self._until = now + self.seconds
        return max(0.0, self._until - now)

    def limit(self) -> asyncio.Timeout:
        """Ends what is in its block when nothing is left; then it raises TimeoutError and is `expired()`."""
        return asyncio.timeout(self.left)
