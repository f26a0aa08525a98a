"""Whether a database still is what it was when advice was given for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.blocks import blocks
from tercet.advisor.marked import marked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from tercet.sql.port import Database

# Two joins of catalogues; a database of 100,000 columns takes a second.
_WITHIN = "10s"
# Who changes a table just now is not waited for longer than anybody would notice.
_LIMIT = "set local lock_timeout = '1s'"


async def schema_digest(database: Database, *, without: Sequence[str] = ()) -> str:
    """A digest that changes when a table, a column or an index does, and with nothing else. Only reads catalogues.

    Tables, views and indexes of the names in `without` do not count, nor do those views' indexes.
    """
    return str((await _asked(database, "standing", without))[0][0])


async def table_digests(database: Database, *, without: Sequence[str] = ()) -> dict[str, tuple[str, str]]:
    """A digest of each table's columns, and one of its indexes, by "schema.table"; for the rest as `schema_digest`."""
    return {row[0]: (row[1], row[2]) for row in await _asked(database, "tables", without)}


async def _asked(database: Database, block: str, without: Sequence[str]) -> Sequence[Any]:
    text = blocks("tercet.advisor.report", "standing.sql")[block]
    async with marked(database).transaction(within=_WITHIN) as connection:
        await connection.exec_driver_sql("set local transaction read only")
        await connection.exec_driver_sql(_LIMIT)
        return (await connection.exec_driver_sql(text, (list(without),))).all()
