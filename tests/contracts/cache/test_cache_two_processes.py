"""Two caches on one Redis, as two processes have them: what one does, the other sees, and when."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from tercet.cache import TRUST_SECONDS, Cache, Cached, Found
from tercet.cache.encoding.frame import Entry, pack, unpack
from tercet.cache.encoding.key import key_of
from tercet.cache.shelf import bus
from tercet.clock import StoppedClock

# Both cores may be taken: nothing here is about how fast Redis answers.
DEADLINE = "20s"
MEMORY_SECONDS = 5.0
TTL_SECONDS = 60.0
# How long a message may take that mostly takes a fraction of a millisecond.
PATIENCE_SECONDS = 60.0

Ask = Callable[[int], Awaitable[str]]


class Row:
    """A row that both processes load; it can be slow."""

    def __init__(self) -> None:
        self.value: str | None = "old"
        self.loads = 0
        self.loaded: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, row: int) -> Any:
        """The value as it was when the load began."""
        self.loads += 1
        self.loaded.append(row)
        value = self.value
        await self.gate.wait()
        return value

    async def begun(self, loads: int) -> None:
        """Wait until so many loads have begun."""
        await until(lambda: self.loads >= loads)


@dataclass
class Process:
    """One cache with its own clock, and the row cached in it."""

    cache: Cache
    clock: StoppedClock
    tagged: Cached[[int], str]
    bare: Cached[[int], str]
    stale: Cached[[int], str]
    missing: Cached[[int], str | None]

    async def heard(self) -> None:
        """Wait until the bus has proved that nothing was missed."""
        await until(lambda: self.cache.stats().trusted)

    async def pass_time(self, seconds: float) -> None:
        """Time goes on, and the bus is heard at the new hour."""
        self.clock.advance(seconds)
        await self.heard()

    def tier(self, key: str) -> Awaitable[Found[str] | None]:
        """What is there under a key, and where."""
        return self.cache.peek(key, str)


async def until(holds: Callable[[], object]) -> None:
    """Wait until this is so."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("it never became so")
        await asyncio.sleep(0.001)


async def shown(ask: Ask, value: str) -> None:
    """Wait until this process shows it."""
    end = time.monotonic() + PATIENCE_SECONDS
    while await ask(1) != value:
        if time.monotonic() > end:
            raise TimeoutError(f"{value} was never shown")
        await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quiet bus is looked at more often than it would be, so that nobody waits for it."""
    monkeypatch.setattr(bus, "HEARTBEAT_SECONDS", 0.02)


@pytest.fixture
def row() -> Row:
    """What both load."""
    return Row()


def process(url: str, row: Row, clock: StoppedClock) -> Process:
    """A cache as a process of its own would have it."""
    cache = Cache(url, ttl=TTL_SECONDS, memory=MEMORY_SECONDS, jitter=0, early=0, deadline=DEADLINE, clock=clock)

    @cache(tags=["row:{row_id}"], name="tagged")
    async def tagged(row_id: int) -> str:
        return str(await row(row_id))

    @cache(name="bare")
    async def bare(row_id: int) -> str:
        return str(await row(row_id))

    @cache(name="stale", stale="10m")
    async def stale(row_id: int) -> str:
        return str(await row(row_id))

    @cache(name="missing", negative="20s")
    async def missing(row_id: int) -> str | None:
        found: str | None = await row(row_id)
        return found

    return Process(cache, clock, tagged, bare, stale, missing)


@pytest.fixture
async def two(redis_url: str, row: Row) -> AsyncIterator[tuple[Process, Process]]:
    """Two processes that hear the bus; nothing is shared but Redis, the hour and the row."""
    hour = datetime.now(UTC)
    made = process(redis_url, row, StoppedClock(hour)), process(redis_url, row, StoppedClock(hour))
    for one in made:
        # The first one who asks begins to listen.
        await one.cache.peek("ready")
        await one.heard()
    yield made
    for one in made:
        await one.cache.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Any]:
    """A client of the test's own."""
    client: Redis = Redis.from_url(redis_url)
    yield client
    await client.aclose()


async def test_one_load_serves_both(two: tuple[Process, Process], row: Row) -> None:
    """The second finds it in Redis, and then in its memory."""
    here, there = two
    assert [await here.tagged(1), await there.tagged(1)] == ["old", "old"]
    assert row.loads == 1
    assert await there.tagged.peek(1) == Found("old", "memory")


