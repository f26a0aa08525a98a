"""The ends of indexed columns: the planner looks them up in an index when a constant lies beyond the histogram.

It does so whenever it plans on production, with one descent of the tree for each end; so that a shadow finds the
same, they are asked for once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from tercet.advisor.shadow.taken.dump import statements
from tercet.sql import identifier

if TYPE_CHECKING:
    from tercet.advisor.port import Connection, Database
    from tercet.advisor.shadow.taken.dump import Dump

# An end takes a page or three; where dead rows lie before it, it may take long, and then does without.
_TABLE_SECONDS = 0.5
# With a thousand tables the rest does without, too.
_ALL_SECONDS = 5.0


class End(msgspec.Struct, frozen=True):
    """The least and the greatest value of a column, as texts."""

    schema: str
    table: str
    column: str
    low: str | None
    high: str | None


async def read_ends(database: Database, dump: Dump) -> tuple[tuple[End, ...], int]:
    """The ends of every column that leads a B-tree, and the bytes that they came to."""
    wanted: dict[tuple[str, str], list[str]] = {}
    for index in dump.indexes:
        if index.leading is not None and index.blocks > 1:
            columns = wanted.setdefault((index.schema, index.table), [])
            if index.leading not in columns:
                columns.append(index.leading)
    found: list[End] = []
    until = time.monotonic() + _ALL_SECONDS
    for (schema, table), columns in wanted.items():
        if time.monotonic() > until:
            break
        try:
            async with database.transaction(within=_TABLE_SECONDS) as connection:
                found += await _ends(connection, schema, table, columns)
        except Exception:  # noqa: BLE001, S112 - no right to read it, too slow, dropped meanwhile: the histogram does
            continue
    return tuple(found), sum(len(one.low or "") + len(one.high or "") for one in found)


async def _ends(connection: Connection, schema: str, table: str, columns: list[str]) -> list[End]:
    limits = statements()["limits"]
    await connection.exec_driver_sql("set transaction read only")
    await connection.exec_driver_sql(limits, (f"{_TABLE_SECONDS * 1000:.0f}", f"{_TABLE_SECONDS * 1000:.0f}"))
    # By the index or not at all.
    await connection.exec_driver_sql("set local enable_seqscan = off")
    await connection.exec_driver_sql("set local enable_sort = off")
    one = statements()["end"]
    parts = [
        one.format(column=identifier(column), table=identifier(schema, table), way=way)
        for column in columns
        for way in ("", " desc")
    ]
    rows = (await connection.exec_driver_sql(f"select {', '.join(parts)}")).all()
    values = list(rows[0])
    return [End(schema, table, column, values[2 * at], values[2 * at + 1]) for at, column in enumerate(columns)]
