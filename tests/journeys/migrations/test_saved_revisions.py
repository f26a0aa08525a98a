"""Revisions saved from steps, and run by Alembic itself on a real server."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tercet.errors import UsageError
from tercet.migrations import BuildIndex, DropIndex, MakeView, RebuildIndex, Remark, Step
from tercet.migrations.saving import save
from tercet.sql import Expression, Index, View

pytest.importorskip("alembic")

TABLE = ("public", "Order Lines")
BY_USER = BuildIndex(
    Index("by_user", TABLE, ("user_id",), include=("total",), where="note <> ':x %s'"),
    "It is looked up.",
    comment="tercet advice: 2026-01-01 size=1 reads=0 helps=ab",
)
LOWER = BuildIndex(Index("by lower", TABLE, (Expression("lower(note)"),)), "It is asked for by lower(note).")
PARTS = BuildIndex(Index("parts_at_idx", ("public", "parts"), ("at",)), "It is asked for by days.")
OLD = DropIndex(
    Index("old_idx", TABLE, ("total",)), "Nobody reads it.",
    undo='CREATE INDEX CONCURRENTLY old_idx ON public."Order Lines" USING btree (total)',
)  # fmt: skip
VIEW = MakeView(
    View(("public", "sums"), 'select user_id, sum(total) as total from public."Order Lines" group by 1', ("user_id",)),
    "It is added up often.",
    mark="tercet sha256:1",
)
SAID = Remark("rewrite: orders of a day", ("select 1", "where note = 'a:b'"))
STEPS: tuple[Step, ...] = (BY_USER, LOWER, PARTS, OLD, VIEW, SAID)

ENV = """
from alembic import context
from sqlalchemy import create_engine, pool

