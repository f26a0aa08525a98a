"""The outbox with the real feed and the transactions that emit, as a program has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from tercet.changes.feeding.place import Place
from tercet.changes.outbox import Event, Outbox
from tercet.changes.stream.postgres import postgres_changes
from tercet.changes.transaction import Transactions
from tercet.clock import SystemClock
from tercet.telemetry import Telemetry

if TYPE_CHECKING:
    from tercet import Tercet
    from tercet.changes import Changes


class Joined(Event, key="order_id", name_as="joined.Joined"):
    """One step of an order."""

    order_id: int
    n: int


def _feed(db: Tercet) -> Changes:
    return postgres_changes(db.settings, clock=SystemClock(), telemetry=Telemetry(), service="joined")


async def _process(db: Tercet, seen: list[tuple[str, int]], name: str) -> tuple[Outbox, Changes]:
    """What one process of a service has: a feed, and an outbox with the service's handler."""
    feed = _feed(db)
    slot = Place("joined", "outbox", durable=True).slot
    outbox = Outbox(db.postgres, slot=slot, feed=feed, place="outbox", poll="20ms", lease="2s")

    @outbox.on(Joined, once="postgres", name="joined")
    async def handle(event: Joined, tx: Any) -> None:
        await tx.execute(text("insert into steps (n, who) values (:n, :who)"), {"n": event.n, "who": name})
        seen.append((name, event.n))

    return outbox, feed


@pytest.fixture
async def _tables(db: Tercet) -> None:
    await Outbox(db.postgres).install()
    async with db.postgres.autocommit() as connection:
        await connection.exec_driver_sql("create publication tercet")
        await connection.exec_driver_sql(
            "create table steps (seq bigint generated always as identity, n bigint, who text)"
        )


@pytest.mark.usefixtures("_tables")
async def test_what_a_transaction_emits_is_handled_by_whoever_leads(db: Tercet, until: Any) -> None:
    """Through the table while there is no slot, then through the log, and by the other process when one has gone."""
    seen: list[tuple[str, int]] = []
    one, two = await _process(db, seen, "one"), await _process(db, seen, "two")
    transactions = Transactions(db.postgres, clock=SystemClock(), telemetry=Telemetry(), outbox=lambda: one[0])

    async def emit(n: int) -> None:
        async with transactions.begin() as tx:
            tx.emit(Joined(order_id=1, n=n))

    async def undone() -> None:
        async with transactions.begin() as tx:
            tx.emit(Joined(order_id=1, n=99))
            raise ZeroDivisionError

    async def steps() -> list[int]:
        async with db.postgres.transaction() as connection:
            return [n for (n,) in (await connection.exec_driver_sql("select n from steps order by seq")).all()]

    async def slot() -> int:
        async with db.postgres.transaction() as connection:
            rows = await connection.exec_driver_sql(
                "select 1 from pg_replication_slots where confirmed_flush_lsn > '0/0'"
            )
            return len(rows.all())

    async def made(count: int) -> bool:
        return len(await steps()) >= count

    try:
        await emit(1)
        await one[0].open()
        await until(slot)
        await two[0].open()
        await emit(2)
        with pytest.raises(ZeroDivisionError):
            await undone()
        await emit(3)
        await until(lambda: made(3))
        await one[0].close()
        await one[1].close()
        for n in (4, 5):
            await emit(n)
        await until(lambda: made(5))
    finally:
        for outbox, feed in (one, two):
            await outbox.close()
            await feed.close()
    assert await steps() == [1, 2, 3, 4, 5]
    async with db.postgres.transaction() as connection:
        assert (
            await connection.exec_driver_sql("select 1 from tercet.outbox union all select 1 from tercet.parked")
        ).all() == []
    assert {name for name, n in seen if n > 3} == {"two"}
