"""Materialized views on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tercet import Tercet
from tercet.errors import DefinitionMismatch, LockBusy, UsageError
from tercet.rollups import age, create_view, drop_view, refresh_view
from tercet.sql import Index, View

TOTALS = View(
    "totals",
    "select user_id, count(*) as n, sum(total) as total from orders group by user_id",
    key=("user_id",),
    indexes=(Index("totals_by_total", "totals", columns=("total desc", "user_id")),),
)


@pytest_asyncio.fixture
async def db(postgres_url: str) -> AsyncIterator[Tercet]:
    """A database with a few orders."""
    async with Tercet(postgres=postgres_url) as db:
        async with db.postgres.transaction() as connection:
            await connection.exec_driver_sql("create table orders (user_id bigint, total numeric(12,2))")
            await connection.exec_driver_sql("insert into orders values (1, 10), (1, 5), (2, 7)")
        yield db


async def _rows(db: Tercet) -> list[tuple[int, int, str]]:
    async with db.postgres.connection() as connection:
        rows = await connection.exec_driver_sql("select user_id, n, total from totals order by user_id")
        return [(row[0], row[1], str(row[2])) for row in rows.all()]


async def test_a_view_is_created_filled_with_its_key_and_indexes(db: Tercet) -> None:
    """After create_view the view answers, and has what a concurrent refresh and its readers need."""
    created = await create_view(db.postgres, TOTALS)
    assert (created.name, created.existed) == ('"totals"', False)
    assert await _rows(db) == [(1, 2, "15.00"), (2, 1, "7.00")]
    async with db.postgres.connection() as connection:
        rows = await connection.exec_driver_sql(
            "select indisunique from pg_index where indrelid = 'totals'::regclass order by 1"
        )
        assert [row[0] for row in rows.all()] == [False, True]


async def test_a_refresh_shows_what_was_committed_before_it(db: Tercet) -> None:
    """The view is as old as its last refresh, and no older."""
    await create_view(db.postgres, TOTALS)
    async with db.postgres.transaction() as connection:
        await connection.exec_driver_sql("insert into orders values (3, 1)")
    assert len(await _rows(db)) == 2
    refreshed = await refresh_view(db.postgres, TOTALS)
    assert refreshed.concurrently
    assert await _rows(db) == [(1, 2, "15.00"), (2, 1, "7.00"), (3, 1, "1.00")]


async def test_readers_read_on_during_a_concurrent_refresh(db: Tercet) -> None:
    """While a refresh is held up, the old rows are there to be read."""
    await create_view(db.postgres, TOTALS)
    async with db.postgres.transaction() as holder:
        # EXCLUSIVE is what a concurrent refresh takes: it waits for this, and readers do not.
        await holder.exec_driver_sql("lock table orders in access exclusive mode")
        refreshing = asyncio.create_task(refresh_view(db.postgres, TOTALS))
        await asyncio.sleep(0.1)
        assert await asyncio.wait_for(_rows(db), 2) == [(1, 2, "15.00"), (2, 1, "7.00")]
        assert not refreshing.done()
    await refreshing


async def test_two_refreshes_never_overlap(db: Tercet) -> None:
    """The second is refused at once instead of queueing behind the first."""
    await create_view(db.postgres, TOTALS)
    async with db.postgres.transaction() as holder:
        await holder.exec_driver_sql("lock table orders in access exclusive mode")
        first = asyncio.create_task(refresh_view(db.postgres, TOTALS))
        await asyncio.sleep(0.1)
        with pytest.raises(LockBusy, match='The refresh of the materialized view "totals" is under way already'):
            await refresh_view(db.postgres, TOTALS)
    await first


async def test_a_view_without_data_is_refreshed_plainly(db: Tercet) -> None:
    """PostgreSQL cannot refresh an unpopulated view concurrently; tercet sees that and fills it."""
    await create_view(db.postgres, TOTALS)
    async with db.postgres.transaction() as connection:
        await connection.exec_driver_sql("refresh materialized view totals with no data")
    assert not (await refresh_view(db.postgres, TOTALS)).concurrently
    assert len(await _rows(db)) == 2


async def test_creating_a_view_again_keeps_it(db: Tercet) -> None:
    """The same definition is found there, and is not filled anew."""
    await create_view(db.postgres, TOTALS)
    async with db.postgres.transaction() as connection:
        await connection.exec_driver_sql("insert into orders values (3, 1)")
    assert (await create_view(db.postgres, TOTALS)).existed
    assert len(await _rows(db)) == 2


async def test_a_view_with_another_query_is_refused(db: Tercet) -> None:
    """A view of that name that asks something else is not touched."""
    await create_view(db.postgres, TOTALS)
    other = View("totals", "select user_id, 1 as n, 2 as total from orders group by 1", key=("user_id",))
    with pytest.raises(DefinitionMismatch, match='materialized view "totals"'):
        await create_view(db.postgres, other)
    assert len(await _rows(db)) == 2


async def test_refreshing_a_view_that_is_not_there_says_so(db: Tercet) -> None:
    """The error names the call that makes it."""
    with pytest.raises(UsageError, match=r'no materialized view "totals"\. Make it first, with create_view'):
        await refresh_view(db.postgres, TOTALS)


async def test_a_dropped_view_is_gone_and_dropping_it_again_is_harmless(db: Tercet) -> None:
    """drop_view asks for nothing to be there."""
    await create_view(db.postgres, TOTALS)
    await drop_view(db.postgres, TOTALS)
    await drop_view(db.postgres, TOTALS)
    assert not (await create_view(db.postgres, TOTALS)).existed


async def test_a_view_that_has_lost_its_unique_index_says_how_to_mend_it(db: Tercet) -> None:
    """It can be refreshed plainly, and concurrently once its index is there again."""
    await create_view(db.postgres, TOTALS)
    async with db.postgres.transaction() as connection:
        await connection.exec_driver_sql("drop index totals_key")
    with pytest.raises(UsageError, match=r"has no unique index over all its rows.*create_view, which builds"):
        await refresh_view(db.postgres, TOTALS)
    assert not (await refresh_view(db.postgres, TOTALS, concurrently=False)).concurrently
    await create_view(db.postgres, TOTALS)
    assert (await refresh_view(db.postgres, TOTALS)).concurrently


async def test_a_view_knows_its_age_and_which_refresh_is_cheaper(db: Tercet) -> None:
    """The database remembers both: another process would read the same."""
    assert await age(db.postgres, TOTALS) is None
    await create_view(db.postgres, TOTALS)
    first = await age(db.postgres, TOTALS)
    assert first is not None
    assert first.plain_seconds is not None
    assert first.concurrent_seconds is None
    await refresh_view(db.postgres, TOTALS)
    second = await age(db.postgres, TOTALS)
    assert second is not None
    assert second.as_of is not None
    assert first.as_of is not None
    assert second.as_of > first.as_of
    assert second.age is not None
    assert second.age >= 0
    for plain, concurrent, taken in ((0.01, 0.02, False), (0.01, 0.005, True), (3.0, 9.0, True), (0.01, None, False)):
        async with db.postgres.transaction() as connection:
            text = "update tercet.rollups set plain_seconds = $1::float8, concurrent_seconds = $2::float8"
            await connection.exec_driver_sql(text, (plain, concurrent))
        assert (await refresh_view(db.postgres, TOTALS, concurrently=None)).concurrently is taken
    await drop_view(db.postgres, TOTALS)
    assert await age(db.postgres, TOTALS) is None
