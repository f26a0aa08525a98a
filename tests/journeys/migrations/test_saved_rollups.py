"""Rollups saved as revisions, run by Alembic itself on a real server: what they make is what create_rollup makes."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tercet import Tercet
from tercet.cli.advise_views import rollup_step
from tercet.migrations import MakeRollup
from tercet.migrations.saving import save
from tercet.rollups import Measure, Parent, Rollup, check, create_rollup, merge
from tercet.sql import Expression, Index

pytest.importorskip("alembic")

ORDERS = ("public", "Order Lines")
BY_DAY = Rollup(
    ("public", "by day"), ORDERS,
    {"user_id": "user_id", "day": Expression("(at at time zone 'UTC')::date")},
    {"n": Measure("count"), "total": Measure("sum", "total"), "mean": Measure("avg", "total")},
    where="note <> ':x %s'", indexes=(Index("by_day_n", ("public", "by day"), ("n",)),),
)  # fmt: skip
OF_USERS = Rollup(
    ("public", "of_users"), ORDERS, ("user_id",), {"n": Measure("count"), "total": Measure("sum", "total")},
    parent=Parent(("public", "users"), columns=("name",)), way="delta",
)  # fmt: skip
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
    """A folder as `alembic init` makes it, for one database."""

    def __init__(self, place: Path, url: str) -> None:
        self.place = place / "migrations"
        (self.place / "versions").mkdir(parents=True)
        (self.place / "env.py").write_text(ENV)
        (self.place / "script.py.mako").write_text(
            '"""${message}"""\nrevision = ${repr(up_revision)}\ndown_revision = ${repr(down_revision)}\n'
        )
        self.ini = place / "alembic.ini"
        self.ini.write_text(
            "[alembic]\nscript_location = %(here)s/migrations\n"
            f"sqlalchemy.url = {url.replace('postgresql:', 'postgresql+psycopg:').replace('%', '%%')}\n"
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
async def connection(postgres_url: str) -> Any:
    """Some thousand lines of two hundred users, half of them in a partition of a partition."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("""
        create table users (id bigint primary key, name text);
        insert into users select i, 'user ' || i from generate_series(1, 210) i;
        create table "Order Lines" (id bigint, user_id bigint, total numeric(12,2), note text, at timestamptz)
            partition by range (id);
        create table lines_1 partition of "Order Lines" for values from (0) to (30000);
        create table lines_2 partition of "Order Lines" for values from (30000) to (100000) partition by range (id);
        create table "lines 2 a" partition of lines_2 for values from (30000) to (90000);
        insert into "Order Lines" select i, nullif(i % 200, 0), nullif(i % 7, 0), 'n' || i, '2026-01-01'::timestamptz
            + i * interval '1 minute' from generate_series(1, 60000) i;
        create index lines_user on "Order Lines" (user_id);
        create role reader; grant select on "Order Lines", users to reader;
    """)
    yield connection
    await connection.execute("drop owned by reader; drop role reader")
    await connection.close()


async def _steps(url: str) -> tuple[MakeRollup, ...]:
    async with Tercet(postgres=url) as db:
        return tuple([await rollup_step(db.postgres, one, "It is added up often.", "") for one in (BY_DAY, OF_USERS)])


async def _objects(connection: asyncpg.Connection) -> list[tuple[str, ...]]:
    """All that is there by name: relations, functions, triggers, and what is remembered."""
    rows = await connection.fetch("""
        select 'relation', relname::text from pg_class
        where relnamespace = 'public'::regnamespace and relname !~ '^alembic'
        union all select 'function', proname::text from pg_proc where pronamespace = 'public'::regnamespace
        union all select 'trigger', tgrelid::regclass::text || ' ' || tgname from pg_trigger where not tgisinternal
        order by 1, 2
    """)
    return [tuple(row) for row in rows]


async def test_a_rollup_goes_up_and_down_and_up_again(
    tmp_path: Path, postgres_url: str, connection: asyncpg.Connection
) -> None:
    """Each way up it is exact, kept by its triggers, and the one that create_rollup would make; down takes it all."""
    folder = Folder(tmp_path, postgres_url)
    before = await _objects(connection)
    save(await _steps(postgres_url), folder.place, title="Advised", made="2026-01-01")
    for _ in range(2):
        await folder.run("upgrade", "head")
        await connection.execute("""
            insert into "Order Lines" select 90000 - i, 1 + i % 90, 1, 'new', now() from generate_series(1, 500) i;
            update lines_1 set user_id = 205 where id < 50;
            delete from "Order Lines" where id % 11 = 3;
        """)
        made = await _objects(connection)
        assert await connection.fetchval("select has_table_privilege('reader', 'of_users', 'select')")
        async with Tercet(postgres=postgres_url) as db:
            for rollup in (BY_DAY, OF_USERS):
                assert (await create_rollup(db.postgres, rollup)).existed
                assert (await check(db.postgres, rollup)).wrong == 0
            assert (await merge(db.postgres, OF_USERS)).whole
            assert (await check(db.postgres, OF_USERS)).wrong == 0
        assert await _objects(connection) == made
        assert await connection.fetchval("select sum(n) from of_users") == await connection.fetchval(
            'select count(*) from "Order Lines" where user_id is not null'
        )
        await folder.run("downgrade", "-1")
        assert await _objects(connection) == before
        assert await connection.fetchval("select count(*) from tercet.rollups") == 0


async def test_a_run_that_was_cut_off_goes_on_where_it_was(
    tmp_path: Path, postgres_url: str, connection: asyncpg.Connection
) -> None:
    """Whatever was filled stays, and writers keep it meanwhile."""
    folder = Folder(tmp_path, postgres_url)
    (step, _) = await _steps(postgres_url)
    save((step,), folder.place, title="Advised", made="2026-01-01")
    await connection.execute(step.make)
    first = step.fill.replace("<low>", "null").replace("<high>", "'100'").replace("<nulls>", "false")
    await connection.execute(first)
    await connection.execute(
        """insert into "Order Lines" select 95000 - i, 7, 1, 'n', now() from generate_series(5001, 5100) i"""
    )
    await folder.run("upgrade", "head")
    async with Tercet(postgres=postgres_url) as db:
        assert (await create_rollup(db.postgres, BY_DAY)).existed
        assert (await check(db.postgres, BY_DAY)).wrong == 0


async def test_a_revision_for_another_schema_makes_nothing(
    tmp_path: Path, postgres_url: str, connection: asyncpg.Connection
) -> None:
    """Types that differ from those of the database it was saved for are told, and nothing is left half made."""
    folder = Folder(tmp_path, postgres_url)
    save(await _steps(postgres_url), folder.place, title="Advised", made="2026-01-01")
    await connection.execute('alter table "Order Lines" alter user_id type int')
    before = await _objects(connection)
    with pytest.raises(Exception, match="its columns have other types here"):
        await folder.run("upgrade", "head")
    assert await _objects(connection) == before


async def test_it_can_be_written_down_as_sql(tmp_path: Path, postgres_url: str, connection: asyncpg.Connection) -> None:
    """With --sql it stands there as plain statements; all is filled at once."""
    folder = Folder(tmp_path, postgres_url)
    (_, step) = await _steps(postgres_url)
    save((step,), folder.place, title="Advised", made="2026-01-01")
    # As one text, since nothing in it has to stand alone.
    await connection.execute(await folder.run("upgrade", "head", sql=True))
    async with Tercet(postgres=postgres_url) as db:
        assert (await create_rollup(db.postgres, OF_USERS)).existed
        assert (await check(db.postgres, OF_USERS)).wrong == 0
