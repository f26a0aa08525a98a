"""The shadow planner beside the server that it stands for, over a schema of everything that is awkward."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from tercet import Tercet
from tercet.advisor import Catalog, Example, Query
from tercet.advisor.port import Costed, Refused, Supposed
from tercet.advisor.shadow import Shadow, shadow
from tercet.advisor.shadow.making.postgres import Link
from tercet.servers import Servers
from tercet.sql import Index, Key, Plan, Statement, View
from tercet.sql.schema import Expression

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import TestServers

RANGES_TOLD = 17
SCHEMA = Path(__file__).with_name("shadow_schema.sql")

# Each plans over something else: an odd name, a partition, an expression, a kind of index, a statistic of its own.
STATEMENTS = (
    "select * from orders where user_id = 17",
    "select * from orders where user_id = 17 and status = 'open'",
    "select count(*) from orders where placed >= '2024-03-01' and placed < '2024-03-11'",
    "select * from orders where note @@ to_tsquery('simple', 'w17')",
    "select * from orders where tags @> array['t7']",
    "select * from orders where doc @> '{\"k\": 7}'",
    "select * from orders where span && int4range(100, 120)",
    "select * from orders where token = '17'",
    "select * from orders where total > 1000000",
    "select * from orders where id > 100000000",
    "select * from users where lower(email) = 'u17@x.org'",
    "select * from users where email like 'u17%'",
    "select u.id, sum(o.total) from users u join orders o on o.user_id = u.id where u.level = 'high' group by u.id",
    "select * from measured where day = '2024-02-03' and place = 'north'",
    "select place, avg(value) from measured where day >= '2024-02-01' group by place",
    "select * from measured m join users u on u.id = m.user_id where m.day = '2024-01-05'",
    'select "select" from "Odd ""Schema"""."The Table" where "a ""b""" = 3 order by "select" limit 5',
    "select * from parent where n = 5",
    "select * from totals where spent > 500 order by spent desc limit 10",
    "select * from open_orders where user_id = 5",
    "select twice(level_of(u)) from users u where id < 10",
    "select * from orders where city = 'c3' and zip = 'z3'",
    "select city, zip, count(*) from orders group by city, zip",
    "select * from orders where (total * 2) < 10",
    "select * from empty_table e join users u using (id)",
    "select * from never_analyzed where x = 3",
)


@dataclass
class World:
    """A database, its shadow, and the loop that both live in."""

    servers: TestServers
    db: Tercet
    shadow: Shadow
    direct: asyncpg.Connection

    def real(self, sql: str) -> Plan:
        """The plan of the server itself."""
        return Plan.read(self.servers.run(self.direct.fetchval(f"explain (format json) {sql}")))

    def shade(self, sql: str, **options: Any) -> Plan:
        """The plan of its shadow."""
        plan = self.servers.run(self.shadow.plan(sql, **options))
        assert isinstance(plan, Plan), plan
        return plan


@pytest.fixture(scope="module")
def world(servers: TestServers) -> Iterator[World]:
    """One database and one shadow for all of these tests: neither is changed by asking."""
    url, name = servers.postgres, "test_advisor_shadow"
    servers.run(servers.administer(url, f"create database {name}"))
    mine = url.rpartition("/")[0] + f"/{name}"

    async def begin() -> World:
        direct = await asyncpg.connect(mine)
        await direct.execute(SCHEMA.read_text(encoding="utf-8"))
        await direct.execute("vacuum")
        db = Tercet(postgres=mine)
        await db.open()
        return World(servers, db, await shadow(db.postgres, Catalog()), direct)

    made = servers.run(begin())
    yield made
    servers.run(made.shadow.close())
    servers.run(made.db.close())
    servers.run(made.direct.close())
    servers.run(servers.administer(url, f"drop database {name} with (force)"))


def _shape(node: Any) -> tuple[Any, ...]:
    return node.type, node.join, node.index, node.relation, tuple(map(_shape, node.children))


def _named(shape: tuple[Any, ...]) -> tuple[Any, ...]:
    """A shape whose steps name the whole of a partitioned twin: its real parts have names of their own."""
    kind, join, index, relation, below = shape
    whole = "twin_part" if index is not None and str(relation).startswith("measured_") else index
    return kind, join, whole, relation, tuple(map(_named, below))


def _guessed(sql: str) -> bool:
    return any(kind in sql for kind in ("note @@", "tags @>", "doc @>"))


