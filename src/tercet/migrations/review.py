"""What has become of the indexes that were made on advice: whether anybody reads them, and what they take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from tercet.migrations.blocks import blocks
from tercet.migrations.marks import Mark
from tercet.sql import identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.sql.port import Connection, Database

# Sums over the catalogue and the counters; a database of a thousand indexes takes milliseconds.
_WITHIN = "30s"


@dataclass(frozen=True, slots=True)
class Reviewed:
    """An index with our mark, as it stands now; of a materialized view or a rollup it is that of its key.

    `scans` are those of the primary and of each replica, in the order in which they were given, counted `since`
    that day. `view_reads` counts reads of the view in whatever way, but those that keep it up. `read_as` is the name
    under which a view or rollup is read, and `query` what that asks.
    """

    schema: str
    name: str
    table: tuple[str, str]
    mark: Mark
    definition: str
    valid: bool
    unique: bool
    size_bytes: int
    # A constraint, replica identity or CLUSTER has come to rest on it.
    needed: bool
    scans: tuple[int, ...]
    since: date
    view: bool = False
    view_bytes: int = 0
    view_reads: int = 0
    rollup: bool = False
    read_as: tuple[str, str] = ("", "")
    query: str = ""

    @property
    def qualified(self) -> str:
        """Its quoted name, or its view's."""
        return identifier(self.read_as) if self.view else identifier(self.schema, self.name)

    def age_days(self, today: date) -> int:
        """For how many days its reads have been counted."""
        return max(0, (today - self.since).days)

    def unused(self, today: date, days: int) -> bool:
        """Whether nobody has read it in so many days, and nothing else rests on it."""
        reads = self.view_reads if self.view else sum(self.scans)
        return self.valid and not self.needed and reads == 0 and self.age_days(today) >= days


async def review(database: Database, replicas: Sequence[Database] = ()) -> tuple[Reviewed, ...]:
    """All indexes with our mark, each with its reads on the primary and on every replica. Only reads.

    Counters that were set to zero since an index was made say less: `since` is the later day then.
    """
    sql = blocks("tercet.migrations", "review.sql")
    async with database.transaction(within=_WITHIN) as connection:
        await connection.exec_driver_sql("set transaction read only")
        rows = (await connection.exec_driver_sql(sql["marked"])).all()
    counted = [await _counted(one, sql) for one in (database, *replicas)]
    since = max((day for _, day in counted if day is not None), default=None)
    return tuple(
        _reviewed(tuple(row), mark, [scans for scans, _ in counted], since)
        for row in rows
        if (mark := Mark.read(row[6])) is not None
    )


async def _counted(
    database: Database, sql: dict[str, str]
) -> tuple[dict[tuple[str, str], tuple[int, int]], date | None]:
    """Reads by index, and since when they are counted."""
    async with database.transaction(within=_WITHIN) as connection:
        await connection.exec_driver_sql("set transaction read only")
        rows = (await connection.exec_driver_sql(sql["scans"])).all()
        reset: datetime | None = (await connection.exec_driver_sql(sql["reset"])).all()[0][0]
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}, reset.astimezone(UTC).date() if reset else None


def _reviewed(
    row: tuple[Any, ...], mark: Mark, counted: Sequence[dict[tuple[str, str], tuple[int, int]]], since: date | None
) -> Reviewed:
    (
        _,
        schema,
        name,
        table_schema,
        table,
        kind,
        _,
        definition,
        valid,
        unique,
        size,
        view_size,
        needed,
        *read_as,
        query,
    ) = row
    reads = [scans.get((schema, name), (0, 0)) for scans in counted]
    # Counters that were set to zero since do not hold what they held then.
    before = 0 if since is not None and since > mark.day else mark.reads
    view, rollup = query is not None, kind == "r" and query is not None
    scans = _without([one[0] for one in reads], 0 if view else before)
    return Reviewed(
        schema, name, (table_schema, table), mark, definition, valid, unique, size, needed, scans,
        max(mark.day, since) if since is not None else mark.day,
        view=view, view_bytes=view_size, view_reads=max(0, sum(one[1] for one in reads) - before), rollup=rollup,
        read_as=(read_as[0], read_as[1]) if rollup else (table_schema, table), query=query or "",
    )  # fmt: skip


def _without(scans: Sequence[int], before: int) -> tuple[int, ...]:
    """Scans without those that were ours, which were on the primary."""
    return tuple(max(0, count - before) if at == 0 else count for at, count in enumerate(scans))


async def put_mark(connection: Connection, index: str, mark: Mark, *, over: bool = False) -> bool:
    """Put our comment on an index, by its quoted name, unless it has one; whether it was put.

    `over` replaces one that is ours. To the mark's reads are added those of the index, or of its view, by now.
    """
    sql = blocks("tercet.migrations", "review.sql")
    rows = (await connection.exec_driver_sql(sql["mark"], (index,))).all()
    if not rows:
        return False
    there, reads = rows[0]
    if there and not (over and Mark.read(there)):
        return False
    mark = replace(mark, reads=mark.reads + reads)
    # Only figures, a day and fingerprints are in it.
    await connection.exec_driver_sql(f"comment on index {index} is '{mark.text()}'")
    return True
