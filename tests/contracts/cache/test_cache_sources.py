"""What a cache stands on and what it leaves there: a Tercet, a client, a URL; its keys, and what it asks of Redis."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from tercet import Tercet
from tercet.cache import Cache, Found
from tercet.clock import StoppedClock
from tercet.errors import NotOpen

# Both cores may be taken: nothing here is about how fast Redis answers.
DEADLINE = "20s"
PATIENCE_SECONDS = 60.0

# What the bus asks by itself, and what every connection and this test do.
ASIDE = {"xread", "xrange", "client", "hello", "info", "config", "ping", "command", "select"}


async def until(holds: Callable[[], object]) -> None:
    """Wait until this is so."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("it never became so")
        await asyncio.sleep(0.001)


async def heard(cache: Cache) -> None:
    """Wait until this cache hears the bus: before, it keeps nothing."""
    await cache.peek("ready")
    await until(lambda: cache.stats().trusted)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Any]:
    """A client of the test's own."""
    client: Redis = Redis.from_url(redis_url)
    yield client
    await client.aclose()


class Rows:
    """What is cached, and how often it was loaded."""

    def __init__(self, cache: Cache) -> None:
        self.loads = 0

        @cache(tags=["row:{row_id}", "rows"], name="tagged")
        async def tagged(row_id: int) -> int:
            self.loads += 1
            return row_id

        @cache(name="bare")
        async def bare(row_id: int) -> int:
            self.loads += 1
            return row_id

        self.tagged, self.bare = tagged, bare


def others() -> set[str]:
    """The tasks of this loop but for the test's own."""
    return {one.get_name() for one in asyncio.all_tasks() if one is not asyncio.current_task()}


# ---- a Tercet ----


async def test_a_decorator_may_stand_before_anything_is_open(redis_url: str, redis: Any) -> None:
    """Redis is asked for when it is needed; before, the error says that nothing is open."""
    db = Tercet(redis=redis_url)
    cache = Cache(db, deadline=DEADLINE)
    rows = Rows(cache)
    with pytest.raises(NotOpen, match="not open"):
        await rows.bare(1)
    assert rows.loads == 0
    async with db:
        assert await rows.bare(1) == 1
        assert await redis.exists("tercet:2:e:{f:bare(i1)}") == 1
        # From now on it hears what others drop, so memory answers.
        await until(lambda: cache.stats().trusted)
        await rows.bare(1)
        assert await rows.bare.peek(1) == Found(1, "memory")
        await cache.close()
    assert rows.loads == 1


async def test_a_tercet_without_redis_makes_a_cache_in_memory(postgres_url: str) -> None:
    """Entries then live their whole ttl here, and drops are local."""
    clock = StoppedClock(datetime.now(UTC))
    async with Tercet(postgres=postgres_url, clock=clock) as db:
        cache = Cache(db, ttl="1h", memory="1s", jitter=0, early=0)
        rows = Rows(cache)
        assert [await rows.tagged(1), await rows.bare(1)] == [1, 1]
        clock.advance(3599)
        assert await rows.tagged.many([1, 2]) == [1, 2]
        assert (rows.loads, cache.stats().trusted) == (3, True)
        assert await cache.drop_tags("row:1") is True
        await rows.tagged(1)
        assert await rows.bare.drop(1) is True
        await rows.bare(1)
        assert rows.loads == 5
        assert await cache.set("k", 1) is True
        assert await cache.get("k", int) == 1
        assert [one.tier for one in (await cache.explain("k")).copies] == ["memory"]
        assert await cache.drop_pattern("k*") is True
        assert await cache.get("k") is None
        assert await cache.clear() is True
        await cache.delivered()
        assert cache.stats().entries == 0
        clock.advance(3600)
        await rows.tagged(2)
        assert rows.loads == 6
        await cache.close()


