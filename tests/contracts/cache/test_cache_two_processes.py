"""Two caches on one Redis, as two processes have them: what one does, the other sees, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from tercet.cache import Cache, Cached, Found
from tercet.cache.encoding.frame import Entry, pack, unpack
from tercet.cache.encoding.key import key_of
from tercet.clock import StoppedClock, SystemClock
from tercet.errors import NotOpen, StoreMissing
from tercet.telemetry import Telemetry

# Both cores may be taken: nothing here is about how fast Redis answers.
DEADLINE = "5s"
MEMORY_SECONDS = 5.0

Ask = Callable[[int], Awaitable[str]]


class Row:
    """A row that both processes load; it can be slow."""

    def __init__(self) -> None:
        self.value = "old"
        self.loads = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, row: int) -> str:
        """The value as it was when the load began."""
        self.loads += 1
        value = self.value
        await self.gate.wait()
        return value

    async def begun(self, loads: int) -> None:
        """Wait until so many loads have begun."""
        while self.loads < loads:
            await asyncio.sleep(0.001)


@dataclass
class Process:
    """One cache with its own clock, and the row cached in it."""

    cache: Cache
    clock: StoppedClock
    tagged: Cached[[int], str]
    bare: Cached[[int], str]


@pytest.fixture
def row() -> Row:
    """What both load."""
    return Row()


@pytest.fixture
async def two(redis_url: str, row: Row) -> AsyncIterator[tuple[Process, Process]]:
    """Two processes; nothing is shared but Redis and the row."""
    made = []
    for _ in range(2):
        clock = StoppedClock(datetime.now(UTC))
        cache = Cache(redis_url, ttl="1m", memory=MEMORY_SECONDS, jitter=0, deadline=DEADLINE, clock=clock)

        async def tagged(row_id: int) -> str:
            return await row(row_id)

        async def bare(row_id: int) -> str:
            return await row(row_id)

        made.append(
            Process(cache, clock, cache(tags=["row:{row_id}"], name="tagged")(tagged), cache(name="bare")(bare))
        )
    yield made[0], made[1]
    for one in made:
        await one.cache.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Any]:
    """A client of the test's own."""
    client: Redis = Redis.from_url(redis_url)
    yield client
    await client.aclose()


async def test_one_load_serves_both(two: tuple[Process, Process], row: Row) -> None:
    """The second finds it in Redis."""
    here, there = two
    assert [await here.tagged(1), await there.tagged(1)] == ["old", "old"]
    assert row.loads == 1


@pytest.mark.parametrize("by", ["tag", "key", "set"])
async def test_a_drop_elsewhere_is_seen_exactly_within_the_memory_time(
    two: tuple[Process, Process], row: Row, by: str
) -> None:
    """To the last moment before it the old value may be shown, and from it on never."""
    here, there = two
    ask_here, ask_there = (here.tagged, there.tagged) if by == "tag" else (here.bare, there.bare)
    if by == "set":
        ask_here, ask_there = (
            lambda _: here.cache.get("k", str),  # type: ignore[assignment]  # None is not asked for
            lambda _: there.cache.get("k", str),  # type: ignore[assignment]  # None is not asked for
        )
        await here.cache.set("k", "old")
    assert [await ask_here(1), await ask_there(1)] == ["old", "old"]
    row.value = "new"
    match by:
        case "tag":
            await here.cache.drop_tags("row:1")
        case "key":
            await here.bare.drop(1)
        case "set":
            await here.cache.set("k", "new")
    assert await ask_here(1) == "new"
    there.clock.advance(MEMORY_SECONDS - 0.001)
    assert await ask_there(1) == "old"
    there.clock.advance(0.001)
    assert await ask_there(1) == "new"


async def test_a_load_elsewhere_that_was_overtaken_by_a_drop_is_refused(two: tuple[Process, Process], row: Row) -> None:
    """The versions are those from before the load: what it brings is born invalid, and not kept there."""
    here, there = two
    row.gate.clear()
    slow = asyncio.ensure_future(there.tagged(1))
    await row.begun(1)
    row.value = "new"
    await here.cache.drop_tags("row:1")
    row.gate.set()
    assert await slow == "old"
    assert [await there.tagged(1), await here.tagged(1)] == ["new", "new"]
    assert row.loads == 2


