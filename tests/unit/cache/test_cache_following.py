"""Following with a feed made up by the test: what it drops, what it keeps back, what it says of itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tercet.cache import Cache
from tercet.cache.follow import Following, Shapes
from tercet.cache.follow import following as room
from tercet.cache.follow.following import Store
from tercet.cache.follow.settling import PENDING_MAX, RETELL_SECONDS, Settling
from tercet.cache.moments.recent import RELAY_SILENCE_SECONDS
from tercet.cache.moments.span import WINDOW_SECONDS, Span
from tercet.cache.shelf import Drop
from tercet.changes import Change, Commit
from tercet.errors import DeadlinePassed, NotOpen, StoreMissing, StoreUnreachable, UsageError
from tercet.witness import Moment, Snapshot, current

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tercet.changes import Listener

    from .conftest import Bench
else:
    Bench = Any

PG = "pg:7"


@dataclass
class Status:
    """How a subscription stands."""

    state: str = "reading"
    leading: bool = True


@dataclass
class Feed:
    """A feed that tells what a test says, and a store that shows what a test says."""

    snapshot: Snapshot | None = None
    old: Mapping[str, frozenset[str]] = field(default_factory=lambda: {"t": frozenset({"id"})})
    status: Status = field(default_factory=Status)
    listener: Listener | None = None
    places: list[str | None] = field(default_factory=list)
    closed: int = 0
    asked: int = 0

    def subscribe(self, listener: Listener, *, durable: str | None = None, place: str | None = None) -> Any:
        self.listener = listener
        self.places.append(durable or place)
        return Subscription(self)

    async def seen(self) -> Snapshot | None:
        self.asked += 1
        if self.snapshot is None:
            raise StoreUnreachable("postgres", reason="the test says so")
        return self.snapshot

    async def covered(self, _tables: Mapping[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
        return self.old


class Subscription:
    """The listener's place in it."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed

    async def ready(self) -> None:
        """It is at once."""

    def status(self) -> Status:
        return self.feed.status

    async def close(self) -> None:
        self.feed.closed += 1


def commit(at: int, *rows: int, last: bool = True, **words: Any) -> Commit:
    """A transaction that has changed these rows."""
    changes = tuple(Change("update", "public", "t", new={"id": row}) for row in rows)
    return Commit(Moment(PG, at), at, datetime.now(UTC), words.get("changes", changes), last=last)


def follow(bench: Bench, feed: Feed, *, shapes: Mapping[str, Any] | None = None, **words: Any) -> Following:
    """A following of table t in this process."""
    made = Shapes(shapes or {"t": "t:{id}"})
    store = Store(feed.seen, feed.covered)
    return Following(bench.tiers, feed, made, store, namespace="tercet", **words)


@dataclass
class Reader:
    """Loads a value that a transaction changes, and says what it saw; or says nothing."""

    bench: Bench
    value: int = 1
    snapshot: Snapshot | None = None
    loads: int = 0

    async def load(self) -> int:
        self.loads += 1
        witness = current()
        if witness is not None and self.snapshot is not None:
            witness.note(self.snapshot)
        return self.value

    async def read(self, *tags: str) -> int:
        found: int = await self.bench.tiers.fetch(self.bench.ask("a", *(tags or ("t:1",))), self.load)
        return found


async def test_what_is_loaded_too_early_is_given_and_not_kept(each: Bench) -> None:
    """Until the load has seen the commit for which its tag was dropped; then it is kept as ever."""
    feed, reader = Feed(), Reader(each)
    following = follow(each, feed)
    assert await reader.read() == 1
    await following.hear([commit(10, 1)])
    reader.snapshot = Snapshot(PG, 10, 12, frozenset({10}))
    assert [await reader.read(), await reader.read()] == [1, 1]
    assert reader.loads == 3
    assert each.tiers.counts.late == 2
    reader.value, reader.snapshot = 2, Snapshot(PG, 11, 12)
    assert [await reader.read(), await reader.read(), reader.loads] == [2, 2, 4]
    await following.close()
    await each.tiers.close()


async def test_a_load_that_nobody_watches_waits_until_it_is_settled(each: Bench) -> None:
    """The primary was asked, by the relay; a load that says what it saw of a replica is still asked itself."""
    feed, reader = Feed(), Reader(each)
    following = follow(each, feed)
    await following.hear([commit(10, 1)])
    assert [await reader.read(), await reader.read(), reader.loads] == [1, 1, 2]
    settling = following._settling
    assert settling is not None
    feed.snapshot = Snapshot(PG, 10, 12, frozenset({10}))
    assert not await settling.step()
    assert following.status().unsettled == 1
    feed.snapshot = Snapshot(PG, 9, 12, frozenset({9}))
    assert await settling.step()
    assert following.status().unsettled == 0
    reader.snapshot = Snapshot(PG, 10, 10)
    assert [await reader.read(), reader.loads] == [1, 3]
    reader.snapshot = None
    assert [await reader.read(), await reader.read(), reader.loads] == [1, 1, 4]
    await following.close()
    await each.tiers.close()


