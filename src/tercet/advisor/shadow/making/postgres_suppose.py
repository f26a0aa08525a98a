"""Indexes are supposed: made over the few rows that are there, then given a file as large as they would be."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import asyncpg

from tercet.advisor.port import Refused, Supposed
from tercet.advisor.shadow.explained import read
from tercet.advisor.shadow.making import files
from tercet.advisor.shadow.making.postgres import REFUSALS, TOGETHER, refusal
from tercet.advisor.shadow.making.postgres_build import Place, craft, resize
from tercet.advisor.shadow.sizes import Size, size
from tercet.sql import identifier
from tercet.sql.identifier import NAME_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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

    async def suppose(self, indexes: Sequence[Index]) -> dict[str, Known | Refused]:
        """Make indexes known and leave them switched off; those of one table together, as far as that goes."""
        found: dict[str, Known | Refused] = {}
        for several in _together(indexes):
            found |= await self._several(several)
        return found

    async def _several(self, indexes: Sequence[Index]) -> dict[str, Known | Refused]:
        """All or, where one of them is refused, each by itself."""
        try:
            async with self.master.connection.transaction():
                return dict(await self._made(indexes))
        except REFUSALS as error:
            if len(indexes) > 1 and not self.master.connection.is_closed():
                return {index.name: one for index in indexes for one in (await self._several([index])).values()}
            (index,) = indexes[:1]
            return {index.name: await self._refused(index, error)}

    async def _refused(self, index: Index, error: BaseException) -> Known | Refused:
        """Another name for one whose name is taken, else the server's words."""
        if not isinstance(error, asyncpg.DuplicateTableError):
            return refusal((self.master, self.hand), index.name, error)
        if index.name.endswith(_OTHER_NAME):
            return Refused(index.name, "an index of this name is there already")
        room = NAME_BYTES_MAX - len(_OTHER_NAME)
        other = index.name.encode()[:room].decode(errors="ignore") + _OTHER_NAME
        (made,) = (await self._several([index.on(index.table, name=other)])).values()
        return made if isinstance(made, Refused) else _named(made, index.name)

    async def _made(self, indexes: Sequence[Index]) -> dict[str, Known]:
        """Indexes of one table."""
        table, named = indexes[0].qualified_table, {index.name: index for index in indexes}
        leaves = [row[0] for row in await self.master.rows("leaves", table)]
        heaps = [self.built.places[oid] for oid in leaves]
        await self.master.rows("small", leaves, [heap.small for heap in heaps])
        # A unique one is made plain first: of the two rows that stand for all, both may hold the same.
        plain = (re.sub("^create unique", "create", index.create(concurrently=False)) for index in indexes)
        await self.master.run(";\n".join(plain))
        if any(index.method not in _WRITTEN_AT_ONCE for index in indexes):
            await self.master.run("checkpoint")
        made = await self.master.rows("made", table, list(named))
        places = {row[1]: Place(*row[1:8]) for row in made if row[4] == "i"}
        contents = await asyncio.to_thread(self._contents, places.values())
        sizes = {}
        for name, oid, *_ in made:
            if oid in places:
                sizes[oid] = await self._sized(places[oid], named[name], contents[oid])
        await resize(self.master, [*places.values(), *heaps])
        unique = [oid for name, oid, *_ in made if named[name].unique]
        await self.master.rows("unswitched", [row[1] for row in made], unique)
        self.built.places |= places
        return {name: _known(name, [row[1:] for row in made if row[0] == name], sizes) for name in named}

    def _contents(self, places: Iterable[Place]) -> dict[int, bytes]:
        return {place.oid: (self.built.data / place.path).read_bytes() for place in places}

    async def _sized(self, place: Place, index: Index, content: bytes) -> Size:
        """Estimate it, and give it a file that is as large."""
        table = self.tables.by_oid[place.table or 0]
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


def _together(indexes: Sequence[Index]) -> Iterator[list[Index]]:
    """Those of each table in their order, as many as one transaction holds; what is no B-tree apart."""
    by_table: dict[str, list[Index]] = {}
    for index in indexes:
        by_table.setdefault(index.qualified_table, []).append(index)
    for own in by_table.values():
        for plain, run in groupby(own, lambda index: index.method in _WRITTEN_AT_ONCE):
            several = list(run)
            most = TOGETHER if plain else 1
            yield from (several[at : at + most] for at in range(0, len(several), most))


def _known(name: str, made: Sequence[Sequence[Any]], sizes: Mapping[int, Size]) -> Known:
    """One index by the rows of its parts."""
    oids, _, names, *_, tables = zip(*made, strict=True)
    parts = [sizes[oid] for oid in oids if oid in sizes]
    supposed = Supposed(
        name,
        sum(one.size_bytes for one in parts),
        height=max((one.height for one in parts if one.height is not None), default=None),
        tuples=sum(one.tuples for one in parts),
    )
    return Known(supposed, oids, frozenset(names), frozenset(tables))


def _named(known: Known, name: str) -> Known:
    return replace(known, supposed=replace(known.supposed, name=name))
