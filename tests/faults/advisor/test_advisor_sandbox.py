"""A copy takes little from production, and nothing of it stays: not after its end, a cancellation or a kill."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tercet import Tercet
from tercet.advisor import Example, Query
from tercet.advisor.catalog import Catalog
from tercet.advisor.reading import read
from tercet.advisor.sandbox import Sandbox, copy
from tercet.advisor.verify import Bounds, verify
from tercet.errors import CommandRefused, DeadlinePassed, UsageError
from tercet.sql import Index, Statement
from tercet.sql.port import Connection

# A condition is looked at so often, on a machine whose cores others have.
LOOK_SECONDS = 0.05
# A copy that goes so slowly can be looked at.
RATE = 4 << 20
PATIENCE_SECONDS = 60.0

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETUP = """
create type mood as enum ('glad', 'sad');
create table parents (id int primary key, mood mood, name text);
insert into parents
select n, case when n % 3 = 0 then 'sad' else 'glad' end::mood, 'parent ' || n from generate_series(1, 20000) n;
create table others (id int primary key, filler text);
insert into others select n, repeat('o', 200) from generate_series(1, 20000) n;
create table children (id int primary key, parent int references parents, other int references others, filler text);
insert into children select n, 1 + n % 20000, 1 + n * 7 % 20000, repeat('c', 60) from generate_series(1, 60000) n;
create view glad as select * from parents where mood = 'glad';
create view twice as select * from glad;
create table parted (id int, day int, seen bigint generated always as identity, primary key (id, day))
partition by range (day);
create table parted_1 partition of parted for values from (0) to (10);
create table parted_2 partition of parted for values from (10) to (20);
create index parted_day on parted (day);
insert into parted (id, day) select n, n % 20 from generate_series(1, 2000) n;
create table going (id int primary key);
vacuum (analyze)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def db(servers: Any) -> AsyncIterator[Tercet]:
    """Production, with tables that refer to each other, views, a type of its own and partitions."""
    name = "advisor_sandbox"
    servers.run(servers.administer(servers.postgres, f"create database {name}"))
    async with Tercet(postgres=_url(servers.postgres)) as opened:
        async with opened.postgres.autocommit() as connection:
            for statement in SETUP.split(";"):
                await connection.exec_driver_sql(statement)
        yield opened
    servers.run(servers.administer(servers.postgres, f"drop database {name} with (force)"))


def _url(server: str) -> str:
    return server.rpartition("/")[0] + "/advisor_sandbox"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def catalog(db: Tercet) -> Catalog:
    """What it says of itself."""
    return await read(db.postgres)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary folders are made by this test alone; a socket's path must be short."""
    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    shutil.rmtree(folder)


async def _one(place: Sandbox, sql: str) -> object:
    async with place.autocommit() as connection:
        return (await connection.exec_driver_sql(sql)).all()[0][0]


async def test_a_part_of_the_rows_keeps_every_join_alive(db: Tercet, catalog: Catalog) -> None:
    """What a row refers to is there, large tables shrink, small ones are whole, and views and partitions work.

    A table that went away since the catalog was read is told of, and the others come.
    """
    async with db.postgres.autocommit() as connection:
        await connection.exec_driver_sql("drop table going")
    names = list(catalog.tables)
    room = sum(table.size_bytes for table in catalog.tables.values()) // 4
    async with await copy(db.postgres, catalog, names, bytes_max=room, sources=("wheel",)) as made:
        assert made.notes == ("public.going is gone from production.",)
        assert ("public", "going") not in made.tables
        assert made.sampled
        rows = {name[1]: one.rows for name, one in made.tables.items()}
        assert 0 < rows["children"] < 40_000
        assert 0 < rows["parents"] < 20_000
        assert made.scale(("public", "children")) == pytest.approx(60_000 / rows["children"])
        for parent, column in (("parents", "parent"), ("others", "other")):
            lost = f"select count(*) from children c where not exists (select from {parent} p where p.id = c.{column})"
            assert await _one(made, lost) == 0
        # Each child of a parent that came along by the sample came with it: joins are not thinned out.
        per_parent = "select count(*)::float8 / count(distinct parent) from children"
        assert await _one(made, per_parent) == pytest.approx(3.0)
        assert await _one(made, "select count(*) from twice") == await _one(
            made, "select count(*) from parents where mood = 'glad'"
        )
        assert await _one(made, "select count(*) from parted") == 2_000
        assert (
            await _one(made, "select count(*) from pg_class where relkind = 'i' and relname like 'parted%day_idx'") == 2
        )
        verdicts = await verify(made, [_by_name()], [Index("by_name", "parents", ("name",))], bounds=Bounds(pairs=1))
        assert verdicts.method == "sample"


