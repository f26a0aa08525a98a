"""Materialized views: created with their indexes, refreshed while they are read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.errors import DefinitionMismatch
from tercet.migrations import Database, alone_until_commit, build_index, vacuum
from tercet.rollups.relation import find, mark_of

if TYPE_CHECKING:
    from tercet.sql import View


@dataclass(frozen=True, slots=True)
class Created:
    """A materialized view that is there and filled; `existed` when nothing had to be done."""

    name: str
    seconds: float
    size_bytes: int
    existed: bool


@dataclass(frozen=True, slots=True)
class Refreshed:
    """A refresh that has been committed; `concurrently` when readers could read on meanwhile."""

    name: str
    seconds: float
    concurrently: bool


async def create_view(database: Database, view: View) -> Created:
    """Create `view`, filled, with its unique key and its indexes, and have it analysed.

    One that is there already with the same definition is kept as it is, and missing indexes are added to it.
    Raises DefinitionMismatch when one of that name has another definition, and LockBusy when somebody else is
    creating or refreshing it.
    """
    started = time.perf_counter()
    # It takes as long as its query does; the pool's limit for ordinary statements is not meant for it.
    async with database.transaction(within=0) as connection:
        await alone_until_commit(connection, _lock(view))
        found, mark = await find(connection, view.qualified, "m"), mark_of(view.create())
        if found is None:
            await connection.exec_driver_sql(view.create())
            await connection.exec_driver_sql(f"comment on materialized view {view.qualified} is '{mark}'")
        elif found.mark != mark:
            raise DefinitionMismatch(
                "materialized view", view.qualified, wanted=view.query, found=found.mark or "made by hand"
            )
    for index in view.all_indexes:
        await build_index(database, index)
    await vacuum(database, view.qualified)
    async with database.transaction() as connection:
        after = await find(connection, view.qualified, "m")
    size = after.size_bytes if after else 0
    return Created(view.qualified, time.perf_counter() - started, size, existed=found is not None)


async def refresh_view(database: Database, view: View, *, concurrently: bool = True) -> Refreshed:
    """Bring `view` up to date with everything committed before now, and have it analysed.

    Concurrently, its readers go on with the old rows until the new ones are committed; a plain refresh is
    cheaper and makes them wait. A view that holds no data yet can only be refreshed plainly, and is.
    Raises LockBusy at once when another refresh of it is under way: two never overlap.
    """
    started = time.perf_counter()
    # It takes as long as its query does; the pool's limit for ordinary statements is not meant for it.
    async with database.transaction(within=0) as connection:
        await alone_until_commit(connection, _lock(view))
        found = await find(connection, view.qualified, "m")
        populated = found is not None and found.populated
        await connection.exec_driver_sql(view.refresh(concurrently=concurrently and populated))
    await vacuum(database, view.qualified)
    return Refreshed(view.qualified, time.perf_counter() - started, concurrently and populated)


async def drop_view(database: Database, view: View) -> None:
    """Drop `view` with its indexes; nothing happens when it is not there."""
    async with database.transaction() as connection:
        await connection.exec_driver_sql(view.drop())


def _lock(view: View) -> str:
    return f"the refresh of the materialized view {view.qualified}"
