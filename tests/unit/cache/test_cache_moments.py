"""The moments that tags are dropped for, and the rule of a fill."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.cache.moments import Beat, Recent, Record, Span, may_keep
from tercet.cache.moments import recent as recently
from tercet.cache.moments.span import (
    BUCKET_SECONDS,
    RECORDS_EXACT,
    RECORDS_NEWEST,
    WINDOW_SECONDS,
    digest,
    folded,
    read,
    settled,
    told,
    written,
)
from tercet.cache.shelf import Drop
from tercet.cache.shelf.layout import message, messages
from tercet.cache.shelf.owed import MOMENTS_MAX, Owed
from tercet.clock import StoppedClock
from tercet.witness import Moment, Snapshot, Through, Witness

PG, OTHER = "pg:7", "mongo:a"
WINDOW_MS = int(WINDOW_SECONDS * 1000)

MOMENTS = st.integers(min_value=0, max_value=2**64 - 1)
SOURCES = st.sampled_from([PG, OTHER])


@st.composite
def spans(draw: st.DrawFn) -> Span:
    """Any span of one of two stores."""
    first, last = sorted((draw(MOMENTS), draw(MOMENTS)))
    return Span(digest(draw(SOURCES)), first, draw(st.sampled_from([first, last])))


def one(at: int, source: str = PG) -> Span:
    """One moment."""
    return Span.of(Moment(source, at))


def record(at: int, *, is_settled: bool = False, source: str = PG) -> Record:
    """A record of one moment."""
    return Record(digest(source), at, at, 0, is_settled)


def seeing(*seen: Snapshot | Through) -> Witness:
    """A witness who was told this."""
    made = Witness()
    for each in seen:
        made.note(each)
    return made


@given(st.lists(st.builds(Record, st.binary(min_size=8, max_size=8), MOMENTS, MOMENTS, MOMENTS, st.booleans())))
def test_records_come_back_as_they_were_written(records: list[Record]) -> None:
    """Also when a part of one hangs on behind."""
    assert read(written(records)) == tuple(records)
    assert read(written(records) + b"x") == tuple(records)
    assert read(None) == ()


@given(st.lists(st.tuples(st.integers(0, 3 * WINDOW_MS), st.lists(spans(), min_size=1, max_size=4)), max_size=40))
def test_what_was_told_within_the_window_is_always_asked_for(told_at: list[tuple[int, list[Span]]]) -> None:
    """Every moment younger than the window lies in some record, and the number of these is bounded."""
    held: list[Record] = []
    told_at.sort(key=lambda each: each[0])
    for now, some in told_at:
        held = told(held, some, now)
    now = told_at[-1][0] if told_at else 0
    for at, some in told_at:
        for span in some:
            if at > now - WINDOW_MS:
                assert any(
                    each.source == span.source and each.first <= span.first and span.last <= each.last for each in held
                )
    buckets = int(WINDOW_SECONDS / BUCKET_SECONDS) + 2
    assert len(held) <= max(RECORDS_EXACT, RECORDS_NEWEST + 2 * buckets)


def test_old_records_leave_though_a_tag_is_dropped_all_the_time() -> None:
    """What is put together is put together by its time, so it ends with it."""
    held: list[Record] = []
    for number in range(3_000):
        held = told(held, [one(number)], number * 100)
    oldest = min(each.first for each in held)
    assert oldest >= 3_000 - (WINDOW_SECONDS + 2 * BUCKET_SECONDS) * 10


def test_a_span_that_is_told_again_stays_settled_and_is_young_again() -> None:
    """As a drop is that was sent twice."""
    held = settled(told([], [one(5)], 0), digest(PG), 4, [one(5)])
    assert held == [Record(digest(PG), 5, 5, 0, settled=True)]
    assert told(held, [one(5)], 9) == [Record(digest(PG), 5, 5, 9, settled=True)]


def test_settled_is_what_the_store_shows_of_its_own() -> None:
    """Up to a moment, or exactly; another store's records stay as they are."""
    held = [record(3), record(7), record(9), record(3, source=OTHER)]
    found = settled(held, digest(PG), 3, [one(9), one(3, OTHER)])
    assert [each.settled for each in found] == [True, False, True, False]


@given(st.lists(spans(), max_size=40))
def test_many_spans_become_one_a_store_that_holds_them_all(some: list[Span]) -> None:
    """A bounded number of words for a script, whatever came at once."""
    found = folded(some)
    assert len(found) <= 2 * RECORDS_NEWEST
    for span in some:
        assert any(each.source == span.source and each.first <= span.first <= span.last <= each.last for each in found)


@pytest.mark.parametrize(
    ("witness", "is_settled", "kept"),
    [
        (Witness(), False, False),
        (Witness(), True, True),
        (seeing(Snapshot(PG, 11, 11)), False, True),
        (seeing(Snapshot(PG, 10, 10)), True, False),
        (seeing(Snapshot(PG, 9, 12, frozenset({10}))), False, False),
        (seeing(Snapshot(PG, 9, 12, frozenset({9, 11}))), False, True),
        (seeing(Snapshot(PG, 11, 11), Snapshot(PG, 10, 10)), False, False),
        (seeing(Through(OTHER, 99)), False, False),
        (seeing(Through(OTHER, 99)), True, True),
    ],
)
def test_a_fill_is_kept_if_every_read_has_seen_it(witness: Witness, is_settled: bool, kept: bool) -> None:
    """Whoever was told nothing of that store is content with what is settled; a replica is asked all the same."""
    assert may_keep([record(10, is_settled=is_settled)], witness) is kept


