"""Fills PostgreSQL by binary COPY: all tables, constraints and indexes in one transaction, or nothing.

Tables are made without their keys, filled, and given keys and indexes at the end: sorting once is cheaper
than keeping a tree in order five million times. Rows are frozen as they come (their table is as new as they
are), so that no later vacuum has to write them again in the middle of a measurement.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec
from sqlalchemy import Table, func, select, text
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateTable, ExecutableDDLElement

from tercet.errors import StoreError, StoreUnreachable
from tercet_shop import copy_rows as copy
from tercet_shop.errors import NotTheShops
from tercet_shop.loaded import Loaded
from tercet_shop.models import Base
from tercet_shop.postgres_rows import parts
from tercet_shop.tables import Facts, Source, read_facts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sqlalchemy import Dialect
    from sqlalchemy.ext.asyncio import AsyncConnection

    from tercet_shop.port import Progress, Relational

# A load is over long before this; without it the pool's own limit for a statement would cut it short.
LOAD_SECONDS_MAX = 3_600.0

# What one index build may sort in memory: a fifth of the demo's whole budget of 8 GiB has room for two of
# them.
MAINTENANCE_MEMORY = "256MB"

# Two loads of one database come one after the other, whoever starts them: "tercetsh" and "tercetsi" as
# numbers.
_LOAD_TURN = 0x7465_7263_6574_7368
_DOCUMENTS_TURN = _LOAD_TURN + 1
# Dropping an older shop waits for whoever still reads it, and no longer than this.
READERS_WAIT = "30s"

# The shop's own mark: what the tables beside it hold, and whether everything after the load was done.
FACTS_TABLE = "shop_facts"
_CREATE_FACTS = "CREATE TABLE shop_facts (facts jsonb NOT NULL, finished boolean NOT NULL DEFAULT false)"
_INSERT_FACTS = "INSERT INTO shop_facts (facts) VALUES (CAST(:facts AS jsonb))"
_READ_FACTS = "SELECT facts::text, finished FROM shop_facts"
_FINISH_FACTS = "UPDATE shop_facts SET finished = true"


class _Driver(Protocol):
    """The asyncpg connection that SQLAlchemy hands out, as far as loading uses it."""

    def is_closed(self) -> bool: ...

    async def copy_to_table(self, table_name: str, **options: object) -> str: ...


async def standing(connection: AsyncConnection) -> tuple[Facts | None, bool]:
    """What the shop here was made from, and whether its load was finished; (None, False) where no shop is.

    Raises NotTheShops when tables of the shop's names stand there without its mark.
    """
    wanted = [*sorted(Base.metadata.tables), FACTS_TABLE]
    found = await connection.execute(
        text(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = current_schema() AND c.relname = ANY(:names) ORDER BY c.relname"
        ),
        {"names": wanted},
    )
    names = tuple(found.scalars())
    if not names:
        return None, False
    if FACTS_TABLE not in names:
        raise NotTheShops("postgres", names=names)
    row = (await connection.execute(text(_READ_FACTS))).one_or_none()
    return (read_facts(msgspec.json.decode(row[0])), bool(row[1])) if row else (None, False)


async def load_postgres(postgres: Relational, source: Source, on_progress: Progress) -> Loaded | None:
    """Make PostgreSQL hold exactly this shop; None when it does already.

    A shop with other facts, and whatever was built upon its tables, is dropped for it in the same
    transaction: a load that is cancelled or killed leaves what was there before.
    """
    async with postgres.transaction(within=0) as connection:
        await _wait_for_turn(connection, _LOAD_TURN)
        facts, finished = await standing(connection)
        loaded = None if facts == source.facts else await _load(connection, source, on_progress)
    if loaded is not None or not finished:
        await _finish(postgres, on_progress)
    return loaded


@asynccontextmanager
async def documents_turn(postgres: Relational) -> AsyncIterator[None]:
    """Let no other process load MongoDB meanwhile: what it has no lock for, PostgreSQL has."""
    async with postgres.transaction(within=0) as connection:
        await _wait_for_turn(connection, _DOCUMENTS_TURN)
        yield


async def _wait_for_turn(connection: AsyncConnection, turn: int) -> None:
    """Hold this turn until the transaction ends, and let that take as long as it takes."""
    for setting in ("idle_in_transaction_session_timeout", "lock_timeout"):
        await connection.execute(text(f"SET LOCAL {setting} = 0"))
    await connection.execute(select(func.pg_advisory_xact_lock(turn)))


async def _load(connection: AsyncConnection, source: Source, on_progress: Progress) -> Loaded:
    started, cpu_started = time.perf_counter(), time.process_time()
    driver = await _driver(connection)
    await connection.execute(text(f"SET LOCAL lock_timeout = '{READERS_WAIT}'"))
    await connection.execute(text(f"SET LOCAL maintenance_work_mem = '{MAINTENANCE_MEMORY}'"))
    names = ", ".join([*Base.metadata.tables, FACTS_TABLE])
    await connection.execute(text(f"DROP TABLE IF EXISTS {names} CASCADE"))
    for statement in _tables_without_keys(connection.dialect):
        await connection.exec_driver_sql(statement)
    sent = _Sent()
    for table, columns, rows in parts(source, on_progress):
        with _told(driver, f"filling {table}"):
            await driver.copy_to_table(
                table,
                source=sent.counted(rows),
                columns=columns,
                format="binary",
                freeze=True,
                timeout=LOAD_SECONDS_MAX,
            )
    statements = list(_keys_and_indexes(connection.dialect))
    for done, statement in enumerate(statements):
        on_progress("keys and indexes", done, len(statements))
        await connection.exec_driver_sql(statement)
    on_progress("keys and indexes", len(statements), len(statements))
    await _advance_ids(connection)
    await connection.execute(text(_CREATE_FACTS))
    stored = msgspec.json.encode(source.facts).decode()
    await connection.execute(text(_INSERT_FACTS), {"facts": stored})
    return Loaded(
        rows=sent.rows,
        seconds=time.perf_counter() - started,
        cpu_seconds=time.process_time() - cpu_started,
        bytes=sent.bytes,
    )


async def _finish(postgres: Relational, on_progress: Progress) -> None:
    """Count what was loaded and mark every page as seen by all, so that nothing of that happens later."""
    tables = list(Base.metadata.tables)
    async with postgres.autocommit() as connection:
        for done, table in enumerate(tables):
            on_progress("statistics", done, len(tables))
            await connection.execute(text(f"VACUUM (ANALYZE) {table}"))
        on_progress("statistics", len(tables), len(tables))
        await connection.execute(text(_FINISH_FACTS))


async def _advance_ids(connection: AsyncConnection) -> None:
    """Let each identity go on after the greatest id that was loaded."""
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            if column.identity is not None:
                sequence = func.pg_get_serial_sequence(table.name, column.name)
                following = func.coalesce(func.max(column), 0) + 1
                await connection.execute(select(func.setval(sequence, following, False)))


async def _driver(connection: AsyncConnection) -> _Driver:
    held = (await connection.get_raw_connection()).driver_connection
    return cast("_Driver", held)


@contextmanager
def _told(driver: _Driver, doing: str) -> Iterator[None]:
    """The driver's own errors in tercet's words: COPY goes past SQLAlchemy, and so past its translation."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("asyncpg") and not isinstance(error, OSError):
            raise
        reason = str(error).rstrip(".") or type(error).__name__
        if driver.is_closed():
            raise StoreUnreachable("postgres", reason=reason) from error
        raise StoreError("postgres", f"PostgreSQL refused {doing}: {reason}.") from error


