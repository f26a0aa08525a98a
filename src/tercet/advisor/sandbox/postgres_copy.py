"""Rows poured from one PostgreSQL into another by COPY, a few pieces at a time in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from tercet.advisor.marked import MARK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import asyncpg
    from sqlalchemy.ext.asyncio import AsyncConnection

    from tercet.advisor.catalog import Qualified
    from tercet.advisor.sandbox.meter import Meter
    from tercet.sql.port import Connection

# Pieces are what the server sends at once, 64 kB mostly; so few wait in between that neither side stands still.
_PIECES = 16
_SOURCE, _COPY = "production's connection", "the connection to the copy's server"


async def pour(
    source: Connection,
    target: Connection,
    query: str,
    table: Qualified,
    columns: Sequence[str],
    meter: Meter,
    *,
    values: Sequence[Sequence[str]] = (),
    fresh: bool = True,
) -> int:
    """Read `query` in the source's transaction into a table of the target's; how many rows there were.

    `values` are what $1, $2 … of the query stand for. With `fresh`, the table was made or emptied in the target's
    transaction, and its rows are frozen at once: a VACUUM has nothing left to do. Raises ConnectionError when either
    side is lost; after any error the target's connection is of no use any more.
    """
    reading, writing = await _driver(source), await _driver(target)
    pieces: asyncio.Queue[bytes | None] = asyncio.Queue(_PIECES)

    async def read() -> None:
        async def take(piece: bytes) -> None:
            await meter.count(len(piece), f"copying {table[1]}")
            await pieces.put(piece)

        await reading.copy_from_query(f"{query}\n{MARK}", *values, output=take)
        await pieces.put(None)

    async def write() -> str:
        status: str = await writing.copy_to_table(
            table[1], schema_name=table[0], columns=list(columns), source=_told(pieces), freeze=fresh
        )
        for guard in guards:
            guard.cancel()
        return status

    try:
        async with asyncio.TaskGroup() as group:
            guards = [group.create_task(_lives(reading)), group.create_task(_lives(writing))]
            group.create_task(read())
            written = group.create_task(write())
    except BaseException as error:
        lost = [what for driver, what in ((reading, _SOURCE), (writing, _COPY)) if driver.is_closed()]
        if lost or not isinstance(error, Exception):
            # Whoever gives up waits for nobody's answer any more.
            await cast("AsyncConnection", source).invalidate(error)
        # It leads to a server of our own: one that has stopped to answer is not waited for.
        writing.terminate()
        await cast("AsyncConnection", target).invalidate(error)
        if not isinstance(error, ExceptionGroup):
            raise
        raise _first(error, lost) from error
    return int(written.result().rpartition(" ")[2])


async def _told(pieces: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
    """Each piece as it comes, up to the end."""
    while (piece := await pieces.get()) is not None:
        yield piece


async def _lives(driver: asyncpg.Connection) -> None:
    """Raise when the other end is gone: asyncpg goes on writing to it, or waits for it, until nobody asks any more."""
    gone = asyncio.Event()

    def tell(_: object) -> None:
        gone.set()

    driver.add_termination_listener(tell)
    try:
        await gone.wait()
    finally:
        driver.remove_termination_listener(tell)
    raise ConnectionError("the connection was lost")


def _first(group: ExceptionGroup[Exception], lost: Sequence[str]) -> Exception:
    """What has happened: the first of several errors, for the other side was cancelled because of it."""
    return ConnectionError(f"{lost[0]} was lost in the middle") if lost else group.exceptions[0]


async def _driver(connection: Connection) -> asyncpg.Connection:
    """The driver's own connection, which knows COPY."""
    raw = await cast("AsyncConnection", connection).get_raw_connection()
    return cast("Any", raw).driver_connection
