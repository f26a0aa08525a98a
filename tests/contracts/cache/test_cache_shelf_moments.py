"""What a shelf remembers of the commits that tags were dropped for, on a real server."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec
import pytest

from tercet.cache.moments import Beat, Record, Span
from tercet.cache.moments.span import RECORDS_EXACT, digest, folded, read, settled, told, words, written
from tercet.cache.shelf import Drop, Grant
from tercet.cache.shelf.drops import TAGS_RECORDED_MAX
from tercet.cache.shelf.layout import Layout, messages, slot

Desk = Any

NAME = "f:shop.profile(i42)"
KEYS = Layout("tercet")
PG = digest("pg:7")
MINUTE_MS = 60_000


def span(first: int, last: int | None = None, source: bytes = PG) -> Span:
    """One moment, or some."""
    return Span(source, first, first if last is None else last)


async def records(shelf: Any, *tags: str, name: str = NAME) -> dict[str, list[tuple[int, int, bool]]]:
    """What a load of these tags is told of."""
    grant: Grant = await shelf.lease(name, tags, anew=True)
    return {tag: [(one.first, one.last, one.settled) for one in some] for tag, some in grant.records.items()}


async def test_a_drop_with_a_moment_is_a_drop(desk: Desk) -> None:
    """Versions change, a load from before it does not fill, and the bus tells of it and of its moments."""
    here, there = desk.shelf(), desk.shelf()
    heard: list[Drop | None] = []
    there.follow(heard.append, lambda _: None)
    await desk.until(lambda: there.bus.connected)
    before = await here.lease(NAME, ["t", "u"])
    assert before.records == {}
    drop = Drop(tags=("t",), moments=(span(5),), told=(span(5),))
    await there.drop(drop)
    kept, versions = await here.fill(NAME, b"x", 60, ["t", "u"], before.token)
    assert kept
    assert versions["t"] != before.versions["t"]
    assert versions["u"] == before.versions["u"]
    await desk.until(lambda: heard and heard[-1] == drop)
    assert there.bus.heard == 1


async def test_a_load_after_it_is_told_of_it_for_a_minute(desk: Desk) -> None:
    """That of other tags is not; what was dropped for everything is told with every tag."""
    shelf = desk.shelf()
    await shelf.drop(Drop(tags=("t", "a{b}c", "이름"), moments=(span(5), span(6))))
    both = [(5, 5, False), (6, 6, False)]
    assert await records(shelf, "t", "u") == {"t": both}
    assert await records(shelf, "a{b}c", "이름") == {"a{b}c": both, "이름": both}
    assert MINUTE_MS * 0.5 < await desk.redis.pttl(KEYS.moments("t")) <= MINUTE_MS
    await shelf.drop(Drop(everything=True, moments=(span(7),)))
    assert await records(shelf, "u") == {"": [(7, 7, False)]}
    assert await records(shelf) == {}
    (lease,) = [await shelf.lease("f:other", ["t"])]
    assert {one.told_ms > 0 for some in lease.records.values() for one in some} == {True}


@pytest.mark.parametrize("drop", [Drop(tags=("t",)), Drop(everything=True), Drop(patterns=("*",))])
async def test_no_other_drop_takes_them_away(desk: Desk, drop: Drop) -> None:
    """What was told is not to be seen any earlier by that."""
    shelf = desk.shelf()
    await shelf.drop(Drop(tags=("t",), moments=(span(5),)))
    await shelf.drop(drop)
    assert await records(shelf, "t") == {"t": [(5, 5, False)]}


async def test_settled_is_said_of_records_and_changes_no_version(desk: Desk) -> None:
    """No entry is lost by it, and none lives longer."""
    shelf = desk.shelf()
    await shelf.drop(Drop(tags=("t",), moments=(span(2**63 + 1), span(3), span(9), span(4, source=digest("b")))))
    versions = await shelf.versions(["t"])
    await shelf.settle(["t", "none"], PG, 3, [span(2**63 + 1), span(4)])
    found = (await records(shelf, "t"))["t"]
    assert found == [(2**63 + 1, 2**63 + 1, True), (3, 3, True), (9, 9, False), (4, 4, False)]
    assert await shelf.versions(["t"]) == versions
    assert await desk.redis.pttl(KEYS.moments("t")) <= MINUTE_MS
    assert not await desk.redis.exists(KEYS.moments("none"))
    await shelf.drop(Drop(everything=True, moments=(span(5),)))
    await shelf.settle([], PG, 2**64 - 1, [])
    assert (await records(shelf, "x"))[""] == [(5, 5, True)]


async def test_the_scripts_do_what_the_rules_say(desk: Desk) -> None:
    """Whatever is told and settled in whatever order, the bytes in Redis are those that Python writes."""
    shelf, chance = desk.shelf(), random.Random(7)
    ours: list[Record] = []
    key = KEYS.moments("t")
    for _ in range(60):
        firsts = [chance.choice([chance.randrange(50), chance.randrange(2**64)]) for _ in range(chance.randrange(1, 5))]
        some = tuple(
            dict.fromkeys(span(at, chance.choice([at, 2**64 - 1]), chance.choice([PG, digest("b")])) for at in firsts)
        )
        if chance.random() < 0.3:
            through = chance.choice([chance.randrange(50), chance.randrange(2**64)])
            await shelf.settle(["t"], PG, through, some)
            ours = settled(ours, PG, through, some)
        else:
            await shelf.drop(Drop(tags=("t",), moments=some))
            theirs = read(await desk.redis.get(key))
            # The server's clock is its own: the newest records say what time it was.
            ours = told(ours, folded(some), max(one.told_ms for one in theirs))
        assert read(await desk.redis.get(key)) == tuple(ours)


async def test_what_is_too_old_leaves_and_what_is_older_is_put_together(desk: Desk) -> None:
    """As if told at other times, and as the script itself does it."""
    shelf = desk.shelf()
    seconds, _ = await desk.redis.time()
    old = [Record(PG, at, at, (seconds - 59 + at) * 1000) for at in range(50)]
    await desk.redis.set(KEYS.moments("t"), written([Record(PG, 99, 99, (seconds - 120) * 1000), *old]))
    await shelf.drop(Drop(tags=("t",), moments=(span(77),)))
    found = read(await desk.redis.get(KEYS.moments("t")))
    assert len(found) <= RECORDS_EXACT
    assert found[-1].last == 77
    assert all(one.last != 99 for one in found)
    for at in range(5, 50):
        assert any(one.first <= at <= one.last for one in found)


async def test_something_else_under_the_key_is_no_harm(desk: Desk) -> None:
    """A list, or bytes that are no records: it is replaced by the next drop."""
    shelf = desk.shelf()
    await desk.redis.rpush(KEYS.moments("t"), b"x")
    await shelf.settle(["t"], PG, 1, [])
    await shelf.drop(Drop(tags=("t",), moments=(span(5),)))
    assert await records(shelf, "t") == {"t": [(5, 5, False)]}
    await desk.redis.set(KEYS.moments("t"), b"too short")
    assert await records(shelf, "t") == {"t": []}


async def test_moments_of_many_tags_are_those_of_all(desk: Desk) -> None:
    """A statement that changes a table whole costs one record."""
    shelf = desk.shelf()
    tags = tuple(f"t{number}" for number in range(TAGS_RECORDED_MAX + 1))
    before = await shelf.versions(tags)
    await shelf.drop(Drop(tags=tags, moments=(span(5),)))
    assert await desk.redis.keys("tercet:2:m:*") == [KEYS.moments_of_all]
    assert await records(shelf, "none of them") == {"": [(5, 5, False)]}
    after = await shelf.versions(tags)
    assert all(before[tag] != after[tag] for tag in tags)


async def test_a_full_server_takes_them(desk: Desk) -> None:
    """A drop frees memory, so it gets through where nothing else does."""
    shelf = desk.shelf()
    await shelf.drop(Drop(tags=("t",), moments=(span(4),)))
    before = (await shelf.versions(["t"]))["t"]
    before_it = (await desk.redis.config_get("maxmemory"))["maxmemory"]
    await desk.redis.config_set("maxmemory", 1)
    try:
        await shelf.drop(Drop(tags=("t",), moments=(span(5),)))
    finally:
        await desk.redis.config_set("maxmemory", before_it)
    assert (await shelf.versions(["t"]))["t"] != before
    assert await records(shelf, "t") == {"t": [(4, 4, False), (5, 5, False)]}


def test_a_tag_s_moments_lie_in_the_slot_of_its_version() -> None:
    """One script may touch both in a cluster; a tag with braces is done in two steps."""
    for tag in ("t", "user:42", "이름", "a b"):
        assert slot(KEYS.moments(tag)) == slot(KEYS.tag(tag))
    assert len({KEYS.moments(tag) for tag in ("a", "a}", "}a", "{a}", "")} | {KEYS.moments_of_all}) == 6


async def test_a_relay_s_word_is_heard_and_is_no_drop(desk: Desk) -> None:
    """Nor is that a commit is whole: neither is counted, nor shown as the last drop."""
    here, there = desk.shelf(), desk.shelf()
    heard: list[Drop | None] = []
    there.follow(heard.append, lambda _: None)
    await desk.until(lambda: there.bus.connected)
    await here.drop(Drop(beat=Beat("cache_x", 0.25)))
    await here.drop(Drop(told=(span(5),)))
    await desk.until(lambda: heard and heard[-1] == Drop(told=(span(5),)))
    assert heard[-2] == Drop(beat=Beat("cache_x", 0.25))
    assert there.bus.heard == 0
    assert there.bus.foreign == 0


def test_an_older_reader_understands_what_is_dropped() -> None:
    """What it does not know stands behind what it does."""

    class Before(msgspec.Struct, frozen=True, array_like=True):
        """A message before it had moments."""

        names: tuple[bytes, ...]
        tags: tuple[bytes, ...]
        patterns: tuple[bytes, ...]
        everything: bool

    drop = Drop(names=("n",), tags=("t",), moments=(span(5),), told=(span(5),), beat=Beat("x", 0.0))
    (payload,) = messages(drop)
    assert msgspec.msgpack.decode(payload, type=Before) == Before((b"n",), (b"t",), (), everything=False)


async def test_a_lease_whose_asker_leaves_meanwhile_is_given_back(desk: Desk) -> None:
    """Nobody waits for a load that never begins."""
    shelf = desk.shelf()
    await shelf.versions(["t"])
    for pause in range(12):
        asking = asyncio.ensure_future(shelf.lease(NAME, ["t"]))
        for _ in range(pause):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        if not asking.cancelled():
            await shelf.release(NAME, asking.result().token)

    async def gone() -> bool:
        return await desk.redis.exists(KEYS.lease(NAME)) == 0

    async with asyncio.timeout(30):
        while not await gone():
            await asyncio.sleep(0.01)


def test_words_of_a_script_are_as_long_as_it_reads_them() -> None:
    """Source, first and last, eight bytes each."""
    assert words([span(1, 2)]) == [PG + bytes(7) + b"\x01" + bytes(7) + b"\x02"]