async def test_a_cold_key_is_loaded_once_for_both(two: tuple[Process, Process], row: Row) -> None:
    """Fifty callers in each, all at once."""
    row.gate.clear()
    callers = [asyncio.ensure_future(one.tagged(1)) for one in two for _ in range(50)]
    await row.begun(1)
    for one in two:
        await until(lambda one=one: one.cache.stats().joined == 49)  # type: ignore[misc]  # its own one
    row.gate.set()
    assert await asyncio.gather(*callers) == ["old"] * 100
    assert row.loads == 1


async def do(process: Process, row: Row, how: str) -> object:
    """Make this row another one, in one of the ways to say so."""
    row.value = "new"
    match how:
        case "tag":
            return await process.cache.drop_tags("row:1")
        case "key":
            return await process.bare.drop(1)
        case "refresh":
            return await process.bare.refresh(1) == "new"
        case "pattern":
            return await process.cache.drop_pattern("ba?e*")
        case "clear":
            return await process.cache.clear()
        case _:
            return await process.cache.set("k", "new")


HOW = ["tag", "key", "refresh", "pattern", "clear", "set"]


def asked(process: Process, row: Row, how: str) -> Ask:
    """How the row is asked for that is changed so."""

    async def direct(row_id: int) -> str:
        return str(await process.cache.get_or_load("k", lambda: row(row_id), str))

    ways: dict[str, Ask] = {"tag": process.tagged, "set": direct}
    return ways.get(how, process.bare)


@pytest.mark.parametrize("how", HOW)
async def test_what_is_dropped_elsewhere_is_seen_at_once(two: tuple[Process, Process], row: Row, how: str) -> None:
    """By the bus: no time has passed on either clock. Here it is seen by the very next call."""
    here, there = two
    ask_here, ask_there = asked(here, row, how), asked(there, row, how)
    assert [await ask_here(1), await ask_there(1)] == ["old", "old"]
    assert await do(here, row, how) is True
    assert await ask_here(1) == "new"
    await shown(ask_there, "new")
    assert row.loads == (1 if how == "set" else 2)