def _by_name() -> Query:
    sql = "select id from parents where name = 'parent 7'"
    return Query(Statement(sql), (Example(sql),), label="by name")


class Watched:
    """Production, which notes of each transaction at its end whether it could have written, and what it saw."""

    def __init__(self, db: Tercet) -> None:
        self.autocommit = db.postgres.autocommit
        self._db = db
        self.transactions: list[tuple[str, str]] = []

    @asynccontextmanager
    async def transaction(self, *, within: str | float | None = None) -> AsyncIterator[Connection]:
        """A transaction of production's."""
        async with self._db.postgres.transaction(within=within) as connection:
            yield connection
            asked = "select current_setting('transaction_read_only'), current_setting('transaction_isolation')"
            self.transactions += [tuple(row) for row in (await connection.exec_driver_sql(asked)).all()]


async def test_production_sees_access_share_and_a_read_only_snapshot(db: Tercet, catalog: Catalog) -> None:
    """While rows are read: no stronger lock on any table, and a transaction that may not write."""
    question = """
        select l.mode from pg_locks l join pg_class c on c.oid = l.relation
        where c.relname in ('parents', 'others', 'children') and l.pid <> pg_backend_pid()
          and l.database = (select oid from pg_database where datname = current_database())
    """
    seen: set[str] = set()
    watched = Watched(db)
    names = [("public", "parents"), ("public", "children")]
    # So slowly that somebody can look; the rate is what makes it wait, not the machine.
    task = asyncio.ensure_future(
        copy(watched, catalog, names, rate=RATE, sources=("wheel",), on_progress=lambda *_: None)
    )
    while not task.done():
        async with db.postgres.autocommit() as connection:
            seen |= {row[0] for row in (await connection.exec_driver_sql(question)).all()}
        await asyncio.sleep(LOOK_SECONDS)
    made = await task
    await made.close()
    assert seen == {"AccessShareLock"}
    assert watched.transactions == [("on", "repeatable read")]
    assert made.taken.bytes > 3_000_000
    assert made.taken.seconds >= made.taken.bytes / RATE - 0.1


async def test_a_table_that_nobody_knows_is_refused_before_anything_is_started(db: Tercet, catalog: Catalog) -> None:
    """The names are those of the catalog."""
    with pytest.raises(UsageError, match=r"public\.unheard"):
        await copy(db.postgres, catalog, [("public", "unheard")])


async def test_a_copy_that_takes_too_long_is_ended_and_leaves_nothing(
    db: Tercet, catalog: Catalog, place: Path
) -> None:
    """The limit is named, production is let go, and the folder is gone."""
    with pytest.raises(DeadlinePassed, match="a copy"):
        await copy(db.postgres, catalog, [("public", "others")], rate=1_000.0, seconds_max=1.0, sources=("wheel",))
    assert list(place.iterdir()) == []
    await _nobody_reads(db)


async def test_a_cancelled_copy_leaves_nothing(db: Tercet, catalog: Catalog, place: Path) -> None:
    """Cancelled in the middle of a table: no server, no folder, no transaction stays."""
    begun = asyncio.Event()
    task = asyncio.ensure_future(
        copy(
            db.postgres, catalog, [("public", "others")], rate=1_000.0, sources=("wheel",),
            on_progress=lambda *_: begun.set(),
        )
    )  # fmt: skip
    await asyncio.wait_for(begun.wait(), PATIENCE_SECONDS)
    assert list(place.iterdir()) != []
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(place.iterdir()) == []
    await _nobody_reads(db)


async def test_a_copy_whose_server_is_killed_reads_no_further(db: Tercet, catalog: Catalog, place: Path) -> None:
    """The driver would go on writing into its closed socket, and production be read to its end: for minutes here."""
    known = asyncio.all_tasks()
    task, began = _copying(db, catalog, "others", 16_000.0)
    await asyncio.wait_for(began.wait(), PATIENCE_SECONDS)
    (pid,) = place.glob("*/postgres/postmaster.pid")
    os.kill(int(pid.read_text().split()[0]), signal.SIGKILL)
    await _is_told(task, "the connection to the copy's server")
    assert list(place.iterdir()) == []
    await _nobody_reads(db)
    await _no_task_but(known)


