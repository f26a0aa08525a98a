"""Values for $1 … out of a real server's statistics, which it takes and plans."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tercet import Tercet
from tercet.advisor import Catalog, Query
from tercet.advisor.query import Example, Workload
from tercet.advisor.reading import read
from tercet.advisor.workload import examples, from_statistics, from_text, parameter_types, with_values

_ORDERS = """
create table orders (id int primary key, status varchar(10), at timestamptz, day date, email text, total numeric,
                     tags int[], "Odd Name" uuid)
"""
_ROWS = """
insert into orders
select n, case when n % 10 = 0 then 'rare' || n % 30 else 'usual' end,
       '2024-01-01'::timestamptz + n * interval '1 hour',
       '2024-01-01'::date + n % 300, 'user' || n || '@example.com', n * 1.5, array[n], gen_random_uuid()
from generate_series(1, 3000) n
"""


@pytest.fixture
async def db(postgres_url: str) -> AsyncIterator[Tercet]:
    """A database with statistics."""
    async with Tercet(postgres=postgres_url) as opened:
        async with opened.postgres.transaction() as connection:
            for statement in (_ORDERS, _ROWS, "analyze orders", "create table empty (id int, name text)"):
                await connection.exec_driver_sql(statement)
        yield opened


def _query(sql: str) -> Query:
    (query,) = from_text(sql).queries
    return query


async def _rows(db: Tercet, sql: str) -> int:
    async with db.postgres.transaction() as connection:
        return len((await connection.exec_driver_sql(sql)).all())


async def _filled(db: Tercet, catalog: Catalog, sql: str) -> dict[str, str]:
    workload = await with_values(db.postgres, Workload((_query(sql),), "test"), catalog)
    return {one.origin: one.sql for one in workload.queries[0].examples}


async def test_the_classes_are_met_often_seldom_and_never(db: Tercet) -> None:
    """As many rows as the class says, for one value, ranges, lists, patterns and pages."""
    catalog = await read(db.postgres)
    one = await _filled(db, catalog, "select id from orders where status = $1")
    assert "'usual'" in one["common"]
    rows = {origin: await _rows(db, sql) for origin, sql in one.items()}
    assert rows["common"] == 2700
    assert 0 < rows["rare"] <= 300
    assert rows["beyond"] == 0
    both = await _filled(db, catalog, "select id from orders where at >= $1 and at < $2")
    rows = {origin: await _rows(db, sql) for origin, sql in both.items()}
    assert rows["common"] > 10 * rows["rare"] > 0
    assert rows["beyond"] == 0
    lists = await _filled(db, catalog, "select id from orders where id = any($1) order by total limit $2 offset $3")
    assert "::integer[]" in lists["rare"]
    assert lists["common"].endswith("limit 20 offset 0")
    assert await _rows(db, lists["common"]) == 5
    squashed = await _filled(db, catalog, "select id from orders where id in ($1 /*, ... */)")
    assert await _rows(db, squashed["rare"]) == 5


@pytest.mark.parametrize(
    "sql",
    [
        "select id from orders where lower(email) = $1 and total > $2",
        'select id from orders where email like $1 and "Odd Name" = $2',
        "select id from orders where day > date $1 - interval $2 and extract($3 from at) = $4",
        "select id from orders where at > now() - $1::interval and (status = $2 or id between $3 and $4)",
        "select count(*) from orders o join empty e on e.id = o.id where e.name = $1 and o.tags @> $2 and $3",
        "select sum(case when status = $1 then $2 else $3 end) from orders where total < $4 + $5",
        "update orders set status = $1, total = total + $2 where id = $3",
        "delete from orders where day = $1 and email = $2",
        "select id from (select id, at from orders where status = $1) x where x.at < $2",
        "select coalesce(status, $1), $2::jsonb from orders where id = any($3::int[])",
    ],
)
async def test_what_is_filled_in_is_planned_by_the_server(db: Tercet, sql: str) -> None:
    """No class is refused, and none is left with a parameter."""
    catalog = await read(db.postgres)
    found = await _filled(db, catalog, sql)
    assert set(found) <= {"common", "rare", "beyond"}
    for one in found.values():
        assert "$" not in one
        async with db.postgres.transaction() as connection:
            await connection.exec_driver_sql(f"explain {one}")


async def test_types_are_asked_without_running_anything(db: Tercet) -> None:
    """The server tells them; of what it refuses none are known, and nothing is left prepared."""
    types = await parameter_types(db.postgres, _query("select $1 || email, $2 + 1 from orders where at > $3 limit $4"))
    assert types == {1: "text", 2: "integer", 3: "timestamp with time zone", 4: "bigint"}
    assert await parameter_types(db.postgres, _query("select nope from orders where id = $1")) == {}
    async with db.postgres.transaction() as connection:
        left = await connection.exec_driver_sql(
            "select count(*) from pg_prepared_statements where name like 'tercet_t%'"
        )
        assert left.scalar_one() == 0


async def test_what_nothing_is_known_of_stays_generic(db: Tercet) -> None:
    """A statement about a table that is not there, and an example that has no parameter."""
    catalog = await read(db.postgres)
    (one,) = examples(_query("select id from gone where a = $1"), catalog)
    assert (one.sql, one.origin) == ("select id from gone where a = $1", "generic")
    given = replace(_query("select id from orders where id = 1"))
    assert examples(given, catalog) == given.examples
    mixed = replace(given, examples=(Example("select id from orders where id = $1", 0.5), *given.examples[:0]))
    assert sum(found.weight for found in examples(mixed, catalog)) == pytest.approx(0.5)


async def test_what_pg_stat_statements_has_counted_gets_values(db: Tercet) -> None:
    """From the counter to texts that can be planned."""
    async with db.postgres.transaction() as connection:
        await connection.exec_driver_sql("select id from orders where status = 'x' and day > date '2024-02-01' limit 3")
    catalog = await read(db.postgres)
    workload = await with_values(db.postgres, await from_statistics(db.postgres, share=1.0), catalog)
    (query,) = [one for one in workload.queries if "status = $1" in one.sql]
    assert {one.origin for one in query.examples} == {"common", "rare", "beyond"}
    assert all("$" not in one.sql for one in query.examples)
