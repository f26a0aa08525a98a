"""A database read into a Catalog: every field against what the server holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import asyncpg
import pytest

from tercet import Tercet
from tercet.advisor import reading
from tercet.advisor.catalog import Catalog
from tercet.errors import LockBusy, SchemaInvalid
from tercet.sql import Expression, Index, identifier
from tercet.sql.port import Connection, Database
from tercet.sql.schema import Key

ODD = 'Odd "shop"'
NULLS_NOT_DISTINCT_FROM = 15
SCHEMA = """
create schema ODD;
create type mood as enum ('sad, "or" not', 'NULL', '{}');
create table parents (id bigint primary key, code text not null unique deferrable, twin int unique nulls not distinct);
create table ODD."Select" ("a b" int not null, "C" text collate "C", d varchar(20), moods mood[], m mood,
                                       e text, parent bigint references parents);
create index "odd, index" on ODD."Select" using btree
    ((lower(e)) text_pattern_ops desc, "C" desc nulls last, d collate "C", ("a b" + 1) nulls first)
    include (e) where m = 'NULL' and "a b" > 0;
create index by_tags on ODD."Select" using gin (moods);
create index by_range on ODD."Select" using brin ("a b");
create unlogged table quick (a int);
create table by_day (day date not null, n int, primary key (day, n)) partition by range (day);
create table by_day_1 partition of by_day for values from ('2024-01-01') to ('2025-01-01');
create table by_day_2 partition of by_day for values from ('2025-01-01') to ('2026-01-01');
create table heir () inherits (quick);
create materialized view counted as select count(*) n from parents;
create view seen as select p.id, s."a b" from parents p join ODD."Select" s on s.parent = p.id;
create table refused (a int);
alter table refused add constraint a_there check (a is not null) not valid;
create unlogged table identified (a int not null);
create unique index identified_a on identified (a);
alter table identified replica identity using index identified_a;
cluster identified using identified_a;
insert into parents select g, g::text, g from generate_series(1, 1000) g;
insert into ODD."Select"
    select g, 'c', null, array['NULL', 'sad, "or" not']::mood[],
           (array['sad, "or" not', 'NULL', '{}']::mood[])[g % 3 + 1],
           (array['a,b', 'NULL', '', '{x}', '"q"', 'back\\slash', ' space ', 'ü'])[g % 8 + 1], g
    from generate_series(1, 800) g;
