"""The outbox on real servers: what commits is handled, in order, and nothing else is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from tercet.changes.outbox import Delivery, Event, Outbox
from tercet.changes.outbox.event import Catalogue
from tercet.errors import Refused, StoreError, UsageError

if TYPE_CHECKING:
    from tercet import Tercet


class Paid(Event, key="order_id", name_as="journey.Paid"):
    """An order was paid."""

    order_id: int
    n: int


async def _say(db: Tercet, outbox: Outbox, *events: Event) -> None:
    async with db.postgres.transaction() as connection:
        await outbox.emit(connection, events)


async def _rows(db: Tercet, statement: str) -> list[Any]:
    async with db.postgres.transaction() as connection:
        return [tuple(row) for row in (await connection.execute(text(statement))).all()]


def _outbox(db: Tercet, **options: Any) -> Outbox:
    return Outbox(db.postgres, poll="10ms", mongo=db.mongo, redis=db.redis, chance=lambda: 0.0, **options)


@pytest.mark.parametrize("durable", ["table", "slot", "auto"])
async def test_what_commits_is_handled_in_order_and_what_does_not_is_not(
    db: Tercet, feed: Any, until: Any, durable: str
) -> None:
    """A rollback takes its events with it, and so does a rollback to a savepoint."""
    outbox = _outbox(db, durable=durable, slot=feed.slot, feed=feed)
    await outbox.install()
    seen: list[tuple[int, int]] = []

    @outbox.on(Paid)
    async def handle(event: Paid) -> None:
        seen.append((event.order_id, event.n))

    async with outbox:
        await _say(db, outbox, *(Paid(order_id=k, n=1) for k in range(3)))
        async with db.postgres.connection() as connection:
            await outbox.emit(connection, [Paid(order_id=0, n=99)])
            await connection.rollback()
        async with db.postgres.session() as session:
            await outbox.emit(session, [Paid(order_id=0, n=2)])
            savepoint = await session.begin_nested()
            await outbox.emit(session, [Paid(order_id=0, n=98)])
            await savepoint.rollback()
            await outbox.emit(session, [Paid(order_id=0, n=3)])
            await session.commit()
        await until(lambda: len(seen) >= 5)
    assert [n for key, n in seen if key == 0] == [1, 2, 3]
    assert sorted(seen) == [(0, 1), (0, 2), (0, 3), (1, 1), (2, 1)]
    assert await _rows(db, "select 1 from tercet.outbox union all select 1 from tercet.parked") == []


async def test_emit_without_tables_names_the_mend(db: Tercet) -> None:
    """It makes none by itself inside a user's transaction."""
    outbox = _outbox(db, durable="table")
    with pytest.raises(UsageError, match="tercet changes install"):
        await _say(db, outbox, Paid(order_id=1, n=1))
    await asyncio.gather(outbox.install(), outbox.install())
    await outbox.install()
    await _say(db, outbox, Paid(order_id=1, n=1))


async def test_a_slot_that_is_gone_is_noticed_by_the_next_emit(db: Tercet, feed: Any, until: Any) -> None:
    """Into the table meanwhile, or refused where only the log was asked for; back into the log when it is there."""
    auto, strict = (_outbox(db, slot=feed.slot, durable=durable) for durable in ("auto", "slot"))
    await auto.install()
    await _say(db, auto, Paid(order_id=1, n=1))
    assert await _rows(db, "select 1 from tercet.outbox") == []
    assert len((await feed.peek())[-1].messages) == 1
    await feed.drop()
    with pytest.raises(StoreError, match="Nobody would hear"):
        await _say(db, strict, Paid(order_id=1, n=2))
    await _say(db, auto, Paid(order_id=1, n=3))
    assert len(await _rows(db, "select 1 from tercet.outbox")) == 1
    async with db.postgres.autocommit() as connection:
        await connection.execute(
            text("select pg_create_logical_replication_slot(:slot, 'pgoutput')"), {"slot": feed.slot}
        )
    # Of another key at once; of this one not before the table has nothing of it, or it would overtake.
    await _say(db, auto, Paid(order_id=2, n=4))
    await _say(db, auto, Paid(order_id=1, n=5))
    assert len((await feed.peek())[-1].messages) + len(await _rows(db, "select 1 from tercet.outbox")) == 3
    assert [key for (key,) in await _rows(db, "select key from tercet.outbox order by seq")] == ["1", "1"]


