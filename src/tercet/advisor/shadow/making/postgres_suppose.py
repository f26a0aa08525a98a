"""Indexes are supposed: made over the few rows that are there, then given a file as large as they would be."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import asyncpg

from tercet.advisor.port import Refused, Supposed
from tercet.advisor.shadow.explained import read
from tercet.advisor.shadow.making import files
from tercet.advisor.shadow.making.postgres import REFUSALS, refusal
from tercet.advisor.shadow.making.postgres_build import Place, craft, resize
from tercet.advisor.shadow.sizes import Size, size
from tercet.sql import identifier
from tercet.sql.identifier import NAME_BYTES_MAX

if TYPE_CHECKING:
    from tercet.advisor.catalog import Table
    from tercet.advisor.shadow.making.postgres import Link
    from tercet.advisor.shadow.making.postgres_build import Built
    from tercet.advisor.shadow.making.tables import Tables
    from tercet.advisor.shadow.taken.sample import Sampler
    from tercet.sql import Index

# Only a B-tree is written beside the server's buffers; the others have to be brought to the disk first.
_WRITTEN_AT_ONCE = frozenset({"btree"})
_OTHER_NAME = "_supposed"


@dataclass(frozen=True, slots=True)
class Known:
    """A supposed index: its oids (those of its partitions too), the names they go by in plans, and its tables."""

    supposed: Supposed
    oids: tuple[int, ...]
    names: frozenset[str]
    tables: frozenset[str]


@dataclass(slots=True)
class Workshop:
    """Where indexes are supposed."""

    master: Link
    hand: Link
    built: Built
    tables: Tables
    # Who may count combinations of columns on production; nobody, unless that is allowed.
    sampler: Sampler | None = None

    async def suppose(self, index: Index) -> Known | Refused:
        """Make one index known and leave it switched off."""
        try:
            async with self.master.connection.transaction():
                return await self._made(index)
        except asyncpg.DuplicateTableError:
            room = NAME_BYTES_MAX - len(_OTHER_NAME)
            other = index.name.encode()[:room].decode(errors="ignore") + _OTHER_NAME
            if index.name.endswith(_OTHER_NAME):
                return Refused(index.name, "an index of this name is there already")
            made = await self.suppose(index.on(index.table, name=other))
            return made if isinstance(made, Refused) else _named(made, index.name)
        except REFUSALS as error:
            return refusal((self.master, self.hand), index.name, error)

    async def _made(self, index: Index) -> Known:
        leaves = [row[0] for row in await self.master.rows("leaves", index.qualified_table)]
        heaps = [self.built.places[oid] for oid in leaves]
        await self.master.rows("small", leaves, [heap.small for heap in heaps])
        # A unique one is made plain first: of the two rows that stand for all, both may hold the same.
        await self.master.run(re.sub("^create unique", "create", index.create(concurrently=False)))
        if index.method not in _WRITTEN_AT_ONCE:
            await self.master.run("checkpoint")
        made = await self.master.rows("made", index.qualified_table, index.name)
        sizes, places = [], []
        for oid, name, path, method, table, kind, schema, _ in made:
            if kind == "i":
                place = Place(oid, schema, name, kind, path, method, table)
                sizes.append(await self._sized(place, index))
                places.append(place)
        await resize(self.master, [*places, *heaps])
        oids = [row[0] for row in made]
        await self.master.rows("unswitched", oids, index.unique)
        self.built.places |= {place.oid: place for place in places}
        supposed = Supposed(
            index.name,
            sum(one.size_bytes for one in sizes),
            height=max((one.height for one in sizes if one.height is not None), default=None),
            tuples=sum(one.tuples for one in sizes),
        )
        return Known(supposed, tuple(oids), frozenset(row[1] for row in made), frozenset(row[7] for row in made))

    async def _sized(self, place: Place, index: Index) -> Size:
        """Estimate it, and give it a file that is as large."""
        table = self.tables.by_oid[place.table or 0]
        content = await asyncio.to_thread((self.built.data / place.path).read_bytes)
        expressions = None
        if any(not isinstance(key.of, str) for key in index.keys):
            await self.tables.read(place.oid)
            columns = self.tables.indexes[place.oid].columns
            expressions = {
                key.of.sql: column
                for key, column in zip(index.keys, columns, strict=False)
                if not isinstance(key.of, str)
            }
        heap = self.built.places[table.oid]
        rows = await self._rows(table, heap, index)
        estimate = size(
            table,
            index,
            rows,
            shared=place.method == "btree" and files.deduplicates(content),
            expressions=expressions,
            known=await self._distinct(table, index),
        )
        if place.method == "btree":
            beginning = files.btree(content, estimate.height or 0)
        else:
            beginning = craft(place.method, content, estimate, estimate.pages)
        self.built.write(place, beginning, estimate.pages)
        place.pages, place.tuples = estimate.pages, estimate.tuples if place.method != "brin" else rows
        return estimate

    async def _distinct(self, table: Table, index: Index) -> dict[frozenset[str], float]:
        """What a sample says of the key's columns, the first alone and all together."""
        names = [key.of for key in index.keys if isinstance(key.of, str)]
        if self.sampler is None or index.method != "btree" or index.unique or len(names) < len(index.keys):
            return {}
        found = {}
        for columns in {tuple(names[:1]), tuple(names)}:
            heap = self.built.places[table.oid]
            share = await self.sampler.share(table.name, columns, heap.pages, heap.tuples)
            if share is not None:
                found[frozenset(columns)] = share
        return found

    async def _rows(self, table: Table, heap: Place, index: Index) -> float:
        """The rows that it holds: all, or as many as the planner expects to meet its condition."""
        blocks = heap.pages or 1
        rows = max(heap.tuples, 0.0) * (self._blocks(heap) / blocks if heap.pages else 1.0)
        if index.where is None or rows == 0:
            return rows
        share = await self._share(table, index.where)
        return rows * share

    def _blocks(self, heap: Place) -> int:
        return files.length((self.built.data / heap.path).parent / str(heap.node))

    async def _share(self, table: Table, condition: str) -> float:
        """The share of the table's rows that meet a condition, by the planner's own estimate."""
        name = identifier(*table.name)
        # Inside the transaction the table is small; its density is what the estimate goes by, so only the share counts.
        found = await self.hand.connection.fetchval(f"explain (format json) select from only {name} where {condition}")
        whole = await self.hand.connection.fetchval(f"explain (format json) select from only {name}")
        return min(1.0, read(found).rows / max(1.0, read(whole).rows))


def _named(known: Known, name: str) -> Known:
    return replace(known, supposed=replace(known.supposed, name=name))
