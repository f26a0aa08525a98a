"""Rollups on a real server: whatever is written, they are what GROUP BY says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tercet import Tercet
from tercet.rollups import Measure, Rollup, check, create_rollup, merge
from tercet.rollups.kept import statements
from tercet.rollups.kept.rollup import Way
from tercet.sql import Expression

WAYS: tuple[Way, ...] = ("triggers", "delta")

_ORDERS = """
create table orders (
    id bigint generated always as identity primary key,
    user_id int references users on update cascade on delete cascade, kind text, total numeric, points int
)"""
_FILLED = """
insert into orders (user_id, kind, total, points)
select nullif(i % 11, 0), (array['a', 'b', null])[i % 3 + 1], nullif(i, 7) / 4.0, nullif(i % 5, 0)
from generate_series(1, 60) i
"""
TABLES = (
    "create table users (id int primary key, name text)",
    _ORDERS,
    "create index on orders (user_id)",
    "insert into users select i, 'user ' || i from generate_series(1, 12) i",
    _FILLED,
)


def _rollup(way: Way) -> Rollup:
    measures = {
        "rows": Measure("count"),
        "with points": Measure("count", "points"),
        "total": Measure("sum", "total"),
        "mean": Measure("avg", "points"),
    }
    if way == "triggers":
        measures |= {"least": Measure("min", "points"), "greatest": Measure("max", Expression("total * 2"))}
    by: dict[str, str | Expression] = {"user_id": "user_id", "kind": Expression("coalesce(kind, 'none')")}
    return Rollup('odd "name" {}$', "orders", by, measures, where="points is distinct from 3", way=way)


TRUTH = """
select user_id, coalesce(kind, 'none'), count(*), count(points), sum(total), avg(points){more}
from orders where points is distinct from 3 group by 1, 2 order by 1, 2
"""


async def do(db: Tercet, *statements: str) -> list[Any]:
    """Run statements in one transaction; what the last one answers."""
    async with db.postgres.transaction() as connection:
        for statement in statements:
            answer = await connection.exec_driver_sql(statement)
        return [tuple(row) for row in answer.all()] if answer.returns_rows else []


@pytest_asyncio.fixture
async def db(postgres_url: str) -> AsyncIterator[Tercet]:
    """Twelve users with orders."""
    async with Tercet(postgres=postgres_url) as db:
        await do(db, *TABLES)
        yield db


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The row with "NaN" for a number that is not equal to itself."""
    return tuple("NaN" if value != value else value for value in row)  # noqa: PLR0124 - that is the question


async def _agree(db: Tercet, rollup: Rollup) -> int:
    more = ", min(points), max(total * 2)" if rollup.way == "triggers" else ""
    kept = await do(db, f"select * from {rollup.qualified} order by 1, 2")
    counted = await do(db, TRUTH.format(more=more))
    assert [*map(_plain, kept)] == [*map(_plain, counted)]
    return len(kept)


_UPSERT = """
insert into orders (id, user_id, kind, total, points) overriding system value
values (1, 5, 'q', 9, 9), (999, 5, 'q', 9, 9)
on conflict (id) do update set user_id = excluded.user_id, points = excluded.points
"""
_MOVED = """
with gone as (delete from orders where user_id = 4 returning *)
insert into orders (user_id, kind, total, points) select 6, kind, total, 2 from gone
"""
CHANGES = [
    "insert into orders (user_id, kind, total, points) select i % 12 + 1, 'c', i, i % 6 from generate_series(1, 300) i",
    "insert into orders (user_id, kind, total, points) values (null, null, 5, -2147483648)",
    "insert into orders (user_id, total) values (1, 'NaN'), (2, 'Infinity'), (3, '-Infinity'), (3, 'Infinity')",
    "update orders set total = total + 1",
    "update orders set user_id = 3, kind = 'z' where user_id = 1",
    "update orders set points = case when points = 3 then 4 else 3 end",
    "update orders set points = null, total = null where user_id = 2",
    "update orders set kind = kind",
    "delete from orders where user_id is null",
    "delete from orders where total = (select max(total) from orders)",
    "delete from orders where points = 1",
    "delete from users where id = 1",
    "update users set id = 100 where id = 1",
    "truncate orders",
    "truncate users cascade",
    _UPSERT,
    _MOVED,
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("change", CHANGES)
async def test_a_rollup_agrees_after_any_change(db: Tercet, change: str, way: Way) -> None:
    """Rows moved between groups, over the condition, to NULL and back; and taken away again."""
    rollup = _rollup(way)
    await create_rollup(db.postgres, rollup, rows=7)
    await _agree(db, rollup)
    await do(db, change)
    if way == "triggers" or "NaN" not in change:
        await _agree(db, rollup)
    await do(db, "delete from orders where total in ('NaN', 'Infinity')")
    if way == "delta":
        merged = await merge(db.postgres, rollup, lines=5)
        assert merged.whole
    await _agree(db, rollup)
    assert (await check(db.postgres, rollup, rows=9)).wrong == 0


@pytest.mark.parametrize("way", WAYS)
async def test_on_a_server_before_15_null_is_one_group_too(
    db: Tercet, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There a unique index tells NULLs apart, so groups are told apart by arrays."""
    monkeypatch.setattr(statements, "NULLS_NOT_DISTINCT_MAJOR", 99)
    rollup = _rollup(way)
    await create_rollup(db.postgres, rollup, rows=7)
    for change in (CHANGES[1], CHANGES[4], CHANGES[8], CHANGES[1], CHANGES[1]):
        await do(db, change)
        await _agree(db, rollup)
    if way == "delta":
        await merge(db.postgres, rollup, lines=2)
    assert (await check(db.postgres, rollup, rows=9)).wrong == 0