def _tables_without_keys(dialect: Dialect) -> Iterator[str]:
    for table in Base.metadata.sorted_tables:
        yield _sql(CreateTable(table, include_foreign_key_constraints=()), dialect)
        # The table's columns stay NOT NULL without it.
        for constraint in _keys(table):
            yield f"ALTER TABLE {table.name} DROP CONSTRAINT {constraint.name}"


def _keys_and_indexes(dialect: Dialect) -> Iterator[str]:
    for table in Base.metadata.sorted_tables:
        yield from (_sql(AddConstraint(constraint, isolate_from_table=False), dialect) for constraint in _keys(table))
        yield from (
            _sql(CreateIndex(index), dialect) for index in sorted(table.indexes, key=lambda index: str(index.name))
        )
    for table in Base.metadata.sorted_tables:
        for foreign in sorted(table.foreign_key_constraints, key=lambda key: str(key.name)):
            yield _sql(AddConstraint(foreign, isolate_from_table=False), dialect)


def _keys(table: Table) -> list[Any]:
    unique = [one for one in table.constraints if one.__visit_name__ == "unique_constraint"]
    return [table.primary_key, *sorted(unique, key=lambda one: str(one.name))]


def _sql(statement: ExecutableDDLElement, dialect: Dialect) -> str:
    return str(statement.compile(dialect=dialect))


class _Sent:
    """Counts what goes to the server."""

    __slots__ = ("bytes", "rows")

    def __init__(self) -> None:
        self.rows = self.bytes = 0

    async def counted(self, chunks: Iterator[tuple[int, bytes]]) -> AsyncIterator[bytes]:
        yield copy.HEADER
        for rows, chunk in chunks:
            self.rows += rows
            self.bytes += len(chunk)
            yield chunk
        yield copy.TRAILER
