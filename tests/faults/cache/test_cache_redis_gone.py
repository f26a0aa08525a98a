"""A cache whose Redis is killed, frozen, full, and back: reads go on, drops are kept and arrive by themselves."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from redis.asyncio import Redis

from tercet.cache import TRUST_SECONDS, Cache, Cached, Found
from tercet.cache.shelf import Drop
from tercet.cache.shelf.layout import message
from tercet.clock import StoppedClock
from tercet.errors import DeadlinePassed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

# What one read may cost. Long, so that whoever pays it more often than they should is seen on any machine.
DEADLINE_SECONDS = 1.0
# How long anything may take to come back; both cores may be taken.
PATIENCE_SECONDS = 60.0

ENTRY = "tercet:2:e:{{f:load(i{})}}"


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


async def until(holds: Callable[[], object]) -> None:
    """Wait until this is so."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("it never became so")
        await asyncio.sleep(0.005)


async def used_again(cache: Cache, row: Row, key: int) -> None:
    """Wait until Redis is used again: until what is loaded can be found there."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        await row.ask.drop(key)
        await row.ask(key)
        cache.clear_memory()
        if await row.ask.peek(key) == Found(f"{row.value} {key}", "redis"):
            return
        await asyncio.sleep(0.02)
    raise TimeoutError("Redis was not used again")


async def heard(cache: Cache) -> None:
    """Wait until this cache hears the bus: before, it keeps nothing."""
    await cache.peek("ready")
    await until(lambda: cache.stats().trusted)


async def told(client: Any) -> set[str]:
    """All names and tags that the bus was told of."""
    found: set[str] = set()
    for _, fields in await client.xrange("tercet:2:inv"):
        drop = message(fields[b"d"]) or Drop()
        found |= {*drop.names, *drop.tags}
    return found


@pytest.fixture
def clock() -> StoppedClock:
    """The hour, as the cache knows it: while it stands, what was believed goes on being believed."""
    return StoppedClock()


@pytest.fixture
async def cache(own_redis: Server, clock: StoppedClock) -> AsyncIterator[Cache]:
    """A cache on that server, which hears the bus."""
    async with Cache(own_redis.url, ttl="1h", jitter=0, early=0, deadline=DEADLINE_SECONDS, clock=clock) as made:
        await heard(made)
        yield made


@pytest.fixture
def row(cache: Cache) -> Row:
    """A row cached in it."""
    return Row(cache)


@pytest.fixture
async def client(own_redis: Server) -> AsyncIterator[Any]:
    """A client of the test's own, to look into that server."""
    made: Redis = Redis.from_url(own_redis.url)
    yield made
    await made.aclose()


async def test_a_killed_redis_stops_no_reads_and_is_told_of_drops_when_it_is_back(
    own_redis: Server, cache: Cache, row: Row, client: Any
) -> None:
    """Memory and the loader go on; a drop is done here, says that it went no further, and arrives by itself."""
    await row.ask(1)
    own_redis.kill()
    assert await row.ask(1) == "old 1"
    assert row.loads == 1
    assert [await row.ask(key) for key in (1, 2, 3)] == ["old 1", "old 2", "old 3"]
    row.value = "new"
    assert await cache.drop_tags("row:1") is False
    assert await row.ask.drop(2) is False
    assert [await row.ask(key) for key in (1, 2, 3)] == ["new 1", "new 2", "old 3"]
    assert row.loads == 5
    assert cache.stats().undelivered == 2
    with pytest.raises(DeadlinePassed, match="delivery"):
        await cache.delivered(wait="10ms")
    own_redis.start()
    await until(lambda: cache.stats().undelivered == 0)
    assert {"row:1", "f:load(i2)"} <= await told(client)
    await cache.delivered()
    await used_again(cache, row, 4)


