"""The rows of a copy: each table in its part, and whatever they refer to after them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tercet.advisor.blocks import blocks
from tercet.advisor.failure import sqlstate, timed_out, words
from tercet.advisor.sandbox.part import columns
from tercet.advisor.sandbox.postgres_copy import pour
from tercet.sql import identifier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tercet.advisor.catalog import Qualified
    from tercet.advisor.sandbox.meter import Meter
    from tercet.advisor.sandbox.part import Link, Part
    from tercet.advisor.sandbox.schema import Target
    from tercet.sql.port import Connection, Database

# Keys that are asked for in one statement: enough to make the round trip cheap, a text of less than a megabyte.
_KEYS_AT_ONCE = 10_000
# Rows that others refer to may exceed the room by so much; then the copy does without them, and says so.
_OVER = 1.5
# The SQLSTATEs of a connection that is lost, or that somebody has ended.
_LOST = ("08", "57P")


@dataclass(frozen=True, slots=True)
class Copied:
    """A table of the copy: how many rows it has, and which share of production's that is (1 is all of them)."""

    table: Qualified
    rows: int
    share: float


class Filling:
    """Fills the tables of a copy out of one transaction of production's."""

    def __init__(
        self, source: Connection, copy: Database, meter: Meter, targets: Sequence[Target], links: Sequence[Link]
    ) -> None:
        self._source, self._copy, self._meter, self._links = source, copy, meter, links
        self._targets = {target.name: target for target in targets}
        self._sql = blocks("tercet.advisor.sandbox", "copy.sql")
        self.notes: list[str] = []

    async def run(self, parts: Sequence[Part], bytes_max: int) -> Mapping[Qualified, Copied]:
        """Fill all of them; a table that production does not give is left out and told of."""
        filled: dict[Qualified, Copied] = {}
        for part in parts:
            copied = await self._fill(part)
            if copied is not None:
                filled[part.table] = copied
        partial = {part.table for part in parts if not part.whole}
        while await self._close(filled, partial, bytes_max):
            continue
        return filled

    async def _fill(self, part: Part) -> Copied | None:
        target = self._targets.get(part.table)
        if target is None:
            self.notes.append(f"{'.'.join(part.table)} is gone from production.")
            return None
        if target.kind == "p":
            return Copied(part.table, 0, part.share)
        query = f"{self._select(target)} {part.clause}"
        try:
            rows = await self._pour(query, target)
        except Exception as error:
            if not _of_the_table(error):
                raise
            self.notes.append(f"{'.'.join(part.table)} could not be copied: {words(error)}.")
            return None
        return Copied(part.table, rows, part.share)

    def _select(self, target: Target) -> str:
        return self._sql["rows"].format(columns=columns(target.columns), only="only ", table=identifier(target.name))

    async def _pour(
        self, query: str, target: Target, values: Sequence[Sequence[str]] = (), *, fresh: bool = True
    ) -> int:
        """Pour it; an error leaves production's transaction, and its snapshot, as they were."""
        await self._source.exec_driver_sql("savepoint tercet")
        try:
            async with self._copy.transaction() as place:
                if fresh:
                    await place.exec_driver_sql(f"truncate {identifier(target.name)}")
                rows = await pour(
                    self._source, place, query, target.name, target.columns, self._meter, values=values, fresh=fresh
                )
        except Exception as error:
            if _of_the_table(error):
                await self._source.exec_driver_sql("rollback to savepoint tercet")
            raise
        await self._source.exec_driver_sql("release savepoint tercet")
        return rows

    async def _close(self, filled: dict[Qualified, Copied], partial: set[Qualified], bytes_max: int) -> bool:
        """Fetch what is referred to and not there; whether that may have brought new references."""
        fetched = 0
        for link in self._links:
            if link.parent not in partial or link.child not in filled or link.parent not in filled:
                continue
            keys = await self._missing(link)
            for at in range(0, len(keys), _KEYS_AT_ONCE):
                if self._meter.bytes > bytes_max * _OVER:
                    left = len(keys) - at
                    self.notes.append(f"{left} rows of {'.'.join(link.parent)} that others refer to had no room.")
                    return False
                fetched += await self._fetch(link, keys[at : at + _KEYS_AT_ONCE], filled)
        return fetched > 0

    async def _missing(self, link: Link) -> list[tuple[str, ...]]:
        pairs = list(zip(link.columns, link.parent_columns, strict=True))
        query = self._sql["missing"].format(
            texts=", ".join(f"c.{identifier(name)}::text" for name in link.columns),
            child=identifier(link.child),
            present=" and ".join(f"c.{identifier(name)} is not null" for name in link.columns),
            parent=identifier(link.parent),
            equal=" and ".join(f"p.{identifier(theirs)} = c.{identifier(ours)}" for ours, theirs in pairs),
        )
        async with self._copy.transaction() as connection:
            # No statistics are there yet, and nothing is indexed: without this it might compare all with all.
            await connection.exec_driver_sql("set local enable_nestloop = off")
            return [tuple(row) for row in (await connection.exec_driver_sql(query)).all()]

    async def _fetch(self, link: Link, keys: Sequence[tuple[str, ...]], filled: dict[Qualified, Copied]) -> int:
        target = self._targets[link.parent]
        if target.kind == "p":
            return 0
        names = [f"k{number}" for number in range(len(link.columns))]
        types = await self._types(link)
        query = self._sql["by_key"].format(
            columns=columns(target.columns),
            only="only ",
            table=identifier(target.name),
            keys=columns(link.parent_columns),
            casts=", ".join(f"{name}::{kind}" for name, kind in zip(names, types, strict=True)),
            arrays=", ".join(f"${number + 1}::text[]" for number in range(len(names))),
            names=", ".join(names),
        )
        values = [list(column) for column in zip(*keys, strict=True)]
        rows = await self._pour(query, target, values, fresh=False)
        filled[link.parent] = replace(filled[link.parent], rows=filled[link.parent].rows + rows)
        return rows

    async def _types(self, link: Link) -> list[str]:
        """The types of the parent's key, as production names them."""
        found = (await self._source.exec_driver_sql(self._sql["key_types"], (identifier(link.parent),))).all()
        types: Mapping[str, str] = {row[0]: row[1] for row in found}
        return [types[name] for name in link.parent_columns]


def _of_the_table(error: Exception) -> bool:
    """Whether a server has refused this table, so that the others may come none the less."""
    code = sqlstate(error)
    lost = isinstance(error, ConnectionError) or code.startswith(_LOST)
    return bool(code) and not lost and not timed_out(error)