def _untold(sql: str, major: int) -> bool:
    """Before version 17 nobody but a superuser can read a range's histogram."""
    return "span" in sql and major < RANGES_TOLD


@pytest.mark.parametrize("sql", STATEMENTS)
def test_a_shadow_plans_as_the_server_does_at_the_same_cost(world: World, sql: str) -> None:
    """Every step, every index and the whole cost are the server's own."""
    real, mine = world.real(sql), world.shade(sql)
    assert _shape(mine.root) == _shape(real.root)
    # Of a GIN index only its length is known; how many entries it has is worked out.
    near = 0.3 if _guessed(sql) else 1e-9
    if _untold(sql, world.direct.get_server_version().major):
        return
    assert mine.root.cost == pytest.approx(real.root.cost, rel=near)


def test_a_statement_that_fails_is_refused_in_the_servers_words_and_the_next_one_is_planned(world: World) -> None:
    """An unknown column, two statements in one, and what is no SQL do not end the session."""
    for sql, word in (
        ("select nothing from users", "nothing"),
        ("select 1; drop table users", "multiple"),
        ("so", "syntax"),
    ):
        refused = world.servers.run(world.shadow.cost(sql))
        assert isinstance(refused, Refused)
        assert word in refused.why
    assert isinstance(world.servers.run(world.shadow.cost("select * from users")), Costed)


def test_nothing_is_run_and_nothing_can_be_written(world: World) -> None:
    """Even what EXPLAIN ANALYZE would run stays a question."""
    refused = world.servers.run(world.shadow.plan("analyze delete from users"))
    assert isinstance(refused, Refused)
    world.shade("delete from users")
    plan = world.shade("select * from users")
    assert plan.root.rows_planned == 3000


def test_a_real_index_is_hidden_and_comes_back(world: World) -> None:
    """Also that of a partitioned table, with all of its parts."""
    for sql, name in (
        ("select * from orders where user_id = 17 order by placed desc", "orders_user"),
        ("select * from measured where day = '2024-02-03' and place = 'north'", "measured_day"),
    ):
        before = world.servers.run(world.shadow.cost(sql))
        hidden = world.servers.run(world.shadow.cost(sql, hiding=[name, "measured_pkey"]))
        again = world.servers.run(world.shadow.cost(sql))
        assert isinstance(before, Costed)
        assert isinstance(hidden, Costed)
        assert hidden.total > before.total
        assert again == before


def test_an_index_of_a_partitioned_table_is_named_as_it_was_given(world: World) -> None:
    """The plan says the name that was supposed, not that of its part in a partition: else nobody would choose it."""
    index = Index("named_part", "measured", ("place", "user_id"))
    world.servers.run(world.shadow.suppose([index]))
    sql = "select * from measured where day = '2024-02-03' and place = 'north' and user_id = 17"
    costed = world.servers.run(world.shadow.cost(sql, using=["named_part"], hiding=["measured_day", "measured_pkey"]))
    plan = world.shade(sql, using=["named_part"], hiding=["measured_day", "measured_pkey"])
    assert isinstance(costed, Costed)
    assert costed.used == set(plan.indexes) == {"named_part"}