async def test_a_copy_ends_with_productions_connection(db: Tercet, place: Path) -> None:
    """It is an error of a store; what is left of production's transaction is not asked any more."""
    async with db.postgres.autocommit() as connection:
        # More than sockets hold: the server is in the middle of it when it is ended.
        await connection.exec_driver_sql(
            "create table wide as select n, repeat('w', 1000) as w from generate_series(1, 30000) n"
        )
    try:
        catalog = await read(db.postgres)
        known = asyncio.all_tasks()
        task, began = _copying(db, catalog, "wide", RATE)
        await asyncio.wait_for(began.wait(), PATIENCE_SECONDS)
        async with db.postgres.autocommit() as connection:
            question = (
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and state = 'active' and query ilike 'copy (%'"
            )
            assert [row[0] for row in (await connection.exec_driver_sql(question)).all()] == [True]
        await _is_told(task, "production's connection")
        assert list(place.iterdir()) == []
        await _no_task_but(known)
    finally:
        async with db.postgres.autocommit() as connection:
            await connection.exec_driver_sql("drop table wide")


def _copying(db: Tercet, catalog: Catalog, table: str, rate: float) -> tuple[asyncio.Task[Sandbox], asyncio.Event]:
    """A copy of this table that has begun when the event is set."""
    began = asyncio.Event()
    work = copy(
        db.postgres, catalog, [("public", table)], rate=rate, sources=("wheel",), on_progress=lambda *_: began.set()
    )
    return asyncio.create_task(work), began


async def _is_told(task: asyncio.Task[Sandbox], what: str) -> None:
    """Wait until the copy ends with the words that this was lost."""
    try:
        with pytest.raises(CommandRefused, match=f"the copy could not be made: {what} was lost in the middle"):
            await asyncio.wait_for(task, PATIENCE_SECONDS)
    finally:
        task.cancel()


async def test_a_table_that_is_locked_is_left_out_and_the_others_come(db: Tercet, catalog: Catalog) -> None:
    """The error of one table costs neither the transaction nor the connection that the others are read by."""
    async with db.postgres.transaction() as connection:
        await connection.exec_driver_sql("lock table others in access exclusive mode")
        names = [("public", "others"), ("public", "parents")]
        async with await copy(db.postgres, catalog, names, sources=("wheel",)) as made:
            assert any(note.startswith("public.others could not be copied: ") for note in made.notes)
            assert {name[1]: one.rows for name, one in made.tables.items()} == {"parents": 20_000}


async def _no_task_but(known: set[asyncio.Task[Any]]) -> None:
    """Wait until every task that was begun since has ended."""
    began = time.monotonic()
    while asyncio.all_tasks() - known:
        assert time.monotonic() - began < PATIENCE_SECONDS, asyncio.all_tasks() - known
        await asyncio.sleep(LOOK_SECONDS)


async def test_a_full_disk_under_the_copy_is_an_error_of_a_store(db: Tercet, catalog: Catalog, place: Path) -> None:
    """So that the advisor tells it as a note; nothing stays."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(CommandRefused, match=r"the copy could not be made: .*No space left"):
        await copy(db.postgres, catalog, [("public", "others")], sources=("wheel",), on_progress=full)
    assert list(place.iterdir()) == []
    await _nobody_reads(db)


_MAKES_ONE = """
import asyncio, sys
from tercet import Tercet
from tercet.advisor.reading import read
from tercet.advisor.sandbox import copy

async def main():
    async with Tercet(postgres=sys.argv[1]) as db:
        catalog = await read(db.postgres)
        made = await copy(db.postgres, catalog, [("public", "parents")], sources=("wheel",))
        print(made.folder, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_a_killed_process_leaves_no_row_behind(db: Tercet, servers: Any) -> None:
    """Nobody could enter the folder while it lived, and it goes when its maker is killed at once."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _MAKES_ONE,
        _url(servers.postgres),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    folder = Path((await asyncio.wait_for(process.stdout.readline(), PATIENCE_SECONDS)).decode().strip())
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "postgres").is_dir()
    process.send_signal(signal.SIGKILL)
    await process.wait()
    began = time.monotonic()
    while folder.exists():
        assert time.monotonic() - began < PATIENCE_SECONDS
        await asyncio.sleep(LOOK_SECONDS)


async def _nobody_reads(db: Tercet) -> None:
    """Wait until production has no transaction of ours any more."""
    question = (
        "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() "
        "and state in ('active', 'idle in transaction')"
    )
    began = time.monotonic()
    while True:
        async with db.postgres.autocommit() as connection:
            if (await connection.exec_driver_sql(question)).all()[0][0] == 0:
                return
        assert time.monotonic() - began < PATIENCE_SECONDS
        await asyncio.sleep(LOOK_SECONDS)