@pytest.mark.parametrize("how", HOW)
async def test_who_does_not_hear_the_bus_shows_nothing_older_than_the_bound(
    two: tuple[Process, Process],
    row: Row,
    redis: Any,
    redis_url: str,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """To its last moment the old value may be shown, and from then on never; Redis may forbid the listening."""
    monkeypatch.setattr(bus, "REFUSED_SECONDS", 10 * PATIENCE_SECONDS)
    here, _ = two
    await redis.execute_command("ACL", "SETUSER", "deaf", "reset", "on", ">secret", "~*", "&*", "+@all", "-xread")
    deaf = process(redis_url.replace("redis://", "redis://deaf:secret@"), row, StoppedClock(here.clock.now()))
    try:
        ask_here, ask_there = asked(here, row, how), asked(deaf, row, how)
        assert [await ask_here(1), await ask_there(1)] == ["old", "old"]
        await until(lambda: "may not listen" in caplog.text)
        deaf.cache.clear_memory()
        assert await ask_there(1) == "old"
        assert await do(here, row, how) is True
        deaf.clock.advance(TRUST_SECONDS - 0.001)
        assert await ask_there(1) == "old"
        deaf.clock.advance(0.001)
        assert await ask_there(1) == "new"
    finally:
        await deaf.cache.close()
        await redis.execute_command("ACL", "DELUSER", "deaf")


async def test_what_changed_behind_its_back_is_seen_exactly_within_the_memory_time(
    two: tuple[Process, Process], row: Row, redis: Any
) -> None:
    """However well the bus is heard: it says nothing of what somebody else does in Redis."""
    here, there = two
    assert [await here.bare(1), await there.bare(1)] == ["old", "old"]
    row.value = "new"
    assert await redis.delete("tercet:2:e:{f:bare(i1)}") == 1
    await there.pass_time(MEMORY_SECONDS - 0.001)
    assert await there.bare(1) == "old"
    there.clock.advance(0.001)
    assert await there.bare(1) == "new"


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
    assert there.cache.stats().late_fills_refused == 1


async def test_a_load_that_was_overtaken_by_a_drop_of_its_key_is_refused(
    two: tuple[Process, Process], row: Row, redis: Any
) -> None:
    """Its lease has gone with the drop: nothing of it comes to Redis."""
    here, there = two
    row.gate.clear()
    slow = asyncio.ensure_future(there.bare(1))
    await row.begun(1)
    row.value = "new"
    await here.bare.drop(1)
    row.gate.set()
    assert await slow == "old"
    assert await redis.exists("tercet:2:e:{f:bare(i1)}") == 0
    assert [await there.bare(1), await here.bare(1)] == ["new", "new"]
    assert (row.loads, there.cache.stats().late_fills_refused) == (2, 1)


async def test_the_first_load_under_a_tag_is_refused_too(two: tuple[Process, Process], row: Row, redis: Redis) -> None:
    """A tag without a version is given one before the load, so a drop during it is seen."""
    here, there = two
    row.gate.clear()
    slow = asyncio.ensure_future(there.tagged(1))
    await row.begun(1)
    assert await redis.exists("tercet:2:t:row:1")
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
    assert await redis.delete("tercet:2:t:row:1") == 1
    assert await there.tagged(1) == "new"
    here.cache.clear_memory()
    assert await here.tagged(1) == "new"
    assert row.loads == 2


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
    name = "tercet:2:e:{f:bare(i1)}"
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
    name = f"tercet:2:e:{{{key_of('k', long).name}}}"
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


async def test_memory_does_not_outlive_the_entry(two: tuple[Process, Process], row: Row) -> None:
    """An entry that was read near its end stays here only to its end."""
    here, there = two
    await here.bare(1)
    await there.pass_time(TTL_SECONDS - 2)
    assert await there.bare.peek(1) == Found("old", "redis")
    await there.pass_time(1.999)
    assert await there.bare.peek(1) == Found("old", "memory")
    there.clock.advance(0.001)
    assert await there.bare.peek(1) is None


async def test_many_of_both_load_each_row_once(two: tuple[Process, Process], row: Row) -> None:
    """What one of them is loading, the other waits for."""
    here, there = two
    await here.tagged(5)
    row.gate.clear()
    first = asyncio.ensure_future(here.tagged.many(range(20)))
    await until(lambda: here.cache.stats().loading == 19)
    second = asyncio.ensure_future(there.tagged.many(range(10, 30)))
    await row.begun(20)
    row.gate.set()
    assert await first == ["old"] * 20
    assert await second == ["old"] * 20
    assert sorted(row.loaded) == list(range(30))


async def test_a_stale_value_is_shown_by_both_while_one_of_them_loads_it_anew(
    two: tuple[Process, Process], row: Row
) -> None:
    """One load for all processes, and then both show what it brought."""
    assert [await one.stale(1) for one in two] == ["old", "old"]
    row.value = "new"
    for one in two:
        await one.pass_time(TTL_SECONDS + 1)
    row.gate.clear()
    for _ in range(3):
        assert [await one.stale(1) for one in two] == ["old", "old"]
    await row.begun(2)
    row.gate.set()
    for one in two:
        await shown(one.stale, "new")
    assert row.loads == 2
    assert sum(one.cache.stats().stale_served for one in two) >= 6


async def test_none_is_a_value_for_both_with_a_short_life(two: tuple[Process, Process], row: Row, redis: Any) -> None:
    """What does not exist is not asked for again by anybody, until its short time is over."""
    here, there = two
    row.value = None
    assert [await here.missing(1), await there.missing(1)] == [None, None]
    assert await there.missing.peek(1) == Found(None, "memory")
    assert row.loads == 1
    assert 0 < await redis.pttl("tercet:2:e:{f:missing(i1)}") <= 20_000
    row.value = "made"
    for one in two:
        await one.pass_time(20)
    assert [await here.missing(1), await there.missing(1)] == ["made", "made"]
    assert row.loads == 2


async def test_it_is_said_where_a_key_is_and_who_loads_it(two: tuple[Process, Process], row: Row) -> None:
    """Each tier with its tags, and whether their versions are still the ones of its load."""
    here, there = two
    key = here.tagged.key(1)
    row.gate.clear()
    loading = asyncio.ensure_future(here.tagged(1))
    await row.begun(1)
    said, told = await here.cache.explain(key), await there.cache.explain(key)
    assert (said.copies, said.loading, told.copies, told.loading) == ((), True, (), False)
    assert f"process {os.getpid()} on " in (said.holder or "")
    assert told.holder is not None
    row.gate.set()
    await loading
    here.clock.advance(1)
    said, told = await here.cache.explain(key), await there.cache.explain(key)
    assert [(one.tier, one.state, one.left, one.tags, one.current) for one in said.copies] == [
        ("memory", "fresh", TTL_SECONDS - 1, ("row:1",), ()),
        ("redis", "fresh", pytest.approx(TTL_SECONDS - 1, abs=0.01), ("row:1",), (True,)),
    ]
    assert [one.tier for one in told.copies] == ["redis"]
    assert (said.holder, said.loading, said.throttled, said.away) == (None, False, None, None)
    await there.cache.drop_tags("row:1")
    (copy,) = (await there.cache.explain(key)).copies
    assert (copy.tier, copy.state, copy.current) == ("redis", "dropped", (False,))


async def test_it_is_counted_what_each_of_them_did(two: tuple[Process, Process], row: Row) -> None:
    """Hits by tier, loads, and how far behind the bus was."""
    here, there = two
    for _ in range(3):
        await here.tagged(1)
        await there.tagged(1)
    ours, theirs = here.cache.stats(), there.cache.stats()
    assert (ours.memory_hits, ours.redis_hits, ours.loads, ours.entries) == (2, 0, 1, 1)
    assert (theirs.memory_hits, theirs.redis_hits, theirs.loads, theirs.entries) == (2, 1, 0, 1)
    assert (ours.hit_ratio, theirs.hit_ratio) == (2 / 3, 1.0)
    assert ours.bytes > 0
    await here.tagged.many([1, 1, 1])
    assert here.cache.stats().memory_hits == 5
    row.value = "new"
    await there.cache.drop_tags("row:1")
    await shown(here.tagged, "new")
    ours = here.cache.stats()
    assert (ours.loads, ours.undelivered, ours.trusted, ours.flushed) == (2, 0, True, 1)
    assert ours.bus_lag_seconds is not None


@pytest.mark.parametrize("by", ["key", "tag"])
@pytest.mark.parametrize("arrived", [False, True])
async def test_a_fill_that_is_on_its_way_during_a_drop_leaves_nothing_old(
    two: tuple[Process, Process], row: Row, by: str, monkeypatch: pytest.MonkeyPatch, *, arrived: bool
) -> None:
    """Whether it comes to Redis before the drop or after it, neither process shows it afterwards."""
    here, there = two
    shelf = here.cache._tiers.far.shelf
    assert shelf is not None
    fill, held, order = shelf.fill, asyncio.Event(), []

    async def slowly(*given: Any, **words: Any) -> Any:
        found = await fill(*given, **words) if arrived else None
        order.append("held")
        await held.wait()
        return found or await fill(*given, **words)

    monkeypatch.setattr(shelf, "fill", slowly)
    ask_here, ask_there = (here.tagged, there.tagged) if by == "tag" else (here.bare, there.bare)
    filling = asyncio.create_task(ask_here(1))
    await until(lambda: order)
    row.value = "new"
    await (here.cache.drop_tags("row:1") if by == "tag" else here.bare.drop(1))
    held.set()
    assert await filling == "old"
    assert await ask_there.peek(1) is None
    assert [await ask_here(1), await ask_there(1)] == ["new", "new"]


@pytest.mark.parametrize("by", ["key", "tag"])
async def test_while_a_drop_is_on_its_way_what_redis_says_is_not_believed(
    two: tuple[Process, Process], row: Row, redis: Any, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old value is there still, and is shown in this process no more; nobody waits for what is not filled."""
    here, _ = two
    ask = here.tagged if by == "tag" else here.bare
    await ask(1)
    shelf = here.cache._tiers.far.shelf
    assert shelf is not None
    drop, held = shelf.drop, asyncio.Event()

    async def slowly(*given: Any) -> None:
        await held.wait()
        await drop(*given)

    monkeypatch.setattr(shelf, "drop", slowly)
    row.value = "new"
    dropping = asyncio.create_task(here.cache.drop_tags("row:1") if by == "tag" else here.bare.drop(1))
    await asyncio.sleep(0)
    for _ in range(3):
        assert await ask(1) == "new"
        assert await redis.keys("tercet:2:l:*") == []
    held.set()
    assert await dropping is True
    assert await ask(1) == "new"


async def test_of_two_writers_of_one_key_both_tiers_have_the_same(two: tuple[Process, Process]) -> None:
    """Whoever was last here was last in Redis."""
    here, there = two
    for tags in ((), ("a",)):
        for turn in range(20):
            numbers = range(turn * 5, turn * 5 + 5)
            await asyncio.gather(*(here.cache.set("k", number, tags=tags) for number in numbers))
            mine = await here.cache.get("k", int)
            assert mine in numbers
            here.cache.clear_memory()
            assert await here.cache.get("k", int) == mine
            there.cache.clear_memory()
            assert await there.cache.get("k", int) == mine
