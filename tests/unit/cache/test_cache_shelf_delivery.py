"""Delivery: nothing that was to be dropped is forgotten, and what is on its way is known to be."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.cache.shelf import delivery as module
from tercet.cache.shelf import owed
from tercet.cache.shelf.delivery import RECENT_SECONDS, Delivery
from tercet.cache.shelf.owed import Owed
from tercet.cache.shelf.port import Drop
from tercet.clock import StoppedClock
from tercet.errors import CommandRefused, DeadlinePassed, StoreError, StoreUnreachable

WORDS = st.lists(st.sampled_from("abcd"), max_size=3, unique=True).map(tuple)
NAMES = WORDS.map(lambda words: tuple(f"k:{word}" for word in words))
DROPS = st.builds(Drop, NAMES, WORDS, WORDS, st.sampled_from([False] * 9 + [True]))

AWAY = StoreUnreachable("redis", reason="it is away")
REFUSED = CommandRefused("redis", code="NOPERM", reason="not permitted")


class Place:
    """A shelf that takes drops, or fails as it is told; `taken` is what it knows."""

    def __init__(self) -> None:
        self.taken: list[Drop] = []
        self.tries = 0
        self.error: StoreError | None = None
        self.gate: asyncio.Event | None = None
        self.connected: Callable[[], None] = lambda: None

    def watch(self, connected: Callable[[], None]) -> None:
        """Keep who is to be told."""
        self.connected = connected

    async def drop(self, drop: Drop) -> None:
        """Take it or fail."""
        self.tries += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.taken.append(drop)

    def knows(self, name: str) -> bool:
        """Whether it was told of this name since it was last emptied."""
        return any(name in drop.names or drop.everything for drop in self.taken)


class Line:
    """A delivery to such a place, with a clock that stands."""

    def __init__(self) -> None:
        self.place = Place()
        self.clock = StoppedClock()
        # What is asked of a shelf here is two methods of it.
        self.delivery = Delivery(self.place, clock=self.clock)  # type: ignore[arg-type]  # see above

    async def settled(self) -> None:
        """Wait until nothing is kept any more."""
        await self.delivery.delivered(30.0)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    """One that tries again by itself at once, where a test does not say otherwise."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)
    return Line()


@given(st.lists(DROPS, max_size=6), st.lists(st.integers(0, 5), max_size=6), st.sampled_from("abcd"), WORDS)
def test_a_bag_of_drops_covers_what_any_of_them_covers(
    drops: list[Drop], out: list[int], word: str, tags: tuple[str, ...]
) -> None:
    """Also after some were taken out again, and also when merged into parts."""
    bag = Owed()
    for drop in drops:
        bag.add(drop)
    left = dict(enumerate(drops))
    for place in out:
        if place in left:
            bag.remove(left.pop(place))

    def meant(drop: Drop) -> bool:
        named = f"k:{word}" in drop.names or bool({*tags} & {*drop.tags})
        return named or word in drop.patterns or drop.everything

    covered = any(map(meant, left.values()))
    assert bag.covers(f"k:{word}", tags) == covered
    assert any(map(meant, bag.parts())) == covered
    assert bool(bag) == any(map(bool, left.values()))
    merged = Owed()
    merged.take(bag)
    assert (merged.covers(f"k:{word}", tags), len(bag)) == (covered, 0)
    for part in [*merged.parts()]:
        merged.settle(part)
    assert len(merged) == 0


def test_too_much_to_keep_apart_becomes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """That says more, never less, and needs no memory."""
    monkeypatch.setattr(owed, "DELIVERIES_MAX", 10)
    bag = Owed()
    bag.add(Drop(names=tuple(f"k:{number}" for number in range(10))))
    bag.bound()
    assert len(bag) == 10
    bag.add(Drop(tags=("t",)))
    bag.bound()
    assert [*bag.parts()] == [Drop(everything=True)]
    assert bag.covers("k:another", ())


async def test_a_drop_that_arrives_is_known_and_covers_nothing_any_more(line: Line) -> None:
    """While it is on its way, it covers."""
    line.place.gate = asyncio.Event()
    task = asyncio.ensure_future(line.delivery.deliver(Drop(names=("k:a",), tags=("t",), patterns=("p*",))))
    while not line.place.tries:
        await asyncio.sleep(0)
    assert line.delivery.pending == 3
    assert line.delivery.covers("k:a", ())
    assert line.delivery.covers("k:b", ("t",))
    assert line.delivery.covers("k:pp", ())
    assert not line.delivery.covers("k:b", ("u",))
    line.place.gate.set()
    assert await task
    assert not line.delivery.covers("k:a", ("t",))
    assert line.delivery.pending == 0
    assert await line.delivery.deliver(Drop())
    await line.delivery.close()


@pytest.mark.parametrize("error", [AWAY, REFUSED])
async def test_a_drop_that_fails_is_kept_and_arrives_later(line: Line, error: StoreError) -> None:
    """Whoever asks meanwhile sees that it is on its way; whoever waits is told when that takes too long."""
    line.place.error = error
    assert not await line.delivery.deliver(Drop(names=("k:a",)))
    assert not await line.delivery.deliver(Drop(names=("k:b",)))
    assert line.delivery.covers("k:a", ())
    with pytest.raises(DeadlinePassed, match="2 drops"):
        await line.delivery.delivered(0.01)
    line.place.error = None
    await line.settled()
    assert line.place.knows("k:a")
    assert line.place.knows("k:b")
    assert not line.delivery.covers("k:a", ())
    await line.delivery.close()


