"""Order, retries, parking and death, on a clock that stands still."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tercet.changes import Commit
from tercet.changes.feeding.place import NO_SLOT
from tercet.changes.outbox import Delivery, Event, Outbox
from tercet.changes.outbox.delivery import WAIT_SECONDS_MAX, Work, backoff, permanent, reason_of
from tercet.clock import StoppedClock
from tercet.errors import (
    LockBusy,
    NotOpen,
    PoolExhausted,
    Refused,
    SettingInvalid,
    StoreMissing,
    StoreUnreachable,
    UsageError,
)
from tercet.witness import Moment

if TYPE_CHECKING:
    from collections.abc import Callable


class Did(Event, key="key", name_as="unit.Did"):
    """Something was done."""

    key: int
    n: int


def _outbox(book: Any, clock: StoppedClock, **options: Any) -> Outbox:
    return Outbox(object(), book=book, clock=clock, chance=lambda: 1.0, **options)  # type: ignore[arg-type]  # no database is asked


async def _contents(outbox: Outbox, book: Any, *events: Event) -> list[bytes]:
    await outbox.emit(object(), events)  # type: ignore[arg-type]  # the list needs no transaction
    said, book.table = [content for _, content in book.table], []
    return said


async def test_a_failed_event_is_tried_again_when_its_time_has_come(book: Any, clock: StoppedClock) -> None:
    """Its waits double, and what stands behind it comes after it."""
    outbox, seen = _outbox(book, clock), list[tuple[int, int]]()

    @outbox.on(Did, name="mine")
    async def handle(event: Did, delivery: Delivery) -> None:
        seen.append((event.n, delivery.attempt))
        if event.n == 1 and delivery.attempt < 3:
            raise ValueError("not yet")

    await outbox.relay.take(await _contents(outbox, book, Did(key=1, n=1), Did(key=1, n=2), Did(key=2, n=3)))
    assert sorted(seen) == [(1, 1), (3, 1)]
    for wait in (0.5, 1.0):
        clock.advance(wait - 0.01)
        assert await outbox.relay.retry() == 0
        clock.advance(0.01)
        assert await outbox.relay.retry() == 2
        await outbox.relay.settled()
    assert seen[2:] == [(1, 2), (1, 3), (2, 1)]
    assert book.rows == []


async def test_after_its_last_attempt_an_event_is_dead_and_its_key_goes_on(book: Any, clock: StoppedClock) -> None:
    """The letter has the error's class and text."""
    outbox, seen = _outbox(book, clock), list[int]()

    @outbox.on(Did, name="mine", attempts=2)
    async def handle(event: Did) -> None:
        seen.append(event.n)
        if event.n == 1:
            raise ValueError("wrong: password=hunter2")

    await outbox.relay.take(await _contents(outbox, book, Did(key=1, n=1), Did(key=1, n=2)))
    while len(book.rows) > 1:
        clock.advance(1.0)
        await outbox.relay.retry()
        await outbox.relay.settled()
    assert seen == [1, 1, 2]
    (row,) = book.rows
    assert (row.work.state, row.work.attempts, row.work.error) == ("dead", 2, "ValueError")
    assert "hunter2" not in row.work.reason


async def test_a_handler_that_awaited_something_cancelled_has_failed(book: Any, clock: StoppedClock) -> None:
    """It counts as an attempt and says so, or its key would wait for ever and nobody would know."""
    outbox, seen = _outbox(book, clock), list[int]()

    @outbox.on(Did, name="mine", attempts=2)
    async def handle(event: Did) -> None:
        seen.append(event.n)
        if event.n == 1:
            raise asyncio.CancelledError

    await outbox.relay.take(await _contents(outbox, book, Did(key=1, n=1), Did(key=1, n=2)))
    for _ in range(2):
        clock.advance(1.0)
        await outbox.relay.retry()
        await outbox.relay.settled()
    assert seen == [1, 1, 2]
    (row,) = book.rows
    assert (row.work.state, row.work.error) == ("dead", "CancelledError")


async def test_a_store_that_is_away_kills_no_letter(book: Any, clock: StoppedClock) -> None:
    """It is tried for as long as that lasts, and the attempts that count begin afterwards."""
    outbox, seen = _outbox(book, clock), list[int]()

    @outbox.on(Did, name="mine", attempts=1)
    async def handle(event: Did, delivery: Delivery) -> None:
        seen.append(delivery.attempt)
        if len(seen) < 10:
            raise StoreUnreachable("mongo", reason="it is down")

    await outbox.relay.take(await _contents(outbox, book, Did(key=1, n=1)))
    while book.rows:
        clock.advance(WAIT_SECONDS_MAX)
        await outbox.relay.retry()
        await outbox.relay.settled()
    assert seen == [1] * 10


async def test_keys_are_handled_side_by_side_up_to_the_bound(book: Any, clock: StoppedClock) -> None:
    """Three at once where three are allowed, of twelve keys."""
    outbox = _outbox(book, clock, parallel=3)
    now, most = 0, 0

    @outbox.on(Did)
    async def handle(event: Did) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    await outbox.relay.take(await _contents(outbox, book, *(Did(key=n, n=n) for n in range(12))))
    assert most == 3