async def test_the_first_load_under_a_tag_is_refused_too(two: tuple[Process, Process], row: Row, redis: Redis) -> None:
    """A tag without a version is given one before the load, so a drop during it is seen."""
    here, there = two
    row.gate.clear()
    slow = asyncio.ensure_future(there.tagged(1))
    await row.begun(1)
    assert await redis.exists("tercet:1:t:row:1")
    row.value = "new"
    await here.cache.drop_tags("row:1")
    here_now = asyncio.ensure_future(here.tagged(1))
    await row.begun(2)
    row.gate.set()
    assert [await slow, await here_now, await there.tagged(1)] == ["old", "new", "new"]


async def test_a_version_that_was_evicted_is_a_miss(two: tuple[Process, Process], row: Row, redis: Redis) -> None:
    """And the entry does not come back to life under the next version."""
    here, there = two
    await here.tagged(1)
    row.value = "new"
    await redis.delete("tercet:1:t:row:1")
    assert await there.tagged(1) == "new"
    here.cache.clear_memory()
    assert await here.tagged(1) == "new"


async def test_a_drop_costs_one_write_whatever_carries_the_tag(two: tuple[Process, Process], redis: Redis) -> None:
    """Two hundred entries under one tag: one command."""
    here, there = two
    for number in range(200):
        await here.cache.set(f"k{number}", number, tags=["all"])
    await redis.config_resetstat()
    await here.cache.drop_tags("all")
    stats = await redis.info("commandstats")
    assert stats["cmdstat_unlink"]["calls"] == 1
    # Redis counts subcommands by themselves from 7.0 on.
    commands = {name.partition("|")[0] for name in stats}
    assert commands <= {"cmdstat_unlink", "cmdstat_config", "cmdstat_info", "cmdstat_hello", "cmdstat_client"}
    assert await there.cache.get_many([f"k{number}" for number in range(200)], int) == {}


async def test_a_hit_in_redis_is_one_command(two: tuple[Process, Process], redis: Any) -> None:
    """Value and versions together."""
    here, there = two
    await here.tagged(1)
    await there.tagged(2)
    await redis.config_resetstat()
    await there.tagged(1)
    stats = await redis.info("commandstats")
    assert {name: one["calls"] for name, one in stats.items() if "mget" in name or "get" in name} == {"cmdstat_mget": 1}


