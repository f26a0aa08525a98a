"""What sql and proof say is what a real PostgreSQL says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal

import asyncpg
import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tercet.proof import checksum, compare, sample
from tercet.sql import Expression, Index, Key, Plan, View, identifier

SHOP = """
create table users (
    id bigint primary key, name text not null, email varchar(80), status text not null, tags text[],
    created_at timestamptz not null, "Odd ""Name" int
);
create table orders (id bigint generated always as identity, user_id bigint, total numeric(12,2));
insert into users
    select i, 'u' || i, 'U' || i || '@x', case i % 2 when 0 then 'active' else 'idle' end, '{a,b}',
        timestamptz '2024-01-01 00:00+00' + i * interval '1 hour', i
    from generate_series(1, 2000) i;
insert into orders (user_id, total) select 1 + i % 1500, (i % 97) / 4.0 from generate_series(1, 20000) i;
analyze;
"""


@pytest_asyncio.fixture
async def connection(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a small shop."""
    connection = await asyncpg.connect(postgres_url)
    # VACUUM marks no page all-visible before the WAL of its rows is flushed, and these servers flush late.
    try:
        await connection.execute("set synchronous_commit = on")
        await connection.execute(SHOP)
        yield connection
    finally:
        await connection.close()


async def test_any_name_that_is_quoted_comes_back_as_itself(connection: asyncpg.Connection) -> None:
    """Quotes, spaces, words of the language, letters of any script, and the longest."""
    names = [
        "a",
        "A",
        'say "hi"',
        "select",
        "a.b",
        "a;b--c",
        " ",
        "\n\t",
        "'",
        "\\",
        "é" * 31,
        "x" * 63,
        "이름",
        "😀",
        "$1",
    ]
    for name in names:
        await connection.execute(f"create schema {identifier(name)}")
        await connection.execute(f"create table {identifier(name, name)} ({identifier(name)} int)")
        found = await connection.fetchrow(
            "select nspname, relname, attname from pg_class c join pg_namespace n on n.oid = relnamespace "
            "join pg_attribute a on attrelid = c.oid and attnum = 1 where nspname = $1",
            name,
        )
        assert tuple(found) == (name, name, name)
        await connection.execute(f"drop schema {identifier(name)} cascade")


INDEXES = [
    Index("i", "users", ("created_at",)),
    Index("i", ("public", "users"), ("created_at desc", "id")),
    Index("i", "users", ("created_at desc nulls last", "name nulls first"), include=("id", "status")),
    Index("i", "users", ("id",), unique=True, where="status = 'active'"),
    Index("i", "users", ("created_at",), where="status = 'active' and created_at >= '2024-02-01 00:00:00+00'"),
    Index("i", "users", (Expression("lower(email)"), Key("name", operators="text_pattern_ops"))),
    Index("i", "users", (Key(Expression("lower(name)"), descending=True, nulls="last", collation="C"),)),
    Index("i", "users", (Key('Odd "Name'),), where="not status = 'idle' or id > 3 and id < 9"),
    Index("i", "users", ("tags",), method="gin"),
    Index("i", "users", ("created_at",), method="brin"),
    Index("i", "users", ("email",), method="hash", where="email is not null"),
]


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: index.create(concurrently=False)[7:])
async def test_an_index_is_accepted_and_known_again(connection: asyncpg.Connection, index: Index) -> None:
    """PostgreSQL writes it down alike for the table and for its empty copy; and it can be dropped, twice."""
    await connection.execute(index.create(concurrently=True))
    await connection.execute(f"create table copy (like {index.qualified_table})")
    await connection.execute(index.on("copy", name="probe").create(concurrently=False))
    found = await connection.fetchval("select pg_get_indexdef('i'::regclass)")
    probed = await connection.fetchval("select pg_get_indexdef('probe'::regclass)")
    assert probed.partition(" USING ")[2] == found.partition(" USING ")[2]
    await connection.execute(index.drop(concurrently=True))
    await connection.execute(index.drop(concurrently=True))
    assert await connection.fetchval("select to_regclass('i')") is None