insert into by_day select date '2024-06-01' + g, g from generate_series(0, 400) g;
analyze;
""".replace("ODD", identifier(ODD))


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Tercet]:
    """A Tercet on this database."""
    async with Tercet(postgres=url) as db:
        yield db


@pytest.fixture
async def url(postgres_url: str) -> str:
    """A database with all that is odd."""
    connection = await asyncpg.connect(postgres_url)
    known = connection.get_server_version().major >= NULLS_NOT_DISTINCT_FROM
    await connection.execute(SCHEMA if known else SCHEMA.replace(" nulls not distinct", ""))
    await connection.close()
    return postgres_url


async def read(url: str, **options: object) -> Catalog:
    """Its catalogue."""
    async with opened(url) as db:
        return await reading.read(db.postgres, **options)  # type: ignore[arg-type]  # each as the test names it


async def test_every_field_is_as_the_server_has_it(url: str) -> None:
    """Tables, columns, indexes, keys, partitions and views, whatever they are called."""
    found = await read(url)
    table = found.tables[ODD, "Select"]
    assert [(one.name, one.type, one.category, one.not_null, one.collation) for one in table.columns] == [
        ("a b", "integer", "N", True, None),
        ("C", "text", "S", False, "C"),
        ("d", "character varying(20)", "S", False, table.columns[5].collation),
        ("moods", "public.mood[]", "A", False, None),
        ("m", "public.mood", "E", False, None),
        ("e", "text", "S", False, table.columns[5].collation),
        ("parent", "bigint", "N", False, None),
    ]
    assert table.rows == 800
    assert table.size_bytes >= table.pages * 8192 > 0
    (key,) = table.foreign_keys
    assert (key.columns, key.target, key.target_columns, key.validated) == (
        ("parent",), ("public", "parents"), ("id",), True,
    )  # fmt: skip
    parents = found.tables["public", "parents"]
    standing = {one.index.name: one for one in parents.indexes}
    assert standing["parents_pkey"].constraint == "p"
    assert standing["parents_pkey"].foreign_keys == ("Select_parent_fkey",)
    assert standing["parents_code_key"].deferrable
    assert standing["parents_twin_key"].nulls_distinct == (found.version // 10_000 < NULLS_NOT_DISTINCT_FROM)
    assert parents.primary_key == ("id",)
    assert parents.unique_keys == (("id",), ("twin",))
    assert parents.activity.inserted == 1000
    identified = found.tables["public", "identified"]
    assert (identified.indexes[0].replica_identity, identified.indexes[0].clustered) == (True, True)
    assert identified.persistence == "u"
    assert found.tables["public", "counted"].kind == "m"
    assert "public.parents" in found.views["public", "seen"]
    assert found.search_path == ("public",)
    assert found.hidden == ()
    assert found.version >= 140000
    assert not found.standby
    assert "pg_stat_statements" in found.extensions
    assert "plpgsql" in found.available
    assert {"random_page_cost", "work_mem", "enable_seqscan", "jit"} <= found.settings.keys()
    assert found.read_bytes > 1000
    assert found.read_seconds > 0


async def test_index_is_the_value_that_makes_it_again(url: str) -> None:
    """Its DDL, run under another name, gives the same definition."""
    found = await read(url)
    standing = {one.index.name: one for one in found.tables[ODD, "Select"].indexes}
    assert standing["odd, index"].index == Index(
        "odd, index",
        (ODD, "Select"),
        (
            Key(Expression("lower(e)"), descending=True, operators="text_pattern_ops"),
            Key("C", descending=True, nulls="last"),
            Key("d", collation="C"),
            Key(Expression('"a b" + 1'), nulls="first"),
        ),
        include=("e",),
        where="m = 'NULL'::public.mood AND \"a b\" > 0",
    )
    connection = await asyncpg.connect(url)
    await connection.execute("set search_path = ''")
    try:
        for table in found.tables.values():
            for one in table.indexes:
                if not one.nulls_distinct:  # an Index cannot say so
                    continue
                copy = one.index.on(table.name, name="a copy")
                await connection.execute(copy.create(concurrently=False))
                made = await connection.fetchval("select pg_get_indexdef($1::regclass)", copy.qualified)
                assert made.replace('"a copy"', identifier(one.index.name)).replace('"', "") == (
                    one.definition.replace('"', "")
                )
                await connection.execute(copy.drop(concurrently=False))
    finally:
        await connection.close()


async def test_statistics_are_the_values_that_lie_in_the_table(url: str) -> None:
    """Commas, quotes, brackets and the word NULL come out as they went in."""
    found = await read(url)
    table = found.tables[ODD, "Select"]
    texts, enums, arrays = (table.column(name) for name in ("e", "m", "moods"))
    assert texts is not None
    assert enums is not None
    assert arrays is not None
    assert texts.statistics is not None
    assert set(texts.statistics.common) == {"a,b", "NULL", "", "{x}", '"q"', "back\\slash", " space ", "ü"}
    assert sum(texts.statistics.common_frequencies) == pytest.approx(1, abs=1e-4)
    assert enums.statistics is not None
    assert set(enums.statistics.common) == {'sad, "or" not', "NULL", "{}"}
    assert arrays.statistics is not None
    assert arrays.statistics.common == ('{"NULL","sad, \\"or\\" not"}',)
    numbers = table.column("a b")
    assert numbers is not None
    assert numbers.statistics is not None
    assert numbers.statistics.histogram[0] == "1"
    assert numbers.statistics.histogram[-1] == "800"
    assert numbers.statistics.correlation == 1.0
    nothing = table.column("d")
    assert nothing is not None
    assert nothing.statistics is not None
    assert (nothing.statistics.null_fraction, nothing.statistics.common) == (1.0, ())


async def test_partitions_and_heirs_know_each_other(url: str) -> None:
    """A partitioned table has statistics of the whole; a table with heirs has no key that holds."""
    found = await read(url)
    whole, part = found.tables["public", "by_day"], found.tables["public", "by_day_1"]
    assert (whole.kind, whole.partition_key) == ("p", "RANGE (day)")
    assert whole.partitions == (("public", "by_day_1"), ("public", "by_day_2"))
    assert part.parent == whole.name
    assert part.indexes[0].parent == whole.indexes[0].oid
    day = whole.column("day")
    assert day is not None
    assert day.statistics is not None
    assert whole.rows == 401
    assert found.tables["public", "quick"].partitions == (("public", "heir"),)


async def test_table_that_was_never_analyzed_has_no_statistics(postgres_url: str) -> None:
    """Its rows are unknown, not none."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("create table raw (a int)")
    await connection.close()
    table = (await read(postgres_url)).tables["public", "raw"]
    assert table.rows == -1
    assert table.columns[0].statistics is None


