"""The whole way: a transaction, the outbox and a feed of changes, as a program has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from tercet.changes.outbox import Outbox
from tercet.changes.stream.postgres import postgres_changes
from tercet.changes.transaction.postgres_transactions import Transactions
from tercet.clock import SystemClock
from tercet.router import Entity, EntitySaved, mongo, postgres, redis
from tercet.telemetry import Telemetry

# Both cores may be taken: nothing here is about how fast a change arrives.
PATIENCE_SECONDS = 90.0


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await holds():
            await asyncio.sleep(0.02)


async def test_a_save_commits_with_its_row_and_reaches_the_other_stores(world: Any) -> None:
    """What was rolled back is nowhere; what was committed is everywhere, the last save of each field."""
    world.router.register(world.customer)
    await world.add(1)
    outbox = Outbox(world.db.postgres, durable="table", clock=SystemClock(), telemetry=Telemetry())
    await outbox.install()
    outbox.on(EntitySaved)(world.router.apply)
    transactions = Transactions(world.db.postgres, clock=SystemClock(), telemetry=Telemetry(), outbox=lambda: outbox)
    async with outbox:
        with pytest.raises(ZeroDivisionError):
            await _fails(world, transactions)
        for number in range(5):
            async with transactions.begin() as tx:
                edit = world.customer.edit(
                    1, name=f"n{number}", city=f"c{number}", taste=world.taste(genre=f"g{number}")
                )
                await world.router.save(edit, tx=tx)
        async with transactions.begin() as tx:
            await world.router.save(world.customer.edit(1, city="last"), tx=tx)
            nested = await tx.session.begin_nested()
            await world.router.save(world.customer.edit(1, city="never"), tx=tx)
            await nested.rollback()

        async def there() -> bool:
            found = await world.router.load(world.customer, 1)
            return (found.name, found.city, found.taste.genre) == ("n4", "last", "g4")

        await until(there)


async def _fails(world: Any, transactions: Transactions) -> None:
    async with transactions.begin() as tx:
        await world.router.save(world.customer.edit(1, city="rolled back"), tx=tx)
        raise ZeroDivisionError


class Feed:
    """The changes of the test's database."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.changes = postgres_changes(
            world.db.settings, clock=SystemClock(), telemetry=Telemetry(), publication="tercet", service="shop"
        )

    async def slots(self) -> bool:
        """Whether there is none."""
        async with self.world.db.postgres.transaction() as connection:
            many = await connection.exec_driver_sql(
                "select count(*) from pg_replication_slots where database = current_database()"
            )
            return bool(many.scalar_one() == 0)


@pytest_asyncio.fixture
async def feed(world: Any) -> AsyncIterator[Feed]:
    """A publication, and what reads it; its slot is gone at the end, for it is a temporary one."""
    async with world.db.postgres.transaction() as connection:
        await connection.exec_driver_sql("create publication tercet for table users")
    made = Feed(world)
    yield made
    await made.changes.close()
    await until(made.slots)


async def test_a_projection_follows_the_commits_of_a_real_table(world: Any, feed: Feed) -> None:
    """What was there is built, and what is inserted, changed and deleted afterwards follows."""

    class Card(Entity, key=int):
        name: str = postgres(world.user.name)
        shown: str | None = mongo("cards", on="user", field="shown")
        label: str | None = redis.string("card:{key}:label")

    async with world.db.postgres.session() as session, session.begin():
        session.add_all([world.user(id=key, name=f"u{key}") for key in (1, 2, 3)])
    projection = world.router.projection(Card, shown=world.user.name, label=world.user.name)
    subscription = feed.changes.subscribe(projection)
    await subscription.ready()
    async with world.db.postgres.transaction() as connection:
        await connection.exec_driver_sql("update users set name = 'changed' where id = 2")
        await connection.exec_driver_sql("insert into users (id, name) values (4, 'new')")
    async with world.db.postgres.transaction() as connection:
        await connection.exec_driver_sql("delete from users where id = 3")

    async def there() -> bool:
        cards = await world.db.mongo["cards"].find({}).to_list()
        shown = {card["user"]: card.get("shown") for card in cards if card.get("shown") is not None}
        labels = [await world.db.redis.get(f"card:{key}:label") for key in (1, 2, 3, 4)]
        return shown == {1: "u1", 2: "changed", 4: "new"} and labels == [b"u1", b"changed", None, b"new"]

    await until(there)