async def test_without_redis_nothing_older_than_the_bound_is_believed(
    own_redis: Server, cache: Cache, row: Row, clock: StoppedClock
) -> None:
    """For so long memory answers by itself; then it loads, once for many, and believes that for as long again."""
    await row.ask(1)
    own_redis.kill()
    row.value = "new"
    clock.advance(TRUST_SECONDS - 0.001)
    assert (await row.ask(1), row.loads) == ("old 1", 1)
    clock.advance(0.001)
    assert await asyncio.gather(*(row.ask(1) for _ in range(50))) == ["new 1"] * 50
    clock.advance(TRUST_SECONDS - 0.001)
    assert (await row.ask(1), row.loads) == ("new 1", 2)
    clock.advance(0.001)
    row.value = "newer"
    assert (await row.ask(1), row.loads) == ("newer 1", 3)
    assert "redis" in ((await cache.explain(row.ask.key(1))).away or "")


async def test_a_frozen_redis_costs_one_deadline_and_then_nothing(
    own_redis: Server, cache: Cache, row: Row, client: Any
) -> None:
    """A hundred callers at once pay it together, the next ones not at all; thawed, it is told what was dropped."""
    await row.ask(0)
    await row.ask(1)
    own_redis.freeze()
    begun = time.monotonic()
    assert await asyncio.gather(*map(row.ask, range(2, 102))) == [f"old {key}" for key in range(2, 102)]
    for key in range(200, 260):
        assert await row.ask(key) == f"old {key}"
    # Each of the sixty for itself would pay it at least once.
    assert time.monotonic() - begun < 30 * DEADLINE_SECONDS
    assert row.loads == 162
    row.value = "new"
    assert await cache.drop_tags("row:0") is False
    assert await row.ask.drop(1) is False
    assert [await row.ask(0), await row.ask(1)] == ["new 0", "new 1"]
    own_redis.thaw()
    await until(lambda: cache.stats().undelivered == 0)
    assert await client.exists("tercet:2:t:row:0", ENTRY.format(1)) == 0
    assert {"row:0", "f:load(i1)"} <= await told(client)
    await used_again(cache, row, 300)
    assert [await row.ask(0), await row.ask(1)] == ["new 0", "new 1"]


async def test_a_drop_that_waits_for_redis_hides_what_is_there(
    own_redis: Server, cache: Cache, row: Row, client: Any
) -> None:
    """Thawed, Redis has the old value until the drop has arrived; nobody here is shown it."""
    for key in range(20):
        await row.ask(key)
    own_redis.freeze()
    row.value = "new"
    assert await cache.drop_tags(*(f"row:{key}" for key in range(10))) is False
    assert await cache.drop_pattern("load*") is False
    own_redis.thaw()
    while cache.stats().undelivered:
        assert await row.ask(5) == "new 5"
        assert await row.ask(15) == "new 15"
        cache.clear_memory()
    assert await row.ask(5) == "new 5"
    assert await row.ask(15) == "new 15"
    assert await client.exists(*(ENTRY.format(key) for key in (1, 11))) == 0


async def test_no_reply_is_taken_for_another_s_after_a_freeze(own_redis: Server, cache: Cache, row: Row) -> None:
    """Callers who gave up leave nothing behind on a connection that others use."""
    keys = range(40)
    for key in keys:
        await row.ask(key)
    cache.clear_memory()
    own_redis.freeze()
    tasks = [asyncio.create_task(row.ask(key)) for key in keys]
    await asyncio.sleep(0.05)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    own_redis.thaw()
    await used_again(cache, row, 100)
    for _ in range(3):
        cache.clear_memory()
        assert await asyncio.gather(*map(row.ask, keys)) == [f"old {key}" for key in keys]


async def test_connections_that_are_cut_again_and_again_cost_nobody_an_answer(
    cache: Cache, row: Row, client: Any
) -> None:
    """All of them, the bus' too, while everybody asks: whoever is asked again answers."""
    for turn in range(10):
        first = turn * 20
        callers = [asyncio.create_task(row.ask(key)) for key in range(first, first + 20)]
        await asyncio.sleep(0)
        await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert await asyncio.gather(*callers) == [f"old {key}" for key in range(first, first + 20)]
        row.value = "new"
        await cache.drop_tags(f"row:{first}")
        assert await row.ask(first) == f"new {first}"
        row.value = "old"
    await until(lambda: cache.stats().undelivered == 0)
    await used_again(cache, row, 1_000)