async def test_invalid_index_and_foreign_table_are_told_as_they_are(postgres_url: str) -> None:
    """The remains of a failed build are no key, and what lies elsewhere has no pages."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(
        "create table twice as select 1 as a from generate_series(1, 2); "
        "create foreign data wrapper nothing; create server far foreign data wrapper nothing; "
        "create foreign table elsewhere (a int not null) server far"
    )
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute("create unique index concurrently twice_a on twice (a)")
    await connection.close()
    found = await read(postgres_url)
    table = found.tables["public", "twice"]
    (remains,) = table.indexes
    assert (remains.valid, remains.index.unique, table.unique_keys) == (False, True, ())
    far = found.tables["public", "elsewhere"]
    assert (far.kind, far.pages, far.size_bytes, far.columns[0].not_null) == ("f", 0, 0, True)


async def test_only_the_schemas_that_are_asked_for_are_read(url: str) -> None:
    """One that is not there is named, with those that are."""
    found = await read(url, schemas=[ODD])
    assert {schema for schema, _ in found.tables} == {ODD}
    assert found.views == {}
    with pytest.raises(SchemaInvalid, match="public"):
        await read(url, schemas=["nowhere"])
    with pytest.raises(SchemaInvalid, match=r"\['public'\]"):
        await read(url, schemas="public")


async def test_ordinary_login_reads_what_it_may_and_is_told_the_rest(url: str) -> None:
    """A table without SELECT is left out and named; one of a closed schema too."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        "create role reader login; grant select on parents, by_day to reader; grant select (a) on quick to reader"
    )
    await connection.close()
    try:
        found = await read(url.replace("postgres@", "reader@"))
    finally:
        connection = await asyncpg.connect(url)
        await connection.execute("drop owned by reader; drop role reader")
        await connection.close()
    assert set(found.tables) == {("public", "parents"), ("public", "by_day"), ("public", "quick")}
    assert (ODD, "Select") in found.hidden
    code = found.tables["public", "parents"].column("code")
    assert code is not None
    assert code.statistics is not None


async def test_reading_changes_nothing_and_sees_one_moment(url: str) -> None:
    """Its transaction is READ ONLY and REPEATABLE READ, with limits for statements and locks."""
    statements: list[str] = []
    async with opened(url) as db:
        async with db.postgres.transaction() as connection:
            await connection.exec_driver_sql("select 1")
        database = _Watched(db.postgres, statements)
        await reading.read(database)
    assert statements[:3] == ["on", "repeatable read", "1s"]
    assert statements[3] != "0"


class _Watched:
    """A database that tells, at the end of a transaction, under which settings it ran."""

    def __init__(self, database: Database, told: list[str]) -> None:
        self._database, self._told = database, told

    def autocommit(self) -> AbstractAsyncContextManager[Connection]:
        raise AssertionError("outside of the transaction")

    @asynccontextmanager
    async def transaction(self, *, within: str | float | None = None) -> AsyncIterator[Connection]:
        async with self._database.transaction(within=within) as connection:
            yield connection
            for name in ("transaction_read_only", "transaction_isolation", "lock_timeout", "statement_timeout"):
                self._told.append((await connection.exec_driver_sql(f"show {name}")).all()[0][0])


async def test_table_that_is_being_changed_is_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortly and again; who changes it is never held up for long."""
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("lock table parents in access exclusive mode")
    try:
        with monkeypatch.context() as patch:
            patch.setattr("tercet.advisor.reading.reading._LOCK_SECONDS", 0.01)
            patch.setattr("tercet.advisor.reading.reading._PAUSE_SECONDS", 0.01)
            with pytest.raises(LockBusy):
                await read(url)
        async with opened(url) as db:
            waiting = asyncio.ensure_future(reading.read(db.postgres))
            while not await connection.fetchval("select count(*) from pg_locks where not granted"):
                await asyncio.sleep(0.01)
            await transaction.rollback()
            assert ("public", "parents") in (await waiting).tables
    finally:
        await connection.close()


async def test_scans_of_replicas_are_added(url: str) -> None:
    """What only they use is used: here the same server stands for two of them."""
    connection = await asyncpg.connect(url)
    await connection.execute("set enable_seqscan = off; select * from parents where id = 5")
    while not await connection.fetchval(
        "select idx_scan from pg_stat_user_indexes where indexrelname = 'parents_pkey'"
    ):
        await connection.execute("select pg_stat_force_next_flush()")
    await connection.close()

    def scans(found: Catalog) -> int:
        return next(one.scans for one in found.tables["public", "parents"].indexes if one.constraint == "p")

    async with opened(url) as db:
        alone = await reading.read(db.postgres)
        both = await reading.read(db.postgres, replicas=[db.postgres, db.postgres])
    assert scans(alone) > 0
    assert scans(both) == 3 * scans(alone)