async def test_a_view_is_made_with_its_indexes_and_refreshed_while_it_is_read(
    connection: asyncpg.Connection,
) -> None:
    """The key is what lets it be refreshed concurrently."""
    view = View(
        "spenders",
        "select user_id, sum(total) as spent from orders group by user_id; -- by user",
        key=("user_id",),
        indexes=(Index("spenders_by_spent", "spenders", ("spent desc nulls last", "user_id")),),
    )
    await connection.execute(view.create())
    for index in view.all_indexes:
        await connection.execute(index.create(concurrently=False))
    before = await connection.fetchval("select spent from spenders where user_id = 7")
    await connection.execute("insert into orders (user_id, total) values (7, 1000)")
    await connection.execute(view.refresh())
    assert await connection.fetchval("select spent from spenders where user_id = 7") == before + 1000
    await connection.execute(view.refresh(concurrently=False))
    await connection.execute(view.drop())
    await connection.execute(view.drop())


async def test_heap_fetches_are_seen_until_the_table_is_vacuumed(connection: asyncpg.Connection) -> None:
    """An index-only scan is one in name only before."""
    index = Index("by_user", "orders", ("user_id",), include=("total",))
    await connection.execute(index.create())
    await connection.execute("set enable_seqscan = off; set enable_bitmapscan = off")
    explain = "explain (analyze, buffers, format json) select sum(total) from orders where user_id < 100"
    plan = Plan.read(await connection.fetchval(explain))
    (scan,) = plan.nodes("Index Only Scan")
    assert (scan.index, scan.relation) == ("by_user", "orders")
    assert scan.heap_fetches == scan.rows == plan.heap_fetches
    assert f"{plan.heap_fetches} heap fetches" in plan.text()
    await connection.execute("vacuum orders")
    assert Plan.read(await connection.fetchval(explain)).heap_fetches == 0


async def test_every_kind_of_statement_has_a_plan_that_can_be_read(connection: asyncpg.Connection) -> None:
    """Also those that PostgreSQL plans in uncommon ways."""
    statements = [
        "select 1",
        "select * from users where false",
        "with recursive r(n) as (select 1 union all select n + 1 from r where n < 5) select * from r",
        "select *, row_number() over (order by total) from orders limit 3",
        "select * from users where id in (select user_id from orders) and exists (select 1 from orders)",
        "select distinct status from users union all select name from users",
        "select * from generate_series(1, 3) g, lateral (select count(*) from orders where user_id = g) x",
        "select grouping(status), count(*) from users group by rollup (status)",
        "select * from users full join orders on users.id = orders.user_id order by users.id, orders.id",
        "values (1), (2)",
        "update users set name = name where id = 1 returning (select count(*) from orders)",
        "delete from orders where total < 0",
        "select * from users where id = any(array[1, 2]) or ctid = '(0,1)'",
        "create temp table t as select * from users",
    ]
    forms = ("analyze, buffers, verbose", "costs off, analyze, timing off", "verbose", "analyze")
    for statement in statements:
        for options in forms:
            transaction = connection.transaction()
            await transaction.start()
            raw = await connection.fetchval(f"explain ({options}, format json) {statement}")
            await transaction.rollback()
            plan = Plan.read(raw)
            assert len(list(plan.walk())) == raw.count('"Node Type"')
            assert plan.text()
        own = sum(node.exclusive_ms or 0 for node in plan.walk())
        assert own == pytest.approx(plan.root.ms, rel=0.05, abs=0.05), plan.text()


class Spender(msgspec.Struct, frozen=True):
    """A row of the answer as a cache keeps it."""

    user_id: int
    name: str
    created_at: datetime
    spent: Decimal
    note: str | None


async def test_rows_of_every_door_to_postgres_have_one_checksum(
    connection: asyncpg.Connection, postgres_url: str
) -> None:
    """SQLAlchemy, asyncpg in another zone, and structs that have been through a cache's codec."""
    query = (
        "select u.id as user_id, u.name, u.created_at, sum(o.total) as spent, null::text as note "
        "from users u join orders o on o.user_id = u.id group by u.id order by spent desc, u.id limit 100"
    )
    await connection.execute("set timezone = 'Asia/Seoul'")
    records = await connection.fetch(query)
    engine = create_async_engine(postgres_url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as sqlalchemy:

        async def ask() -> list[object]:
            return list((await sqlalchemy.execute(text(query))).mappings())

        asked = await sample(ask, times=3, same=True)
        rows = (await sqlalchemy.execute(text(query))).all()
    await engine.dispose()
    packed = msgspec.msgpack.encode([Spender(**dict(record)) for record in records])
    cached = msgspec.msgpack.decode(packed, type=list[Spender])

    async def remember() -> list[Spender]:
        return cached

    assert {checksum(records), checksum(rows), checksum(asked.answer), checksum(cached)} == {checksum(cached)}
    verdict = compare(asked, await sample(remember, times=20, batch=100))
    assert verdict.required(at_least=10).before_rows == 100
