"""A real copy of the tables that matter, in a server of our own: indexes are really built there, statements really run.

Production is read in one READ ONLY transaction, under one snapshot, no faster than was allowed, with limits for
statements and for locks; it sees nothing stronger than AccessShare. What it took is counted and told.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from tercet.advisor.blocks import blocks
from tercet.advisor.failure import sqlstate, words
from tercet.advisor.marked import marked
from tercet.advisor.private import Cluster, major_of
from tercet.advisor.private.postgres_desk import Desk
from tercet.advisor.sandbox.filling import Filling
from tercet.advisor.sandbox.meter import Meter
from tercet.advisor.sandbox.part import links_of, parts
from tercet.advisor.sandbox.schema import attempt, create_database, read_schema, repeat, settings_of
from tercet.advisor.sandbox.server import server_for
from tercet.errors import CommandRefused, DeadlinePassed, TercetError, UsageError
from tercet.servers.servers import SOURCES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from tercet.advisor.catalog import Catalog, ForeignKey, Qualified
    from tercet.advisor.port import Progress
    from tercet.advisor.sandbox.filling import Copied
    from tercet.advisor.sandbox.schema import Schema
    from tercet.servers.port import Source
    from tercet.sql.port import Connection, Database

# A copy of this size is built in a minute or two, and fits on any machine that has a database.
BYTES_MAX = 2 << 30
# How long production keeps our snapshot at most: rows that others delete meanwhile stay until it ends.
SECONDS_MAX = 300.0
# What production's disk and network lend us at most in a second; a replica or a night may be asked for more.
RATE_BYTES = 64 << 20

_DATABASE = "sandbox"
# The SQLSTATE of a connection that is lost.
_GONE = "08006"
# Whoever wants to alter a table is not kept waiting behind us; if somebody has it, we do not wait long either.
_LOCK_MS = 2_000
# From here on what production's visibility map covers is as good as all.
_VISIBLE = 0.8
# Of a table of less than 16 MB nobody notices whether a scan looks into its pages as well.
_VISIBLE_PAGES_MIN = 2_048


@dataclass(frozen=True, slots=True)
class Taken:
    """What the copy took from production."""

    bytes: int
    seconds: float


class Sandbox:
    """The copy. It fulfils Database, belongs to whoever has made it, and leaves nothing when it is closed."""

    kind: Literal["sandbox"] = "sandbox"

    def __init__(self, cluster: Cluster, catalog: Catalog) -> None:
        self._cluster, self.catalog = cluster, catalog
        self._desk = Desk(cluster.url("postgres"))
        self.tables: Mapping[Qualified, Copied] = {}
        self.taken = Taken(0, 0.0)
        self.notes: tuple[str, ...] = ()

    @property
    def sampled(self) -> bool:
        """Whether anything was left out."""
        return any(one.share < 1.0 for one in self.tables.values())

    @property
    def url(self) -> str:
        """Where it is, for other programs on this machine."""
        return self._cluster.url(_DATABASE)

    @property
    def folder(self) -> str:
        """Where its data lie while it lives."""
        return str(self._cluster.folder)

    def scale(self, table: Qualified) -> float:
        """How many times more rows production has in this table."""
        copied, known = self.tables.get(table), self.catalog.tables.get(table)
        if copied is None or copied.share >= 1.0 or known is None or not copied.rows:
            return 1.0
        return max(1.0, known.rows / copied.rows)

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[Connection]:
        """A connection on which each statement stands alone."""
        async with self._desk.autocommit() as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self, *, within: str | float | None = None) -> AsyncIterator[Connection]:
        """A connection inside BEGIN, committed when the block ends well."""
        async with self._desk.transaction(within=within) as connection:
            yield connection

    async def found(self, schema: Schema) -> tuple[str, ...]:
        """Make the database of the copy, without rows; what could not be repeated in it is told."""
        desk, notes = await _found(self._cluster, schema, self.catalog)
        self._desk = desk
        return notes

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the server and remove every byte of it, also when the caller is cancelled meanwhile; twice is fine."""
        await asyncio.shield(self._close())

    async def _close(self) -> None:
        try:
            await self._desk.close()
        finally:
            await self._cluster.close()


