"""A shop is advised from end to end: what it gets is proved on a copy, and nothing of production is touched."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest
import pytest_asyncio
import sqlalchemy as sa

from tercet import Tercet
from tercet.advisor import Example, Query, Workload, advise
from tercet.advisor.advisor import advised
from tercet.advisor.flow.draft import Wishes
from tercet.advisor.reading import read
from tercet.advisor.shadow import shadow
from tercet.advisor.workload import Recorder
from tercet.errors import CommandRefused, SettingInvalid
from tercet.sql import Index, Plan, Statement, View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tercet.advisor import Advice

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETUP = (
    "set synchronous_commit = on",
    'create schema "Odd shop"',
    """
    create table "Odd shop"."User" (id int primary key, "E mail" text not null, name text not null,
        status text not null, joined date not null)
    """,
    """
    insert into "Odd shop"."User" select n, 'u' || n || '@example.org', 'name ' || n,
        case when n % 2 = 0 then 'active' else 'gone' end, date '2024-01-01' + n % 600 from generate_series(1, 6000) n
    """,
    """
    create table orders (id int generated always as identity primary key, user_id int not null, total numeric not null,
        note text not null)
    """,
    """
    insert into orders (user_id, total, note)
    select 1 + n * 7919 % 6000, n % 977, repeat('x', 60) from generate_series(1, 60000) n
    """,
    "vacuum (analyze)",
)
BY_MAIL = 'select id, name from "Odd shop"."User" where "E mail" = \'u77@example.org\''
OF_A_USER = "select id, total, note from orders where user_id = 77"
SPENDERS = """
select u.id, u.name, count(o.id) as n, coalesce(sum(o.total), 0) as spent
from "Odd shop"."User" u left join orders o on o.user_id = u.id
where u.status = 'active' group by u.id, u.name order by coalesce(sum(o.total), 0) desc, u.id limit 10
"""
# What nobody can plan, what writes, and what has no rows to leave out.
BROKEN = (
    "select * from nowhere where a = 1",
    "select id from orders where nothing = 1",
    "insert into orders (user_id, total, note) values (1, 2, '')",
    "update orders set total = 1 where id = 5",
    "select count(*) from orders where total = $1",
)


def asked(sql: str, ms: float | None = None, calls: float = 100.0, label: str = "") -> Query:
    """A query of this text, as measured."""
    return Query(Statement(sql), (Example(sql),), calls=calls, ms=ms, label=label)


def pages(plan: Plan) -> float:
    """What a run counts as here: pages touched, which no busy machine changes."""
    return float(plan.root.buffers.touched) if plan.root.buffers is not None else 0.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(servers: Any) -> AsyncIterator[Tercet]:
    """Production: a database of this module's own."""
    name = "advisor_advise"
    servers.run(servers.administer(servers.postgres, f"create database {name}"))
    url = servers.postgres.rpartition("/")[0] + f"/{name}"
    async with Tercet(postgres=url) as db:
        async with db.postgres.autocommit() as connection:
            for statement in SETUP:
                await connection.exec_driver_sql(statement)
        yield db
    servers.run(servers.administer(servers.postgres, f"drop database {name} with (force)"))


async def objects(db: Tercet) -> int:
    """How many tables, indexes and views production has."""
    async with db.postgres.autocommit() as connection:
        return int((await connection.exec_driver_sql("select count(*) from pg_class")).all()[0][0])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(shop: Tercet) -> Advice:
    """What the advisor says of the shop, proved on a copy."""
    catalog = await read(shop.postgres)
    workload = Workload(
        (
            asked(SPENDERS, 900.0, label="spenders"), asked(OF_A_USER, 8.0, label="orders"),
            asked(BY_MAIL, 2.0, label="mail"), *(asked(sql) for sql in BROKEN),
            Query(Statement("select 1 from orders limit 1"), ()),
        ),
        "the shop",
    )  # fmt: skip
    wishes = Wishes(thorough=True, seconds=60.0, verify="sample", figure=pages)
    before = await objects(shop)
    async with await shadow(shop.postgres, catalog) as engine:
        advice = await advised(shop.postgres, catalog, workload, engine, wishes)
    assert await objects(shop) == before
    return advice


async def test_indexes_are_proved_by_running(told: Advice) -> None:
    """Both statements get the index that they lack, with the same rows and fewer pages."""
    for label, columns in (("orders", ("user_id",)), ("mail", ("E mail",))):
        one = next(each for each in told.statements if each.label == label)
        pieces = [told.piece(number) for number in one.pieces]
        assert any(piece is not None and piece.columns[:1] == columns for piece in pieces), (one.notes, told.notes)
        assert one.proof is not None
        assert (one.proof.method, one.proof.same_rows) == ("run", True)
        assert (one.proof.buffers_after or 0) < (one.proof.buffers_before or 0)
        assert one.plan_after is not None
        assert one.plan_after.indexes


