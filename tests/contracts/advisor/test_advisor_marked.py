"""What the advisor asks of production is no part of the workload that is read there next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tercet import Tercet
from tercet.advisor import Workload, advise
from tercet.advisor.equivalence import check_on
from tercet.advisor.reading import read
from tercet.advisor.report import schema_digest
from tercet.advisor.sandbox import copy
from tercet.advisor.workload import from_statements, from_statistics, with_values

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SETUP = """
create table users (id int primary key, mail text not null, name text);
insert into users select n, 'u' || n || '@example.org', 'n' || n % 50 from generate_series(1, 8000) n;
create table orders (id int primary key, user_id int references users, total int, filler text);
insert into orders select n, 1 + n * 7919 % 8000, n % 977, repeat('x', 100) from generate_series(1, 40000) n;
vacuum (analyze)
"""
LOOKED_UP = "select id, name from users where mail = 'u77@example.org'"
JOINED = "select u.name, count(*) from users u join orders o on o.user_id = u.id where o.total = 5 group by u.name"


@pytest.fixture
async def db(postgres_url: str) -> AsyncIterator[Tercet]:
    """A shop whose server counts the statements within others too."""
    async with Tercet(postgres=postgres_url) as first, first.postgres.autocommit() as connection:
        for statement in SETUP.split(";"):
            await connection.exec_driver_sql(statement)
        name = (await connection.exec_driver_sql("select current_database()")).all()[0][0]
        await connection.exec_driver_sql(f"alter database {name} set pg_stat_statements.track = 'all'")
    async with Tercet(postgres=postgres_url) as opened:
        async with opened.postgres.autocommit() as connection:
            own = "select oid from pg_database where datname = current_database()"
            await connection.exec_driver_sql(f"select pg_stat_statements_reset(0, ({own}), 0)")
        yield opened


async def test_a_run_of_the_advisor_leaves_the_workload_as_it_was(db: Tercet) -> None:
    """Whatever it plans, runs, copies, looks up and compares there: only what the shop has asked is counted."""
    for _ in range(3):
        async with db.postgres.transaction() as connection:
            await connection.exec_driver_sql(LOOKED_UP)
    await advise(db, [LOOKED_UP, JOINED], verify="sample")
    await advise(db, [LOOKED_UP, JOINED], verify="on", thorough=False)
    catalog = await read(db.postgres)
    room = sum(table.size_bytes for table in catalog.tables.values()) // 3
    async with await copy(db.postgres, catalog, list(catalog.tables), bytes_max=room) as made:
        assert made.sampled
    assert (await check_on(db.postgres, JOINED, JOINED)).outcome == "same"
    asked = from_statements(["select id from orders where total = $1 and user_id = $2"])
    assert isinstance(await with_values(db.postgres, asked, catalog), Workload)
    await schema_digest(db.postgres)
    found = (await from_statistics(db.postgres, share=1.0)).queries
    assert [(query.sql, query.calls) for query in found] == [("select id, name from users where mail = $1", 3)]