async def test_without_a_commit_nobody_is_watched(each: Bench) -> None:
    """No store is asked for what it shows, and other tags than those of the change are not either."""
    watched: list[object] = []

    async def load() -> int:
        watched.append(current())
        return 1

    following = follow(each, Feed())
    await each.tiers.fetch(each.ask("a", "t:1"), load)
    await following.hear([commit(10, 1)])
    await each.tiers.fetch(each.ask("b", "t:2"), load)
    await each.tiers.fetch(each.ask("c"), load)
    assert watched == [None, None, None]
    await following.close()
    await each.tiers.close()


async def test_a_plain_drop_does_not_take_the_moments_away(each: Bench) -> None:
    """Neither of the tag nor of everything: what was told is still not to be seen."""
    reader = Reader(each, snapshot=Snapshot(PG, 10, 10))
    following = follow(each, Feed())
    await following.hear([commit(10, 1)])
    for drop in (Drop(tags=("t:1",)), Drop(everything=True)):
        await each.tiers.drop(drop)
        await reader.read()
        await reader.read()
    assert reader.loads == 4
    await following.close()
    await each.tiers.close()


async def test_many_loads_at_once_share_what_they_have_seen(each: Bench) -> None:
    """Of a load for many, in a task of its own, each flight's witness is told."""
    following = follow(each, Feed())
    await following.hear([commit(10, 1)])
    await following.hear([commit(11, 2)])
    asks = [each.ask(name, tag) for name, tag in (("x", "u"), ("a", "t:1"), ("b", "t:2"))]
    shown = Snapshot(PG, 10, 10)
    calls: list[Sequence[int]] = []

    async def one(_number: int) -> int:
        raise AssertionError

    async def many(numbers: Sequence[int]) -> dict[int, int]:
        calls.append(numbers)
        witness = current()
        assert witness is not None
        witness.note(shown)
        return dict.fromkeys(numbers, 1)

    await each.tiers.straight.fetch_many(asks, one, many)
    shown = Snapshot(PG, 11, 11)
    await each.tiers.straight.fetch_many(asks, one, many)
    shown = Snapshot(PG, 12, 12)
    await each.tiers.straight.fetch_many(asks, one, many)
    assert calls == [(0, 1, 2), (1, 2), (2,)]
    await following.close()
    await each.tiers.close()


async def test_a_load_within_a_load_is_seen_by_both(each: Bench) -> None:
    """Whoever asks for a value in a loader has read what that one's loader has."""
    reader = Reader(each, snapshot=Snapshot(PG, 10, 10))
    following = follow(each, Feed())
    await following.hear([commit(10, 1)])

    async def outer() -> int:
        return await reader.read("t:1")

    for _ in range(2):
        await each.tiers.fetch(each.ask("outer", "t:1"), outer)
    assert reader.loads == 2
    await following.close()
    await each.tiers.close()


async def test_nobody_joins_for_long_what_began_before_it_could_be_seen(bench: Bench) -> None:
    """A load that hangs must not answer those who ask when the commit has long been there."""
    reader, gate = Reader(bench), asyncio.Event()
    following = follow(bench, Feed())
    await following.hear([commit(10, 1)])

    async def slow() -> int:
        value = await reader.load()
        await gate.wait()
        return value

    ask = bench.ask("a", "t:1")
    first = asyncio.ensure_future(bench.tiers.fetch(ask, slow))
    while not reader.loads:
        await asyncio.sleep(0)
    assert bench.tiers.flights.find(ask.name) is not None
    bench.clock.advance(1)
    assert bench.tiers.flights.find(ask.name) is None
    gate.set()
    assert await first == 1
    await following.close()
    await bench.tiers.close()


async def test_a_writer_hears_its_own_commit_and_joins_no_older_load(each: Bench) -> None:
    """Before it is dropped here it is not heard; a commit in parts is heard with its last."""
    feed, reader, gate = Feed(), Reader(each), asyncio.Event()
    following = follow(each, feed)
    assert following.listening
    assert not await following.heard(Moment(PG, 10), 0)
    await following.hear([commit(10, 2, last=False)])
    assert not await following.heard(Moment(PG, 10), 0)
    waiting = asyncio.ensure_future(following.heard(Moment(PG, 10), 30))
    await asyncio.sleep(0)
    await following.hear([commit(10, 1)])
    assert await waiting

    async def slow() -> int:
        value = await reader.load()
        await gate.wait()
        return value

    older = asyncio.ensure_future(each.tiers.fetch(each.ask("a", "t:1"), slow))
    while not reader.loads:
        await asyncio.sleep(0)
    assert await following.heard(Moment(PG, 10), 0)
    reader.value = 2
    gate.set()
    assert await reader.read() == 2
    assert await older == 1
    # A commit that has touched nothing that is followed is heard by its mark alone.
    await following.hear([commit(11)])
    assert await following.heard(Moment(PG, 11), 0)
    await following.close()
    await each.tiers.close()