async def test_a_view_is_a_rung_above_the_indexes(told: Advice) -> None:
    """The sums are answered by a view with the same rows; how it is kept is told as a value and in words."""
    one = next(each for each in told.statements if each.label == "spenders")
    piece = next(told.piece(n) for n in one.pieces if isinstance(getattr(told.piece(n), "value", None), View))
    assert piece is not None
    assert piece.policy is not None
    assert piece.policy.why in piece.why
    assert piece.refresh_seconds is not None
    assert piece.size_bytes > 0
    assert one.proof is not None
    assert one.proof.same_rows
    assert one.sql_after is not None
    assert any(note.startswith("without the view: ") for note in one.notes)


async def test_what_cannot_be_planned_is_told_and_stops_nothing(told: Advice) -> None:
    """Each statement comes back, the broken ones with the server's words."""
    notes = {one.sql: one.notes for one in told.statements}
    assert len(notes) == 3 + len(BROKEN) + 1
    assert any("nowhere" in note for note in notes[BROKEN[0]])
    assert any("nothing" in note for note in notes[BROKEN[1]])
    assert all(notes[sql] for sql in BROKEN)


async def test_what_it_took_from_production_is_told(told: Advice) -> None:
    """The bytes of the copy are among what was read; only tables that something was to be proved for came along."""
    assert told.engine is not None
    assert told.engine.read_bytes > 4_000_000
    assert told.engine.seconds > 0
    assert [piece.number for piece in told.pieces] == list(range(1, len(told.pieces) + 1))


async def test_everything_that_holds_statements_is_a_workload(shop: Tercet) -> None:
    """A text, a list of texts and SQLAlchemy's statements, and a Recorder say the same."""
    orders = sa.table("orders", sa.column("id", sa.Integer), sa.column("total"), sa.column("user_id", sa.Integer))
    written = sa.select(orders.c.id, orders.c.total).where(orders.c.user_id == 77)
    recorder = Recorder()
    with recorder.recording(shop.postgres.engine):
        async with shop.postgres.transaction() as connection:
            await connection.execute(written)
    for given in (OF_A_USER, [OF_A_USER, written], [written], recorder):
        advice = await advise(shop, given, verify="off")
        (piece,) = [one for one in advice.pieces if one.kind == "index"]
        assert piece.columns[:1] == ("user_id",)
        assert isinstance(piece.value, Index)
    for wrong in ([5], 5):
        with pytest.raises(SettingInvalid, match="SQLAlchemy"):
            await advise(shop, cast("list[object]", wrong), verify="off")
    empty = await advise(shop, [], verify="off")
    assert (empty.statements, empty.pieces) == ((), ())


async def test_an_engine_that_cannot_be_had_says_how_to_get_it(shop: Tercet) -> None:
    """HypoPG is asked for and not installed: the error names the mend."""
    with pytest.raises(CommandRefused, match="CREATE EXTENSION hypopg"):
        await advise(shop, OF_A_USER, engine="hypopg", verify="off")


async def test_what_there_is_no_time_to_run_is_told_as_planned(shop: Tercet) -> None:
    """Texts, proofs, views and the copy share one allowance; what is left of the advice is the planner's."""
    catalog = await read(shop.postgres)
    workload = Workload((asked(SPENDERS, 900.0, label="spenders"), asked(OF_A_USER, 8.0, label="orders")), "the shop")
    wishes = Wishes(thorough=True, seconds=60.0, verify="sample", figure=pages, running_seconds=0.0)
    async with await shadow(shop.postgres, catalog) as engine:
        advice = await advised(shop.postgres, catalog, workload, engine, wishes)
    assert any(piece.columns[:1] == ("user_id",) for piece in advice.pieces)
    assert {one.proof.method for one in advice.statements if one.proof is not None} == {"plan"}
    assert any(note.endswith("what was not run by then is told as planned only") for note in advice.notes), advice.notes


