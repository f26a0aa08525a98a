"""What Redis can be asked about a cache: names, sizes, loads, drops, and how its processes do."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tercet.cache import Cache, Explanation
from tercet.cache.shelf import Drop
from tercet.cache.shelf import bus as bus_module
from tercet.cache.shelf import survey as module
from tercet.cache.shelf.census import GONE_SECONDS, TOLD_SECONDS, reports
from tercet.cache.shelf.layout import Layout
from tercet.cache.shelf.survey import OTHERS, group_of, similar, survey
from tercet.clock import StoppedClock, SystemClock
from tercet.telemetry import CacheNoted, CacheRead, CacheState, Telemetry, WireWrote
from tercet.wire import Wire

Desk = Any

DEADLINE = "10s"


def _cache(desk: Desk, **words: Any) -> Cache:
    return Cache(desk.url, deadline=DEADLINE, **words)


def _wire(desk: Desk) -> Wire:
    desk.shelf()
    wire: Wire = desk.wires[-1]
    return wire


async def test_every_process_says_how_its_cache_does(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hits by tier, loads and memory of each; telemetry is told at the same time."""
    monkeypatch.setattr(bus_module, "HEARTBEAT_SECONDS", 0.05)
    wire, clock, telemetry = _wire(desk), StoppedClock(datetime.now(UTC)), Telemetry()
    heard: list[Any] = []
    telemetry.listen(heard.append)

    async def load() -> int:
        return 1

    def hits(figures: Any) -> int:
        return int(figures["memory_hits"] + figures["redis_hits"])

    async with _cache(desk, clock=clock, telemetry=telemetry) as one, _cache(desk, clock=clock) as two:
        for cache in (one, two):
            assert await cache.get_or_load("k", load, int) == 1
            assert await cache.get("k", int) == 1
        clock.advance(TOLD_SECONDS)
        found: list[Any] = []

        async def told() -> bool:
            found[:] = await reports(wire, Layout("tercet"))
            return sum(hits(report.figures) for report in found) == 3

        while not await told():
            clock.advance(TOLD_SECONDS)
            await asyncio.sleep(0.05)
    assert sorted(report.figures["loads"] for report in found) == [0, 1]
    assert sorted(hits(report.figures) for report in found) == [1, 2]
    assert {report.figures["entries"] for report in found} == {1}
    states = [event for event in heard if isinstance(event, CacheState)]
    assert (states[-1].namespace, states[-1].entries, states[-1].undelivered) == ("tercet", 1, 0)


async def test_a_process_that_was_not_heard_of_for_long_does_not_count(desk: Desk) -> None:
    """Nor one of a release that says it in another way; the next one who speaks takes them away."""
    wire, layout = _wire(desk), Layout("tercet")
    seconds, micros = await desk.redis.time()
    now = seconds * 1000 + micros // 1000
    said = msgspec.msgpack.encode([1, 7, "host", now, {"loads": 1}])
    await desk.redis.hset(layout.figures, mapping={"alive": said, "gone": said, "strange": b"\xc1"})
    await desk.redis.zadd(layout.told, {"alive": now, "gone": now - GONE_SECONDS * 1000, "strange": now})
    (found,) = await reports(wire, layout)
    assert (found.pid, found.host, found.figures) == (7, "host", {"loads": 1})
    shelf = desk.shelf()
    shelf.report(lambda: {"loads": 2})
    shelf.follow(lambda _: None, lambda _: None)
    await desk.until(lambda: shelf.bus.connected)
    while await desk.redis.hexists(layout.figures, "gone"):
        await asyncio.sleep(0.01)
    assert await desk.redis.zscore(layout.told, "gone") is None
    assert 0 < await desk.redis.pttl(layout.figures) <= GONE_SECONDS * 1000