async def test_what_could_not_be_parked_is_raised_and_comes_again(book: Any, clock: StoppedClock) -> None:
    """The place in the log must not move when what failed is kept nowhere."""
    outbox = _outbox(book, clock)

    @outbox.on(Did, name="mine")
    async def handle(event: Did) -> None:
        book.away = lambda: True
        raise ValueError

    said = await _contents(outbox, book, Did(key=1, n=1))
    with pytest.raises(StoreUnreachable):
        await outbox.relay.take(said)
    book.away = lambda: False
    assert book.rows == []


async def test_a_handler_that_takes_too_long_is_cut_off_and_tried_again(book: Any, clock: StoppedClock) -> None:
    """It counts as an attempt."""
    outbox, cut = _outbox(book, clock), list[int]()

    @outbox.on(Did, name="mine", within="10ms")
    async def handle(event: Did) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cut.append(event.n)

    await outbox.relay.take(await _contents(outbox, book, Did(key=1, n=1)))
    (row,) = book.rows
    assert (cut, row.work.attempts, row.work.error) == ([1], 1, "TimeoutError")


async def test_a_cancelled_relay_leaves_no_task_and_parks_nothing(book: Any, clock: StoppedClock) -> None:
    """Its commits were not confirmed, so they come again."""
    outbox, began = _outbox(book, clock), asyncio.Event()

    @outbox.on(Did)
    async def handle(event: Did) -> None:
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(outbox.relay.take(await _contents(outbox, book, Did(key=1, n=1))))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (book.rows, [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]) == ([], [])


# What an event does at each attempt, and where the end of the process falls.
_EVENTS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), min_size=1, max_size=12)


@settings(max_examples=60)
@given(events=_EVENTS, seed=st.integers(0, 2**32), away=st.floats(0, 0.5))
def test_whatever_fails_order_is_kept_and_each_event_has_one_end(
    new_book: Callable[[StoppedClock], Any], events: list[tuple[int, int]], seed: int, away: float
) -> None:
    """Random failures of handlers and of every write, deliveries again from the start: handled once, or dead."""
    asyncio.run(_storm(new_book, events, random.Random(seed), away))


class _Marks:
    """An inbox in memory: the effect is made with its mark."""

    def __init__(self) -> None:
        self.made: set[tuple[str, str]] = set()

    async def prepare(self) -> None:
        pass

    async def once(self, consumer: str, event_id: str, effect: Any) -> bool:
        if (consumer, event_id) in self.made:
            return False
        await effect(None)
        self.made.add((consumer, event_id))
        return True


async def _storm(new_book: Any, events: list[tuple[int, int]], chance: random.Random, away: float) -> None:
    clock = StoppedClock()
    book = new_book(clock)
    outbox, effects, tries = _outbox(book, clock), list[tuple[int, int]](), dict[int, int]()

    @outbox.on(Did, once="postgres", name="mine", attempts=3)
    async def handle(event: Did, _tx: object) -> None:
        tries[event.n] = tries.get(event.n, 0) + 1
        await asyncio.sleep(0)
        if tries[event.n] <= events[event.n][1]:
            raise ValueError
        effects.append((event.key, event.n))

    outbox._inboxes["postgres"] = _Marks()
    outbox.relay.patience = ()
    said = await _contents(outbox, book, *(Did(key=key, n=n) for n, (key, _) in enumerate(events)))
    book.away = lambda: chance.random() < away
    start = 0
    while start < len(said) or any(row.work.state != "dead" for row in book.rows):
        if len(tries) > 3 * len(said) or chance.random() < 0.05:
            book.away = lambda: False
        try:
            if start < len(said) and chance.random() < 0.7:
                end = min(len(said), start + chance.randint(1, 4))
                await outbox.relay.take(said[start:end])
                # The end of the process before this is confirmed: it comes again.
                start = end if chance.random() < 0.7 else start
            await outbox.relay.retry()
        except StoreUnreachable:
            pass
        await outbox.relay.settled()
        clock.advance(chance.random() * 40)
    dead = [int(row.work.key) for row in book.rows]
    for key in range(3):
        handled = [n for k, n in effects if k == key]
        assert handled == sorted(set(handled))
        assert len(handled) + dead.count(key) == sum(k == key for k, _ in events)


def test_waits_double_up_to_a_bound_and_are_spread() -> None:
    """Half is fixed and half by chance."""
    assert [backoff(n, 1.0) for n in (1, 2, 3, 10_000)] == [0.5, 1.0, 2.0, WAIT_SECONDS_MAX]
    assert backoff(3, 0.0) == 1.0