async def test_another_process_hears_the_drop_and_the_relay(bench: Bench) -> None:
    """One relays, the other is told by the bus: drops, moments, that a commit is whole, and that the relay lives."""
    other = bench.restarted()
    relay, feed = follow(bench, Feed()), Feed(status=Status("following", leading=False))
    heard = follow(other, feed)
    await heard.ready()
    reader = Reader(other)
    await reader.read()
    await relay.hear([commit(10, 1)])
    assert await heard.heard(Moment(PG, 10), 0)
    assert {one.last for one in other.tiers.near.recent.of(("t:1",))} == {10}
    reader.value = 2
    assert await reader.read() == 2
    await relay.tend()
    assert not heard.status().silent
    bench.clock.advance(RELAY_SILENCE_SECONDS)
    await heard.tend()
    assert heard.status().silent
    assert not heard.listening
    other.tiers._trust(float("inf"))
    assert not other.tiers.near.trusted
    await relay.tend()
    await heard.tend()
    other.tiers._trust(float("inf"))
    assert not heard.status().silent
    assert other.tiers.near.trusted
    assert relay.name == heard.name
    for one in (relay, heard):
        await one.close()
    await bench.tiers.close()
    await other.tiers.close()


async def test_a_durable_place_is_refused_where_nobody_would_tell_the_others(alone: Bench) -> None:
    """One process would read it, and the others would never hear."""
    feed = Feed()
    with pytest.raises(UsageError, match="durable"):
        follow(alone, feed, durable="lasting")
    assert feed.places == []


async def test_in_memory_alone_every_process_reads_for_itself(alone: Bench) -> None:
    """Each has a place of its own, and keeps nothing for long while its feed is away."""
    feed, reader = Feed(), Reader(alone)
    following, another = follow(alone, feed), follow(alone, Feed())
    assert following.name != another.name
    assert feed.places == [following.name]
    await reader.read()
    feed.status.state = "away"
    await following.tend()
    assert await reader.read() == 1
    assert reader.loads == 1
    alone.clock.advance(RELAY_SILENCE_SECONDS + 1)
    await following.tend()
    await reader.read()
    assert reader.loads == 2
    assert following.status().silent
    for one in (following, another):
        await one.close()
    await alone.tiers.close()


