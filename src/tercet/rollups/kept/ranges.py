"""The keys of a table in ranges of so many rows: what is done to one is short, and the next can wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.rollups.blocks import blocks
from tercet.rollups.kept.statements import BLOCKS
from tercet.sql import identifier
from tercet.sql.identifier import table_parts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tercet.migrations import Connection, Database
    from tercet.rollups.kept.statements import Statements

# A range of so many rows is counted in some tens of milliseconds; a key of more is a range by itself.
RANGE_ROWS = 20_000

# Keys go to the server and come back as texts: in a form that does not depend on who asks.
_PLAIN = (
    "set local search_path = pg_catalog, pg_temp",
    "set local datestyle = 'ISO'",
    "set local timezone = 'UTC'",
    "set local intervalstyle = 'iso_8601'",
    "set local extra_float_digits = 1",
    "set local bytea_output = 'hex'",
)


@dataclass(frozen=True, slots=True)
class Range:
    """The keys above `low` up to `high`, as the server writes them; None is no end. Or NULL, or everything."""

    low: str | None = None
    high: str | None = None
    nulls: bool | None = False

    @property
    def last(self) -> bool:
        """Whether nothing comes after it."""
        return self.nulls is not False


EVERYTHING = Range(nulls=None)
NULLS = Range(nulls=True)


async def ranges(
    database: Database, known: Statements, *, after: str | None = None, rows: int = RANGE_ROWS
) -> AsyncIterator[Range]:
    """The ranges of the first key one after the other, NULL last; one of everything where no index serves it."""
    async with database.transaction() as connection:
        served = await _served(connection, known)
    if not served:
        yield EVERYTHING
        return
    low = after
    text = known.call("next")
    while True:
        async with database.transaction(within=0) as connection:
            await plainly(connection)
            asked = await connection.exec_driver_sql(text, (low, rows))
            high: str | None = asked.all()[0][0]
        yield Range(low, high)
        if high is None:
            break
        low = high
    yield NULLS


async def plainly(connection: Connection) -> None:
    """Let this transaction write values as texts in one form, and search PostgreSQL's own schema only."""
    for statement in _PLAIN:
        await connection.exec_driver_sql(statement)


async def call(connection: Connection, known: Statements, function: str, of: Range) -> Sequence[tuple[int, ...]]:
    """Call one of the rollup's own functions for a range; what it answers."""
    asked = await connection.exec_driver_sql(known.call(function), (of.low, of.high, of.nulls))
    return asked.all()


async def _served(connection: Connection, known: Statements) -> bool:
    column = known.rollup.first_column
    if column is None:
        return False
    asked = (identifier(table_parts(known.rollup.table)), column)
    return bool((await connection.exec_driver_sql(blocks(*BLOCKS)["served"], asked)).all()[0][0])
