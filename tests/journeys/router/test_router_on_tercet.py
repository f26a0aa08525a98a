"""Entities as they hang on a Tercet: loaded, saved through its own outbox, and checked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from tercet.router import EntitySaved
from tercet.tercet import Tercet

# Both cores may be taken: nothing here is about how fast an event arrives.
PATIENCE_SECONDS = 90.0


@pytest_asyncio.fixture
async def slotless(world: Any) -> AsyncIterator[Any]:
    """The stores, and no slot left behind: a database that has one cannot be dropped."""
    yield world
    async with asyncio.timeout(PATIENCE_SECONDS), world.db.postgres.autocommit() as connection:
        while True:
            # A server ends a connection, and lets go of its slot, some time after its client has.
            await connection.exec_driver_sql(
                "select pg_drop_replication_slot(slot_name) from pg_replication_slots "
                "where database = current_database() and not active"
            )
            left = await connection.exec_driver_sql(
                "select count(*) from pg_replication_slots where database = current_database()"
            )
            if left.scalar_one() == 0:
                return
            await asyncio.sleep(0.02)


async def test_a_tercet_loads_and_saves_what_lives_in_its_stores(
    slotless: Any, postgres_url: str, mongo_url: str, redis_url: str
) -> None:
    """What db.save has committed is where db.load reads it, in every store."""
    world = slotless
    await world.add(1)
    db = Tercet(postgres=postgres_url, mongo=mongo_url, redis=redis_url, mongo_timeout="60s")
    db.router.register(world.customer)
    # Its tables take what there is no slot for.
    await world.db.outbox.install()
    db.on(EntitySaved)(db.router.apply)
    async with db:
        async with db.transaction() as tx:
            await db.save(world.customer.edit(1, name="Zoë", city="Busan"), tx=tx)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (customer := await db.load(world.customer, 1, deadline="60s")).city != "Busan":
                await asyncio.sleep(0.02)
        assert customer.name == "Zoë"
        assert (await db.save_activity(1, "view", {})).total == 1
        findings = await db.check()
        assert [one.source for one in findings] == ["mongo tastes"]