@given(
    st.integers(0, 50), st.integers(0, 50), st.integers(0, 60), st.integers(0, 60), st.frozensets(st.integers(0, 60))
)
def test_a_span_is_seen_if_each_of_its_moments_is(a: int, b: int, xmin: int, xmax: int, xip: frozenset[int]) -> None:
    """Never more is taken as seen than is."""
    first, last = min(a, b), max(a, b)
    low, high = min(xmin, xmax), max(xmin, xmax)
    snapshot = Snapshot(PG, low, high, frozenset(each for each in xip if low <= each < high))
    if snapshot.sees_all(first, last):
        assert all(snapshot.sees(at) for at in range(first, last + 1))
    assert all(snapshot.sees(at) for at in range(snapshot.through + 1))


@given(
    st.lists(st.text(min_size=1), max_size=3),
    st.booleans(),
    st.lists(spans(), max_size=12),
    st.lists(MOMENTS, max_size=4),
)
def test_messages_carry_the_moments_of_a_drop(
    tags: list[str], everything: bool, moments: list[Span], whole: list[int]
) -> None:
    """And say of a commit that it is whole only with the last part."""
    drop = Drop(tags=tuple(tags), everything=everything, moments=tuple(moments), told=tuple(map(one, whole)))
    heard = [message(each) for each in messages(drop)]
    assert all(each is not None for each in heard)
    assert [span for each in heard if each for span in each.told] == [*map(one, whole)]
    for each in heard:
        if each is not None and each.drops:
            assert each.moments == folded(moments)


def test_a_large_commit_is_whole_with_the_last_of_its_messages() -> None:
    """Whoever waits for it waits for all of its tags."""
    tags = tuple(f"t{number}" for number in range(1_201))
    heard = [message(each) for each in messages(Drop(tags=tags, moments=(one(1),), told=(one(1),)))]
    assert [each.told if each else None for each in heard] == [(), (), (), (one(1),)]
    assert [tag for each in heard if each for tag in each.tags] == [*tags]


def test_a_drop_that_is_kept_keeps_its_moments() -> None:
    """Those of tags go with the tags, and names are not made tags of by them."""
    bag = Owed()
    bag.add(Drop(names=("k:a",)))
    bag.add(Drop(tags=("t",), moments=(one(1),)))
    assert [*bag.parts()] == [Drop(names=("k:a",)), Drop(tags=("t",), moments=(one(1),))]
    bag.settle(Drop(tags=("t",), moments=(one(1),)))
    bag.add(Drop(tags=("u",)))
    assert [*bag.parts()] == [Drop(names=("k:a",), tags=("u",))]
    for number in range(2 * MOMENTS_MAX):
        bag.add(Drop(tags=("t",), moments=(one(number),)))
    (_, part) = bag.parts()
    assert len(part.moments) <= MOMENTS_MAX
    assert min(each.first for each in part.moments) == 0
    assert max(each.last for each in part.moments) == 2 * MOMENTS_MAX - 1


def test_moments_are_forgotten_after_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of one tag are no other's; too many tags are taken as all."""
    clock = StoppedClock(datetime.now(UTC))
    recent = Recent(clock.monotonic)
    recent.hear(Drop(tags=("t",), moments=(one(1),)))
    recent.hear(Drop(everything=True, moments=(one(2),)))
    assert {each.last for each in recent.of(("t",))} == {1, 2}
    assert {each.last for each in recent.of(("u",))} == {2}
    assert recent.of(()) == ()
    clock.advance(WINDOW_SECONDS + 1)
    assert recent.of(("t",)) == ()
    monkeypatch.setattr(recently, "TAGS_MAX", 3)
    for number in range(5):
        recent.hear(Drop(tags=(f"t{number}",), moments=(one(number),)))
    found = recent.of(("never seen",))
    assert min(each.first for each in found) == 0


async def test_who_waits_for_a_commit_is_told_once_it_is_whole() -> None:
    """Before, after, and never; nobody who has given up is remembered."""
    recent = Recent(StoppedClock(datetime.now(UTC)).monotonic)
    assert not await recent.whole(one(1), 0.001)
    waiting = [asyncio.ensure_future(recent.whole(one(2), 30)) for _ in range(3)]
    gone = asyncio.ensure_future(recent.whole(one(2), 30))
    await asyncio.sleep(0)
    gone.cancel()
    recent.hear(Drop(tags=("t",), told=(one(2),)))
    assert await asyncio.gather(*waiting) == [True, True, True]
    assert await recent.whole(one(2), 0)
    assert recent.tags_of(one(2)) == ("t",)
    assert not await recent.whole(one(1), 0)


def test_a_relay_that_is_not_heard_is_silent() -> None:
    """From when it was first expected; another one's word does not count."""
    clock = StoppedClock(datetime.now(UTC))
    recent = Recent(clock.monotonic)
    assert recent.until == float("inf")
    recent.expect("a")
    clock.advance(2)
    recent.hear(message_of_beat("b"))
    assert recent.silent == ()
    clock.advance(1)
    assert recent.silent == ("a",)
    recent.hear(message_of_beat("a"))
    assert recent.silent == ()
    assert recent.until == clock.monotonic() + recently.RELAY_SILENCE_SECONDS
    recent.forget("a")
    assert recent.until == float("inf")


def message_of_beat(name: str) -> Drop:
    """A relay's sign of life as it comes over the bus."""
    (payload,) = messages(Drop(beat=Beat(name, 0.5)))
    heard = message(payload)
    assert heard is not None
    assert heard.beat == Beat(name, 0.5)
    return heard
