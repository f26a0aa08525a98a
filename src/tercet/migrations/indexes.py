"""Indexes are built while the table is read and written, and a half-built one never stays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.errors import DefinitionMismatch
from tercet.migrations.guard import alone, patient
from tercet.sql import Index, identifier
from tercet.units import seconds

if TYPE_CHECKING:
    from tercet.migrations.port import Connection, Database

Progress = Callable[[int, int], None]

# Often enough for a bar that moves, seldom enough to cost the server nothing.
_PROGRESS_SECONDS = 0.2

_FOUND = """
select i.indisvalid, pg_get_indexdef(i.indexrelid), pg_relation_size(i.indexrelid)
from pg_index i where i.indexrelid = to_regclass($1)
"""
_BUILDING = """
select coalesce(sum(blocks_done + tuples_done), 0)::bigint, coalesce(sum(blocks_total + tuples_total), 0)::bigint
from pg_stat_progress_create_index where index_relid = to_regclass($1) or relid = to_regclass($2)
"""


@dataclass(frozen=True, slots=True)
class Built:
    """An index that is there and valid; `existed` when nothing had to be done."""

    name: str
    seconds: float
    size_bytes: int
    existed: bool


async def build_index(
    database: Database, index: Index, *, wait: str | float = "10m", on_progress: Progress | None = None
) -> Built:
    """Build `index` concurrently, or find it there already; the table stays readable and writable.

    An invalid index of that name, which a killed build leaves behind, is dropped and built anew. Whoever builds
    the same index at the same time is waited for, up to `wait`. `on_progress` is told (done, total) in the
    server's own units, blocks and then tuples, once a phase knows its total.

    Raises DefinitionMismatch when an index of that name is another one, LockBusy when somebody else still builds it,
    and whatever PostgreSQL says of the definition; in each case no half-built index is left.
    """
    started = time.perf_counter()
    async with (
        database.autocommit() as connection,
        alone(connection, f"the build of the index {index.name}", wait=seconds(wait)),
        patient(connection),
    ):
        found = await _find(connection, index)
        if found and found[0]:
            await _compare(database, index, found[1])
            return Built(index.name, time.perf_counter() - started, found[2], existed=True)
        if found:
            await connection.exec_driver_sql(index.drop(concurrently=True))
        await _create(database, connection, index, on_progress)
        found = await _find(connection, index)
    size = found[2] if found else 0
    return Built(index.name, time.perf_counter() - started, size, existed=False)


async def drop_index(database: Database, index: Index) -> None:
    """Drop `index` without blocking readers or writers; nothing happens when it is not there."""
    async with database.autocommit() as connection, patient(connection):
        await connection.exec_driver_sql(index.drop(concurrently=True))


async def _find(connection: Connection, index: Index) -> tuple[bool, str, int] | None:
    rows = (await connection.exec_driver_sql(_FOUND, (index.qualified,))).all()
    return (rows[0][0], rows[0][1], rows[0][2]) if rows else None


async def _create(database: Database, connection: Connection, index: Index, on_progress: Progress | None) -> None:
    watcher = asyncio.create_task(_watch(database, index, on_progress)) if on_progress else None
    try:
        await connection.exec_driver_sql(index.create(concurrently=True))
    except BaseException:
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


async def _watch(database: Database, index: Index, on_progress: Progress) -> None:
    async with database.autocommit() as connection:
        while True:
            rows = (await connection.exec_driver_sql(_BUILDING, (index.qualified, index.qualified_table))).all()
            if rows and rows[0][1]:
                on_progress(rows[0][0], rows[0][1])
            await asyncio.sleep(_PROGRESS_SECONDS)


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