async def test_nobody_waits_again_for_a_place_that_is_away(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """One caller pays its deadline; the next are told at once, and a new connection is a try."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 3_600.0)
    line.place.error = AWAY
    await line.delivery.deliver(Drop(names=("k:a",)))
    while line.place.tries < 2:
        await asyncio.sleep(0)
    for number in range(100):
        assert not await line.delivery.deliver(Drop(names=(f"k:{number}",)))
    assert line.place.tries == 2
    line.place.error = None
    line.place.connected()
    await line.settled()
    assert all(line.place.knows(f"k:{number}") for number in range(100))
    assert line.place.knows("k:a")
    assert await line.delivery.deliver(Drop(names=("k:z",)))
    await line.delivery.close()


async def test_one_that_is_refused_hinders_no_other(line: Line) -> None:
    """Who may not walk through the keys may still drop names."""

    async def drop(drop: Drop) -> None:
        if drop.patterns:
            raise REFUSED
        line.place.taken.append(drop)

    line.place.drop = drop  # type: ignore[method-assign]  # a place with a mind of its own
    assert not await line.delivery.deliver(Drop(patterns=("p*",)))
    assert await line.delivery.deliver(Drop(names=("k:a",)))
    assert not await line.delivery.deliver(Drop(names=("k:b",), patterns=("p*",)))
    while not line.place.knows("k:b"):
        await asyncio.sleep(0)
    assert not line.delivery.covers("k:b", ())
    assert line.delivery.covers("k:pp", ())
    await line.delivery.close()


async def test_a_cancelled_drop_is_delivered_all_the_same(line: Line) -> None:
    """It may have arrived or not: it is sent again."""
    line.place.gate = asyncio.Event()
    task = asyncio.ensure_future(line.delivery.deliver(Drop(names=("k:a",))))
    while not line.place.tries:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert line.delivery.covers("k:a", ())
    line.place.gate.set()
    await line.settled()
    assert line.place.knows("k:a")
    await line.delivery.close()


async def test_the_same_drop_again_while_the_first_is_tried_is_another_one(line: Line) -> None:
    """What the first try did may be older than what the second is about."""
    line.place.error = AWAY
    await line.delivery.deliver(Drop(names=("k:a",)))
    line.place.gate = asyncio.Event()
    tries = line.place.tries
    while line.place.tries == tries:
        await asyncio.sleep(0.001)
    assert not await line.delivery.deliver(Drop(names=("k:a",)))
    line.place.error = None
    line.place.gate.set()
    await line.settled()
    assert line.place.taken.count(Drop(names=("k:a",))) == 2
    await line.delivery.close()


async def test_what_was_delivered_lately_is_sent_again_on_a_new_connection(line: Line) -> None:
    """A failover may have lost it; what is older is safe."""
    await line.delivery.deliver(Drop(names=("k:old",)))
    line.clock.advance(RECENT_SECONDS + 1)
    await line.delivery.deliver(Drop(names=("k:new",)))
    await line.delivery.deliver(Drop(tags=("t",)))
    line.place.taken.clear()
    line.place.connected()
    assert line.delivery.covers("k:new", ())
    assert not line.delivery.covers("k:old", ())
    await line.settled()
    assert line.place.taken == [Drop(names=("k:new",), tags=("t",))]
    line.clock.advance(RECENT_SECONDS + 1)
    line.place.taken.clear()
    line.place.connected()
    assert line.delivery.pending == 0
    await line.delivery.close()


async def test_more_than_can_be_remembered_is_sent_again_as_everything(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory for it is bounded."""
    monkeypatch.setattr(module, "DELIVERIES_MAX", 100)
    for number in range(101):
        await line.delivery.deliver(Drop(names=(f"k:{number}",)))
    line.place.taken.clear()
    line.place.connected()
    await line.settled()
    assert Drop(everything=True) in line.place.taken
    await line.delivery.close()


async def test_closing_tries_once_more_and_leaves_no_task(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    """What still does not arrive is said."""
    line.place.error = AWAY
    await line.delivery.deliver(Drop(names=("k:a",)))
    await line.delivery.close()
    assert "1 drops did not reach Redis before" in caplog.text
    assert asyncio.all_tasks() == {asyncio.current_task()}
    line.place.error = None
    await line.delivery.close()
    assert line.place.knows("k:a")


def test_what_was_kept_in_one_loop_arrives_in_the_next(line: Line) -> None:
    """A program may run one loop after the other."""

    async def first() -> None:
        line.place.error = AWAY
        await line.delivery.deliver(Drop(names=("k:a",)))

    async def second() -> None:
        line.place.error = None
        await line.settled()
        await line.delivery.close()

    asyncio.run(first())
    asyncio.run(second())
    assert line.place.knows("k:a")


@given(st.lists(st.tuples(st.sampled_from(["drop", "fail", "heal", "connect", "lose", "turn"]), DROPS), max_size=25))
def test_every_drop_is_known_or_covered_at_every_moment(steps: list[tuple[str, Drop]]) -> None:
    """Whatever fails, comes back, or is lost by a server within the time that is remembered."""

    async def run() -> None:
        line = Line()
        wanted: Counter[str] = Counter()
        for step, drop in steps:
            match step:
                case "drop":
                    await line.delivery.deliver(drop)
                    wanted.update(drop.names)
                case "fail":
                    line.place.error = AWAY
                case "heal":
                    line.place.error = None
                case "connect":
                    line.place.connected()
                case "lose":
                    line.place.taken.clear()
                    line.place.connected()
                case _:
                    await asyncio.sleep(0)
            lost = [name for name in wanted if not line.place.knows(name) and not line.delivery.covers(name, ())]
            assert lost == []
        line.place.error = None
        line.place.connected()
        await line.settled()
        assert [name for name in wanted if not line.place.knows(name)] == []
        assert line.delivery.pending == 0
        await line.delivery.close()

    asyncio.run(run())
