"""The ladder's own queries keep using the indexes that were made for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest_asyncio

from tercet import Tercet
from tercet.migrations import build_index, vacuum
from tercet.rollups import create_summary, create_view
from tercet.sql import Plan
from tercet_shop import prepare
from tercet_shop.rungs import (
    ACTIVE_USERS,
    FROM_TOTALS,
    FROM_VIEW,
    ORDERS_OF_A_USER,
    REWRITTEN,
    SPENDERS,
    TOTALS,
)

# What each query reads, and through which index; users are fetched by their key, for the hundred that are left.
READS = {
    REWRITTEN: {"ix_users_active_created_at", "ix_orders_user_id_total", "pk_users"},
    FROM_VIEW: {"ix_active_spenders_total", "pk_users"},
    FROM_TOTALS: {"ix_user_totals_total_spent", "pk_users"},
}


@pytest_asyncio.fixture
async def db(postgres_url: str) -> AsyncIterator[Tercet]:
    """A shop with everything that the rungs have built."""
    # Waits for the disk: only pages whose commit is safely there are marked as all-visible.
    async with Tercet(postgres=f"{postgres_url}?options=-csynchronous_commit%3Don") as db:
        await prepare(db, users=5_000, orders=25_000, documents=False)
        for index in (ACTIVE_USERS, ORDERS_OF_A_USER):
            await build_index(db.postgres, index)
        for table in ("users", "orders"):
            await vacuum(db.postgres, table)
        await create_view(db.postgres, SPENDERS)
        await create_summary(db.postgres, TOTALS)
        yield db


async def test_each_rung_reads_through_its_indexes_and_a_whole_table_never(db: Tercet) -> None:
    """No sequential scan, nothing sorted that an index has in order, and the planner is not forced."""
    for query, indexes in READS.items():
        plan = await _plan(db, query)
        assert {node.index for node in plan.walk() if node.index} == indexes, plan.text()
        assert plan.nodes("Seq Scan") == (), plan.text()


async def test_the_covering_indexes_spare_the_tables(db: Tercet) -> None:
    """What the rewrite aggregates comes out of the index alone."""
    plan = await _plan(db, REWRITTEN)
    covering = plan.nodes("Index Only Scan")
    assert {node.index for node in covering} == {"ix_users_active_created_at", "ix_orders_user_id_total"}
    assert [node.heap_fetches for node in covering] == [0, 0], plan.text()


async def _plan(db: Tercet, query: str) -> Plan:
    since = datetime(2024, 1, 1, tzinfo=UTC)
    async with db.postgres.connection() as connection:
        rows = await connection.exec_driver_sql(
            "explain (analyze, format json) " + query.replace(":since", "$1"), (since,)
        )
        return Plan.read(rows.scalar_one())