@pytest.mark.parametrize("durable", ["table", "slot"])
async def test_a_failing_event_holds_up_its_own_key_and_nothing_else(
    db: Tercet, feed: Any, until: Any, durable: str
) -> None:
    """It is parked, those behind it wait, others pass, and the log moves on."""
    outbox = _outbox(db, durable=durable, slot=feed.slot, feed=feed)
    await outbox.install()
    seen: list[tuple[int, int]] = []
    mended = False

    @outbox.on(Paid, name="mine")
    async def handle(event: Paid) -> None:
        if event.order_id == 1 and not mended:
            raise ValueError("postgresql://me:secret@host/db did not like it")
        seen.append((event.order_id, event.n))

    async with outbox:
        await _say(db, outbox, *(Paid(order_id=k, n=n) for n in range(3) for k in range(3)))
        await until(lambda: len(seen) == 6)

        async def parked() -> bool:
            return len(await _rows(db, "select 1 from tercet.parked where error is null")) == 2

        await until(parked)
        ((reason,),) = await _rows(db, "select reason from tercet.parked where error = 'ValueError'")
        assert "secret" not in reason
        mended = True
        await until(lambda: len(seen) == 9)
    assert [n for key, n in seen if key == 1] == [0, 1, 2]
    if durable == "slot":
        assert await feed.peek() == []


async def test_each_consumer_of_an_event_is_retried_by_itself(db: Tercet, until: Any) -> None:
    """One that refuses has its dead letter, and the others know nothing of it."""
    outbox = _outbox(db, durable="table")
    await outbox.install()
    seen: list[tuple[str, int]] = []

    @outbox.on(Paid, name="well")
    async def well(event: Paid) -> None:
        seen.append(("well", event.n))

    @outbox.on(Paid, name="refuses")
    async def refuses(event: Paid) -> None:
        if event.n == 1:
            raise Refused("No such order.")
        seen.append(("refuses", event.n))

    @outbox.on(Paid, name="fails", attempts=2)
    async def fails(event: Paid, delivery: Delivery) -> None:
        if event.n == 1:
            seen.append(("attempt", delivery.attempt))
            raise KeyError(event.n)
        seen.append(("fails", event.n))

    async with outbox:
        await _say(db, outbox, Paid(order_id=1, n=1), Paid(order_id=1, n=2))
        await until(lambda: ("fails", 2) in seen and ("refuses", 2) in seen and ("well", 2) in seen)
    assert [n for who, n in seen if who == "well"] == [1, 2]
    assert [n for who, n in seen if who == "attempt"] == [1, 2]
    dead = await _rows(db, "select consumer, error, attempts from tercet.parked where dead order by consumer")
    assert dead == [("fails", "KeyError", 2), ("refuses", "Refused", 1)]


