"""Rows poured from one PostgreSQL into another by COPY, a few pieces at a time in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import asyncpg
    from sqlalchemy.ext.asyncio import AsyncConnection

    from tercet.advisor.catalog import Qualified
    from tercet.advisor.sandbox.meter import Meter
    from tercet.sql.port import Connection

# Pieces are what the server sends at once, 64 kB mostly; so few wait in between that neither side stands still.
_PIECES = 16


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
    transaction, and its rows are frozen at once: a VACUUM has nothing left to do.
    """
    reading, writing = await _driver(source), await _driver(target)
    pieces: asyncio.Queue[bytes | None] = asyncio.Queue(_PIECES)
    ended = asyncio.Event()

    async def read() -> None:
        async def take(piece: bytes) -> None:
            await meter.count(len(piece), f"copying {table[1]}")
            await pieces.put(piece)

        await reading.copy_from_query(query, *values, output=take)
        ended.set()
        await pieces.put(None)

    async def told() -> AsyncIterator[bytes]:
        while (piece := await pieces.get()) is not None:
            yield piece

    async def write() -> str:
        status: str = await writing.copy_to_table(
            table[1], schema_name=table[0], columns=list(columns), source=told(), freeze=fresh
        )
        return status

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            written = group.create_task(write())
    except BaseException as error:
        if not ended.is_set():
            # A COPY that nobody reads to its end cannot be rolled back on its connection either.
            await cast("AsyncConnection", source).invalidate(error)
        if isinstance(error, BaseExceptionGroup):
            # The first is what happened; the other side was cancelled because of it.
            raise error.exceptions[0] from error.exceptions[0].__cause__
        raise
    return int(written.result().rpartition(" ")[2])


async def _driver(connection: Connection) -> asyncpg.Connection:
    """The driver's own connection, which knows COPY."""
    raw = await cast("AsyncConnection", connection).get_raw_connection()
    return cast("Any", raw).driver_connection
