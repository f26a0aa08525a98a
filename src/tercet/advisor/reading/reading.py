"""Production's schema and statistics, read in one transaction of a few statements that writes and blocks nothing."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from tercet.advisor.blocks import blocks
from tercet.advisor.failure import sqlstate
from tercet.advisor.marked import marked
from tercet.advisor.reading.rows import Answers, catalog
from tercet.errors import LockBusy, SchemaInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.catalog import Catalog
    from tercet.sql.port import Connection, Database

# A statement on the catalogues of thousands of tables takes a second or two; one that takes this long is cut off.
_STATEMENT_SECONDS = 60.0
# Only ALTER TABLE and the like hold up a look at a table: then nobody is to wait behind us for long.
_LOCK_SECONDS = 1.0
_TRIES = 5
_PAUSE_SECONDS = 1.0
# lock_not_available: the lock_timeout has passed.
_LOCK_TIMEOUT = "55P03"

_SQL = ("tercet.advisor.reading", "catalog.sql")
_STEPS = ("server", "tables", "columns", "statistics", "indexes", "foreign_keys", "views")


async def read(
    database: Database, *, schemas: Sequence[str] | None = None, replicas: Sequence[Database] = ()
) -> Catalog:
    """The catalogue of a database as it stands now, of some schemas or of all but the system's.

    One READ ONLY transaction with one snapshot, bounded in time, that takes no lock beyond AccessShare. Names in
    definitions and expressions are written with their schemas, so that they mean the same under any search_path. A
    table that the login may not read is left out, and named in the catalogue's `hidden`. `pages` are those on the
    disk; a column's collation is "C" where its values sort by their bytes by the database's own default.
    `replicas` add their scans to those of the indexes: what only they use is used.

    Raises SchemaInvalid for a schema that is not there, LockBusy while somebody changes a table, and StoreErrors.
    """
    if isinstance(schemas, str):
        raise SchemaInvalid("The schemas to read", reason="they are a single text", mend=f"Write [{schemas!r}].")
    wanted = None if schemas is None else list(schemas)
    started = time.monotonic()
    answers = await _patiently(database, wanted)
    server = answers["server"][0]
    missing = [name for name in wanted or () if name not in server[-1]]
    if missing:
        mend = f"There are {', '.join(name for name in server[-1] if not name.startswith('pg_'))}."
        raise SchemaInvalid(f"The schema {missing[0]!r}", reason="this database has none of that name", mend=mend)
    for replica in replicas:
        async with marked(replica).transaction(within=_STATEMENT_SECONDS) as connection:
            await connection.exec_driver_sql("set transaction read only")
            await connection.exec_driver_sql("select set_config('lock_timeout', $1, true)", (_lock(),))
            answers.setdefault("replica", []).extend(await _rows(connection, blocks(*_SQL)["replica"]))
    size = sum(_size(row) for rows in answers.values() for row in rows)
    return catalog(answers, read_bytes=size, read_seconds=time.monotonic() - started)


async def _patiently(database: Database, schemas: list[str] | None) -> Answers:
    for attempt in range(1, _TRIES + 1):
        try:
            return await _once(database, schemas)
        except Exception as error:
            if sqlstate(error) != _LOCK_TIMEOUT:
                raise
            if attempt == _TRIES:
                raise LockBusy("a change of a table that is to be read") from error
            await asyncio.sleep(_PAUSE_SECONDS)
    raise AssertionError(_TRIES)


async def _once(database: Database, schemas: list[str] | None) -> Answers:
    sql = blocks(*_SQL)
    answers: Answers = {}
    async with marked(database).transaction(within=_STATEMENT_SECONDS) as connection:
        await connection.exec_driver_sql("set transaction isolation level repeatable read, read only")
        await connection.exec_driver_sql("select set_config('lock_timeout', $1, true)", (_lock(),))
        for step in _STEPS:
            answers[step] = await _rows(connection, sql[step], () if step == "server" else (schemas,))
            if step == "server":  # from here on every name is told with its schema
                await connection.exec_driver_sql("select set_config('search_path', '', true)")
    return answers


def _lock() -> str:
    return f"{round(_LOCK_SECONDS * 1000)}ms"


async def _rows(connection: Connection, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
    answer = await connection.exec_driver_sql(statement, values)
    return [tuple(row) for row in answer.all()]


def _size(value: object) -> int:
    """How many bytes a value took on its way, near enough: texts as they are, numbers by their width."""
    match value:
        case None:
            return 0
        case str():
            return len(value) if value.isascii() else len(value.encode())
        case bool():
            return 1
        case list() | tuple():
            return sum(map(_size, value))
        case _:
            return 8