async def test_what_nobody_can_read_is_a_dead_letter_and_blocks_nobody(
    db: Tercet, feed: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise, an unknown type and a newer version, beside one that is well."""
    outbox = _outbox(db, slot=feed.slot)
    await outbox.install()
    seen: list[int] = []

    @outbox.on(Paid, name="mine")
    async def handle(event: Paid) -> None:
        seen.append(event.n)

    async with db.postgres.transaction() as connection:
        await connection.execute(text("select pg_logical_emit_message(true, 'tercet:outbox:tercet', 'noise'::bytea)"))

    class Stranger(Event, key="x"):
        x: int

    class Newer(Event, key="order_id", name_as="journey.Paid", version=7):
        order_id: int

    class Other(Event, name_as="journey.Paid"):
        words: str

    for one in (Stranger(x=1), Newer(order_id=1), Other(words="?"), Paid(order_id=1, n=1)):
        await _say(db, _outbox(db, slot=feed.slot), one)
    # As in another process, which has no such class.
    monkeypatch.setattr(Catalogue, "knows", lambda _self, name: name == "journey.Paid")
    await feed.step(outbox.relay)

    async def passed() -> bool:
        await outbox.relay.retry()
        await outbox.relay.settled()
        return seen == [1]

    await until(passed)
    dead = await _rows(db, "select consumer, type, error from tercet.parked where dead order by seq")
    assert dead == [
        ("", "", "Unreadable"),
        ("", "Stranger", "Unreadable"),
        ("mine", "journey.Paid", "Unreadable"),
        ("mine", "journey.Paid", "Unreadable"),
    ]


async def test_a_consumer_of_another_process_finds_its_events_parked(db: Tercet, until: Any) -> None:
    """Whoever leads need not have every handler: the release that is rolled out brings new ones."""
    old, new = _outbox(db, durable="table"), _outbox(db, durable="table")
    await old.install()
    seen: list[str] = []

    @old.on(Paid, name="old")
    async def handle(event: Paid) -> None:
        seen.append("old")

    @new.on(Paid, name="new")
    async def other(event: Paid) -> None:
        seen.append("new")

    await new.relay.enrol()
    await old.relay.enrol()
    await _say(db, old, Paid(order_id=1, n=1))
    await until(old.relay.drain)
    assert seen == ["old"]
    await until(new.relay.retry)
    await new.relay.settled()
    assert seen == ["old", "new"]
    assert await _rows(db, "select 1 from tercet.parked") == []


async def test_rows_of_a_transaction_wait_for_older_ones_that_still_run(db: Tercet) -> None:
    """Numbers are given before commits: what an older transaction may still add is waited for."""
    outbox = _outbox(db, durable="table")
    await outbox.install()
    seen: list[int] = []

    @outbox.on(Paid, name="mine")
    async def handle(event: Paid) -> None:
        seen.append(event.n)

    async with db.postgres.transaction() as slow:
        await outbox.emit(slow, [Paid(order_id=1, n=1)])
        await _say(db, outbox, Paid(order_id=1, n=2))
        assert await outbox.relay.drain() == 0
    assert await outbox.relay.drain() == 2
    assert seen == [1, 2]


async def test_two_relays_share_the_table_by_keys(db: Tercet, until: Any) -> None:
    """What one holds of a key keeps the other from that key, also from events that come later."""
    one, two = _outbox(db, durable="table"), _outbox(db, durable="table")
    await one.install()
    seen: list[tuple[str, int, int]] = []
    gate = asyncio.Event()
    began = asyncio.Event()

    @one.on(Paid, name="mine")
    async def slow(event: Paid) -> None:
        began.set()
        await gate.wait()
        seen.append(("one", event.order_id, event.n))

    @two.on(Paid, name="mine")
    async def quick(event: Paid) -> None:
        seen.append(("two", event.order_id, event.n))

    await _say(db, one, Paid(order_id=1, n=1))
    first = asyncio.create_task(one.relay.drain())
    await began.wait()
    await _say(db, one, Paid(order_id=1, n=2), Paid(order_id=2, n=3))
    await until(two.relay.drain)
    await two.relay.drain()
    assert seen == [("two", 2, 3)]
    gate.set()
    await first
    await until(two.relay.drain)
    assert seen == [("two", 2, 3), ("one", 1, 1), ("two", 1, 2)]


async def test_a_handler_that_takes_long_is_parked_with_its_lease_and_holds_nobody(db: Tercet, feed: Any) -> None:
    """The log moves on, what stands behind waits for it, and it is settled when it has ended."""
    outbox = _outbox(db, slot=feed.slot)
    await outbox.install()
    outbox.relay._hold = 0.05
    seen: list[tuple[int, int]] = []
    gate = asyncio.Event()

    @outbox.on(Paid, name="mine")
    async def handle(event: Paid) -> None:
        if (event.order_id, event.n) == (1, 1):
            await gate.wait()
        seen.append((event.order_id, event.n))

    await _say(db, outbox, Paid(order_id=1, n=1), Paid(order_id=1, n=2))
    assert await feed.step(outbox.relay) == 1
    await _say(db, outbox, Paid(order_id=1, n=3), Paid(order_id=2, n=1))
    outbox.relay._hold = 30.0
    assert await feed.step(outbox.relay) == 1
    assert (seen, await feed.peek()) == ([(2, 1)], [])
    assert await outbox.relay.retry() == 0
    gate.set()
    await outbox.relay.settled()
    assert await outbox.relay.retry() == 2
    await outbox.relay.settled()
    assert seen == [(2, 1), (1, 1), (1, 2), (1, 3)]
    assert await _rows(db, "select 1 from tercet.parked") == []
