"""Indexes are built while the table is read and written, and a half-built one never stays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.errors import DefinitionMismatch
from tercet.migrations.guard import alone, patient
from tercet.migrations.parts import briefly, build_parts, partitioned
from tercet.migrations.sqlstate import sqlstate
from tercet.migrations.waiting.clear import blocked, clear
from tercet.migrations.waiting.watch import Watch
from tercet.sql import Index, identifier
from tercet.units import seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.migrations.waiting.blocker import Blocker
    from tercet.sql.port import Connection, Database

Progress = Callable[[int, int], None]
Waiting = Callable[["Sequence[Blocker]"], None]

# Who waits for writers holds a lock that ALTER TABLE queues behind, and everybody behind that.
_FIRST_WAIT_SECONDS = 15.0
# A build that ran into a deadlock, or was ended while it waited, is begun anew this often.
_TRIES = 3
_DEADLOCK = "40P01"

_FOUND = """
select i.indisvalid, pg_get_indexdef(i.indexrelid), pg_relation_size(i.indexrelid)
from pg_index i where i.indexrelid = to_regclass($1)
"""


@dataclass(frozen=True, slots=True)
class Built:
    """An index that is there and valid; `existed` when nothing had to be done."""

    name: str
    seconds: float
    size_bytes: int
    existed: bool


async def build_index(
    database: Database,
    index: Index,
    *,
    wait: str | float = "10m",
    patience: str | float | None = None,
    on_progress: Progress | None = None,
    on_waiting: Waiting | None = None,
) -> Built:
    """Build `index` concurrently, or find it there already; the table stays readable and writable.

    An invalid index of that name, which a killed build leaves behind, is dropped and built anew. Whoever builds
    the same index at the same time is waited for, up to `wait`. `on_progress` is told (done, total) in the
    server's own units, blocks and then tuples, once a phase knows its total. A partitioned table gets it part by part.

    With a `patience`, old transactions that the build would wait for are waited for before it locks anything, and
    `on_waiting` is told who they are; without one it begins at once, and waits for them as long as they take.

    Raises DefinitionMismatch when an index of that name is another one, LockBusy when somebody else still builds it,
    BuildBlocked when old transactions have not ended, and whatever PostgreSQL says of the definition. No half-built
    index is left, but where the last said that it was ended behind a writer: to drop it waits for the same one.
    """
    started = time.perf_counter()
    bound = None if patience is None else seconds(patience)
    async with (
        database.autocommit() as connection,
        alone(connection, f"the build of the index {index.name}", wait=seconds(wait)),
        patient(connection),
    ):
        found = await _find(connection, index)
        if found and found[0]:
            await _compare(database, index, found[1])
            return Built(index.name, time.perf_counter() - started, found[2], existed=True)
        builder = _Builder(database, connection, bound, on_progress, on_waiting)
        if await partitioned(connection, index):
            if found:
                await briefly(database, (index.drop(concurrently=False),))
            await build_parts(database, connection, index, builder.build)
        else:
            await builder.build(index)
        found = await _find(connection, index)
    size = found[2] if found else 0
    return Built(index.name, time.perf_counter() - started, size, existed=False)


async def drop_index(
    database: Database, index: Index, *, patience: str | float | None = None, on_waiting: Waiting | None = None
) -> None:
    """Drop `index` without blocking readers or writers; nothing happens when it is not there.

    That of a partitioned table can only be dropped at once: all wait for a moment, and not longer than two seconds.
    `patience` is meant as with build_index.
    """
    async with database.autocommit() as connection, patient(connection):
        if await partitioned(connection, index):
            await briefly(database, (index.drop(concurrently=False),))
            return
        if patience is not None:
            what = f"the drop of the index {index.name}"
            await clear(database, index.qualified_table, what=what, wait=seconds(patience), on_waiting=on_waiting)
        await connection.exec_driver_sql(index.drop(concurrently=True))


async def rebuild_index(
    database: Database, index: Index, *, patience: str | float | None = None, on_waiting: Waiting | None = None
) -> None:
    """Build `index` anew in its own place, while its table is read and written; `patience` as with build_index."""
    async with database.autocommit() as connection, patient(connection):
        if patience is not None:
            what = f"the rebuild of the index {index.name}"
            await clear(database, index.qualified_table, what=what, wait=seconds(patience), on_waiting=on_waiting)
        await connection.exec_driver_sql(f"reindex index concurrently {index.qualified}")


@dataclass(frozen=True, slots=True)
class _Builder:
    """Builds one index of one table on a connection that stands alone."""

    database: Database
    connection: Connection
    patience: float | None
    on_progress: Progress | None
    on_waiting: Waiting | None

    async def build(self, index: Index) -> None:
        """Build it, or find it valid; what a failed build has left of it is dropped."""
        what = f"the build of the index {index.name}"
        stuck: Sequence[Blocker] = ()
        for attempt in range(1, _TRIES + 1):
            if self.patience is not None:
                await clear(
                    self.database, index.qualified_table, what=what, wait=self.patience, on_waiting=self.on_waiting,
                    left=index.name if stuck else "",
                )  # fmt: skip
            found = await _find(self.connection, index)
            if found and found[0]:
                await _compare(self.database, index, found[1])
                return
            if found:
                await self.connection.exec_driver_sql(index.drop(concurrently=True))
            watch = Watch(
                self.database, index, on_progress=self.on_progress, on_waiting=self.on_waiting,
                patience=None if self.patience is None else _FIRST_WAIT_SECONDS,
            )  # fmt: skip
            try:
                await _create(self.database, self.connection, index, watch)
            except Exception as error:
                if not watch.stuck and sqlstate(error) != _DEADLOCK:
                    raise
                stuck = watch.stuck
                if attempt == _TRIES and stuck:
                    raise blocked(what, stuck, _TRIES * _FIRST_WAIT_SECONDS, left=index.name) from error
                if attempt == _TRIES:
                    raise
            else:
                return


async def _find(connection: Connection, index: Index) -> tuple[bool, str, int] | None:
    rows = (await connection.exec_driver_sql(_FOUND, (index.qualified,))).all()
    return (rows[0][0], rows[0][1], rows[0][2]) if rows else None


async def _create(database: Database, connection: Connection, index: Index, watch: Watch) -> None:
    watcher = asyncio.create_task(watch.run()) if watch.wanted else None
    try:
        await connection.exec_driver_sql(index.create(concurrently=True))
    except BaseException:
        # To drop it waits for whom the build waited for, with a lock: it is left for when that one has ended.
        if not watch.stuck:
            await asyncio.shield(_sweep(database, index))
        raise
    finally:
        if watcher is not None:
            watcher.cancel()
            # Not awaited itself: our own cancellation, if it comes just now, must not be taken for the watcher's.
            await asyncio.wait([watcher])
            if not watcher.cancelled():
                watcher.result()


async def _sweep(database: Database, index: Index) -> None:
    """Take away what a failed or cancelled build has left; on a fresh connection, for the old one may be gone."""
    async with database.autocommit() as connection:
        found = await _find(connection, index)
        if found and not found[0]:
            await connection.exec_driver_sql(index.drop(concurrently=True))


async def _compare(database: Database, index: Index, found: str) -> None:
    """Refuse an index that only has the name in common.

    PostgreSQL itself is asked how it would write the wanted one down: on an empty copy of the table, which goes
    with the transaction. Texts from two servers' own hands can be compared; ours and theirs cannot.
    """
    async with database.transaction() as connection:
        copy = identifier("tercet_compare")
        await connection.exec_driver_sql(
            f"create temporary table {copy} (like {index.qualified_table} including generated) on commit drop"
        )
        probe = index.on("tercet_compare", name="tercet_compare_index")
        await connection.exec_driver_sql(probe.create(concurrently=False))
        rows = (
            await connection.exec_driver_sql("select pg_get_indexdef('pg_temp.tercet_compare_index'::regclass)")
        ).all()
    wanted: str = rows[0][0]
    if _essence(wanted) != _essence(found):
        raise DefinitionMismatch("index", index.name, wanted=index.create(concurrently=False), found=found)


def _essence(definition: str) -> tuple[bool, str]:
    """What an index is, without its name and its table's."""
    head, _, body = definition.partition(" USING ")
    return head.startswith("CREATE UNIQUE"), body
