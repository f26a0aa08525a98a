"""throttled-py: five algorithms of rate limits over Redis."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from throttled.asyncio import RateLimiterType, Throttled, rate_limiter
from throttled.asyncio.store import RedisStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from peers.port import Check

PACKAGES = ("throttled-py",)
ADVICE = "its Readme: Throttled(using=RateLimiterType.GCRA.value, quota=…, store=RedisStore(server=url))"


@asynccontextmanager
async def _rate(url: str, limit: int, seconds: float) -> AsyncIterator[Check]:
    quota = rate_limiter.per_duration(timedelta(seconds=seconds), limit, burst=limit)
    throttle = Throttled(using=RateLimiterType.GCRA.value, quota=quota, store=RedisStore(server=url))

    async def check(key: str) -> bool:
        return not (await throttle.limit(key)).limited

    yield check


RATE = {"throttled-py GCRA": _rate}
