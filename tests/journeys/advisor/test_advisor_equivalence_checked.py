"""Two statements on a real server: refuted by the least data, or not; and production is only read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tercet import Tercet
from tercet.advisor import Catalog, Query
from tercet.advisor.equivalence import check, check_on
from tercet.advisor.query import Example
from tercet.advisor.reading import read
from tercet.advisor.rewrites import notes, rewrite
from tercet.sql import Statement
from tercet_shop.question import AS_WRITTEN

SCHEMA = """
create schema shop;
create type shop.mood as enum ('good', 'bad');
create table users (id bigint primary key, name text not null, email text, status text not null,
    created_at timestamptz not null);
create table orders (id bigint primary key, user_id bigint not null references users (id),
    total numeric(12, 2) not null);
create table shop."Odd one" (id integer primary key, feels shop.mood, parent integer references shop."Odd one");
create view active as select * from users where status = 'active'
"""
ROWS = """
insert into users select i, 'n' || i, null, case when i % 2 = 0 then 'active' else 'x' end,
    timestamptz '2024-01-01 00:00+00' + i * interval '1 hour' from generate_series(1, 40) i;
insert into orders select i, 1 + i * i % 37, i % 7 from generate_series(1, 90) i
"""
SPENDERS = AS_WRITTEN.strip().replace(":since", "timestamptz '2024-01-01 00:00:00+00'").replace("limit 100", "limit 5")

ALL_SPENDERS = SPENDERS.replace("limit 5", "limit 50")


async def _made(db: Tercet, *, rows: bool = False) -> Catalog:
    async with db.postgres.transaction() as connection:
        for statement in (SCHEMA + (f";{ROWS}" if rows else "")).split(";"):
            await connection.exec_driver_sql(statement)
    return await read(db.postgres)


async def _emptied(db: Tercet) -> Catalog:
    """The catalog of the tables, in a database that has them no more."""
    catalog = await _made(db)
    async with db.postgres.transaction() as connection:
        await connection.exec_driver_sql("drop schema shop cascade")
        await connection.exec_driver_sql("drop view active")
        await connection.exec_driver_sql("drop table orders, users")
    return catalog


async def test_the_shops_question_is_asked_otherwise_by_the_rules_alone(postgres_url: str) -> None:
    """The join's own column is counted, names are joined after the top, and no data tell both texts apart."""
    async with Tercet(postgres=postgres_url) as db:
        catalog = await _emptied(db)
        found = rewrite(Query(Statement(SPENDERS), (Example(SPENDERS),)), catalog)
        assert found[0].rules == ("count_join_column", "late_materialisation")
        assert "count(o.user_id)" in found[0].after
        assert "u.name" not in found[0].after.partition("LIMIT")[0].partition("FROM (")[2]
        assert (await check(SPENDERS, found[0].after, catalog, db.postgres)).outcome == "same"


async def test_a_dropped_filter_is_refuted_by_the_least_data(postgres_url: str) -> None:
    """The counter-example is one user, shown as an INSERT, with both answers."""
    async with Tercet(postgres=postgres_url) as db:
        catalog = await _emptied(db)
        other = SPENDERS.replace(" and u.created_at >= timestamptz '2024-01-01 00:00:00+00'", "")
        found = await check(SPENDERS, other, catalog, db.postgres)
        assert found.outcome == "refuted"
        assert found.counterexample is not None
        (insert,) = found.counterexample.inserts
        assert insert.startswith('insert into "public"."users"')
        assert insert.count("(") == 2
        assert (len(found.counterexample.before), len(found.counterexample.after)) == (0, 1)


