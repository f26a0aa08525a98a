"""A shadow is built: schema, statistics, the ends of columns, and files as long as production's."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import asyncpg
import msgspec

from tercet.advisor.failure import words
from tercet.advisor.shadow.making import ddl, files
from tercet.advisor.shadow.making.extended import dependencies, ndistinct
from tercet.advisor.shadow.making.tables import Tables
from tercet.advisor.shadow.sizes import Size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tercet.advisor.shadow.making.postgres import Link
    from tercet.advisor.shadow.taken.dump import Dump, Relation, Standing

# Numbers of the files that are made by hand: far above what a server gives to its own in a shadow's life.
_FIRST_NODE = 2_000_000_000

# From here on statistics over a table's children have a row of their own.
_INHERITED_FROM = 15


@dataclass(slots=True)
class Place:
    """A relation of the shadow: where its small real file lies, and what it is to the planner."""

    oid: int
    schema: str
    name: str
    kind: str
    path: str
    method: str
    table: int | None
    small: int = 0
    node: int = 0
    pages: int = 0
    tuples: float = -1.0
    visible: int = 0


@dataclass(slots=True)
class Built:
    """What a shadow knows of itself."""

    data: Path
    owner: tuple[int, int]
    places: dict[int, Place] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    next_node: int = _FIRST_NODE

    def node(self) -> int:
        """A number that no file has yet."""
        self.next_node += 1
        return self.next_node

    def find(self, schema: str, name: str) -> Place | None:
        """The relation of this name."""
        return next((one for one in self.places.values() if (one.schema, one.name) == (schema, name)), None)

    def write(self, place: Place, beginning: bytes, blocks: int) -> None:
        """Give it a new file that begins like this and is so long."""
        place.node = self.node()
        folder = (self.data / place.path).parent
        files.write(folder / str(place.node), beginning, blocks, self.owner)


async def build(master: Link, hand: Link, dump: Dump, ends: str, data: Path) -> Built:
    """Build all of it; what could not be made is told in the notes."""
    status = await asyncio.to_thread(data.stat)
    built = Built(data, (status.st_uid, status.st_gid))
    extensions = [made for made in dump.objects if made.what.startswith("extension ")]
    others = [made for made in dump.objects if not made.what.startswith("extension ")]
    notes = [f"left out: {what}" for what in dump.left_out]
    # Schemas first: an extension may want one; what stays out then may have waited for an extension.
    await hand.make([made for made in others if made.what.startswith("schema ")])
    notes += await master.make(extensions)
    made = (*(one for one in others if not one.what.startswith("schema ")), *ddl.relations(dump), *ddl.indexes(dump))
    notes += await hand.make(made)
    notes += await _statistics(master, dump.statistics)
    notes += await hand.make(dump.rules)
    notes += await _extended(master, dump)
    for row in await master.rows("rows", ends):
        await hand.attempt(row[0])
    await master.run("checkpoint")
    for row in await master.rows("places"):
        place = Place(*row)
        place.small = int(place.path.rpartition("/")[2])
        built.places[place.oid] = place
    tables = Tables(master)
    await tables.read()
    writing = asyncio.ensure_future(asyncio.to_thread(_files, built, dump, tables))
    try:
        await asyncio.shield(writing)
    finally:
        # A thread cannot be stopped, and would write into a folder that is being taken away.
        await asyncio.wait([writing])
    await resize(master, built.places.values())
    built.notes = tuple(notes)
    return built


async def resize(master: Link, places: Iterable[Place]) -> None:
    """Tell the catalogue which files these have and what they count."""
    several = list(places)
    await master.rows(
        "resize",
        [one.oid for one in several],
        [one.node for one in several],
        [one.pages for one in several],
        [one.tuples for one in several],
        [one.visible for one in several],
    )


async def _statistics(master: Link, given: str) -> list[str]:
    """All columns at once; one by one if a value among them cannot be read here."""
    try:
        await master.rows("statistics", given)
    except asyncpg.PostgresError:
        notes = []
        for one in msgspec.json.decode(given):
            try:
                await master.rows("statistics", msgspec.json.encode([one]).decode())
            except asyncpg.PostgresError as error:
                notes.append(f"statistics of {one['schema']}.{one['table']}.{one['column']}: {words(error)}")
        return notes
    return []


async def _extended(master: Link, dump: Dump) -> list[str]:
    """What is known of several columns together; of their frequent combinations nothing can be carried."""
    notes = []
    relations = {(one.schema, one.name): one for one in dump.relations}
    block = "extended" if master.connection.get_server_version().major >= _INHERITED_FROM else "extended_14"
    for one in dump.extended:
        relation = relations.get((one.table_schema, one.table))
        here = {row[0]: row[1] for row in await master.rows("numbers", one.table_schema, one.table)}
        there = (relation and relation.columns) or ()
        numbers = {column.number: here[column.name] for column in there if column.name in here}
        try:
            await master.rows(
                block,
                one.schema,
                one.name,
                one.inherited,
                ndistinct(one.distinct, numbers) if one.distinct else None,
                dependencies(one.dependencies, numbers) if one.dependencies else None,
            )
        except (asyncpg.PostgresError, msgspec.MsgspecError, ValueError) as error:
            notes.append(f"statistics {one.schema}.{one.name}: {words(error)}")
        if one.common:
            notes.append(f"statistics {one.schema}.{one.name}: the frequent combinations are left out")
    return notes


def _files(built: Built, dump: Dump, tables: Tables) -> None:
    relations: Mapping[tuple[str, str], Relation] = {(one.schema, one.name): one for one in dump.relations}
    indexes: Mapping[tuple[str, str], Standing] = {(one.schema, one.name): one for one in dump.indexes}
    for place in built.places.values():
        relation, index = relations.get((place.schema, place.name)), indexes.get((place.schema, place.name))
        content = (built.data / place.path).read_bytes()
        if relation is not None and place.kind == "r":
            place.pages, place.tuples, place.visible = relation.pages, relation.rows, relation.visible
            # A table of no pages stays so: its two rows would be a page more than production has.
            built.write(place, content if relation.blocks else b"", relation.blocks)
        elif index is not None:
            place.pages, place.tuples = index.pages, index.rows
            built.write(place, _beginning(place, index, content, tables), index.blocks)
        else:
            place.node, place.pages, place.tuples = place.small, len(content) // files.BLOCK, -1


def _beginning(place: Place, index: Standing, content: bytes, tables: Tables) -> bytes:
    """The first pages of an index of production's, its height and counts worked out from its length."""
    table = tables.by_oid.get(place.table or 0)
    if place.method == "btree":
        return files.btree(content, tables.height(place.oid, index.blocks - 1, index.rows) if table else 0)
    estimate = tables.standing(place.oid, index.rows) if table else Size(index.blocks, index.rows)
    return craft(place.method, content, estimate, index.blocks)


def craft(method: str, content: bytes, estimate: Size, pages: int) -> bytes:
    """The first pages of an index that is no B-tree, for this many pages in all."""
    if method == "gin":
        scale = pages / max(1, estimate.pages)
        entry_pages = min(max(1, round(estimate.entry_pages * scale)), max(1, pages - 1))
        entries = max(1, round(estimate.entries * scale))
        return files.gin(content, pages=pages, entry_pages=entry_pages,
                         data_pages=max(0, pages - 1 - entry_pages), entries=entries)  # fmt: skip
    if method == "brin":
        return files.brin(content, map_pages=max(1, -(-int(estimate.tuples) // 1360)))
    return content
