"""The lines of cache advice run as they are pasted: on real servers a commit drops what it has changed, and no more."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from tercet import Cache, Tercet
from tercet.advisor import Example, Query, reading
from tercet.advisor.caching import propose, why_not
from tercet.advisor.catalog import Activity
from tercet.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor import Catalog
    from tercet.advisor.caching import CacheCandidate

SHOP = Path(__file__).parents[2] / "cases" / "advisor" / "views" / "shop.sql"

# On a machine that does other things too: nothing here is about how fast it is.
PATIENCE_SECONDS = 120.0
DEADLINE = "30s"

ORDERS = "select o.id, o.total, o.status from orders o where o.buyer_id = 7 order by o.created_at desc limit 5"
PROFILE = """
select u.id, u.name, count(o.id) as orders, coalesce(sum(o.total), 0) as spent
from users u left join orders o on o.buyer_id = u.id where u.id = $1 group by u.id
"""
BOARD = "select status, count(*), sum(total) from orders where status in ('completed', 'pending') group by status"


def _query(*texts: str, calls: float = 1_000_000, ms: float = 40.0, rows: float = 5.0) -> Query:
    examples = tuple(Example(text, 1 / len(texts)) for text in texts)
    return Query(Statement(texts[0]), examples, calls=calls, ms=ms, rows=rows)


async def _made(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(SHOP.read_text(encoding="utf-8"))
    finally:
        await connection.close()


def _calm(catalog: Catalog) -> Catalog:
    """The same database, written to as rarely as a test wants to have it."""
    activity = Activity(inserted=100, updated=100, seconds=86_400.0)
    tables = {name: replace(table, activity=activity) for name, table in catalog.tables.items()}
    return replace(catalog, tables=MappingProxyType(tables))


async def _pasted(candidate: CacheCandidate, db: Tercet, cache: Cache) -> dict[str, Any]:
    """What stands in a program after its lines were pasted, the migration's first."""
    names: dict[str, Any] = {"db": db, "cache": cache, "__name__": __name__}
    setup = "\n".join(f"    {line}" for line in candidate.setup)
    # As a program of its own, which does not inherit this one's way with annotations.
    for text in (f"async def migrate():\n{setup}", "\n".join(candidate.policy.lines)):
        exec(compile(text, "pasted", "exec", dont_inherit=True), names)  # noqa: S102 - it is to run as it is
        if "migrate" in names:
            await names.pop("migrate")()
    await names["following"].ready()
    return names


async def _until(read: Any, wanted: Any) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await read() != wanted:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("texts", [(ORDERS, ORDERS.replace("7", "8")), (PROFILE,)], ids=["rows", "profile"])
async def test_a_commit_drops_the_answer_that_it_has_changed(
    texts: Sequence[str], postgres_url: str, redis_url: str
) -> None:
    """And leaves those of others; the answer is the statement's own."""
    await _made(postgres_url)
    async with Tercet(postgres=postgres_url, redis=redis_url) as db, Cache(db, deadline=DEADLINE) as cache:
        (candidate,) = propose([_query(*texts)], _calm(await reading.read(db.postgres)), seconds=3_600)
        names = await _pasted(candidate, db, cache)
        cached = names[candidate.policy.key.partition(":")[0]]
        first, other = await cached(7), await cached(8)
        async with db.postgres.transaction() as connection:
            said = await connection.exec_driver_sql(texts[0].replace("$1", "7"))
            assert [tuple(vars(row).values()) for row in first] == [tuple(row) for row in said]
            await connection.exec_driver_sql("update orders set total = 77 where buyer_id = 7")
        assert first != other

        async def changed() -> bool:
            return bool(await cached(7) != first)

        await _until(changed, wanted=True)
        kept = await cached.peek(8)
        assert kept is not None
        assert kept.value == other


