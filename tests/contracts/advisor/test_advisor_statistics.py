"""pg_stat_statements as a real server keeps it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, nullcontext

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from tercet import Tercet
from tercet.advisor.workload import MARK, from_statistics
from tercet.errors import StatisticsMissing


@pytest.fixture
async def db(postgres_url: str) -> AsyncIterator[Tercet]:
    """A database with two tables."""
    async with Tercet(postgres=postgres_url) as opened:
        async with opened.postgres.transaction() as connection:
            await connection.exec_driver_sql("create table orders (id int primary key, total int, at date)")
            await connection.exec_driver_sql('create table "Odd ""One" (id int)')
        yield opened


class _One:
    """Hands out the one connection that it has."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    def transaction(self, *, within: str | float | None = None) -> AbstractAsyncContextManager[AsyncConnection]:
        """The connection, in whatever transaction it is."""
        return nullcontext(self._connection)


async def _run(db: Tercet, *statements: str) -> None:
    for statement in statements:
        async with db.postgres.transaction() as connection:
            await connection.exec_driver_sql(statement)


async def test_statements_are_counted_and_folded(db: Tercet) -> None:
    """Constants and the lengths of lists fold; calls and rows are added up; names that need quotes pass."""
    await _run(db, *(f"select total from orders where id = {number}" for number in range(5)))
    await _run(db, "select id from orders where id in (1, 2)", "select id from orders where id in (1, 2, 3)")
    await _run(db, 'select count(*) from "Odd ""One" where id > 3')
    found = {query.sql: query for query in (await from_statistics(db.postgres, share=1.0)).queries}
    one = found["select total from orders where id = $1"]
    assert (one.calls, one.rows, one.reading) == (5, 0, True)
    assert one.ms is not None
    assert one.ms > 0
    assert sum("in ($1" in sql for sql in found) == 1
    assert any('"Odd ""One"' in sql for sql in found)


async def test_only_what_can_be_advised_on_is_taken(db: Tercet) -> None:
    """Utility statements, those about the catalogue, and the advisor's own are left out."""
    await _run(
        db,
        "select id from orders where total = 1",
        "analyze orders",
        "set work_mem = '4MB'",
        "select count(*) from pg_class",
        f"select at from orders {MARK}",
        "update orders set total = 2 where at = '2024-01-01'",
    )
    workload = await from_statistics(db.postgres, share=1.0)
    kinds = sorted((query.statement.kind, query.statement.tables) for query in workload.queries)
    assert kinds == [("select", ("orders",)), ("update", ("orders",))]
    assert workload.source == "pg_stat_statements"
    assert workload.seconds is not None


async def test_only_this_database_is_looked_at(db: Tercet, postgres_url: str) -> None:
    """What others ask of other databases is not taken for ours."""
    async with Tercet(postgres=postgres_url.rpartition("/")[0] + "/postgres") as other:
        await _run(other, "create temp table elsewhere as select 1 as id", "select 1 as elsewhere_only")
    await _run(db, "select id from orders where total = 1")
    workload = await from_statistics(db.postgres, share=1.0)
    assert [query.sql for query in workload.queries] == ["select id from orders where total = $1"]


async def test_the_server_cuts_to_the_heaviest(db: Tercet) -> None:
    """So many are taken, the heaviest first, and their share and number are told."""
    await _run(db, *(f"select id from orders where {'total + ' * number} id = 1" for number in range(12)))
    await _run(db, "select count(*) as heavy from generate_series(1, 300000) left join orders on false")
    workload = await from_statistics(db.postgres, top=3, share=1.0)
    assert len(workload.queries) == 3
    assert "heavy" in workload.queries[0].sql
    assert workload.fingerprints >= 13
    assert 0 < workload.share < 1
    only = await from_statistics(db.postgres, share=0.01)
    assert [query.fingerprint for query in only.queries] == [workload.queries[0].fingerprint]


async def test_statements_of_others_are_told_as_hidden(db: Tercet, postgres_url: str) -> None:
    """A user without the right is told how much he does not see, and what would let him."""
    role = f"clerk_{postgres_url.rpartition('_')[2]}"
    await _run(db, f"create role {role}", "select id from orders where total = 1")
    try:
        async with db.postgres.transaction() as connection:
            await connection.exec_driver_sql(f"set local role {role}")

            workload = await from_statistics(_One(connection), share=1.0)  # type: ignore[arg-type]  # one connection only
        assert workload.queries == ()
        assert "pg_read_all_stats" in workload.skipped[0].why
    finally:
        await _run(db, f"drop role {role}")


async def test_a_database_without_the_extension_is_told_how_to_get_it(db: Tercet) -> None:
    """The sentence holds the statement to run."""
    await _run(db, "drop extension pg_stat_statements")
    with pytest.raises(StatisticsMissing, match="create extension pg_stat_statements"):
        await from_statistics(db.postgres)


async def test_an_extension_in_a_schema_of_its_own_is_found(db: Tercet) -> None:
    """Its schema may need quotes and need not be on the search path."""
    await _run(db, "drop extension pg_stat_statements", 'create schema "My Stats"')
    await _run(db, 'create extension pg_stat_statements schema "My Stats"', "select id from orders where total = 1")
    workload = await from_statistics(db.postgres, share=1.0)
    assert [query.sql for query in workload.queries] == ["select id from orders where total = $1"]


async def test_a_database_nobody_has_asked_has_an_empty_workload(db: Tercet) -> None:
    """Nothing counted is an answer."""
    workload = await from_statistics(db.postgres)
    assert (workload.queries, workload.share) == ((), 1.0)


async def test_a_server_that_is_told_to_count_nothing_is_named_as_the_reason(postgres_url: str) -> None:
    """Nobody is left to wonder why there are no statements."""
    name = postgres_url.rpartition("/")[2]
    async with Tercet(postgres=postgres_url) as before:
        await _run(before, f"alter database {name} set pg_stat_statements.track = 'none'")
    async with Tercet(postgres=postgres_url) as db:
        await _run(db, "create table unseen (a int)", "select a from unseen where a = 5")
        with pytest.raises(StatisticsMissing, match="is told to count nothing"):
            await from_statistics(db.postgres)