async def test_clearing_a_cache_leaves_what_processes_have_said(desk: Desk) -> None:
    """It is no part of what is cached, and ends by itself."""
    layout = Layout("tercet")
    await desk.redis.hset(layout.figures, "x", b"y")
    async with _cache(desk) as cache:
        await cache.set("a", 1, tags=["t"])
        assert await cache.clear()
    found = await survey(_wire(desk), "tercet")
    assert (found.entries, found.tags) == (0, 0)
    assert found.last_drop == Drop(everything=True)
    assert await desk.redis.hexists(layout.figures, "x")


async def test_entries_are_counted_and_weighed_by_function_and_by_the_beginning_of_keys(desk: Desk) -> None:
    """The heaviest first; another cache in the same Redis is another cache."""
    async with _cache(desk) as cache, _cache(desk, namespace="other") as other:

        @cache(name="shop.page", tags=["pages"])
        async def page(number: int) -> str:
            return f"{number}" * 500

        await page.many([*range(40)])
        for number in range(3):
            await cache.set(f"rates:{number}", number)
        await cache.set("alone", 1)
        await other.set("rates:9", 1)
    found = await survey(_wire(desk), "tercet")
    assert [(group.name, group.entries) for group in found.groups] == [("shop.page()", 40), ("rates:*", 3), ("*", 1)]
    assert (found.entries, found.tags, found.leases, found.cut) == (44, 1, 0, False)
    keys = [key async for key in desk.redis.scan_iter("tercet:2:e:*", count=1000)]
    real = sum([await desk.redis.memory_usage(key) for key in keys])
    assert found.bytes == sum(group.bytes for group in found.groups)
    assert real / 1.5 < found.bytes < real * 1.5


async def test_a_survey_of_many_names_says_that_it_was_cut_and_reads_on_when_asked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has not read is not guessed at; names beyond the bound are counted together."""
    monkeypatch.setattr(module, "KEYS_A_SLICE", 10)
    monkeypatch.setattr(module, "KEYS_MAX", 100)
    monkeypatch.setattr(module, "GROUPS_MAX", 5)
    layout = Layout("tercet")
    await desk.redis.mset({layout.entry(f"k:{number}:x"): b"x" for number in range(1_000)})
    some, every = await survey(_wire(desk), "tercet"), await survey(_wire(desk), "tercet", everything=True)
    assert some.cut
    assert 100 <= some.entries < 1_000
    assert (every.cut, every.entries) == (False, 1_000)
    assert len(every.groups) == 6
    assert next(group.entries for group in every.groups if group.name == OTHERS) == 995


async def test_names_of_strangers_do_not_hold_a_survey_up_for_ever(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that are none of ours take time, and time has a bound."""
    monkeypatch.setattr(module, "WALK_SECONDS", 0.0)
    await desk.redis.mset({f"strange:{number}": b"x" for number in range(2_000)})
    assert (await survey(_wire(desk), "tercet")).cut


async def test_who_may_not_ask_for_sizes_is_told_lengths(desk: Desk) -> None:
    """An ACL without MEMORY still has a survey."""
    async with _cache(desk) as cache:
        await cache.set("a", "x" * 100)
    url = await desk.user("narrow", "~*", "+@all", "-memory")
    wire = Wire.at(url, deadline=10.0, clock=SystemClock(), telemetry=Telemetry())
    found = await survey(wire, "tercet")
    await wire.close()
    assert found.bytes >= 100


async def test_loads_under_way_are_told_with_who_and_since_when(desk: Desk) -> None:
    """And so does the explanation of one key, before there is an entry."""
    going, gate = asyncio.Event(), asyncio.Event()

    async def load() -> int:
        going.set()
        await gate.wait()
        return 1

    async with _cache(desk) as cache:
        caller = asyncio.create_task(cache.get_or_load("slow", load, int))
        await going.wait()
        (loading,) = (await survey(_wire(desk), "tercet")).loading
        async with _cache(desk) as elsewhere:
            explained = await elsewhere.explain("slow")
        gate.set()
        await caller
    assert (loading.name, loading.who.split()[0], loading.seconds >= 0) == ("slow", "process", True)
    assert (explained.copies, (explained.holder or "").split()[0]) == ((), "process")