async def test_an_answer_over_a_whole_table_is_dropped_by_any_change_of_it(postgres_url: str, redis_url: str) -> None:
    """Its tag is the table's, and that is said."""
    await _made(postgres_url)
    async with Tercet(postgres=postgres_url, redis=redis_url) as db, Cache(db, deadline=DEADLINE) as cache:
        (candidate,) = propose([_query(BOARD)], _calm(await reading.read(db.postgres)), seconds=3_600)
        assert candidate.policy.tags == ("orders",)
        assert "drops every answer" in candidate.conditions[0]
        cached = (await _pasted(candidate, db, cache))["orders"]
        first = await cached()
        async with db.postgres.transaction() as connection:
            await connection.exec_driver_sql("delete from orders where status = 'pending'")

        async def statuses() -> int:
            return len(await cached())

        await _until(statuses, wanted=len(first) - 1)


async def test_what_is_not_to_be_kept_is_refused_with_the_reason(postgres_url: str) -> None:
    """Each reason by its own statement or its own figures."""
    await _made(postgres_url)
    async with Tercet(postgres=postgres_url) as db:
        async with db.postgres.transaction() as connection:
            await connection.exec_driver_sql("create table secrets (id int primary key, owner text)")
            await connection.exec_driver_sql("alter table secrets enable row level security")
            await connection.exec_driver_sql("create table heap (id int, owner text)")
            await connection.exec_driver_sql("create view shown as select * from orders")
        catalog = _calm(await reading.read(db.postgres))
    wanted = {
        "select * from orders where buyer_id = 7 for update": "locks rows",
        "select * from orders where created_at > now() - interval '1 day'": "moment",
        "select * from orders where day = current_date": "moment",
        "select * from users where name = current_user": "who asks",
        "select * from orders where random() < 0.1": "random()",
        "select * from secrets": "row-level security",
        "select * from heap": "no primary key",
        "select * from nowhere": "does not exist",
        "update orders set total = 1": "no SELECT",
        "select my_own(total) from orders": "my_own()",
    }
    for text, why in wanted.items():
        assert why in (why_not(_query(text), catalog, seconds=3_600) or ""), text
    assert "0.50 ms" in (why_not(_query(ORDERS, ms=0.5), catalog) or "")
    assert "MB" in (why_not(_query("select * from orders", rows=4e6), catalog) or "")
    assert "nobody has measured" in (why_not(replace(_query(BOARD), ms=None), catalog) or "")
    assert "changes as often" in (why_not(_query(BOARD, calls=10), catalog, seconds=86_400) or "")
    assert why_not(_query(BOARD), catalog, seconds=3_600) is None


async def test_a_view_and_a_subquery_are_seen_through(postgres_url: str) -> None:
    """Tags are those of the tables behind, bound where every place of a table is."""
    await _made(postgres_url)
    async with Tercet(postgres=postgres_url) as db:
        async with db.postgres.transaction() as connection:
            await connection.exec_driver_sql("create view shown as select * from orders")
            await connection.exec_driver_sql('create table "Odd t" (id int primary key, "a b" int not null)')
        catalog = _calm(await reading.read(db.postgres))
    wanted = {
        "select * from shown": ("orders",),
        "select s.n from (select count(*) as n from orders where buyer_id = 5) s": ("user:{buyer_id}:orders",),
        "select name from users where id = $1 and exists (select from orders o where o.buyer_id = $1)": (
            "user:{user_id}",
            "user:{user_id}:orders",
        ),
        "select name from users where id = 4 and exists (select from orders)": ("user:{user_id}", "orders"),
        "select u.name from users u left join orders o on o.buyer_id = 3": ("users", "user:{buyer_id}:orders"),
        "select count(*) from orders o full join users u on o.buyer_id = 3": ("orders", "users"),
        "select id from orders where buyer_id = 3 union select id from orders": ("orders",),
        "select count(*) from orders where status = 'pending' and user_id = 7": ("orders",),
        "select count(*) from orders where status = $1 and day > $2": ("orders:status:{status}",),
        'select "a b" from "Odd t" where "a b" = $1': ("Odd t",),
    }
    for text, tags in wanted.items():
        (candidate,) = propose([_query(text)], catalog, seconds=3_600)
        assert set(candidate.policy.tags) == set(tags), text
