"""What is known of old rows: which columns a change of PostgreSQL tells the old values of."""

from __future__ import annotations

import difflib
from functools import reduce
from typing import TYPE_CHECKING

from tercet.changes.change import Wants
from tercet.changes.setup.findings import place_of
from tercet.changes.setup.look import look
from tercet.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.changes.setup.findings import Table
    from tercet.sql.port import Database


async def covered_of(database: Database, tables: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """What the replica identities of these tables cover; where there is no log to decode, what the triggers tell.

    A table that is not there is left out; UsageError for a column that is not there.
    """
    findings = await look(database, Wants(dict(tables)))
    by_log = findings.server.wal_level == "logical"
    found = {}
    for name, columns in tables.items():
        table = findings.tables.get(place_of(name))
        if table is not None:
            _check(name, table, columns)
            found[name] = _told(table, by_log=by_log)
    return found


def _told(table: Table, *, by_log: bool) -> frozenset[str]:
    if not by_log and table.triggers:
        return table.plain_columns - frozenset(table.silent)
    # Of a partitioned table each row is told as its own partition tells it.
    return reduce(frozenset.intersection, (holder.covered for holder in table.holders))


def _check(name: str, table: Table, columns: frozenset[str]) -> None:
    for column in sorted(columns - table.columns.keys()):
        near = difflib.get_close_matches(column, table.columns, n=1)
        raise UsageError(
            f"follow() names {name}.{column}, which is no column of it.",
            f"Do you mean {near[0]!r}?" if near else f"It has {', '.join(sorted(table.columns))}.",
        )
