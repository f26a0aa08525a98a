"""The ends of indexed columns: the planner looks them up in an index when a constant lies beyond the histogram.

It does so whenever it plans on production, with one descent of the tree for each end; so that a shadow finds the
same, they are asked for once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from tercet.advisor.shadow.taken.dump import statements
from tercet.sql import identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.shadow.taken.dump import Dump
    from tercet.sql.port import Connection, Database

# An end takes a page or three; where dead rows lie before it, it may take long, and then does without.
_SECONDS = 0.5
# Tables of one statement: production may be far away, and their locks are held until its end.
_TOGETHER = 64
# With a thousand tables the rest does without, too.
_ALL_SECONDS = 5.0


# Schema, name, columns.
_Table = tuple[str, str, list[str]]


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
    reading = _Reading(database, time.monotonic() + _ALL_SECONDS)
    tables = [(*table, columns) for table, columns in wanted.items()]
    for at in range(0, len(tables), _TOGETHER):
        await reading.read(tables[at : at + _TOGETHER])
    found = tuple(reading.found)
    return found, sum(len(one.low or "") + len(one.high or "") for one in found)


@dataclass(slots=True)
class _Reading:
    database: Database
    until: float
    found: list[End] = field(default_factory=list)

    async def read(self, tables: Sequence[_Table]) -> None:
        """Read several in one transaction; if one of them fails, the halves, so that only that one does without."""
        if time.monotonic() > self.until:
            return
        try:
            async with self.database.transaction(within=_SECONDS) as connection:
                self.found += await _ends(connection, tables)
        except Exception:  # noqa: BLE001 - no right to read it, too slow, dropped meanwhile: the histogram does
            middle = len(tables) // 2
            if middle:
                await self.read(tables[:middle])
                await self.read(tables[middle:])


async def _ends(connection: Connection, tables: Sequence[_Table]) -> list[End]:
    limit = f"{_SECONDS * 1000:.0f}"
    await connection.exec_driver_sql(statements()["limits"], (limit, limit))
    # By the index or not at all.
    await connection.exec_driver_sql(statements()["by_index"])
    one, columns = statements()["end"], [(schema, table, column) for schema, table, all_ in tables for column in all_]
    parts = [
        one.format(column=identifier(column), table=identifier(schema, table), way=way)
        for schema, table, column in columns
        for way in ("", " desc")
    ]
    # An array, for a row has room for no more than 1,664 values.
    (values,) = (await connection.exec_driver_sql(f"select array[{', '.join(parts)}]")).all()[0]
    return [End(*column, values[2 * at], values[2 * at + 1]) for at, column in enumerate(columns)]