async def test_a_key_is_explained_however_it_is_written(desk: Desk) -> None:
    """Keys of functions, shortened ones too, and keys that only look like a function's."""
    async with _cache(desk, stale="1m") as cache:

        @cache(name="shop.note", tags=["notes", "note:{text}"])
        async def note(text: str) -> str:
            return text * 100

        long = "x" * 500
        await note("a")
        await note(long)
        await cache.set("f:own(i1)", 1)
        await cache.set("k:own", "y" * 9_000)
        cache.clear_memory()
        told: dict[str, Explanation] = {
            key: await cache.explain(key) for key in (note.key("a"), note.key(long), "f:own(i1)", "k:own", "none")
        }
        await cache.drop_tags("notes")
        dropped = (await cache.explain(note.key("a"))).copies[0]
    assert [len(one.copies) for one in told.values()] == [1, 1, 1, 1, 0]
    copy = told["f:shop.note(s1:a)"].copies[0]
    assert (copy.state, copy.tags, copy.current, copy.packing) == ("fresh", ("notes", "note:a"), (True, True), "")
    assert told["k:own"].copies[0].packing in {"zlib", "zstd"}
    assert (dropped.state, dropped.current) == ("dropped", (False, True))


async def test_a_misspelt_key_has_similar_ones(desk: Desk) -> None:
    """At most five, the most alike first, in the form in which one asks for them."""
    async with _cache(desk) as cache:
        for key in ("rates:eur", "rates:krw", "rates:usd", "rates:gbp", "rates:chf", "rates:jpy", "f:odd", "zzz"):
            await cache.set(key, 1)
    wire = _wire(desk)
    found = await similar(wire, "tercet", "rates:euro")
    assert found[0] == "rates:eur"
    assert len(found) == 5
    assert await similar(wire, "tercet", "f:od") == ("f:odd",)
    assert await similar(wire, "tercet", "nothing like it") == ()


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("f:shop.users.profile(i42)", "shop.users.profile()"),
        ("f:orders.order[i2](i5)", "orders.order()"),
        ("F:shop.notes.note(s500:xx#0123", "shop.notes.note()"),
        ("k:users:list:1", "users:*"),
        ("K:users:list:xx#0123", "users:*"),
        ("k:alone", "*"),
    ],
)
def test_an_entry_is_counted_under_its_function_or_its_first_word(name: str, group: str) -> None:
    """Arguments and numbers make no group of their own."""
    assert group_of(name) == group


async def test_what_a_cache_does_besides_reading_is_told(desk: Desk) -> None:
    """Stale values, callers who joined, early refreshes, and what leaves for Redis together."""
    clock, telemetry = StoppedClock(datetime.now(UTC)), Telemetry()
    heard: list[Any] = []
    telemetry.listen(heard.append)
    gate = asyncio.Event()

    async def load() -> int:
        await gate.wait()
        clock.advance(1)
        return 1

    async with _cache(desk, clock=clock, telemetry=telemetry, ttl=100, jitter=0, stale="1h", early=0) as cache:
        callers = [asyncio.create_task(cache.get_or_load("k", load, int)) for _ in range(3)]
        gate.set()
        await asyncio.gather(*callers)
        clock.advance(101)
        assert await cache.get_or_load("k", load, int) == 1
        while cache.stats().loading:
            await asyncio.sleep(0)
        clock.advance(50)
        assert await cache.get_or_load("k", load, int, early=1e9) == 1
    reads = [event for event in heard if isinstance(event, CacheRead)]
    assert sorted(event.joined for event in reads) == [False, False, False, True, True]
    assert [event.stale for event in reads].count(True) == 1
    assert [event for event in heard if isinstance(event, CacheNoted)] == [CacheNoted("early refresh", "direct")]
    assert sum(event.callers for event in heard if isinstance(event, WireWrote)) > 0
