"""What a copy takes from production: counted, and never faster than was allowed."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tercet.advisor.port import Progress

# Behind this a pause is not worth a turn of the loop.
_PAUSE_SECONDS_MIN = 0.005


class Meter:
    """Counts bytes and seconds, and waits where they would come faster than `rate` a second."""

    __slots__ = ("_began", "_monotonic", "_progress", "_sleep", "bytes", "rate", "total")

    def __init__(
        self,
        rate: float,
        *,
        total: int = 0,
        on_progress: Progress | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.rate, self.total, self.bytes = rate, total, 0
        self._progress, self._monotonic, self._sleep = on_progress, monotonic, sleep
        self._began = monotonic()

    @property
    def seconds(self) -> float:
        """How long it has gone on."""
        return self._monotonic() - self._began

    async def count(self, taken: int, what: str) -> None:
        """Add so many bytes, tell of them, and wait until they may have come."""
        self.bytes += taken
        if self._progress is not None:
            self._progress(what, min(self.bytes, self.total), self.total)
        early = self.bytes / self.rate - self.seconds
        if early > _PAUSE_SECONDS_MIN:
            await self._sleep(early)