url = context.config.get_main_option("sqlalchemy.url")
if context.is_offline_mode():
    context.configure(url=url, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with create_engine(url, poolclass=pool.NullPool).connect() as connection:
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
"""
# Both cores may be taken by others.
PATIENCE_SECONDS = 120.0


class Folder:
    """A folder as `alembic init` makes it, with another naming of files, for one database."""

    def __init__(self, place: Path, url: str) -> None:
        self.place = place / "migrations"
        (self.place / "versions").mkdir(parents=True)
        (self.place / "env.py").write_text(ENV)
        (self.place / "script.py.mako").write_text(
            '"""${message}"""\nrevision = ${repr(up_revision)}\ndown_revision = ${repr(down_revision)}\n'
        )
        self.ini = place / "alembic.ini"
        self.ini.write_text(
            "[alembic]\nscript_location = %(here)s/migrations\nfile_template = v_%%(rev)s_%%(slug)s\n"
            f"sqlalchemy.url = {url.replace('postgresql:', 'postgresql+psycopg:').replace('%', '%%')}\n"
        )

    def add(self, revision: str, follows: str | None) -> None:
        """A revision of somebody else's."""
        path = self.place / "versions" / f"{revision}.py"
        path.write_text(
            f"revision = {revision!r}\ndown_revision = {follows!r}\n"
            "def upgrade():\n    pass\ndef downgrade():\n    pass\n"
        )

    async def run(self, command: str, *arguments: str, **options: Any) -> str:
        """An `alembic` command, beside the test's own loop."""
        from alembic import command as commands
        from alembic.config import Config

        out = io.StringIO()
        config = Config(str(self.ini), stdout=out, output_buffer=out)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.to_thread(getattr(commands, command), config, *arguments, **options)
        return out.getvalue()


@pytest.fixture
def folder(tmp_path: Path, postgres_url: str) -> Folder:
    """A folder of Alembic's with one revision in it."""
    made = Folder(tmp_path, postgres_url)
    made.add("first", None)
    return made


async def _connect(url: str) -> asyncpg.Connection:
    connection = await asyncpg.connect(url)
    if not await connection.fetchval("select to_regclass('parts')"):
        await connection.execute("""
            create table "Order Lines" (id bigint primary key, user_id bigint, total numeric(12,2), note text);
            insert into "Order Lines" select i, i % 100, i % 7, 'n' || i from generate_series(1, 2000) i;
            create index old_idx on "Order Lines" (total);
            create table parts (id bigint, at date) partition by range (at);
            create table parts_1 partition of parts for values from ('2024-01-01') to ('2024-02-01');
            create table parts_2 partition of parts for values from ('2024-02-01') to ('2025-01-01')
                partition by range (at);
            create table "parts 2 a" partition of parts_2 for values from ('2024-02-01') to ('2024-03-01');
            insert into parts select i, '2024-01-01'::date + i % 60 from generate_series(1, 500) i;
        """)
    return connection


async def _indexes(connection: asyncpg.Connection) -> dict[str, bool]:
    rows = await connection.fetch(
        "select c.relname, i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid"
        " where c.relnamespace = 'public'::regnamespace and not i.indisprimary and c.relname !~ '^alembic'"
    )
    return {row[0]: row[1] for row in rows}


BEFORE = {"old_idx": True}
AFTER = dict.fromkeys(
    ("by_user", "by lower", "parts_at_idx", "parts_1_parts_at_idx", "parts_2_parts_at_idx", "parts 2 a_parts_at_idx",
     "sums_key"), True,
)  # fmt: skip


async def test_a_revision_goes_up_and_down_and_up_again(folder: Folder, postgres_url: str) -> None:
    """Everything is there and valid after each way up, and as it was after the way down."""
    connection = await _connect(postgres_url)
    try:
        saved = save(STEPS, folder.place, title="What was advised", made="2026-01-01")
        assert saved.path == folder.place / "versions" / f"v_{saved.revision}_what_was_advised.py"
        assert saved.down_revision == "first"
        for _ in range(2):
            await folder.run("upgrade", "head")
            assert await _indexes(connection) == AFTER
            definition = await connection.fetchval("select pg_get_indexdef('by_user'::regclass)")
            assert "INCLUDE (total) WHERE (note <> ':x %s'::text)" in definition
            assert await connection.fetchval("select obj_description('by_user'::regclass)") == BY_USER.comment
            assert await connection.fetchval("select count(*) from pg_stats where tablename = 'by lower'") == 1
            assert await connection.fetchval("select count(*) from sums") == 100
            await folder.run("downgrade", "-1")
            assert await _indexes(connection) == BEFORE
            assert await connection.fetchval("select to_regclass('sums')") is None
    finally:
        await connection.close()


async def test_nobody_who_writes_waits_while_a_revision_runs(folder: Folder, postgres_url: str) -> None:
    """A build that waits for an old transaction lets writers pass; a lock that they met would end them."""
    connection = await _connect(postgres_url)
    writer = await asyncpg.connect(postgres_url, server_settings={"lock_timeout": "5s"})
    try:
        save((BY_USER, OLD), folder.place, title="What was advised", made="2026-01-01")
        old = connection.transaction()
        await old.start()
        await connection.execute("""update "Order Lines" set note = 'held' where id = 1""")
        running = asyncio.create_task(folder.run("upgrade", "head"))
        written = 0
        while not await writer.fetchval("select count(*) from pg_stat_progress_create_index where lockers_total > 0"):
            assert not running.done()
            await writer.execute("""insert into "Order Lines" values ($1, 1, 1, 'n')""", 10_000 + written)
            written += 1
        for more in range(20):
            await writer.execute("""update "Order Lines" set total = $1 where id = $2""", more, 100 + more)
        await old.rollback()
        await running
        assert await _indexes(connection) == {"by_user": True}
    finally:
        await writer.close()
        await connection.close()


async def test_what_a_killed_build_has_left_is_built_anew(folder: Folder, postgres_url: str) -> None:
    """An invalid index of the name is dropped first; a valid one of the same definition is kept."""
    connection = await _connect(postgres_url)
    try:
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute("""create unique index concurrently by_user on "Order Lines" (user_id)""")
        await connection.execute("""create index "by lower" on "Order Lines" (lower(note))""")
        kept = await connection.fetchval("""select '"by lower"'::regclass::oid""")
        assert (await _indexes(connection))["by_user"] is False
        save((BY_USER, LOWER), folder.place, title="What was advised", made="2026-01-01")
        await folder.run("upgrade", "head")
        assert await _indexes(connection) == {**BEFORE, "by_user": True, "by lower": True}
        assert await connection.fetchval("""select '"by lower"'::regclass::oid""") == kept
    finally:
        await connection.close()


async def test_an_index_that_only_has_the_name_in_common_stops_the_revision(folder: Folder, postgres_url: str) -> None:
    """Another index of the name is an error that shows it, and stays; so does another view."""
    connection = await _connect(postgres_url)
    try:
        await connection.execute("""create index by_user on "Order Lines" (total)""")
        save((BY_USER,), folder.place, title="What was advised", made="2026-01-01")
        with pytest.raises(RuntimeError, match=r"by_user.*exists and is another index.*total"):
            await folder.run("upgrade", "head")
        assert (await _indexes(connection))["by_user"]
    finally:
        await connection.close()


async def test_a_broken_index_is_built_anew_in_its_place(folder: Folder, postgres_url: str) -> None:
    """REINDEX makes an invalid one valid again."""
    connection = await _connect(postgres_url)
    try:
        await connection.execute("update pg_index set indisvalid = false where indexrelid = 'old_idx'::regclass")
        save((RebuildIndex(OLD.index, "It is broken."),), folder.place, title="Mended", made="2026-01-01")
        await folder.run("upgrade", "head")
        assert await _indexes(connection) == BEFORE
    finally:
        await connection.close()


async def test_a_revision_can_be_written_down_as_sql(folder: Folder, postgres_url: str) -> None:
    """With --sql nobody can be asked: the statements stand there as they would be run, outside of transactions."""
    save(STEPS, folder.place, title="What was advised", made="2026-01-01")
    told = await folder.run("upgrade", "head", sql=True)
    create = 'create index concurrently "by_user" on "public"."Order Lines"'
    assert create in told
    before = told[: told.index(create)]
    assert before.rindex("COMMIT;") > before.rindex("BEGIN;")
    assert "where (note <> ':x %s')" in told
    assert "drop index concurrently if exists" in told


async def test_several_heads_are_told_with_the_mend(folder: Folder) -> None:
    """Nothing is written behind two heads."""
    folder.add("second", "first")
    folder.add("third", "first")
    with pytest.raises(UsageError, match=r"2 heads: second, third.* alembic merge heads"):
        save(STEPS, folder.place, title="What was advised", made="2026-01-01")
    assert len(list((folder.place / "versions").glob("*.py"))) == 3


async def test_the_same_steps_are_saved_once(folder: Folder) -> None:
    """A second time the file is found, and the folder can be named in three ways."""
    first = save(STEPS, folder.place, title="What was advised", made="2026-01-01")
    for other in (folder.place, folder.place / "versions", folder.place.parent):
        again = save(STEPS, other, title="What was advised", made="2026-01-01")
        assert again.existed
        assert again.path.samefile(first.path)