async def test_a_redis_that_is_emptied_empties_memory_too(cache: Cache, row: Row, client: Any) -> None:
    """What was dropped shortly before might never be heard of: the stream has gone."""
    await row.ask(1)
    row.value = "new"
    flushed = cache.stats().flushed
    await client.flushall()
    await until(lambda: cache.stats().flushed > flushed)
    assert await row.ask(1) == "new 1"


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


async def test_a_full_redis_refuses_fills_and_nothing_else(cache: Cache, row: Row, client: Any) -> None:
    """Reads and drops go on; a value that cannot be written takes the old one with it."""
    await cache.set("k", "old")
    await row.ask(1)
    await client.config_set("maxmemory-policy", "noeviction")
    await client.config_set("maxmemory", 1)
    assert [await row.ask(2), await row.ask(2)] == ["old 2", "old 2"]
    assert row.loads == 2
    assert await cache.set("k", "new") is True
    assert await client.exists("tercet:2:e:{k:k}") == 0
    assert await cache.get("k", str) in {"new", None}
    assert await cache.drop("k") is True
    assert await cache.get("k", str) is None
    row.value = "new"
    assert await cache.drop_tags("row:1") is True
    assert await row.ask(1) == "new 1"
    await client.config_set("maxmemory", 0)
    await used_again(cache, row, 3)


async def test_a_value_that_did_not_reach_redis_is_kept_here_and_the_old_one_is_dropped_there(
    own_redis: Server, cache: Cache, client: Any
) -> None:
    """The writer is told; whoever asks elsewhere finds nothing rather than the old value."""
    assert await cache.set("k", 1) is True
    shelf: Any = cache._tiers.far.shelf
    # One's own messages are heard too, and this one may not come in the middle of the next write.
    await until(lambda: shelf.bus.heard == 1)
    own_redis.freeze()
    assert await cache.set("k", 2) is False
    assert await cache.get("k", int) == 2
    own_redis.thaw()
    await until(lambda: cache.stats().undelivered == 0)
    async with Cache(own_redis.url, deadline=PATIENCE_SECONDS) as other:
        assert await other.get("k", int) in {2, None}
    assert "k:k" in await told(client)


async def test_a_cache_may_be_made_before_its_redis_is_up(own_redis: Server) -> None:
    """It starts in memory and goes on with Redis."""
    own_redis.kill()
    async with Cache(own_redis.url, deadline=DEADLINE_SECONDS, clock=StoppedClock()) as cache:
        row = Row(cache)
        assert await row.ask(1) == "old 1"
        assert (await row.ask(1), row.loads) == ("old 1", 1)
        row.value = "new"
        assert await row.ask.drop(1) is False
        assert await row.ask(1) == "new 1"
        own_redis.start()
        await until(lambda: cache.stats().undelivered == 0)
        await used_again(cache, row, 2)
        await until(lambda: cache.stats().trusted)


async def test_what_was_not_delivered_is_said_when_the_cache_is_closed(
    own_redis: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """It is lost with the process, and no task is left that would try."""
    before = asyncio.all_tasks()
    cache = Cache(own_redis.url, deadline=DEADLINE_SECONDS, clock=StoppedClock())
    await heard(cache)
    own_redis.kill()
    assert await cache.drop("a", "b") is False
    await cache.close()
    assert "2 drops did not reach Redis" in caplog.text
    assert asyncio.all_tasks() == before


async def test_no_error_says_a_password(own_redis: Server, caplog: pytest.LogCaptureFixture) -> None:
    """A URL may carry one; errors, explanations and the log do not."""
    caplog.set_level(logging.DEBUG)
    secret = own_redis.url.replace("redis://", "redis://user:hunter2@")
    async with Cache(secret, deadline=DEADLINE_SECONDS) as cache:
        assert await cache.set("k", 1) is False
        away = (await cache.explain("k")).away
        assert away
        with pytest.raises(DeadlinePassed) as caught:
            await cache.delivered(wait="10ms")
    assert "hunter2" not in away + str(caught.value) + caplog.text