def test_one_that_is_refused_does_not_take_those_of_its_table_along(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fits is supposed in few round trips; beside what does not, each is as it would be alone."""
    asked: list[str] = []
    rows = Link.rows

    async def counted(self: Link, block: str, *values: Any) -> Any:
        asked.append(block)
        return await rows(self, block, *values)

    monkeypatch.setattr(Link, "rows", counted)
    keys = ("user_id", "status", "placed", "total", "city", "zip")
    several = [Index(f"several_{key}", "orders", (key, "id")) for key in keys]
    together = world.servers.run(world.shadow.suppose(several))
    assert all(isinstance(one, Supposed) and one.size_bytes > 8192 for one in together.values())
    assert len(asked) == len(set(asked))
    again = [Index(f"again_{key}", "orders", (key, "id")) for key in keys]
    wrong = Index("again_wrong", "orders", ("frob",))
    mixed = dict(world.servers.run(world.shadow.suppose([*again[:3], wrong, *again[3:]])))
    assert isinstance(mixed.pop("again_wrong"), Refused)
    assert [getattr(one, "size_bytes", 0) for one in mixed.values()] == [
        getattr(one, "size_bytes", 0) for one in together.values()
    ]
    sql = "select id from orders where city = 'c3'"
    assert world.shade(sql, using=["again_city"]).indexes == ("again_city",)
    assert "again_city" not in world.shade(sql, using=["several_zip"]).indexes


def test_what_was_asked_once_is_not_planned_again(world: World) -> None:
    """Plan, cost and deviation are of one answer, until something is made that it might use."""
    sql = "select * from users where id between 5 and 6"
    before, tried = world.shade(sql), world.shadow.tried
    assert world.shade(sql) == before
    assert world.servers.run(world.shadow.cost(sql)) == Costed(before.root.cost, frozenset(before.indexes))
    assert world.shadow.tried == tried
    world.servers.run(world.shadow.extend(["create extension if not exists plpgsql"]))
    assert world.shade(sql) == before
    assert world.shadow.tried == tried + 1


def test_beside_a_shadow_there_is_an_empty_database(world: World) -> None:
    """Rows that are written there are seen by nobody who plans, and are there for the next one that asks."""

    async def written() -> int:
        async with world.shadow.scratch() as database, database.transaction() as connection:
            await connection.exec_driver_sql("create table if not exists mine (n int)")
            await connection.exec_driver_sql("insert into mine select generate_series(1, 3)")
            return int((await connection.exec_driver_sql("select count(*) from mine")).all()[0][0])

    before = world.shade("select * from users")
    assert world.servers.run(written()) == 3
    assert world.servers.run(written()) == 6
    assert isinstance(world.servers.run(world.shadow.plan("select * from mine")), Refused)
    assert world.shade("select * from users") == before


def test_a_statement_with_parameters_is_planned_generically(world: World) -> None:
    """Its cost is that of the server's own generic plan, also after indexes were switched."""
    sql = "select * from orders where user_id = $1 and total > $2"
    statements = ("set plan_cache_mode = force_generic_plan", f"prepare asked as {sql}")
    for statement in statements:
        world.servers.run(world.direct.execute(statement))
    real = Plan.read(world.servers.run(world.direct.fetchval("explain (format json) execute asked(1, 2)")))
    assert world.shade(sql).root.cost == real.root.cost
    assert world.shade(sql, hiding=["orders_user"]).root.cost > real.root.cost
    assert world.shade(sql).root.cost == real.root.cost
    world.servers.run(world.direct.execute("deallocate asked; reset plan_cache_mode"))


def test_the_deviation_is_told_with_what_was_taken(world: World) -> None:
    """Every statement that both plan is compared, and one that neither can is left out."""
    queries = [
        Query(Statement(sql), (Example(sql),))
        for sql in ("select * from users where id = 5", "select * from orders where id = $1", "select frob from users")
    ]
    engine = world.servers.run(world.shadow.deviation(queries))
    assert (engine.same_plans, engine.plans, engine.cost_error_worst) == (2, 2, 0)
    assert engine.read_bytes > 0


def test_a_view_is_planned_with_before_it_is_there(world: World) -> None:
    """Its columns have the statistics of those that they come from, and its indexes are used."""
    view = View(
        ("public", "by_user"), "select user_id, status, sum(total) as spent from orders group by user_id, status",
        ("user_id", "status"), indexes=(Index("by_user_spent", ("public", "by_user"), ("spent desc",)),),
    )  # fmt: skip
    supposed = world.servers.run(world.shadow.suppose_view(view, rows=3400))
    assert isinstance(supposed, Supposed)
    assert supposed.size_bytes > 3400 * 30
    assert "by_user_spent" in world.shade("select * from by_user order by spent desc limit 3").indexes
    one = world.shade("select * from by_user where user_id = 7")
    assert one.indexes == ("by_user_key",)
    assert one.root.rows_planned < 10
    wrong = world.servers.run(world.shadow.suppose_view(View("bad", "select frob from users", ("frob",)), rows=1))
    assert isinstance(wrong, Refused)


TWINS = (
    Index("twin_user", "orders", ("total", "user_id")),
    Index("twin_city", "orders", ("city",), include=("zip",)),
    Index("twin_some", "orders", ("placed",), where="status = 'open'"),
    Index("twin_brin", "orders", ("id",), method="brin"),
    Index("twin_hash", "orders", ("zip",), method="hash"),
    Index("twin_unique", "users", ("email", "id"), unique=True),
    Index("twin_part", "measured", ("user_id", "day desc")),
    Index("twin_odd", ('Odd "Schema"', "The Table"), (Key("Ünï"),)),
)
ASKED = (
    "select user_id from orders where total = 5",
    "select zip from orders where city = 'c5'",
    "select * from orders where placed = '2024-03-03' and status = 'open'",
    "select * from orders where zip = 'z5'",
    "select email, id from users where email > 'u99'",
    "select * from measured where user_id = 5",
    'select * from "Odd ""Schema"""."The Table" where "Ünï" = \'ü5\'',
)


def test_what_is_supposed_costs_what_the_real_one_costs(world: World) -> None:
    """The same plans, at costs and sizes that differ by no more than an estimate from statistics may."""
    supposed = world.servers.run(world.shadow.suppose(TWINS))
    mine = {sql: world.shade(sql, using=[one.name for one in TWINS]) for sql in ASKED}
    kept = world.servers.run(world.direct.fetch("select oid, relpages, reltuples from pg_class where relkind = 'r'"))
    try:
        for index in TWINS:
            world.servers.run(world.direct.execute(index.create(concurrently=False)))
        put_back = "update pg_class set relpages = $2, reltuples = $3 where oid = $1"
        world.servers.run(world.direct.executemany(put_back, [tuple(row) for row in kept]))
        size = "select sum(pg_relation_size(i.relid)) from pg_partition_tree($1::text::regclass) i"
        plain = "select pg_relation_size($1::text::regclass)"
        for index in TWINS:
            guess = supposed[index.name]
            assert isinstance(guess, Supposed), guess
            real = world.servers.run(world.direct.fetchval(size, index.qualified))
            real = int(real or world.servers.run(world.direct.fetchval(plain, index.qualified)))
            assert guess.size_bytes == pytest.approx(real, rel=0.15, abs=3 * 8192), index.name
        for sql in ASKED:
            real = world.real(sql)
            assert _named(_shape(mine[sql].root)) == _named(_shape(real.root)), sql
            assert mine[sql].root.cost == pytest.approx(real.root.cost, rel=0.05), sql
    finally:
        for index in TWINS:
            world.servers.run(world.direct.execute(index.drop(concurrently=False)))


def test_an_index_that_cannot_be_is_refused_and_one_that_has_a_name_twice_is_taken(world: World) -> None:
    """The server says why; a name that a real index has is no hindrance."""
    found = world.servers.run(
        world.shadow.suppose(
            [
                Index("x1", "users", ("frob",)),
                Index("x2", "nowhere", ("a",)),
                Index("orders_user", "users", ("joined",)),
                Index("x3", "orders", (Expression("lower(city)"),)),
            ]
        )
    )
    assert isinstance(found["x1"], Refused)
    assert isinstance(found["x2"], Refused)
    assert isinstance(found["orders_user"], Supposed)
    assert isinstance(found["x3"], Supposed)
    costed = world.servers.run(
        world.shadow.cost("select * from users where joined = '2020-01-01'", using=["orders_user"])
    )
    assert isinstance(costed, Costed)
    assert costed.used == {"orders_user"}


@pytest.mark.parametrize("major", [14, 15, 16, 17])
async def test_another_major_version_has_a_shadow_of_its_own(major: int, postgres_home: Callable[[int], Path]) -> None:
    """What a program of that version plans is planned by one of that version, at the same cost."""
    postgres_home(major)
    with tempfile.TemporaryDirectory() as folder:
        async with Servers(folder, ("postgres",), durable=False, sources=("path",)) as addresses:
            direct = await asyncpg.connect(addresses.postgres)
            await direct.execute(SCHEMA.read_text(encoding="utf-8"))
            await direct.execute("vacuum")
            async with Tercet(postgres=addresses.postgres) as db, await shadow(db.postgres, Catalog()) as made:
                assert made.why.startswith(f"PostgreSQL {major} plans")
                for sql in STATEMENTS:
                    real = Plan.read(await direct.fetchval(f"explain (format json) {sql}"))
                    mine = await made.plan(sql)
                    assert isinstance(mine, Plan), mine
                    if _guessed(sql) or _untold(sql, major):
                        continue
                    assert _shape(mine.root) == _shape(real.root), sql
                    assert mine.root.cost == pytest.approx(real.root.cost, rel=1e-9), sql
            await direct.close()
