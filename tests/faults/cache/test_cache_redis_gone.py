"""A cache whose Redis is killed, frozen, full, and back: reads go on, drops fail aloud."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

import pytest

from tercet.cache import Cache, Cached, Found
from tercet.errors import StoreError, StoreUnreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# What one read may cost; both cores may be taken, so times are only asked for roughly.
DEADLINE_SECONDS = 0.2
# How soon a Redis that is back must be used again.
BACK_SECONDS = 10.0


class Server(Protocol):
    """The server of conftest."""

    url: str

    def start(self, *settings: str) -> None: ...

    def kill(self) -> None: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


class Row:
    """What is cached, and how often it was loaded."""

    def __init__(self, cache: Cache) -> None:
        self.value = "old"
        self.loads = 0

        async def load(row: int) -> str:
            self.loads += 1
            return f"{self.value} {row}"

        self.ask: Cached[[int], str] = cache(tags=["row:{row}"], name="load")(load)


@pytest.fixture
async def cache(own_redis: Server) -> AsyncIterator[Cache]:
    """A cache on that server; entries stay in memory for a minute."""
    async with Cache(own_redis.url, memory="1m", deadline=DEADLINE_SECONDS) as made:
        yield made


@pytest.fixture
def row(cache: Cache) -> Row:
    """A row cached in it."""
    return Row(cache)


async def took(work: object) -> float:
    """Seconds that something takes."""
    begun = time.perf_counter()
    await work  # type: ignore[misc]  # anything that can be awaited
    return time.perf_counter() - begun


async def used_again(row: Row, key: int) -> float:
    """Seconds until Redis is used again: until what is loaded can be found there."""
    begun = time.perf_counter()
    while time.perf_counter() - begun < BACK_SECONDS:
        await row.ask.drop(key)
        await row.ask(key)
        row.ask._tiers.memory.clear()
        if await row.ask.peek(key) == Found(f"{row.value} {key}", "redis"):
            return time.perf_counter() - begun
        await asyncio.sleep(0.02)
    raise TimeoutError("Redis was not used again")


async def test_a_killed_redis_costs_reads_little_and_drops_fail_aloud(
    own_redis: Server, cache: Cache, row: Row
) -> None:
    """Memory and the loader go on; a drop is done here and says that it went no further; then it is back."""
    await row.ask(1)
    own_redis.kill()
    assert await took(row.ask(1)) < DEADLINE_SECONDS
    assert row.loads == 1
    assert await took(row.ask(2)) < 20 * DEADLINE_SECONDS
    assert [await row.ask(key) for key in (1, 2, 3)] == ["old 1", "old 2", "old 3"]
    row.value = "new"
    with pytest.raises(StoreUnreachable, match="does not answer"):
        await cache.drop_tags("row:1")
    with pytest.raises(StoreUnreachable):
        await row.ask.drop(2)
    assert [await row.ask(key) for key in (1, 2, 3)] == ["new 1", "new 2", "old 3"]
    own_redis.start()
    await used_again(row, 4)


async def test_a_frozen_redis_costs_one_deadline_and_then_nothing(own_redis: Server, cache: Cache, row: Row) -> None:
    """A hundred callers at once pay it together, the next ones not at all; thawed, it is used again."""
    await row.ask(0)
    own_redis.freeze()
    # Each for itself they would pay a hundred.
    assert await took(asyncio.gather(*map(row.ask, range(1, 101)))) < 20 * DEADLINE_SECONDS
    assert row.loads == 101
    later = sorted([await took(row.ask(key)) for key in range(200, 220)])
    assert later[10] < DEADLINE_SECONDS / 2
    begun = time.perf_counter()
    with pytest.raises(StoreUnreachable):
        await cache.drop_tags("row:0")
    assert time.perf_counter() - begun < 5.0
    row.value = "new"
    assert await row.ask(0) == "new 0"
    own_redis.thaw()
    assert await used_again(row, 300) < BACK_SECONDS


async def test_no_reply_is_taken_for_another_s_after_a_freeze(own_redis: Server, row: Row) -> None:
    """Callers who gave up leave nothing behind on a connection that others use."""
    keys = range(40)
    for key in keys:
        await row.ask(key)
    row.ask._tiers.memory.clear()
    own_redis.freeze()
    tasks = [asyncio.create_task(row.ask(key)) for key in keys]
    await asyncio.sleep(0.05)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    own_redis.thaw()
    await used_again(row, 100)
    for _ in range(3):
        row.ask._tiers.memory.clear()
        assert await asyncio.gather(*map(row.ask, keys)) == [f"old {key}" for key in keys]


async def test_a_redis_that_is_killed_during_a_load_only_loses_the_fill(own_redis: Server, cache: Cache) -> None:
    """The caller gets the value, and this process keeps it."""
    loads = 0

    async def load() -> int:
        nonlocal loads
        loads += 1
        own_redis.kill()
        return 7

    assert await cache.get_or_load("k", load, int, tags=["t"]) == 7
    assert await cache.get_or_load("k", load, int, tags=["t"]) == 7
    assert loads == 1


async def test_a_full_redis_refuses_fills_and_nothing_else(own_redis: Server, cache: Cache, row: Row) -> None:
    """Reads go on; who writes a value is told."""
    own_redis.kill()
    own_redis.start("--maxmemory", "1", "--maxmemory-policy", "noeviction")
    assert [await row.ask(1), await row.ask(1)] == ["old 1", "old 1"]
    assert row.loads == 1
    with pytest.raises(StoreError, match="refused"):
        await cache.set("k", 1)
    await cache.drop("k")


async def test_a_value_that_did_not_reach_redis_is_an_error_and_kept_here(own_redis: Server, cache: Cache) -> None:
    """Others may go on with the old one: the writer must know."""
    await cache.set("k", 1)
    own_redis.kill()
    with pytest.raises(StoreUnreachable):
        await cache.set("k", 2)
    assert await cache.get("k", int) == 2


async def test_a_cache_may_be_made_before_its_redis_is_up(own_redis: Server, row: Row) -> None:
    """It starts in memory and goes on with Redis."""
    own_redis.kill()
    assert await row.ask(1) == "old 1"
    own_redis.start()
    await used_again(row, 2)


async def test_an_error_says_no_address_and_no_password(own_redis: Server) -> None:
    """A URL may carry both."""
    secret = own_redis.url.replace("redis://", "redis://user:hunter2@")
    async with Cache(secret) as cache:
        with pytest.raises(StoreUnreachable) as caught:
            await cache.set("k", 1)
    assert "hunter2" not in str(caught.value)
