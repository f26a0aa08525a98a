"""A feed of PostgreSQL together with the database behind it, which says what it shows and which old values it tells."""

from __future__ import annotations

import difflib
from functools import reduce
from typing import TYPE_CHECKING, Protocol

from tercet.changes.change import Wants
from tercet.changes.setup.findings import place_of
from tercet.changes.setup.look import look
from tercet.errors import UsageError
from tercet.witness import Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.cache.follow.port import Changes, Subscription
    from tercet.changes.port import Database, Listener
    from tercet.changes.setup.findings import Table

_SNAPSHOT = "SELECT pg_current_snapshot()::text"


class Primary(Protocol):
    """What says whose count transactions are by; `db.postgres` does."""

    @property
    def source(self) -> str | None:
        """As a Moment names it; None where the server does not say."""
        ...


class Known:
    """Fulfils Changes, Sees and Covers: a feed, and `db.postgres`, which is the primary."""

    def __init__(self, changes: Changes, database: Database, primary: Primary) -> None:
        self._changes, self._database, self._primary = changes, database, primary

    def subscribe(self, listener: Listener, *, durable: str | None = None, place: str | None = None) -> Subscription:
        """As the feed does."""
        return self._changes.subscribe(listener, durable=durable, place=place)

    async def seen(self) -> Snapshot | None:
        """What a statement of its own sees now; raises a StoreError."""
        source = self._primary.source
        if source is None:
            return None
        async with self._database.autocommit() as connection:
            ((text,),) = (await connection.exec_driver_sql(_SNAPSHOT)).all()
        return Snapshot.read(source, text)

    async def covered(self, tables: Mapping[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
        """What the replica identities cover; where there is no log to decode, what the triggers tell."""
        findings = await look(self._database, Wants(dict(tables)))
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