async def test_a_tercet_that_is_closed_before_its_cache_leaves_nothing_behind(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No task, no warning; and who asks the cache then is told why it does not answer."""
    before = others()
    async with Tercet(redis=redis_url) as db:
        cache = Cache(db, deadline=DEADLINE)
        rows = Rows(cache)
        await heard(cache)
        await rows.tagged(1)
        await cache.drop_tags("row:1")
    with pytest.raises(NotOpen, match="closed"):
        await rows.tagged(2)
    await cache.close()
    assert others() == before
    assert [one.getMessage() for one in caplog.records if one.name.startswith("tercet")] == []


async def test_a_cache_that_is_closed_during_a_load_leaves_nothing_behind(redis_url: str, redis: Any) -> None:
    """The load is cancelled, and its lease is given back: nobody waits for it."""
    before = others()
    cache, gate = Cache(redis_url, deadline=DEADLINE), asyncio.Event()

    async def load() -> int:
        gate.set()
        await asyncio.sleep(3_600)
        return 1

    caller = asyncio.ensure_future(cache.get_or_load("k", load, int))
    await gate.wait()
    assert await redis.exists("tercet:2:l:{k:k}") == 1
    await cache.close()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await redis.exists("tercet:2:l:{k:k}") == 0
    assert others() == before


# ---- a client, a URL ----


@pytest.mark.parametrize("words", [{"decode_responses": True}, {"protocol": 2}, {"db": 3}])
async def test_a_client_that_is_set_up_for_its_owner_works(redis_url: str, words: dict[str, Any]) -> None:
    """The cache asks for bytes whatever the client is set to, uses its database, and leaves it open."""
    client: Redis = Redis.from_url(redis_url, **words)
    async with Cache(client, memory=0, deadline=DEADLINE) as cache:
        assert await cache.set("k", [1, "é"], tags=["t"]) is True
        assert await cache.get("k") == [1, "é"]
        assert await client.exists("tercet:2:e:{k:k}") == 1
        assert await cache.drop_tags("t") is True
        assert await cache.get("k") is None
    assert await client.ping()
    await client.aclose()


def test_a_cache_from_a_url_lives_through_one_loop_after_the_other(redis_url: str) -> None:
    """asyncio.run twice: each loop has its own connections, and hears the bus anew."""
    cache = Cache(redis_url, deadline=DEADLINE)
    rows = Rows(cache)

    async def once(value: int) -> tuple[int | None, str]:
        before = await cache.get("k", int)
        await cache.set("k", value)
        await rows.bare(value)
        while (found := await rows.bare.peek(value)) is None or found.tier != "memory":
            await rows.bare(value)
        await cache.close()
        return before, found.tier

    assert [asyncio.run(once(1)), asyncio.run(once(2))] == [(None, "memory"), (1, "memory")]
    assert rows.loads == 2


async def test_two_namespaces_do_not_meet(redis_url: str, redis: Any) -> None:
    """Nor do they touch what others have in this Redis, whatever is dropped in them."""
    foreign = {"users:1": b"x", "one": b"x", "one:1:e:{k:users:1}": b"x", "one2:2:e:{k:users:1}": b"x", "o:2:t:u": b"x"}
    await redis.mset(foreign)
    async with (
        Cache(redis_url, namespace="one", deadline=DEADLINE) as one,
        Cache(redis_url, namespace="two", deadline=DEADLINE) as two,
    ):

        async def filled() -> None:
            await one.set("users:1", "one's", tags=["users"])
            await two.set("users:1", "two's", tags=["users"])

        ways: tuple[Callable[[], Awaitable[bool]], ...] = (
            lambda: one.drop_tags("users"),
            lambda: one.drop("users:1"),
            lambda: one.drop_pattern("users:*"),
            one.clear,
        )
        for drop in ways:
            await filled()
            assert await drop() is True
            assert [await one.get("users:1", str), await two.get("users:1", str)] == [None, "two's"]
            two.clear_memory()
            assert await two.get("users:1", str) == "two's"
    left = {name.decode() for name in await redis.keys("*")}
    # But for the bus, and what each process says of itself for some seconds.
    assert {name for name in left if not name.startswith(("two:2:", "one:2:p:"))} == {*foreign, "one:2:inv"}
    assert await redis.mget(foreign) == [b"x"] * len(foreign)


# ---- what lies in Redis ----


async def test_jitter_stays_within_what_was_said(redis_url: str, redis: Any) -> None:
    """In Redis an entry ends up to that part earlier, never later, and not all at once."""
    begun = time.monotonic()
    async with Cache(redis_url, ttl="100s", jitter=0.2, deadline=DEADLINE) as cache:
        for number in range(40):
            await cache.set(f"k{number}", number, tags=["t"])
    left = [await redis.pttl(f"tercet:2:e:{{k:k{number}}}") for number in range(40)]
    passed_ms = (time.monotonic() - begun) * 1000
    assert all(80_000 - passed_ms - 1 <= one <= 100_000 for one in left)
    assert len({one // 1_000 for one in left}) > 5
    assert await redis.pttl("tercet:2:t:t") > 86_400_000


async def test_an_entry_in_redis_ends_by_its_own_clock(redis_url: str, redis: Any) -> None:
    """It lives for its ttl and the time in which it may be shown stale, and then it is gone."""
    async with Cache(redis_url, ttl="60s", memory=0, jitter=0, deadline=DEADLINE) as cache:
        await cache.set("a", 1)
        await cache.set("b", 1, stale="5m")
        assert 0 < await redis.pttl("tercet:2:e:{k:a}") <= 60_000
        assert 60_000 < await redis.pttl("tercet:2:e:{k:b}") <= 360_000
        assert await cache.get("a", int) == 1
        await redis.pexpire("tercet:2:e:{k:a}", 1)
        while await redis.exists("tercet:2:e:{k:a}"):
            await asyncio.sleep(0.001)
        assert await cache.get("a", int) is None


async def test_a_big_value_is_compressed_and_a_small_one_is_not(redis_url: str, redis: Any) -> None:
    """200 kB of what compresses well take a tenth; what does not compress is kept as it is."""
    big = "".join(f"user {number}; " for number in range(20_000))[:200_000]
    noise = random.Random(7).randbytes(200_000)
    async with Cache(redis_url, deadline=DEADLINE) as here, Cache(redis_url, deadline=DEADLINE) as there:
        await here.set("big", big, tags=["t"])
        await here.set("noise", noise)
        await here.set("small", "small" * 10)
        assert await redis.strlen("tercet:2:e:{k:big}") < 80_000
        assert 200_000 < await redis.strlen("tercet:2:e:{k:noise}") < 200_300
        assert 50 < await redis.strlen("tercet:2:e:{k:small}") < 200
        assert await there.get("big", str) == big
        assert await there.get("noise", bytes) == noise
        rows = there(name="big", tags=["t"])(_big)
        assert await rows(200_000) == await here(name="big", tags=["t"])(_big)(200_000)
        assert await there.drop_tags("t") is True
        here.clear_memory()
        assert await here.get("big", str) is None


async def _big(size: int) -> list[str]:
    return ["row"] * (size // 4)


# ---- what is asked of Redis ----


class Meter:
    """Counts commands: all that Redis was asked since, those of scripts too, but for the bus' own."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis

    async def begin(self) -> None:
        """Count from here."""
        await self._redis.config_resetstat()

    async def read(self) -> dict[str, int]:
        """How often what was asked."""
        found: dict[str, int] = {}
        for name, one in (await self._redis.info("commandstats")).items():
            # Redis counts subcommands by themselves from 7.0 on.
            command = name.removeprefix("cmdstat_").partition("|")[0]
            if command not in ASIDE:
                found[command] = found.get(command, 0) + one["calls"]
        return found


@pytest.fixture
async def pair(redis_url: str) -> AsyncIterator[tuple[Cache, Cache]]:
    """Two processes that hear the bus and know all scripts."""
    made = Cache(redis_url, ttl="1h", deadline=DEADLINE), Cache(redis_url, ttl="1h", deadline=DEADLINE)
    for one in made:
        await heard(one)
        await one.get_or_load("warm", _one, int, tags=["warm"])
        await one.set("warm", 1, tags=["warm"])
        await one.drop_tags("warm")
    yield made
    for one in made:
        await one.close()


async def _one() -> int:
    return 1


async def test_what_a_call_asks_of_redis(pair: tuple[Cache, Cache], redis: Any) -> None:
    """A hit is one command, tagged or not, and one out of memory is none."""
    here, there = pair
    ours, theirs, meter = Rows(here), Rows(there), Meter(redis)

    async def cost(work: Callable[[], Awaitable[object]]) -> dict[str, int]:
        await meter.begin()
        await work()
        return await meter.read()

    # A look, leave to load, and the fill; what is written apart is what the scripts do. A tag costs four more.
    script = {"get": 1, "hmget": 2, "time": 1, "hset": 1, "pexpire": 1, "del": 1}
    assert await cost(lambda: ours.bare(1)) == {"mget": 1, "evalsha": 2, "set": 1, **script}
    assert await cost(lambda: theirs.bare(1)) == {"mget": 1}
    assert await cost(lambda: theirs.bare(1)) == {}
    missed = await cost(lambda: ours.tagged(1))
    assert {name: missed[name] for name in ("mget", "evalsha", "set")} == {"mget": 3, "evalsha": 2 + 2, "set": 2 + 1}
    assert await cost(lambda: theirs.tagged(1)) == {"mget": 1}
    assert await cost(lambda: theirs.tagged(1)) == {}
    await ours.bare.many(range(64))
    assert await cost(lambda: theirs.bare.many(range(64))) == {"mget": 1}
    assert (ours.loads, theirs.loads) == (65, 0)


async def test_a_drop_costs_one_write_whatever_carries_the_tag(pair: tuple[Cache, Cache], redis: Any) -> None:
    """Two hundred entries under one tag: one command, and one message for the bus."""
    here, there = pair
    for number in range(200):
        await here.set(f"k{number}", number, tags=["all"])
    keys = [f"k{number}" for number in range(200)]
    assert len(await there.get_many(keys, int)) == 200
    meter = Meter(redis)
    ways: tuple[Callable[[], Awaitable[bool]], ...] = (lambda: here.drop_tags("all"), lambda: here.drop("k1", "k2"))
    for drop in ways:
        await meter.begin()
        assert await drop() is True
        assert await meter.read() == {"unlink": 1, "evalsha": 1, "xtrim": 1, "xadd": 1}
    there.clear_memory()
    assert await there.get_many(keys, int) == {}


async def test_what_one_has_set_stays_in_its_own_memory(pair: tuple[Cache, Cache], redis: Any) -> None:
    """It hears its own message on the bus, and knows that there is nothing new for it in it."""
    here, there = pair

    async def heard_by_both() -> None:
        ((last, _),) = await redis.xrevrange("tercet:2:inv", count=1)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while {one._tiers.far.shelf.bus.last_id for one in pair} != {last.decode()}:
                await asyncio.sleep(0.01)

    await there.set("k", 1)
    await heard_by_both()
    await here.set("k", 2)
    await heard_by_both()
    meter = Meter(redis)
    await meter.begin()
    assert await here.get("k", int) == 2
    assert await meter.read() == {}
    assert await there.get("k", int) == 2
    assert await meter.read() == {"mget": 1}
