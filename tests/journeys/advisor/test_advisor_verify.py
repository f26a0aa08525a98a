"""Claims proved on a copy: what helps is kept, what does not hold is withdrawn, and what is wrong is caught.

Verdicts go by pages touched, which no busy machine changes; the statistics of times have tests of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tercet import Tercet
from tercet.advisor import Example, Query
from tercet.advisor.advice import Rewrite
from tercet.advisor.catalog import Catalog
from tercet.advisor.port import Costed, Refused, Supposed
from tercet.advisor.reading import read
from tercet.advisor.report import words
from tercet.advisor.sandbox import Sandbox, copy
from tercet.advisor.trial import Trial
from tercet.advisor.verify import Bounds, Drop, Held, Live, Verdicts, verify
from tercet.sql import Index, Plan, Statement, View
from tercet.sql.port import Database

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Rows of one status are all old, and lie anywhere: whoever walks by date for them looks into the whole table.
SETUP = (
    "create table users (id int primary key, email text not null, created int)",
    "insert into users select n, 'user' || n || '@example.org', n % 1000 from generate_series(1, 20000) n",
    """
    create table "Odd orders" (id int generated always as identity primary key, "user" int references users,
        status text, created int, total numeric, twice numeric generated always as (total * 2) stored, note text)
    """,
    """
    insert into "Odd orders" ("user", status, created, total, note)
    select 1 + n * 7919 % 20000, case when k <= 2500 then 'stuck' else 'done' end, k, n % 977, repeat('x', 100)
    from (select n, (n::int8 * 48271 % 49999)::int as k from generate_series(1, 50000) n) s
    """,
    'create index orders_status on "Odd orders" (status)',
    'create index orders_twin on "Odd orders" ("user", id)',
    "vacuum (analyze)",
)
ORDERS = ("Odd orders",)
OLD = "select id, created from \"Odd orders\" where status = 'stuck' order by created desc limit 10"
NEWEST = 'select id, created from "Odd orders" order by created desc limit 5'
OF_A_USER = 'select count(*), sum(total) from "Odd orders" where "user" = 4711 and note like \'x%\''
BY_MAIL = "select id from users where email = 'user77@example.org'"

# One pair is enough where pages are what counts, and they are the same each time.
QUICK = Bounds(pairs=2, write_rows=50)


def query(sql: str, *examples: str) -> Query:
    """A query of this text, with these examples or itself."""
    return Query(Statement(sql), tuple(Example(one) for one in examples or (sql,)), label=sql[:40])


def pages(plan: Plan) -> float:
    """What a run counts as here."""
    return float(plan.root.buffers.touched) if plan.root.buffers is not None else 0.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(servers: Any) -> AsyncIterator[Tercet]:
    """Production: a database of this module's own."""
    name = "advisor_verify"
    servers.run(servers.administer(servers.postgres, f"create database {name}"))
    url = servers.postgres.rpartition("/")[0] + f"/{name}"
    async with Tercet(postgres=url) as db:
        async with db.postgres.autocommit() as connection:
            for statement in SETUP:
                await connection.exec_driver_sql(statement)
        yield db
    servers.run(servers.administer(servers.postgres, f"drop database {name} with (force)"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def catalog(shop: Tercet) -> Catalog:
    """What production says of itself."""
    return await read(shop.postgres)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(shop: Tercet, catalog: Catalog) -> AsyncIterator[Sandbox]:
    """A copy of it, for all tests here; each leaves it as it was."""
    async with await copy(shop.postgres, catalog, list(catalog.tables), sources=("wheel",)) as made:
        yield made


def held(verdicts: Verdicts, at: int) -> Held:
    """What became of the change at this place."""
    return verdicts.changes[at]


async def test_a_copy_is_whole_and_like_production(shop: Tercet, catalog: Catalog, sandbox: Sandbox) -> None:
    """Rows, keys, indexes, statistics and settings are there, generated columns compute, identities go on."""
    assert sandbox.notes == ()
    assert not sandbox.sampled
    assert {name[1]: one.rows for name, one in sandbox.tables.items()} == {"users": 20_000, "Odd orders": 50_000}
    assert sandbox.taken.bytes > 1_000_000
    question = """
        select (select array_agg(indexrelid::regclass::text order by 1) from pg_index
                where indrelid in ('users'::regclass, '"Odd orders"'::regclass)),
            (select sum(twice) from "Odd orders"), current_setting('work_mem'),
            (select array_agg(conname order by 1) from pg_constraint where contype = 'f'),
            (select datcollate from pg_database where datname = current_database())
    """
    async with sandbox.autocommit() as ours, shop.postgres.autocommit() as theirs:
        assert (await ours.exec_driver_sql(question)).all() == (await theirs.exec_driver_sql(question)).all()
    async with sandbox.autocommit() as ours:
        await ours.exec_driver_sql('explain (analyze) insert into "Odd orders" ("user", status) values (1, \'new\')')
        (row,) = (await ours.exec_driver_sql("delete from \"Odd orders\" where status = 'new' returning id")).all()
        assert row[0] == 50_001


async def test_what_the_planner_believes_and_a_run_refutes_is_withdrawn(sandbox: Sandbox) -> None:
    """An index that answers one statement at once makes another walk the whole table: out, with the figures."""
    index = Index("orders_created", ORDERS, ("created desc",))
    verdicts = await verify(sandbox, [query(NEWEST), query(OLD)], [index], bounds=QUICK, figure=pages)
    gone = held(verdicts, 0)
    assert gone.state == "withdrawn"
    assert "slower" in gone.why
    assert "pages" in gone.why
    # The planner had thought it far cheaper: that is the point of running it.
    trial = Trial(sandbox)
    assert isinstance((await trial.suppose([index]))["orders_created"], Supposed)
    without, with_it = await trial.cost(OLD), await trial.cost(OLD, using=["orders_created"])
    assert isinstance(without, Costed)
    assert isinstance(with_it, Costed)
    assert with_it.total < without.total
    await trial.close()
    # What is left was examined again without it.
    assert [one.outcome for one in verdicts.statements] == ["same", "same"]


async def test_a_helpful_index_is_kept_and_one_that_does_the_same_is_not(sandbox: Sandbox) -> None:
    """Of two the larger goes, for its absence changes nothing; what nobody uses goes too."""
    changes = (
        Index("users_email", "users", ("email",)),
        Index("users_email_and_more", "users", ("email", "created", "id")),
        Index("users_none", "users", ("created",), where="created < 0"),
    )
    verdicts = await verify(
        sandbox, [query(BY_MAIL), query(OLD)], changes, bounds=QUICK, figure=pages,
        estimates={query(BY_MAIL).fingerprint: (300.0, 8.0)},
    )  # fmt: skip
    assert [one.state for one in verdicts.changes] == ["kept", "withdrawn", "withdrawn"]
    assert verdicts.kept == changes[:1]
    kept = held(verdicts, 0)
    assert kept.helps == (query(BY_MAIL).fingerprint,)
    assert kept.size_bytes > 0
    assert kept.insert_percent is not None
    assert kept.update_percent is not None
    assert "without it nothing is slower" in held(verdicts, 1).why
    assert held(verdicts, 2).why == "no statement's plan uses it"
    told = verdicts.statement(query(BY_MAIL).fingerprint)
    assert told is not None
    assert told.outcome == "faster"
    assert told.proof.same_rows is True
    assert told.proof.buffers_before is not None
    assert told.proof.buffers_after is not None
    assert told.proof.buffers_before > 10 * told.proof.buffers_after
    assert "same 1 row" in told.sentence
    assert "estimated 38×, measured" in told.sentence
    assert await _indexes(sandbox, "users") == ["users_pkey"]


async def test_a_rewrite_with_other_rows_is_caught(sandbox: Sandbox) -> None:
    """More than was asked for: withdrawn, and the statement stays as it is."""
    asked = query(OF_A_USER)
    wrong = Rewrite(asked.fingerprint, asked.sql, OF_A_USER.replace("= 4711", "in (4711, 4712)"), ("careless",))
    verdicts = await verify(sandbox, [asked], [wrong], bounds=QUICK)
    assert held(verdicts, 0).state == "withdrawn"
    assert "not the same rows" in held(verdicts, 0).why
    assert verdicts.statements[0].outcome == "same"


async def test_an_empty_answer_proves_no_rewrite(sandbox: Sandbox) -> None:
    """It is quicker, and answers otherwise than it should wherever there is a row: nobody calls that proved."""
    asked = query("select id from users where email || '' = 'nobody@example.org' and created >= 0")
    wrong = Rewrite(asked.fingerprint, asked.sql, "select id + 1 from users where id = -9", ("careless",))
    verdicts = await verify(sandbox, [asked], [wrong], bounds=QUICK, figure=pages)
    told = verdicts.statements[0]
    assert (told.outcome, told.proof.same_rows, told.proof.rows) == ("faster", None, 0)
    assert "both answers are empty, so no row was compared" in told.sentence
    assert held(verdicts, 0).state == "unproved"
    assert words.proof(told.proof) == "run, both answers are empty, so no row was compared"


async def test_an_example_with_rows_tells_more_than_an_empty_one(sandbox: Sandbox) -> None:
    """The rewrite is proved by the value that has rows, whichever is run first."""
    sql = "select id from users where email || '' = $1 and created >= 0"
    texts = [sql.replace("$1", f"'{name}@example.org'") for name in ("nobody", "user9")]
    asked = Query(Statement(sql), (Example(texts[0], 0.9), Example(texts[1], 0.1)))
    change = Rewrite(asked.fingerprint, sql, sql.replace("email || ''", "email"), ("by hand",))
    index = Index("users_email", "users", ("email",))
    verdicts = await verify(sandbox, [asked], [index, change], bounds=QUICK, figure=pages)
    assert (verdicts.statements[0].proof.same_rows, verdicts.statements[0].proof.rows) == (True, 1)
    assert held(verdicts, 1).state == "kept"


async def test_a_rewrite_that_the_server_refuses_is_withdrawn(sandbox: Sandbox) -> None:
    """It is refused after the change and not before: the rewrite is at fault."""
    asked = query(OLD)
    change = Rewrite(asked.fingerprint, asked.sql, "select nothing from nowhere", ("broken",))
    verdicts = await verify(sandbox, [asked], [change], bounds=QUICK, figure=pages)
    assert held(verdicts, 0).state == "withdrawn"
    assert "nowhere" in held(verdicts, 0).why


async def test_a_statement_that_errors_proves_nothing_and_stops_nothing(sandbox: Sandbox) -> None:
    """It is told as unproved; what others gain is proved all the same."""
    broken = query("select 1 / (id - id) from users where email = 'user5@example.org'")
    index = Index("users_email", "users", ("email",))
    verdicts = await verify(sandbox, [broken, query(BY_MAIL)], [index], bounds=QUICK, figure=pages)
    assert [one.outcome for one in verdicts.statements] == ["unproved", "faster"]
    assert "division by zero" in verdicts.statements[0].sentence
    assert held(verdicts, 0).state == "kept"


async def test_where_neither_way_ends_nothing_is_known(sandbox: Sandbox) -> None:
    """Both are cut off at their limit: the index is neither kept nor withdrawn."""
    endless = query("select count(*), (select pg_sleep(60)) from users where email = 'user3@example.org'")
    bounds = Bounds(pairs=1, statement_seconds=0.5, write_rows=10)
    verdicts = await verify(sandbox, [endless], [Index("users_email", "users", ("email",))], bounds=bounds)
    assert verdicts.statements[0].outcome == "unproved"
    assert "neither way ended within 0.5 s" in verdicts.statements[0].sentence
    assert held(verdicts, 0).state == "unproved"


async def test_a_lower_bound_is_told_as_one(sandbox: Sandbox) -> None:
    """The way as it is sleeps past its limit, the new one answers at once."""
    slow = query("select count(pg_sleep(0.2)) from users where created = 5 and email like 'user%'")
    change = Rewrite(slow.fingerprint, slow.sql, "select count(*) from users where created = 5", ("no sleep",))
    verdicts = await verify(sandbox, [slow], [change], bounds=Bounds(pairs=1, statement_seconds=1.0))
    told = verdicts.statements[0]
    assert told.outcome == "faster"
    assert told.proof.same_rows is None
    assert told.before is not None
    assert not told.before.ended
    assert "at least" in told.sentence
    assert "rows could not be compared" in told.sentence
    assert held(verdicts, 0).state == "kept"


async def test_values_of_examples_run_a_rewrite_of_a_statement_with_parameters(sandbox: Sandbox) -> None:
    """The rewrite is of $1, the runs are with the values of the examples."""
    asked = query(
        "select id from users where email || '' = $1", "select id from users where email || '' = 'user9@example.org'"
    )
    change = Rewrite(asked.fingerprint, asked.sql, "select id from users where email = $1", ("no concatenation",))
    index = Index("users_email", "users", ("email",))
    verdicts = await verify(sandbox, [asked], [index, change], bounds=QUICK, figure=pages)
    assert [one.state for one in verdicts.changes] == ["kept", "kept"]
    assert verdicts.statements[0].sql_after == change.after


async def test_an_index_that_is_missed_is_not_dropped(sandbox: Sandbox) -> None:
    """Two are to go: one that a statement needs, and one that nobody misses."""
    changes = (Drop(Index("orders_status", ORDERS, ("status",))), Drop(Index("orders_twin", ORDERS, ("user", "id"))))
    asked = query("select count(*) from \"Odd orders\" where status = 'never'")
    verdicts = await verify(sandbox, [asked, query(BY_MAIL)], changes, bounds=QUICK, figure=pages)
    assert [one.state for one in verdicts.changes] == ["withdrawn", "kept"]
    assert "slower" in held(verdicts, 0).why
    assert await _indexes(sandbox, '"Odd orders"') == ['"Odd orders_pkey"', "orders_status", "orders_twin"]


async def test_a_view_lives_by_the_rewrite_that_reads_it(sandbox: Sandbox) -> None:
    """Where the rewrite holds the view is kept with it, and it is taken away afterwards."""
    asked = query('select "user", sum(total) from "Odd orders" group by "user" order by 2 desc nulls last, 1 limit 3')
    view = View(
        "spent", 'select "user", sum(total) as total from "Odd orders" group by "user"', ("user",),
        (Index("spent_total", "spent", ("total desc nulls last", "user")),),
    )  # fmt: skip
    after = 'select "user", total from spent order by 2 desc nulls last, 1 limit 3'
    rewrite = Rewrite(asked.fingerprint, asked.sql, after, ("view spent",))
    unread = View("unread", "select id from users", ("id",))
    verdicts = await verify(sandbox, [asked], [rewrite, view, unread], bounds=QUICK, figure=pages)
    assert [one.state for one in verdicts.changes] == ["kept", "kept", "unproved"]
    assert held(verdicts, 1).helps == (asked.fingerprint,)
    async with sandbox.autocommit() as connection:
        assert (await connection.exec_driver_sql("select count(*) from pg_matviews")).all()[0][0] == 0


async def test_statements_that_write_run_in_the_copy_and_leave_it_as_it_was(sandbox: Sandbox) -> None:
    """An update finds its row by the new index; nothing of it stays."""
    asked = query("update users set created = created + 1 where email = 'user7@example.org'")
    verdicts = await verify(sandbox, [asked], [Index("users_email", "users", ("email",))], bounds=QUICK, figure=pages)
    assert verdicts.statements[0].outcome == "faster"
    async with sandbox.autocommit() as connection:
        assert (await connection.exec_driver_sql("select created from users where id = 7")).all()[0][0] == 7


async def test_production_is_only_read_from(shop: Tercet) -> None:
    """There rewrites are compared READ ONLY, nothing is built, and what writes is not run at all."""
    write, sly = query("delete from users"), query("select setval(pg_get_serial_sequence('\"Odd orders\"', 'id'), 1)")
    asked = query("select id from users where email || '' = 'user9@example.org' and created >= 0")
    changes = (
        Index("users_email", "users", ("email",)),
        Rewrite(asked.fingerprint, asked.sql, "select id from users where id = 9", ("by hand",)),
        Drop(Index("orders_status", ORDERS, ("status",))),
        Rewrite(sly.fingerprint, sly.sql, sly.sql.replace("1)", "2)"), ("by stealth",)),
    )
    verdicts = await verify(Live(shop.postgres), [write, sly, asked], changes, bounds=QUICK, figure=pages)
    assert [one.outcome for one in verdicts.statements] == ["unproved", "unproved", "faster"]
    assert [one.state for one in verdicts.changes] == ["unproved", "kept", "unproved", "unproved"]
    assert "read-only transaction" in verdicts.statements[1].sentence
    assert "nothing is built on production" in held(verdicts, 0).why
    assert await _indexes(shop.postgres, "users") == ["users_pkey"]
    async with shop.postgres.autocommit() as connection:
        question = 'select (select count(*) from users), (select max(id) from "Odd orders")'
        assert [tuple(row) for row in (await connection.exec_driver_sql(question)).all()] == [(20_000, 50_000)]


async def test_time_that_is_up_is_said(sandbox: Sandbox) -> None:
    """What was not run is not proved, and nothing is claimed of it."""
    moments = iter(range(0, 10_000_000, 1_000))
    index = Index("users_email", "users", ("email",))
    verdicts = await verify(sandbox, [query(BY_MAIL)], [index], bounds=QUICK, monotonic=lambda: float(next(moments)))
    assert verdicts.statements[0].sentence.endswith("the time for all of them was up")
    assert held(verdicts, 0).state != "kept"


async def test_a_statement_that_runs_when_the_time_is_up_is_ended(sandbox: Sandbox) -> None:
    """Whatever the limit of one statement: the index that it might use is neither kept nor withdrawn."""
    endless = query("select count(*), (select pg_sleep(6000)) from users where email = 'user3@example.org'")
    bounds = Bounds(statement_seconds=6000.0, total_seconds=2.0)
    async with asyncio.timeout(120):
        verdicts = await verify(sandbox, [endless], [Index("users_email", "users", ("email",))], bounds=bounds)
    assert verdicts.statements[0].outcome == "unproved"
    assert verdicts.statements[0].sentence.endswith("the time for all of them was up")
    assert held(verdicts, 0).state == "unproved"
    assert held(verdicts, 0).why == "the time for all of them was up"
    assert await _indexes(sandbox, "users") == ["users_pkey"]


async def test_a_trial_tells_true_sizes_and_switches_what_it_was_asked_to(sandbox: Sandbox) -> None:
    """Real indexes, off until they are named; real ones hidden; generic plans; what cannot be is refused."""
    trial = Trial(sandbox)
    index = Index("users_email", "users", ("email",))
    unique = Index("orders_unique", ORDERS, ("status",), unique=True)
    told = await trial.suppose([index, unique, Index("orders_status", ORDERS, ("status",))])
    made = told["users_email"]
    assert isinstance(made, Supposed)
    assert made.measured
    assert made.height == 1
    assert made.tuples == 20_000
    assert isinstance(told["orders_unique"], Refused)
    assert "there already" in getattr(told["orders_status"], "why", "")
    off, on = await trial.cost(BY_MAIL), await trial.cost(BY_MAIL, using=["users_email"])
    generic = await trial.cost("select id from users where email = $1", using=["users_email"])
    assert isinstance(off, Costed)
    assert isinstance(on, Costed)
    assert isinstance(generic, Costed)
    assert off.used == frozenset()
    assert on.used == generic.used == {"users_email"}
    by_status = "select count(*) from \"Odd orders\" where status = 'never'"
    shown, hidden = await trial.plan(by_status), await trial.plan(by_status, hiding=["orders_status"])
    assert isinstance(shown, Plan)
    assert isinstance(hidden, Plan)
    assert shown.indexes == ("orders_status",)
    assert hidden.indexes == ()
    assert isinstance(await trial.cost("select broken from users"), Refused)
    view = View("per_day", "select created, count(*) as n from users group by created", ("created",))
    supposed = await trial.suppose_view(view, rows=5)
    assert isinstance(supposed, Supposed)
    assert supposed.tuples == 1_000
    await trial.close()
    await trial.close()
    assert await _indexes(sandbox, "users") == ["users_pkey"]


async def _indexes(place: Database, table: str) -> list[str]:
    question = (
        "select indexrelid::regclass::text from pg_index where indrelid = $1::text::regclass and indisvalid order by 1"
    )
    async with place.autocommit() as connection:
        return [row[0] for row in (await connection.exec_driver_sql(question, (table,))).all()]


async def test_what_is_clear_is_not_run_on(sandbox: Sandbox) -> None:
    """Five pairs that agree by far are enough, whatever may be run; on the way, each trial is told with what it had."""
    index = Index("users_email", "users", ("email",))
    bounds = Bounds(pairs=9, write_rows=0, each=False)
    verdicts = await verify(sandbox, [query(BY_MAIL)], [index], bounds=bounds, figure=pages)
    (told,) = verdicts.statements
    assert told.before is not None
    assert len(told.before.ms) == 5
    assert {trial.changes for trial in verdicts.trials} == {(index,)}
    assert verdicts.trials[-1].verified == told
