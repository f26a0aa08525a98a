"""Materialized views are supposed: an empty relation with statistics of the columns that it would be filled from."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from tercet.advisor.port import Refused, Supposed
from tercet.advisor.shadow.making.origin import origins
from tercet.advisor.shadow.making.postgres import REFUSALS, refusal
from tercet.advisor.shadow.making.postgres_build import Place, resize
from tercet.advisor.shadow.sizes.layout import PAGE, ROOM, heap_tuple
from tercet.sql import identifier
from tercet.sql.identifier import table_parts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.advisor.shadow.making.postgres_suppose import Known, Workshop
    from tercet.sql import View


async def suppose_view(workshop: Workshop, view: View, rows: float) -> tuple[Supposed | Refused, tuple[Known, ...]]:
    """Make a view known with its indexes; nothing of it stays if one of them cannot be."""
    name = table_parts(view.name)[-1]
    try:
        await workshop.hand.run(f"begin read write; create table {view.qualified} as {view.query}\nwith no data")
        sources = await _origins(workshop, view)
        await workshop.hand.run("commit")
    except REFUSALS as error:
        await workshop.hand.attempt("rollback")
        return refusal((workshop.master, workshop.hand), name, error), ()
    try:
        size = await _filled(workshop, view, max(rows, 0.0), sources)
    except REFUSALS as error:
        await _gone(workshop, view)
        return refusal((workshop.master, workshop.hand), name, error), ()
    indexes: list[Known] = []
    for known in (await workshop.suppose(view.all_indexes)).values():
        if isinstance(known, Refused):
            await _gone(workshop, view)
            return Refused(name, known.why), ()
        indexes.append(known)
        size += known.supposed.size_bytes
    return Supposed(name, size, tuples=rows), tuple(indexes)


async def _filled(workshop: Workshop, view: View, rows: float, sources: Mapping[int, tuple[int, int]]) -> int:
    """Give it statistics and a file; its bytes."""
    master, built = workshop.master, workshop.built
    (found,) = await master.rows("relation", view.qualified)
    place = Place(*found)
    place.small = int(place.path.rpartition("/")[2])
    place.tuples = rows
    for number, (table, column) in sources.items():
        # Where the key says that no two rows are alike in this column alone, none is more frequent than another.
        alone = len(view.key) == 1
        await master.rows("inherit_statistics", place.oid, number, table, column, rows, list(view.key), alone)
    await workshop.tables.read(place.oid)
    table_value = workshop.tables.by_oid[place.oid]
    width = heap_tuple(table_value.columns)
    pages = math.ceil(rows / max(1, ROOM // width)) if rows else 0
    place.pages = place.visible = pages
    await asyncio.to_thread(built.write, place, b"", pages)
    await resize(master, [place])
    built.places[place.oid] = place
    await workshop.tables.read(place.oid)
    return pages * PAGE


async def _origins(workshop: Workshop, view: View) -> dict[int, tuple[int, int]]:
    """The source of each output column, by a view over the same query that is looked at and taken back."""
    probe = identifier("pg_temp", "tercet_probe")
    await workshop.hand.run(f"create temporary view tercet_probe as {view.query}")
    action = (await workshop.hand.rows("action", probe))[0][0]
    await workshop.hand.run(f"drop view {probe}")
    return origins(action)


async def _gone(workshop: Workshop, view: View) -> None:
    await workshop.hand.attempt(f"begin read write; drop table {view.qualified}; commit")
