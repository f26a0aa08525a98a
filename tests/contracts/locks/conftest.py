"""Two processes as far as Redis can tell: each has a wire of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from tercet.clock import SystemClock
from tercet.locks import Locks
from tercet.telemetry import Telemetry
from tercet.wire import Wire

# Both cores may be taken: nothing here is about how fast Redis answers.
DEADLINE_SECONDS = 20.0


@asynccontextmanager
async def locks_at(url: str, deadline: float = DEADLINE_SECONDS) -> AsyncIterator[Locks]:
    """Locks over a wire of their own."""
    clock, telemetry = SystemClock(), Telemetry()
    wire = Wire.at(url, deadline=deadline, clock=clock, telemetry=telemetry)
    locks = Locks(wire, clock=clock, telemetry=telemetry)
    try:
        yield locks
    finally:
        await locks.close()
        await wire.close()


@pytest.fixture
async def locks(redis_url: str) -> AsyncIterator[Locks]:
    """The locks of one process."""
    async with locks_at(redis_url) as made:
        yield made


@pytest.fixture
async def others(redis_url: str, locks: Locks) -> AsyncIterator[Locks]:
    """The locks of another process."""
    async with locks_at(redis_url) as made:
        yield made


class Line:
    """What Redis knows of locks, seen by its own client."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    async def waiting(self, count: int, name: str = "a", letter: str = "l") -> None:
        """Wait until so many stand in the line."""
        while await self.redis.zcard(f"tercet:lock:{{{letter}:{name}}}:q") != count:
            await asyncio.sleep(0.002)

    async def holders(self, name: str = "a", letter: str = "l") -> int:
        """How many hold it."""
        return int(await self.redis.zcard(f"tercet:lock:{{{letter}:{name}}}:h"))

    async def leases(self, name: str = "a") -> dict[bytes, float]:
        """When the lease of each holder ends, by the server's clock."""
        return dict(await self.redis.zrange(f"tercet:lock:{{l:{name}}}:h", 0, -1, withscores=True))  # type: ignore[arg-type]  # pairs, with scores


@pytest.fixture
async def line(redis_url: str) -> AsyncIterator[Line]:
    """A look at the server."""
    async with Redis.from_url(redis_url) as redis:
        yield Line(redis)
