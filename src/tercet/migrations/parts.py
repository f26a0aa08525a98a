"""An index of a partitioned table: built concurrently part by part, and joined in one moment."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from tercet.migrations.blocks import blocks
from tercet.migrations.sqlstate import sqlstate
from tercet.sql import identifier
from tercet.sql.identifier import NAME_BYTES_MAX, table_parts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tercet.sql import Index
    from tercet.sql.port import Connection, Database

# What is locked for a moment is not waited for longer than its users would mind.
_LOCK_TIMEOUT = "2s"
# As often as that is tried before it is given up, with a pause in which those who queued go on.
_TRIES = 10
_PAUSE_SECONDS = 1.0
_LOCK_NOT_AVAILABLE = "55P03"
_DIGITS = 8


async def partitioned(connection: Connection, index: Index) -> bool:
    """Whether the index's table has partitions."""
    statement = blocks("tercet.migrations", "parts.sql")["kind"]
    rows = (await connection.exec_driver_sql(statement, (index.qualified_table,))).all()
    return bool(rows and rows[0][0])


async def build_parts(
    database: Database, connection: Connection, index: Index, build: Callable[[Index], Awaitable[object]]
) -> None:
    """Build `index` in each partition by `build`, then make the whole of the parts.

    The whole is made last and at once, so that a build that is cut off leaves valid parts, which the next one finds,
    and no invalid index.
    """
    rows = (await connection.exec_driver_sql(_tree(), (index.qualified_table,))).all()
    names = {tuple(rows[0][:2]): index.name}
    joining = [_only(index)]
    for space, part, kind, *parent in rows[1:]:
        own = index.on((space, part), name=part_name(index.name, part))
        names[space, part] = own.name
        if kind == "p":
            joining.append(_only(own))
        else:
            await build(own)
        above = identifier(parent[0], names[tuple(parent)])
        joining.append(f"alter index {above} attach partition {own.qualified}")
    await briefly(database, joining)


async def briefly(database: Database, statements: Sequence[str]) -> None:
    """Run statements in one transaction that gives up where it would wait, and is tried again after a pause."""
    for attempt in range(1, _TRIES + 1):
        try:
            async with database.transaction() as connection:
                await connection.exec_driver_sql(f"set local lock_timeout = '{_LOCK_TIMEOUT}'")
                for statement in statements:
                    await connection.exec_driver_sql(statement)
        except Exception as error:
            if sqlstate(error) != _LOCK_NOT_AVAILABLE or attempt == _TRIES:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            return


def part_name(index: str, part: str) -> str:
    """The index's name in a partition; what is too long for PostgreSQL is told apart by digits."""
    whole = f"{part}_{index}"
    if len(whole.encode()) <= NAME_BYTES_MAX:
        return whole
    digits = hashlib.sha256(whole.encode()).hexdigest()[:_DIGITS]
    room = NAME_BYTES_MAX - _DIGITS - 1
    return f"{whole.encode()[:room].decode(errors='ignore')}_{digits}"


def _tree() -> str:
    return blocks("tercet.migrations", "parts.sql")["tree"]


def _only(index: Index) -> str:
    """The index of a table without those of its partitions; it is valid once all of theirs are attached."""
    head = f" on {index.qualified_table} "
    before, _, after = index.create(concurrently=False).partition(head)
    return f"{before} on only {'.'.join(map(identifier, table_parts(index.table)))} {after}"