@pytest.mark.parametrize(
    ("before", "after", "outcome", "why"),
    [
        ("select id from users order by name", "select id from users", "refuted", ""),
        ("select id from users order by id limit 3", "select id from users order by id offset 0 limit 3", "same", ""),
        ("select id from users order by id limit 3", "select id from users limit 3", "refuted", ""),
        (
            "select id from users order by id limit 3",
            "select id from users order by id + 0 limit 3",
            "undetermined",
            "leaves open",
        ),
        ("select id, random() from users", "select id, random() from users", "undetermined", "random()"),
        ("select id from users", "select id::integer from users", "refuted", "its columns become"),
        ("select id from users where name = $1 limit $2", "select id from users limit $2", "refuted", ""),
        ("select id from users where name = $1", "select id from users where $1 = name", "same", ""),
        ("select 1 / (id - id) from users", "select 1 / (id - id) from users where id is not null", "same", ""),
        ("select 1 from users", "select 1 from users where 1 / (id - 1) is not null", "refuted", "fails"),
        ("select name from active", "select name from users where status = 'active'", "same", ""),
        ("select name from active", "select name from users", "refuted", ""),
        ("select id from shop.\"Odd one\" where feels = 'bad'", 'select id from shop."Odd one"', "refuted", ""),
        ("select id from nowhere", "select id from nowhere", "unchecked", "nowhere"),
        ("delete from users", "delete from users", "unchecked", "SELECT"),
        ("select distinct name from users order by name", "select name from users group by 1 order by 1", "same", ""),
    ],
)
async def test_each_pair_has_its_outcome(postgres_url: str, before: str, after: str, outcome: str, why: str) -> None:
    """Order, columns, parameters, failures, views, enumerations and odd names are all looked at; nothing stays."""
    async with Tercet(postgres=postgres_url) as db:
        catalog = await _emptied(db)
        found = await check(before, after, catalog, db.postgres, seeds=13)
        assert (found.outcome, why in found.why) == (outcome, True), found
        assert not [one for one in (await read(db.postgres)).tables if one[0] != "pg_catalog"]


async def test_a_type_that_the_empty_database_lacks_is_said(postgres_url: str) -> None:
    """Nobody guesses: it was not checked, and why."""
    async with Tercet(postgres=postgres_url) as db:
        catalog = await _emptied(db)
        users = catalog.tables["public", "users"]
        odd = replace(users, columns=(*users.columns, replace(users.columns[0], name="place", type="geometry")))
        found = await check("select id from users", "select id from users",
                            replace(catalog, tables={odd.name: odd}), db.postgres)  # fmt: skip
        assert (found.outcome, "geometry" in found.why) == ("unchecked", True)


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        (SPENDERS, SPENDERS.replace("count(o.id)", "count(o.user_id)"), "same"),
        (ALL_SPENDERS, ALL_SPENDERS.replace("count(o.id)", "count(*)"), "refuted"),
        ("select total from orders", "select total from orders offset 0", "same"),
        ("select total from orders", "select distinct total from orders", "refuted"),
        (
            "select id, total from orders order by total limit 3",
            "select id, total from orders order by total, id desc limit 3",
            "undetermined",
        ),
        ("select id from orders order by id", "select id from orders order by id desc", "refuted"),
        ("select id from nowhere", "select id from nowhere", "unchecked"),
        ("select nextval('s')", "select nextval('s')", "unchecked"),
    ],
)
async def test_on_the_users_own_database_nothing_is_written(
    postgres_url: str, before: str, after: str, outcome: str
) -> None:
    """Both are compared in a READ ONLY snapshot, and rows that only one has are shown."""
    async with Tercet(postgres=postgres_url) as db:
        await _made(db, rows=True)
        async with db.postgres.transaction() as connection:
            await connection.exec_driver_sql("create sequence s")
        found = await check_on(db.postgres, before, after)
        assert found.outcome == outcome, found
        if outcome == "refuted" and "order by id desc" not in after:
            assert found.counterexample is not None
            assert found.counterexample.before or found.counterexample.after


async def test_long_answers_are_compared_by_sums_of_hashes(postgres_url: str) -> None:
    """One row of fifteen thousand that differs is found."""
    async with Tercet(postgres=postgres_url) as db:
        many = "select i, i % 10 as j from generate_series(1, 15000) as i"
        assert (await check_on(db.postgres, many, f"{many} order by 1 desc")).outcome == "same"
        found = await check_on(db.postgres, many, many.replace("i % 10", "i % 10 + (i = 7777)::integer"))
        assert found.outcome == "refuted"
        assert found.counterexample is not None
        assert found.counterexample.before == ("(7777,7)",)


async def test_an_offset_is_told_and_not_rewritten(postgres_url: str) -> None:
    """The note says the condition that goes on after the last row."""
    async with Tercet(postgres=postgres_url) as db:
        catalog = await _made(db)
        sql = "select id, name from users order by created_at desc, id desc limit 10 offset 500"
        query = Query(Statement(sql), (Example(sql),))
        (note,) = notes(query, catalog)
        assert "WHERE (created_at, id) < (last_created_at, last_id)" in note
        assert not any("created_at, id) <" in one.after for one in rewrite(query, catalog))
