"""Summaries on a real server: whatever happens to the rows, counts and sums agree with them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tercet import Tercet
from tercet.errors import DefinitionMismatch
from tercet.rollups import Summary, create_summary, drop_summary

TOTALS = Summary(
    "user_totals",
    parent="users",
    child="orders",
    child_key="user_id",
    count="order_count",
    sums={"total_spent": "total", "points": "points"},
)
KEPT = "select user_id, order_count, total_spent, points from user_totals order by user_id"
COUNTED = """
select u.id, count(o.id), coalesce(sum(o.total), 0), coalesce(sum(o.points), 0)
from users u left join orders o on o.user_id = u.id group by u.id order by u.id
"""

_ORDERS = """
create table orders (
    id bigint generated always as identity primary key,
    user_id bigint references users on update cascade on delete cascade,
    total numeric(12, 2), points int
)"""


@pytest_asyncio.fixture
async def db(postgres_url: str) -> AsyncIterator[Tercet]:
    """Ten users, some with orders, and the summary of them."""
    async with Tercet(postgres=postgres_url) as db:
        async with db.postgres.transaction() as connection:
            for statement in (
                "create table users (id bigint primary key)",
                _ORDERS,
                "create index on orders (user_id)",
                "insert into users select generate_series(1, 10)",
                "insert into orders (user_id, total, points) values (1, 10, 1), (1, 5, null), (2, null, 7)",
            ):
                await connection.exec_driver_sql(statement)
        await create_summary(db.postgres, TOTALS)
        yield db


async def _agree(db: Tercet) -> list[tuple[object, ...]]:
    async with db.postgres.connection() as connection:
        kept = [tuple(row) for row in (await connection.exec_driver_sql(KEPT)).all()]
        counted = [tuple(row) for row in (await connection.exec_driver_sql(COUNTED)).all()]
    assert kept == counted
    return kept


async def _do(db: Tercet, *statements: str) -> None:
    async with db.postgres.transaction() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)


async def test_a_new_summary_holds_what_is_there_and_zeros_for_the_rest(db: Tercet) -> None:
    """Parents without children are in it, and NULLs add nothing."""
    kept = await _agree(db)
    assert [str(value) for value in kept[0]] == ["1", "2", "15.00", "1"]
    assert [str(value) for value in kept[9]] == ["10", "0", "0", "0"]


@pytest.mark.parametrize(
    "change",
    [
        "insert into orders (user_id, total, points) select i % 10 + 1, i, i from generate_series(1, 500) i",
        "insert into orders (user_id, total) values (null, 5)",
        "update orders set total = total + 1",
        "update orders set user_id = 3 where user_id = 1",
        "update orders set total = null, points = 4 where user_id = 1",
        "update orders set points = points",
        "delete from orders where user_id = 1",
        "delete from users where id = 1",
        "update users set id = 100 where id = 1",
        "insert into users values (11), (12)",
        "truncate orders",
        "truncate users cascade",
        "insert into orders (user_id, total) select 1, 1 where false",
    ],
)
async def test_the_summary_agrees_after_any_change(db: Tercet, change: str) -> None:
    """Every kind of statement leaves the summary equal to what counting would give."""
    await _do(db, change)
    await _agree(db)


async def test_a_rolled_back_write_leaves_no_trace(db: Tercet) -> None:
    """The summary is part of the writer's transaction."""
    before = await _agree(db)
    async with db.postgres.connection() as connection:
        await connection.exec_driver_sql("insert into orders (user_id, total) values (4, 99)")
        await connection.rollback()
    assert await _agree(db) == before


async def test_many_writers_at_once_lose_nothing_and_do_not_deadlock(db: Tercet) -> None:
    """Writers of the same users, in any order, wait for each other and all count."""

    async def write(seed: int) -> None:
        chosen = random.Random(seed)
        for _ in range(15):
            users = ", ".join(f"({chosen.randint(1, 10)}, {chosen.randint(1, 99)})" for _ in range(5))
            await _do(db, f"insert into orders (user_id, total) values {users}")

    await asyncio.gather(*(write(seed) for seed in range(4)))
    kept = await _agree(db)
    assert sum(int(str(row[1])) for row in kept) == 3 + 4 * 15 * 5


async def test_creating_it_again_keeps_it_and_another_one_is_refused(db: Tercet) -> None:
    """The same definition is found there; a table of another kind is not touched."""
    assert (await create_summary(db.postgres, TOTALS)).existed
    other = Summary("user_totals", parent="users", child="orders", child_key="user_id")
    with pytest.raises(DefinitionMismatch, match=r'summary "public"\."user_totals"'):
        await create_summary(db.postgres, other)
    await _agree(db)


async def test_a_dropped_summary_takes_its_triggers_along(db: Tercet) -> None:
    """After it, writes go on as if it had never been, and it can be made again."""
    await drop_summary(db.postgres, TOTALS)
    await _do(db, "insert into orders (user_id, total) values (1, 1)", "insert into users values (50)")
    await drop_summary(db.postgres, TOTALS)
    await create_summary(db.postgres, TOTALS)
    await _agree(db)