@pytest.mark.parametrize(
    "rubbish",
    [b"", b"\x01", b"\x02abc", b"garbage", "a hash", "a torn entry", "another type's body"],
)
async def test_an_entry_that_cannot_be_read_is_a_miss_and_told(
    two: tuple[Process, Process],
    row: Row,
    redis: Any,
    rubbish: bytes | str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Never an exception, and the next fill mends it."""
    here, there = two
    await here.bare(1)
    name = "tercet:1:e:f:bare(i1)"
    frame = await redis.get(name)
    match rubbish:
        case "a hash":
            await redis.delete(name)
            await redis.hset(name, "a", "b")
        case "a torn entry":
            await redis.set(name, frame[:-2])
        case "another type's body":
            entry = unpack(frame)
            assert entry is not None
            await redis.set(name, pack(msgspec.structs.replace(entry, body=msgspec.msgpack.encode(5))))
        case _:
            await redis.set(name, rubbish)
    row.value = "new"
    assert await there.bare(1) == "new"
    assert ("counts as a miss" in caplog.text) is (rubbish != "a hash")
    here.cache.clear_memory()
    assert await here.bare(1) == "new"
    assert row.loads == 2


async def test_a_cut_key_is_compared_in_full(two: tuple[Process, Process], redis: Any) -> None:
    """Whatever lies under the digest, it is only taken if it is of this very key."""
    here, there = two
    long = "x" * 1_000
    await here.cache.set(long, "mine")
    assert await there.cache.get(long, str) == "mine"
    name = f"tercet:1:e:{key_of('k', long).name}"
    entry = unpack(await redis.get(name))
    assert isinstance(entry, Entry)
    await redis.set(name, pack(msgspec.structs.replace(entry, key=entry.key + "y")))
    there.cache.clear_memory()
    assert await there.cache.get(long, str) is None


async def test_a_release_with_another_shape_loads_anew(redis_url: str) -> None:
    """Both releases under one name, one after the other and back."""
    old = msgspec.defstruct("Profile", [("name", str)], frozen=True)
    new = msgspec.defstruct("Profile", [("label", str)], frozen=True)
    async with Cache(redis_url, deadline=DEADLINE) as before, Cache(redis_url, deadline=DEADLINE) as after:
        counted: list[str] = []

        async def first(user_id: int) -> object:
            counted.append("old")
            return old("Kim")

        async def second(user_id: int) -> object:
            counted.append("new")
            return new("Kim")

        was, now = before(name="p", type=old)(first), after(name="p", type=new)(second)
        assert [await was(1), await now(1), await now(1)] == [old("Kim"), new("Kim"), new("Kim")]
        assert counted == ["old", "new"]
        await now.drop(1)
        before.clear_memory()
        await was(1)
        assert counted == ["old", "new", "old"]


async def test_jitter_stays_within_what_was_said(redis_url: str, redis: Any) -> None:
    """In Redis an entry ends up to that part earlier, never later, and not all at once."""
    async with Cache(redis_url, ttl="100s", jitter=0.2, deadline=DEADLINE) as cache:
        for number in range(40):
            await cache.set(f"k{number}", number, tags=["t"])
    left = [await redis.pttl(f"tercet:1:e:k:k{number}") for number in range(40)]
    assert all(79_000 <= one <= 100_000 for one in left)
    assert len({one // 1_000 for one in left}) > 5
    assert await redis.pttl("tercet:1:t:t") > 86_400_000


async def test_an_entry_in_redis_ends_at_its_time(redis_url: str) -> None:
    """By Redis' own clock."""
    async with Cache(redis_url, ttl="50ms", memory=0, jitter=0, deadline=DEADLINE) as cache:
        await cache.set("k", 1)
        assert await cache.get("k", int) == 1
        await asyncio.sleep(0.08)
        assert await cache.get("k", int) is None


async def test_memory_does_not_outlive_what_redis_would_have(redis_url: str) -> None:
    """An entry read near its end stays here only to its end."""
    wall = datetime.now(UTC)
    clock = StoppedClock(wall)
    async with (
        Cache(redis_url, ttl="60s", jitter=0, deadline=DEADLINE, clock=StoppedClock(wall)) as here,
        Cache(redis_url, ttl="60s", memory="30s", jitter=0, deadline=DEADLINE, clock=clock) as there,
    ):
        await here.set("k", 1)
        clock.advance(50)
        assert await there.peek("k", int) == Found(1, "redis")
        clock.advance(9.9)
        assert await there.peek("k", int) == Found(1, "memory")
        clock.advance(0.2)
        assert await there.peek("k", int) == Found(1, "redis")


async def test_nothing_is_written_outside_the_namespace(redis_url: str, redis: Any) -> None:
    """Two namespaces do not meet, and what others have in this Redis is left alone."""
    await redis.set("users:1", "somebody else's")
    async with (
        Cache(redis_url, namespace="one", deadline=DEADLINE) as one,
        Cache(redis_url, namespace="two", deadline=DEADLINE) as two,
    ):
        await one.set("users:1", "one's", tags=["users"])
        await two.set("users:1", "two's", tags=["users"])
        await one.drop_tags("users")
        assert [await one.get("users:1", str), await two.get("users:1", str)] == [None, "two's"]
        await two.drop("users:1")
    names = {name.decode() for name in await redis.keys("*")}
    assert {name.partition(":")[0] for name in names} == {"users", "one", "two"}
    assert await redis.get("users:1") == b"somebody else's"


async def test_a_client_that_decodes_for_its_owner_works(redis_url: str) -> None:
    """The cache asks for bytes whatever the client is set to, and leaves it open."""
    client: Redis = Redis.from_url(redis_url, decode_responses=True)
    async with Cache(client, memory=0, deadline=DEADLINE) as cache:
        await cache.set("k", [1], tags=["t"])
        assert await cache.get("k") == [1]
    assert await client.ping()
    await client.aclose()


class Home:
    """A Tercet as the cache sees it: made before it is open."""

    def __init__(self, client: Redis | None) -> None:
        self.clock = SystemClock()
        self.telemetry = Telemetry()
        self.open = False
        self._client = client

    @property
    def redis(self) -> Redis:
        if not self.open:
            raise NotOpen("This Tercet", closed=False)
        if self._client is None:
            raise StoreMissing("redis", feature="Tercet.redis")
        return self._client


async def test_a_decorator_may_stand_before_anything_is_open(redis: Any) -> None:
    """Redis is asked for when it is needed; before, the error says that nothing is open."""
    home = Home(redis)
    cache = Cache(home, deadline=DEADLINE)

    @cache(tags=["row:{row}"], name="load")
    async def load(row: int) -> int:
        return row

    with pytest.raises(NotOpen):
        await load(1)
    home.open = True
    assert await load(1) == 1
    assert await redis.exists("tercet:1:e:f:load(i1)")
    home.open = False
    assert await load(1) == 1


async def test_a_tercet_without_redis_makes_a_cache_in_memory() -> None:
    """Entries then live their whole ttl here, and drops are local."""
    home = Home(None)
    home.open = True
    cache = Cache(home)
    loads = 0

    @cache(tags=["row:{row}"])
    async def load(row: int) -> int:
        nonlocal loads
        loads += 1
        return loads

    assert [await load(1), await load(1)] == [1, 1]
    await cache.drop_tags("row:1")
    assert await load(1) == 2
    await load.drop(1)
    assert await load(1) == 3
    await cache.set("k", 1)
    assert await cache.get("k", int) == 1


def test_a_cache_from_a_url_lives_through_one_loop_after_the_other(redis_url: str) -> None:
    """asyncio.run twice: each loop has its own connections."""
    cache = Cache(redis_url, memory=0, deadline=DEADLINE)

    async def once(value: int) -> int | None:
        before = await cache.get("k", int)
        await cache.set("k", value)
        await cache.close()
        return before

    assert [asyncio.run(once(1)), asyncio.run(once(2))] == [None, 1]


async def test_a_drop_waits_for_a_fill_that_is_on_its_way(
    redis_url: str, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the old value could arrive in Redis after the drop."""
    async with Cache(redis_url, deadline=DEADLINE) as cache, Cache(redis_url, deadline=DEADLINE) as other:
        shelf = cache._tiers._far._shelf
        assert shelf is not None
        write, held, order = shelf.write, asyncio.Event(), []

        async def slowly(*given: object) -> object:
            order.append("write begins")
            await held.wait()
            found = await write(*given)  # type: ignore[arg-type]  # handed through
            order.append("write ends")
            return found

        monkeypatch.setattr(shelf, "write", slowly)
        load = cache(name="bare")(row.__call__)
        filling = asyncio.create_task(load(1))
        while not order:
            await asyncio.sleep(0.001)
        dropping = asyncio.create_task(load.drop(1))
        await asyncio.sleep(0.01)
        assert not dropping.done()
        held.set()
        await asyncio.gather(filling, dropping)
        assert order == ["write begins", "write ends"]
        assert await other(name="bare")(row.__call__).peek(1) is None


@pytest.mark.parametrize("by", ["key", "tag"])
async def test_what_is_read_while_a_drop_is_on_its_way_is_dropped_with_it(
    two: tuple[Process, Process], row: Row, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that reaches Redis before the drop does brings the old value, and may not keep it here."""
    here, _ = two
    ask = here.tagged if by == "tag" else here.bare
    await ask(1)
    shelf = here.cache._tiers._far._shelf
    assert shelf is not None
    drop, held = shelf.drop, asyncio.Event()

    async def slowly(*given: object) -> None:
        await held.wait()
        await drop(*given)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(shelf, "drop", slowly)
    row.value = "new"
    work = here.cache.drop_tags("row:1") if by == "tag" else here.bare.drop(1)
    dropping = asyncio.create_task(work)
    await asyncio.sleep(0)
    assert await ask(1) == "old"
    held.set()
    await dropping
    assert await ask(1) == "new"


async def test_of_two_writers_of_one_key_both_tiers_have_the_same(two: tuple[Process, Process]) -> None:
    """Whoever was last here was last in Redis."""
    here, there = two
    for tags in ((), ("a",)):
        for _ in range(20):
            await asyncio.gather(*(here.cache.set("k", number, tags=tags) for number in range(5)))
            mine = await here.cache.get("k", int)
            here.cache.clear_memory()
            assert await here.cache.get("k", int) == mine
            there.cache.clear_memory()
            assert await there.cache.get("k", int) == mine
