"""One builder at a time for one thing, patience while it builds, and a tidy table after it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from tercet.errors import LockBusy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from tercet.sql.port import Connection, Database

# An advisory lock is polled and never waited for: who waits in pg_advisory_lock holds a snapshot, and
# CREATE INDEX CONCURRENTLY waits for all snapshots, so the two would deadlock.
_POLL_SECONDS = 0.1

_LOCK = "select pg_try_advisory_lock(hashtextextended($1, 0))"
_LOCK_IN_TRANSACTION = "select pg_try_advisory_xact_lock(hashtextextended($1, 0))"
_UNLOCK = "select pg_advisory_unlock(hashtextextended($1, 0))"
_HOLDER = """
select 'process ' || a.pid || coalesce(nullif(' (' || a.application_name || ')', ' ()'), '')
from pg_locks l join pg_stat_activity a using (pid)
where l.locktype = 'advisory' and l.granted
  and (l.classid::bigint << 32) | l.objid::bigint = hashtextextended($1, 0) and l.objsubid = 1
"""


@asynccontextmanager
async def alone(connection: Connection, name: str, *, wait: float) -> AsyncIterator[None]:
    """Hold the advisory lock `name` on this connection; LockBusy when it is not free within `wait` seconds.

    The lock belongs to the connection, so a killed builder leaves none behind.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait
    while not (await connection.exec_driver_sql(_LOCK, (name,))).all()[0][0]:
        if loop.time() >= deadline:
            raise await _busy(connection, name)
        await asyncio.sleep(_POLL_SECONDS)
    async with _afterwards(lambda: connection.exec_driver_sql(_UNLOCK, (name,))):
        yield


async def alone_until_commit(connection: Connection, name: str) -> None:
    """Hold the advisory lock `name` until this transaction ends, behind a pooler too; LockBusy if it is not free."""
    if not (await connection.exec_driver_sql(_LOCK_IN_TRANSACTION, (name,))).all()[0][0]:
        raise await _busy(connection, name)


async def _busy(connection: Connection, name: str) -> LockBusy:
    holders = (await connection.exec_driver_sql(_HOLDER, (name,))).all()
    return LockBusy(name, holder=holders[0][0] if holders else None)


async def vacuum(database: Database, table: str) -> None:
    """VACUUM and ANALYZE `table`, a quoted name: statistics for the planner, and the visibility map.

    Without the map an index-only scan reads the heap all the same, and a new table has none.
    """
    async with database.autocommit() as connection:
        await connection.exec_driver_sql(f"vacuum (analyze) {table}")


@asynccontextmanager
async def patient(connection: Connection) -> AsyncIterator[None]:
    """Lift the connection's lock timeout for the block.

    CREATE INDEX CONCURRENTLY counts waiting for old snapshots as waiting for a lock: with a lock_timeout it would
    fail behind any long transaction, and leave an invalid index.
    """
    await connection.exec_driver_sql("set lock_timeout = 0")
    async with _afterwards(lambda: connection.exec_driver_sql("reset lock_timeout")):
        yield


@asynccontextmanager
async def _afterwards(undo: Callable[[], Coroutine[Any, Any, object]]) -> AsyncIterator[None]:
    """Undo something on a connection when the block ends, also when it is cancelled.

    After an error the connection may be gone, and with it its locks and settings; that error is the one to show.
    """
    try:
        yield
    except BaseException:
        with suppress(Exception):
            await asyncio.shield(undo())
        raise
    await asyncio.shield(undo())