async def copy(
    database: Database,
    catalog: Catalog,
    tables: Collection[Qualified],
    *,
    bytes_max: int = BYTES_MAX,
    seconds_max: float = SECONDS_MAX,
    joins: Iterable[tuple[Qualified, ForeignKey]] = (),
    rate: float = RATE_BYTES,
    sources: Sequence[Source] = SOURCES,
    on_progress: Progress | None = None,
) -> Sandbox:
    """A copy of these tables with their rows, keys, indexes, statistics and production's settings.

    Where they do not fit into `bytes_max`, the large ones come in part: pages of those that others refer to, and the
    rows that belong to them, along foreign keys and `joins` (what statements join by, where no key says so).

    Raises DeadlinePassed when production was not read within `seconds_max`, ServerMissing where no PostgreSQL is.
    """
    names = _families(catalog, tables)
    cluster = server_for(catalog.version)
    await cluster.start(sources=sources)
    sandbox = Sandbox(cluster, catalog)
    try:
        meter = Meter(rate, on_progress=on_progress)
        links = links_of(catalog, names, joins)
        chosen = parts(catalog, names, links, bytes_max)
        meter.total = round(sum(catalog.tables[part.table].size_bytes * part.share for part in chosen))
        limit = asyncio.timeout(seconds_max)
        async with limit, marked(database).transaction(within=seconds_max) as source:
            schema = await _begin(source, [catalog.tables[name].oid for name in names])
            notes = await sandbox.found(schema)
            filling = Filling(source, sandbox, meter, schema.targets, links)
            sandbox.tables = await filling.run(chosen, bytes_max)
        sandbox.taken = Taken(meter.bytes, meter.seconds)
        later = await repeat(sandbox, schema.after)
        await _settle(sandbox, on_progress)
        sandbox.notes = (*_notes(cluster, catalog, names), *notes, *filling.notes, *later)
    except TimeoutError as error:
        await asyncio.shield(sandbox.close())
        what = f"reading {len(names)} tables for a copy"
        raise DeadlinePassed("postgres", what=what, deadline=seconds_max) from error
    except BaseException as error:
        await asyncio.shield(sandbox.close())
        if isinstance(error, Exception) and not isinstance(error, TercetError) and _of_a_server(error):
            # A full disk, or a server that was killed: what was asked can still be told as it was planned.
            reason = f"the copy could not be made: {words(error)}"
            raise CommandRefused("postgres", code=sqlstate(error) or _GONE, reason=reason) from error
        raise
    return sandbox


def _of_a_server(error: Exception) -> bool:
    return bool(sqlstate(error)) or isinstance(error, OSError)


def _families(catalog: Catalog, tables: Collection[Qualified]) -> tuple[Qualified, ...]:
    """The tables with their partitions, without those whose rows lie elsewhere."""
    unknown = [name for name in tables if name not in catalog.tables]
    if unknown:
        shown = ", ".join(".".join(name) for name in unknown)
        raise UsageError(f"The catalog does not know {shown}.", "Copy tables that it names, or read it again.")
    found: dict[Qualified, None] = {}
    waiting = list(tables)
    while waiting:
        name = waiting.pop(0)
        if name in found or name not in catalog.tables or catalog.tables[name].kind == "f":
            continue
        found[name] = None
        waiting += catalog.tables[name].partitions
    return tuple(found)


async def _begin(source: Connection, oids: Sequence[int]) -> Schema:
    """Take the snapshot, and read the schema as it is under it."""
    sql = blocks("tercet.advisor.sandbox", "copy.sql")
    await source.exec_driver_sql(sql["snapshot"])
    await source.exec_driver_sql(sql["forms"], (str(_LOCK_MS),))
    return await read_schema(source, oids)


async def _found(cluster: Cluster, schema: Schema, catalog: Catalog) -> tuple[Desk, tuple[str, ...]]:
    """The database that the copy will be: like production's, with its settings and its schema, and no rows yet."""
    first = Desk(cluster.url("postgres"))
    notes: list[str] = []
    try:
        async with first.autocommit() as connection:
            reason = await attempt(connection, create_database(_DATABASE, schema.database))
        # A connection of its own: the server may have ended that one, as it does where the disk is full.
        async with first.autocommit() as connection:
            if reason is not None:
                notes.append(f"The copy sorts texts otherwise than production ({reason}).")
                await connection.exec_driver_sql(f"create database {_DATABASE}")
            for statement in settings_of(_DATABASE, catalog.settings, catalog.search_path):
                # Sizes of memory and the like are the server's own; what plans depend on can be set.
                await attempt(connection, statement)
    finally:
        await first.close()
    desk = Desk(cluster.url(_DATABASE))
    return desk, (*notes, *await repeat(desk, schema.before))


async def _settle(sandbox: Sandbox, on_progress: Progress | None) -> None:
    """Let the planner know the rows as production's does, and index-only scans find their map."""
    if on_progress is not None:
        on_progress("analyzing the copy", 0, 0)
    async with sandbox.autocommit() as connection:
        await connection.exec_driver_sql("vacuum (analyze)")


def _notes(cluster: Cluster, catalog: Catalog, names: Sequence[Qualified]) -> Iterator[str]:
    if not cluster.same_major:
        yield (
            f"No PostgreSQL {major_of(catalog.version)} is on this machine: the copy runs another major version, "
            "whose plans may differ."
        )
    for name in names:
        table = catalog.tables[name]
        shown = ".".join(name)
        if table.row_security:
            yield f"{shown} has row security: the copy holds the rows that this login sees."
        if table.pages > _VISIBLE_PAGES_MIN and table.all_visible_pages < table.pages * _VISIBLE and table.kind == "r":
            share = table.all_visible_pages / table.pages
            yield (
                f"{shown} is vacuumed in the copy; production's visibility map covers {share:.0%} of it, and "
                "index-only scans gain less there until it is."
            )
