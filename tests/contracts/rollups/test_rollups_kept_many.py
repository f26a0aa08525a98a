"""Rollups while many write: exact at every look, however the writers, merges, repairs and builds fall together."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tercet import Tercet
from tercet.errors import DefinitionMismatch, LockBusy, SchemaInvalid, UsageError
from tercet.rollups import (
    Measure,
    Parent,
    Rollup,
    age,
    check,
    create_rollup,
    drop_rollup,
    merge,
    repair,
    rollup_of,
)
from tercet.rollups.kept.rollup import Way
from tercet.sql import Expression, Index, View

WAYS: tuple[Way, ...] = ("triggers", "delta")

# Rows come and go between few groups, so that groups come up and vanish under many hands.
WRITES = (
    "insert into orders (user_id, total) select {a}, x from generate_series(1, {n}) x",
    "insert into orders (user_id, total) values ({a}, {n}), ({b}, {n}), (null, {n})",
    "update orders set user_id = {a} where user_id = {b}",
    "update orders set total = total + {n} where user_id in ({a}, {b})",
    "update orders set total = -total where id % {n} = 0",
    "delete from orders where user_id = {a}",
    "delete from orders where id in (select id from orders order by id limit {n})",
)


@pytest_asyncio.fixture
async def db(postgres_url: str) -> AsyncIterator[Tercet]:
    """Users, and orders of some of them."""
    async with Tercet(postgres=postgres_url) as db:
        await do(
            db,
            "create table users (id int primary key, name text not null, country text)",
            "create table orders (id bigint generated always as identity primary key, user_id int, total int)",
            "create index on orders (user_id)",
            "insert into users select i, 'user ' || i, (array['de', 'kr'])[i % 2 + 1] from generate_series(1, 8) i",
            "insert into orders (user_id, total) select i % 6, i from generate_series(1, 200) i",
        )
        yield db


async def do(db: Tercet, *statements: str) -> list[Any]:
    """Run statements in one transaction; what the last one answers."""
    async with db.postgres.transaction() as connection:
        for statement in statements:
            answer = await connection.exec_driver_sql(statement)
        return [tuple(row) for row in answer.all()] if answer.returns_rows else []


def _rollup(way: Way, name: str = "spent") -> Rollup:
    measures = {"n": Measure("count"), "total": Measure("sum", "total")}
    if way == "triggers":
        measures["most"] = Measure("max", "total")
    return Rollup(name, "orders", ("user_id",), measures, where="total <> 13", way=way)


async def _same(db: Tercet, rollup: Rollup) -> int:
    """How many groups are not what GROUP BY says, in one snapshot."""
    most = ", max(total)" if rollup.way == "triggers" else ""
    truth = f"select user_id, count(*), sum(total){most} from orders where total <> 13 group by 1"
    held = f"select * from {rollup.qualified}"
    both = f"select count(*) from (({truth} except {held}) union all ({held} except {truth})) d"
    return int((await do(db, both))[0][0])


async def _write(db: Tercet, seed: int, times: int) -> None:
    chosen = random.Random(seed)
    for _ in range(times):
        text = chosen.choice(WRITES).format(a=chosen.randint(1, 6), b=chosen.randint(1, 6), n=chosen.randint(1, 15))
        # Deadlocks are between the writers' own rows, with or without a rollup: in one order they do not happen.
        async with db.postgres.transaction() as connection:
            await connection.exec_driver_sql("select pg_advisory_xact_lock_shared(1)")
            if not text.startswith("insert"):
                await connection.exec_driver_sql("select id from orders order by id for update")
            await connection.exec_driver_sql(text)
            if chosen.random() < 0.2:
                await connection.rollback()


@pytest.mark.parametrize("way", WAYS)
async def test_built_merged_and_repaired_under_many_writers_it_is_exact(db: Tercet, way: Way) -> None:
    """Each look is one snapshot, and none differs."""
    rollup = _rollup(way)
    writers = [asyncio.create_task(_write(db, seed, 12)) for seed in range(4)]
    await create_rollup(db.postgres, rollup, rows=20)
    looks = 0
    while not all(writer.done() for writer in writers) or looks < 5:
        assert await _same(db, rollup) == 0
        looks += 1
        if way == "delta":
            await merge(db.postgres, rollup, lines=3, batches=2)
        # A group is spoilt, and mended while others write.
        if looks % 3 == 0:
            await do(db, "update spent_kept set n = n + 1 where user_id = (select min(user_id) from spent_kept)")
            await repair(db.postgres, rollup, rows=20)
    await asyncio.gather(*writers)
    if way == "delta":
        assert (await merge(db.postgres, rollup)).whole
        assert (await do(db, "select count(*) from spent_log")) == [(0,)]
    assert await _same(db, rollup) == 0
    assert (await check(db.postgres, rollup, rows=20)).wrong == 0


@pytest.mark.parametrize("way", WAYS)
async def test_drift_is_found_where_it_is_and_only_that_is_mended(db: Tercet, way: Way) -> None:
    """A wrong figure, a group too many and one too few; nothing else is written."""
    rollup = _rollup(way)
    await create_rollup(db.postgres, rollup)
    assert (await check(db.postgres, rollup, rows=40)).drifted == ()
    await do(
        db,
        "update spent_kept set total = total + 1 where user_id = 2",
        "delete from spent_kept where user_id = 4",
        "insert into spent_kept (user_id, n, total, tercet_count_1) values (77, 1, 1, 1), (null, 5, 5, 5)",
    )
    before = await do(db, "select user_id, xmin::text from spent_kept where user_id in (1, 3, 5)")
    found = await check(db.postgres, rollup, rows=40)
    assert (found.wrong, found.mended) == (4, False)
    assert len(found.drifted) < found.ranges
    mended = await repair(db.postgres, rollup, rows=40)
    assert (mended.wrong, mended.mended, mended.drifted) == (4, True, found.drifted)
    assert (await check(db.postgres, rollup)).wrong == 0
    assert await _same(db, rollup) == 0
    after = await do(db, "select user_id, xmin::text from spent_kept where user_id in (1, 3, 5)")
    assert set(before) <= set(after)


@pytest.mark.parametrize("way", WAYS)
async def test_a_build_that_was_cut_off_goes_on_where_it_was(db: Tercet, way: Way) -> None:
    """What was filled is kept up meanwhile, and is not filled again."""
    rollup = _rollup(way)
    seen: list[object] = []

    def cut(one: object) -> None:
        seen.append(one)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await create_rollup(db.postgres, rollup, rows=40, on_range=cut)
    assert await do(db, "select state from tercet.rollups") == [("filling",)]
    await do(db, "insert into orders (user_id, total) values (1, 5), (6, 5)", "delete from orders where user_id = 5")
    rest: list[object] = []
    assert not (await create_rollup(db.postgres, rollup, rows=40, on_range=rest.append)).existed
    assert seen
    assert not set(map(repr, seen)) & set(map(repr, rest))
    assert await _same(db, rollup) == 0
    assert (await create_rollup(db.postgres, rollup)).existed


@pytest.mark.parametrize("way", WAYS)
async def test_partitions_are_kept_whichever_way_they_are_written_to(db: Tercet, way: Way) -> None:
    """Through the table, past it, from one to another, and in one that came later."""
    await do(
        db,
        "drop table orders",
        "create table orders (id int, user_id int, total int) partition by list (id)",
        "create table low partition of orders for values in (1, 2, 3)",
        "create table high partition of orders for values in (4, 5, 6)",
        "insert into orders values (1, 1, 10), (4, 1, 20)",
    )
    rollup = _rollup(way)
    await create_rollup(db.postgres, rollup)
    for change in (
        "insert into orders values (2, 1, 5), (5, 2, 5)",
        "insert into low values (3, 2, 7)",
        "update orders set id = 6, total = 8, user_id = 3 where id = 2",
        "update high set total = total + 1",
        "delete from low where id = 1",
        "truncate low",
        "truncate orders",
    ):
        await do(db, change)
        assert await _same(db, rollup) == 0, change
    await do(db, "create table late partition of orders for values in (7, 8)")
    assert (await create_rollup(db.postgres, rollup)).existed
    await do(db, "insert into late values (7, 7, 7)", "insert into orders values (8, 7, 7)")
    assert await _same(db, rollup) == 0


async def test_parents_are_joined_when_it_is_read(db: Tercet) -> None:
    """With those that have no rows or without, filtered by what they are now; NULL belongs to nobody."""
    await do(db, "insert into orders (user_id, total) values (null, 5), (99, 5)")
    for way in WAYS:
        for keep in (True, False):
            name = f"by_user_{way}_{keep}".lower()
            parent = Parent("users", keep=keep, columns={"called": "name"}, where="country = 'kr'")
            rollup = Rollup(name, "orders", ("user_id",), _rollup("delta").measures, parent=parent, way=way)
            await create_rollup(db.postgres, rollup)
            join = "left join" if keep else "join"
            for change in ("delete from orders where user_id = 3", "update users set country = 'kr' where id = 6"):
                await do(db, change)
                kept = await do(db, f"select * from {name} order by 1")
                assert kept == await do(
                    db,
                    f"select u.id, u.name, count(o.id), sum(o.total) from users u {join} orders o on o.user_id = u.id"
                    " where country = 'kr' group by u.id order by 1",
                )
            assert (8 in {row[0] for row in kept}) is False
            assert (7 in {row[0] for row in kept}) is keep


async def test_a_view_of_two_tables_becomes_a_rollup_of_the_same_rows(db: Tercet) -> None:
    """Its statements find the same columns under the same name; what cannot be kept is refused with the reason."""
    query = (
        "select u.id as user_id, u.name, count(o.id) as n, avg(o.total) as mean from users u"
        " left join orders o on o.user_id = u.id and o.total > 3 where u.country = 'de' group by u.id, u.name"
    )
    for way in WAYS:
        index = Index(f"top_{way}", f"top_{way}_v", ("n desc",))
        view = View(f"top_{way}_v", query, ("user_id",), (index,))
        await create_rollup(db.postgres, rollup_of(view, way=way))
        await do(db, "update orders set total = total - 1", "delete from orders where user_id = 2")
        columns = "user_id, name, n, mean"
        kept = await do(db, f"select {columns} from top_{way}_v order by 1")
        assert kept == await do(db, f"select {columns} from ({query}) q order by 1")
        assert (await do(db, f"select indexdef from pg_indexes where indexname = 'top_{way}'"))[0][0].endswith(
            "(n DESC)"
        )
    for text, why in (
        ("select user_id, count(distinct total) as n from orders group by 1", "more than keys and plain"),
        ("select user_id, count(*) as n from orders group by user_id having count(*) > 1", "no plain SELECT"),
        (
            "select u.id, count(*) as n from users u left join orders o on o.user_id = u.id group by u.id",
            "counts a row",
        ),
        (
            "select u.country, count(o.id) as n from users u join orders o on o.user_id = u.id group by 1",
            "not grouped by",
        ),
    ):
        with pytest.raises(UsageError, match=why):
            rollup_of(View("v", text, ("id",)))


async def test_what_cannot_be_kept_exactly_is_refused_before_anything_is_made(db: Tercet) -> None:
    """Floats, what depends on the time, hidden rows, what is no table, and another one of that name."""
    await do(db, "alter table orders add price float8, add at timestamptz, add label json")
    count = {"n": Measure("count")}
    for bad, why in (
        (Rollup("r", "orders", ("user_id",), {"p": Measure("sum", "price")}), "drifts"),
        (Rollup("r", "orders", {"d": Expression("date_trunc('day', at)")}, count), "depends on more than the row"),
        (Rollup("r", "orders", ("user_id",), count, where="at > now()"), "depends on more than the row"),
    ):
        with pytest.raises(SchemaInvalid, match=why):
            await create_rollup(db.postgres, bad)
    with pytest.raises(UsageError, match="no unique index"):
        await create_rollup(db.postgres, Rollup("r", "orders", ("user_id",), count, parent=Parent("users", "name")))
    with pytest.raises(UsageError, match="There is no table"):
        await create_rollup(db.postgres, Rollup("r", "nowhere", ("user_id",), count))
    assert await do(db, "select count(*) from pg_class where relname like 'r\\_%'") == [(0,)]
    await create_rollup(db.postgres, Rollup("r", "orders", ("user_id",), count))
    with pytest.raises(DefinitionMismatch, match="rollup"):
        await create_rollup(db.postgres, Rollup("r", "orders", ("total",), count))
    with pytest.raises(UsageError, match="has no log"):
        await merge(db.postgres, Rollup("r", "orders", ("user_id",), count))
    await do(db, "alter table users force row level security, enable row level security")
    with pytest.raises(UsageError, match="Row security hides"):
        await create_rollup(db.postgres, Rollup("s", "orders", ("user_id",), count, parent=Parent("users")))


async def test_only_who_may_read_the_table_may_read_its_rollup(db: Tercet) -> None:
    """Nobody else may call its functions; and where rows are hidden from some, sums are shown to nobody unasked."""
    reader, nobody = (f"tercet_{word}_{random.randrange(10**9)}" for word in ("reader", "nobody"))
    await do(db, f"create role {reader}", f"create role {nobody}", f"grant select on orders to {reader}")
    may = "select has_table_privilege('{who}', '{what}', 'select')"
    try:
        await create_rollup(db.postgres, _rollup("delta"))
        assert await do(db, may.format(who=reader, what="spent")) == [(True,)]
        assert await do(db, may.format(who=reader, what="spent_kept")) == [(False,)]
        assert await do(db, may.format(who=nobody, what="spent")) == [(False,)]
        called = (
            "select bool_or(has_function_privilege('{who}', oid, 'execute')) from pg_proc where proname like 'spent%'"
        )
        assert await do(db, called.format(who=reader)) == [(False,)]
        await do(db, "alter table orders enable row level security")
        await create_rollup(db.postgres, _rollup("delta", "hidden"))
        assert await do(db, may.format(who=reader, what="hidden")) == [(False,)]
    finally:
        await do(db, f"drop owned by {reader}", f"drop role {reader}", f"drop role {nobody}")


async def test_a_merge_and_a_repair_are_never_under_way_at_once(db: Tercet) -> None:
    """Who comes second is refused at once, and nothing is lost."""
    rollup = _rollup("delta")
    await create_rollup(db.postgres, rollup)
    await do(db, "insert into orders (user_id, total) values (1, 1)", "update spent_kept set n = 0 where user_id = 2")
    async with db.postgres.transaction() as connection:
        await connection.exec_driver_sql(
            'select pg_advisory_xact_lock(hashtextextended(\'the upkeep of the rollup "public"."spent"\', 0))'
        )
        with pytest.raises(LockBusy):
            await merge(db.postgres, rollup)
        with pytest.raises(LockBusy):
            await repair(db.postgres, rollup, wait=0)
    assert (await merge(db.postgres, rollup)).lines == 1
    assert (await repair(db.postgres, rollup)).mended


async def test_a_log_that_is_not_read_shows_the_last_merge_and_its_age(db: Tercet) -> None:
    """exact=False reads the groups alone; their age is that of the last merge."""
    rollup = Rollup("spent", "orders", ("user_id",), {"n": Measure("count")}, way="delta", exact=False)
    await create_rollup(db.postgres, rollup)
    before = await do(db, "select n from spent where user_id = 1")
    first = await age(db.postgres, rollup)
    await do(db, "insert into orders (user_id, total) values (1, 1)")
    assert await do(db, "select n from spent where user_id = 1") == before
    await merge(db.postgres, rollup)
    assert await do(db, "select n from spent where user_id = 1") == [(before[0][0] + 1,)]
    second = await age(db.postgres, rollup)
    assert first is not None
    assert second is not None
    assert first.as_of is not None
    assert second.as_of is not None
    assert second.as_of > first.as_of


@pytest.mark.parametrize("way", WAYS)
async def test_a_dropped_rollup_leaves_nothing_behind(db: Tercet, way: Way) -> None:
    """Writes go on without it, it may be dropped again, and be made again."""
    rollup = _rollup(way)
    await create_rollup(db.postgres, rollup)
    for _ in range(2):
        await drop_rollup(db.postgres, rollup)
    await do(db, "insert into orders (user_id, total) values (1, 1)")
    left = "select count(*) from pg_class where relname like 'spent%'"
    assert await do(db, left) == [(0,)]
    assert await do(db, "select count(*) from pg_proc where proname like 'spent%'") == [(0,)]
    assert await do(db, "select count(*) from tercet.rollups") == [(0,)]
    await create_rollup(db.postgres, rollup)
    assert await _same(db, rollup) == 0