def test_errors_that_trying_again_cannot_help_are_known() -> None:
    """Those of the program, and a no for good; not a lock that is busy, nor anything that is not ours."""
    assert permanent(Refused("No such order."))
    assert permanent(UsageError("Wrong."))
    assert not permanent(LockBusy("the work"))
    assert not permanent(ValueError("x"))
    assert not permanent(NotOpen("This Tercet", closed=True))
    work = Work("i", "c", "t", "k", b"")
    work.failed(PoolExhausted("postgres", size=1, waited=1.0, held=None, holder=None), attempts=1, chance=0.0)
    assert (work.state, work.attempts) == ("failed", 0)


def test_what_is_kept_of_an_error_is_short_and_has_no_values() -> None:
    """Neither statements with their parameters, nor passwords, nor NULs."""
    assert reason_of(ValueError("bad\n[SQL: insert]\n[parameters: ('secret')]")) == "bad"
    assert "pw" not in reason_of(ValueError("postgresql://me:pw@host/db is away"))
    assert len(reason_of(ValueError("x" * 10_000))) == 300
    assert reason_of(ValueError("a\0b")) == "a b"


async def test_what_cannot_be_meant_is_refused_where_it_stands(book: Any, clock: StoppedClock) -> None:
    """Handlers, stores, names, and what is emitted."""
    outbox = _outbox(book, clock)

    async def well(event: Did) -> None: ...

    def plain(event: Did) -> None: ...

    async def greedy(event: Did, tx: object, delivery: object, more: object) -> None: ...

    async def pair(event: Did, tx: object) -> None: ...

    outbox.on(Did, name="one")(well)
    with pytest.raises(UsageError, match="two handlers named 'one'"):
        outbox.on(Did, name="one")(well)
    with pytest.raises(UsageError, match="no async function"):
        outbox.on(Did)(plain)  # type: ignore[type-var]  # that is the point
    with pytest.raises(UsageError, match="wants more than it is given"):
        outbox.on(Did)(greedy)
    with pytest.raises(UsageError, match="takes 1 arguments"):
        outbox.on(Did, once="postgres")(well)
    with pytest.raises(StoreMissing):
        outbox.on(Did, once="mongo")(pair)
    with pytest.raises(UsageError, match="is no type of events"):
        outbox.on(str)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(UsageError, match="which is no event"):
        await outbox.emit(object(), ["text"])  # type: ignore[arg-type]  # as above
    for wrong in ({"durable": "slot"}, {"parallel": 0}, {"durable": "both"}):
        with pytest.raises(SettingInvalid):
            _outbox(book, clock, **wrong)
    await outbox.emit(object(), [])  # type: ignore[arg-type]  # nothing is asked of it


async def test_what_is_kept_is_kept_before_it_is_handled(book: Any, clock: StoppedClock) -> None:
    """So a replay finds everything that was ever handed on."""
    outbox, kept = _outbox(book, clock, keep="7d"), list[int]()

    @outbox.on(Did)
    async def handle(event: Did) -> None:
        kept.append(len(book.kept))

    await outbox.relay.take(await _contents(outbox, book, Did(key=1, n=1)))
    assert kept == [1]


async def test_a_handler_that_runs_when_it_is_closed_may_end(book: Any, clock: StoppedClock) -> None:
    """Also one that the feed has begun: it is not cut off, and what stands behind it is parked and not begun."""
    feed, seen, go = _Feed(), list[str](), asyncio.Event()
    outbox = _outbox(book, clock, feed=feed, place="place", durable="slot", slot="slot")

    @outbox.on(Did, name="mine")
    async def handle(event: Did) -> None:
        seen.append(f"began {event.n}")
        await go.wait()
        seen.append(f"ended {event.n}")

    said = await _contents(outbox, book, Did(key=1, n=1), Did(key=1, n=2))
    await outbox.open()
    told = feed.tell(outbox, said)
    while not seen:
        await asyncio.sleep(0)
    closing = asyncio.create_task(outbox.close())
    while not outbox.relay.is_closing:
        await asyncio.sleep(0)
    go.set()
    await closing
    assert told.done()
    assert not told.cancelled()
    assert seen == ["began 1", "ended 1"]
    (row,) = book.rows
    assert row.work.state == "waiting"


class _Feed:
    """Tells a listener in a task of its own, which ends with the subscription."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def subscribe(self, _listener: Any, *, durable: str | None = None, service: str | None = None) -> _Feed:
        assert (durable, service) == ("place", None)
        return self

    def tell(self, outbox: Outbox, said: list[bytes]) -> asyncio.Task[None]:
        self._task = asyncio.create_task(outbox.relay.take(said))
        return self._task

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])


async def test_a_place_that_is_new_alarms_nobody_and_one_that_was_lost_does(
    book: Any, clock: StoppedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing was said into a log that nobody read; a slot that goes while it is read takes something along."""
    relay = _outbox(book, clock).relay
    await relay.resync(NO_SLOT)
    await relay.resync("the server has cut its slot off")
    await relay.hear([Commit(Moment("test", 1), 1, datetime(2024, 1, 1, tzinfo=UTC))])
    await relay.resync(NO_SLOT)
    assert [one.levelname for one in caplog.records if "begins anew" in one.message] == ["WARNING", "WARNING"]