async def test_a_tercet_without_redis_is_memory_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is seen when it is first asked; then this process reads for itself, wherever it was to share a relay."""

    async def missing(_drop: Drop) -> None:
        raise StoreMissing("redis", feature="a cache")

    assert bench.shelf is not None
    monkeypatch.setattr(bench.shelf, "drop", missing)
    feed = Feed(status=Status("following", leading=False))
    following = follow(bench, feed)
    shared = following.name
    await following.ready()
    assert feed.places == [shared, following.name]
    assert following.name != shared
    assert feed.closed == 1
    assert bench.tiers.near.trusted
    await following.tend()
    assert not following.status().silent
    await following.close()
    await bench.tiers.close()


async def test_after_a_gap_everything_is_dropped_and_replicas_must_have_caught_up(each: Bench) -> None:
    """What was committed before it is told of nobody; what the primary showed then must be seen."""
    feed, reader = Feed(snapshot=Snapshot(PG, 20, 20)), Reader(each, snapshot=Snapshot(PG, 19, 19))
    following = follow(each, feed)
    await reader.read()
    await following.resync("a test")
    await reader.read()
    await reader.read()
    assert reader.loads == 3
    reader.snapshot = Snapshot(PG, 20, 20)
    await reader.read()
    await reader.read()
    assert reader.loads == 4
    feed.snapshot = None
    await following.resync("its store is away")
    assert following.status().resyncs == 2
    await following.close()
    await each.tiers.close()


async def test_what_cannot_be_named_drops_everything(each: Bench) -> None:
    """A TRUNCATE, or a row of which too little is told; with its moment."""
    reader = Reader(each, snapshot=Snapshot(PG, 10, 10))
    following = follow(each, Feed())
    await reader.read("other")
    await following.hear([commit(10, changes=(Change("truncate", "public", "t"),))])
    await reader.read("other")
    await reader.read("other")
    assert reader.loads == 3
    assert following.status().wide == 1
    await following.close()
    await each.tiers.close()


async def test_what_stays_invisible_is_told_again_until_it_is_not(each: Bench) -> None:
    """A standby that is waited for may be down for longer than anybody remembers a drop."""
    feed, reader = Feed(snapshot=Snapshot(PG, 10, 10)), Reader(each, snapshot=Snapshot(PG, 10, 10))
    following = follow(each, feed)
    settling = following._settling
    assert settling is not None
    await following.hear([commit(10, 1)])
    for _ in range(int(3 * WINDOW_SECONDS / RETELL_SECONDS)):
        each.clock.advance(RETELL_SECONDS + 1)
        await settling.step()
        before = reader.loads
        await reader.read()
        await reader.read()
        assert reader.loads == before + 2
    feed.snapshot = reader.snapshot = Snapshot(PG, 11, 11)
    await settling.step()
    assert following.status().unsettled == 0
    await following.close()
    await each.tiers.close()


async def test_too_much_that_is_not_settled_is_one_drop_of_everything(bench: Bench) -> None:
    """And what is of a store that is gone is not asked for ever."""
    feed = Feed(snapshot=Snapshot("pg:8", 9_999, 9_999))
    following = follow(bench, feed)
    for number in range(PENDING_MAX + 1):
        await following.hear([commit(number, 1)])
    assert following.status().unsettled == 1
    bench.clock.advance(WINDOW_SECONDS + 1)
    settling = following._settling
    assert settling is not None
    await settling.step()
    assert following.status().unsettled == 0
    await following.close()
    await bench.tiers.close()


async def test_old_values_that_are_not_told_are_refused_with_the_mend(bench: Bench) -> None:
    """Unless it is said that everything is to be dropped instead."""
    shapes = {"t": "owner:{owner}"}
    strict = follow(bench, Feed(), shapes=shapes)
    with pytest.raises(UsageError, match=r"t\.owner.*replica identity"):
        await strict.ready()
    absent = follow(bench, Feed(old={}), shapes=shapes)
    with pytest.raises(UsageError, match="not there"):
        await absent.ready()
    wide = follow(bench, Feed(), shapes=shapes, strict=False)
    await wide.ready()
    await wide.hear([commit(10, changes=(Change("update", "public", "t", new={"owner": 1}),))])
    assert wide.status().wide == 1
    for one in (strict, absent, wide):
        await one.close()
    await bench.tiers.close()


async def test_at_a_durable_place_only_what_redis_has_taken_is_done(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The feed tells it again; at an ephemeral one it is kept, and a new reader drops everything anyway."""
    monkeypatch.setattr(room, "DELIVERED_SECONDS", 0.01)
    passing, lasting = follow(bench, Feed()), follow(bench, Feed(), durable="lasting")
    assert lasting.name == "lasting"
    assert bench.shelf is not None
    bench.shelf.away = True
    await passing.hear([commit(10, 1)])
    with pytest.raises(DeadlinePassed):
        await lasting.hear([commit(11, 1)])
    bench.shelf.away = False
    monkeypatch.setattr(room, "DELIVERED_SECONDS", 60.0)
    await lasting.hear([commit(11, 1)])
    for one in (passing, lasting):
        await one.close()
    await bench.tiers.close()


async def test_nothing_is_left_of_a_following_that_was_closed(each: Bench) -> None:
    """Neither a task nor the wait for its relay; twice is fine."""
    before = asyncio.all_tasks()
    feed = Feed()
    following = follow(each, feed)
    await following.ready()
    assert asyncio.all_tasks() - before
    await following.close()
    await following.close()
    assert not asyncio.all_tasks() - before
    assert feed.closed == 2
    assert each.tiers.near.recent.until == float("inf")
    await each.tiers.close()


def test_it_can_be_declared_before_there_is_a_loop() -> None:
    """As a module does; it begins with the loop in which it is waited for."""
    feed = Feed()
    cache = Cache()
    following = cache.follow(feed, {"t": "t:{id}"})

    async def run() -> None:
        await following.ready()
        await following.hear([commit(10, 1)])
        await cache.close()

    asyncio.run(run())
    assert feed.closed == 1


async def test_nothing_is_settled_any_more_once_the_store_is_closed(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A cache that outlives its Tercet says nothing of it, and asks no more."""

    async def closed() -> Snapshot:
        raise NotOpen("This Tercet", closed=True)

    settling = Settling(bench.tiers, closed, bench.tiers.clock.monotonic)
    settling.add(Drop(tags=("t:1",), moments=(Span.of(Moment(PG, 10)),)))
    async with asyncio.timeout(60):
        await settling.run()
    assert caplog.text == ""
    await bench.tiers.close()
