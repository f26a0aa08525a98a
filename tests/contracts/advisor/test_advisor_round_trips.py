"""How often production is asked: it may be far away, so not once for each of its tables or statements."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from tercet import Tercet
from tercet.advisor import Workload, reading
from tercet.advisor.shadow import shadow
from tercet.advisor.together import Question, together
from tercet.advisor.workload import from_statements, with_values
from tercet.errors import StoreUnreachable
from tercet.sql.port import Connection, Database

# The tables of one transaction are bounded, so that some more of them may take another one.
MORE_MAX = 12


class Counting:
    """A database that counts what is asked of it."""

    def __init__(self, database: Database) -> None:
        self._database, self.asked = database, 0

    @asynccontextmanager
    async def transaction(self, *, within: str | float | None = None) -> AsyncIterator[Connection]:
        """The database's own."""
        async with self._database.transaction(within=within) as connection:
            self.asked += 2
            yield _Heard(connection, self)

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[Connection]:
        """The database's own."""
        async with self._database.autocommit() as connection:
            yield _Heard(connection, self)


class _Heard:
    def __init__(self, connection: Connection, counting: Counting) -> None:
        self._connection, self._counting = connection, counting

    async def exec_driver_sql(self, statement: str, parameters: Any = ()) -> Any:
        self._counting.asked += 1
        return await self._connection.exec_driver_sql(statement, parameters)


async def _tables(url: str, first: int, behind: int) -> None:
    connection = await asyncpg.connect(url)
    for at in range(first, behind):
        await connection.execute(
            f"create table t{at} (id int primary key, a int, b text); insert into t{at} select g, g % 9, g "
            f"from generate_series(1, 500) g; create index t{at}_a on t{at} (a); analyze t{at}"
        )
    await connection.close()


def _workload(many: int) -> Workload:
    """Statements of as many shapes, with a parameter each."""
    return from_statements([f"select {'abs(' * at}id{')' * at} from t0 where a = $1" for at in range(1, many + 1)])


async def _asked(url: str, statements: int) -> int:
    """How often a shadow, values and a comparison of plans ask."""
    async with Tercet(postgres=url) as db:
        counting = Counting(db.postgres)
        catalog = await reading.read(counting)
        workload = await with_values(counting, _workload(statements), catalog)
        assert all(one.origin != "generic" for query in workload.queries for one in query.examples)
        async with await shadow(counting, catalog) as made:
            engine = await made.deviation(_workload(statements).queries)
        assert (engine.same_plans, engine.plans) == (statements, statements)
        return counting.asked


async def test_more_tables_and_statements_take_hardly_more_questions(postgres_url: str) -> None:
    """Eighty tables and twenty statements more than before."""
    await _tables(postgres_url, 0, 4)
    few = await _asked(postgres_url, 2)
    await _tables(postgres_url, 4, 84)
    assert await _asked(postgres_url, 22) <= few + MORE_MAX


async def test_what_is_refused_or_too_slow_takes_nothing_from_the_others(postgres_url: str) -> None:
    """A name nobody knows, two statements in one, one that takes too long, one that writes have no answer."""
    async with Tercet(postgres=postgres_url) as db:
        asked = [
            Question(None, "explain select 1"),
            Question(None, "explain select nothing"),
            Question(None, "select 1; select 2"),
            Question(None, "select pg_sleep(60)"),
            Question("create table made (a int)", "select 1"),
            Question("prepare known as select $1::int", "select name from pg_prepared_statements where name = 'known'"),
            Question("prepare kept as select 1", "select 5", "deallocate kept"),
        ]
        assert await together(db.postgres, asked, within=1.0) == [
            "Result  (cost=0.00..0.01 rows=1 width=4)", None, None, None, None, "known", "5",
        ]  # fmt: skip


async def test_a_connection_that_is_lost_is_no_refusal(postgres_url: str) -> None:
    """Nobody would know that nothing was asked."""
    async with Tercet(postgres=postgres_url) as db:
        with pytest.raises(StoreUnreachable):
            await together(
                db.postgres, [Question("select pg_terminate_backend(pg_backend_pid())", "select 1")], within=9
            )
