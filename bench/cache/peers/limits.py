"""limits: three strategies of rate limits over Redis."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import limits
from limits.aio import storage, strategies

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from peers.port import Check

PACKAGES = ("limits",)
# Its own default, coredis, is one whose release it was written for is older than the one measured here.
ADVICE = "its documentation: RedisStorage('async+redis://…', implementation='redispy'), strategy.hit(item, key)"


@asynccontextmanager
async def _rate(url: str, limit: int, seconds: float, *, strategy: Any) -> AsyncIterator[Check]:
    kept = storage.RedisStorage(f"async+{url}", implementation="redispy")
    limiter = strategy(kept)
    item = limits.RateLimitItemPerSecond(limit, int(seconds))

    async def check(key: str) -> bool:
        return bool(await limiter.hit(item, key))

    yield check


RATE = {
    "limits moving window": partial(_rate, strategy=strategies.MovingWindowRateLimiter),
    "limits sliding window counter": partial(_rate, strategy=strategies.SlidingWindowCounterRateLimiter),
    "limits fixed window": partial(_rate, strategy=strategies.FixedWindowRateLimiter),
}