@pytest.mark.parametrize("at", ["building the shadow", "running orders", "copying orders"])
async def test_nothing_is_left_when_it_is_ended_in_the_middle(
    shop: Tercet, at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled wherever it is, it takes its servers and its folders away."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="ta", dir="/tmp") as place:
        monkeypatch.setattr(tempfile, "tempdir", place)
        reached = asyncio.Event()

        def heard(what: str, _done: int, _of: int) -> None:
            if what.startswith(at):
                reached.set()

        workload = Workload((asked(OF_A_USER, 8.0, label="orders"),), "test")
        task = asyncio.create_task(advise(shop, workload, verify="sample", on_progress=heard))
        waiting = asyncio.create_task(reached.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        assert reached.is_set(), task
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        waiting.cancel()
        from pathlib import Path as Folder

        assert [one.name for one in Folder(place).iterdir()] == []


async def test_a_database_of_a_thousand_tables(postgres_url: str) -> None:
    """Of a thousand tables, one lacks an index for the one statement, and 310 more statements are asked beside it."""
    async with Tercet(postgres=postgres_url) as db:
        async with db.postgres.autocommit() as connection:
            await connection.exec_driver_sql(
                "do $$ begin for n in 1..1000 loop "
                "execute format('create table t%s (id int primary key, a int, b text)', n); end loop; end $$"
            )
            await connection.exec_driver_sql(
                "insert into t7 select n, n, repeat('x', 99) from generate_series(1, 9000) n"
            )
            await connection.exec_driver_sql("analyze t7")
        wanted = asked("select b from t7 where a = 5", 9.0, label="wanted")
        others = [asked(f"select {n} as c{n} from t{n} where a = 1", 0.1, label=str(n)) for n in range(100, 410)]
        advice = await advise(db, Workload((wanted, *others), "many"), verify="off")
    (piece,) = advice.pieces
    assert (piece.table, piece.columns) == ("public.t7", ("a",))
    assert len(advice.statements) == 311
    assert sum("others take more time" in "".join(one.notes) for one in advice.statements) == 11


RULED = (
    "create table parcels (id int primary key, tracking int not null, note text not null)",
    "create table scans (id int primary key, tracking int not null, place text not null)",
    "insert into parcels select i, i * 7, repeat('n', 100) from generate_series(1, 20000) i",
    "insert into scans select i, (i % 20000) * 7, 'p' || i % 30 from generate_series(1, 40000) i",
    "vacuum (analyze)",
)


async def test_an_index_is_unique_where_all_rows_prove_it_and_a_statement_gains(postgres_url: str) -> None:
    """A join falls away by the rule, which is seen when it is run; with one double the index is plain, and no more."""
    joined = asked("select sum(s.id) from scans s left join parcels p on p.tracking = s.tracking", label="joined")
    found = asked("select note from parcels where tracking = 7007", label="found")

    async def indexes(db: Tercet) -> list[tuple[Index, str, int]]:
        catalog = await read(db.postgres)
        wishes = Wishes(thorough=True, seconds=60.0, verify="sample", figure=pages)
        async with await shadow(db.postgres, catalog) as engine:
            told = await advised(db.postgres, catalog, Workload((joined, found), "parcels"), engine, wishes)
        return [(one.value, one.why, len(one.helps)) for one in told.pieces if isinstance(one.value, Index)]

    async with Tercet(postgres=postgres_url) as db:
        async with db.postgres.autocommit() as connection:
            for statement in RULED:
                await connection.exec_driver_sql(statement)
        ((ruled, why, helped),) = await indexes(db)
        async with db.postgres.autocommit() as connection:
            await connection.exec_driver_sql("insert into parcels values (0, 14, 'a double')")
        plain = await indexes(db)
    assert (ruled.unique, [key.of for key in ruled.keys], helped) == (True, ["tracking"], 2)
    assert "; unique, since a statement gains" in why
    assert [(one.unique, one.keys) for one, _, _ in plain] == [(False, ruled.keys)]
    assert "unique" not in plain[0][1]


async def test_what_a_run_takes_away_leads_to_another_choice(shop: Tercet) -> None:
    """An index whose plans turn out slower is withdrawn and said, and the next best one is run in its place."""
    sql = "select sum(total) from orders where user_id = 77 and total > 900"
    first: list[str] = []

    def figure(plan: Plan) -> float:
        """The first index that is ever seen in a plan proves bad."""
        used = [name for name in plan.indexes if name != "orders_pkey"]
        first[:] = first or used[:1]
        return 1e6 if first and first[0] in used else pages(plan)

    catalog = await read(shop.postgres)
    wishes = Wishes(thorough=True, seconds=60.0, verify="sample", figure=figure)
    async with await shadow(shop.postgres, catalog) as engine:
        advice = await advised(shop.postgres, catalog, Workload((asked(sql, 20.0),), "one"), engine, wishes)
    (piece,) = [one for one in advice.pieces if one.kind == "index"]
    assert isinstance(piece.value, Index)
    assert piece.value.name != first[0]
    assert any(note.startswith(f"withdrawn after running: index {first[0]}") for note in advice.notes)
    (statement,) = advice.statements
    assert statement.pieces == (piece.number,)
    assert statement.plan_after is not None
    assert statement.plan_after.indexes == (piece.value.name,)
