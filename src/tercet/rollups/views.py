"""Materialized views: created with their indexes, refreshed while they are read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.errors import DefinitionMismatch, UsageError
from tercet.migrations import Database, alone_until_commit, build_index, vacuum
from tercet.rollups.memory import forget, known, refreshed
from tercet.rollups.relation import find, mark_of, unique_index

if TYPE_CHECKING:
    from tercet.migrations import Connection
    from tercet.sql import View

# A plain refresh makes readers wait for its whole time: unnoticed up to here.
READERS_WAIT_SECONDS = 0.05
# Behind a plain refresh that waits for its lock all new readers queue up, so it gives up soon; so does a concurrent
# one, behind which writers of nothing else wait, but whose turn comes again.
_LOCK_TIMEOUT = "set local lock_timeout = '5s'"


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
        await alone_until_commit(connection, lock(view.qualified))
        found, mark = await find(connection, view.qualified, "m"), mark_of(view.create())
        if found is None:
            filling = time.perf_counter()
            await connection.exec_driver_sql(view.create())
            await refreshed(connection, view.qualified, time.perf_counter() - filling, concurrently=False)
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


async def refresh_view(
    database: Database, view: View, *, concurrently: bool | None = True, within: str | float = 0
) -> Refreshed:
    """Bring `view` up to date with everything committed before now, and have it analysed.

    Concurrently, its readers go on with the old rows until the new ones are committed; a plain refresh is
    cheaper and makes them wait. None takes the plain one where the last of them was so short that no reader minds,
    and was not longer than a concurrent one. A view that holds no data yet can only be refreshed plainly, and is.
    Raises LockBusy at once when another refresh of it is under way: two never overlap. `within` limits it.
    """
    started = time.perf_counter()
    # It takes as long as its query does; the pool's limit for ordinary statements is not meant for it.
    async with database.transaction(within=within) as connection:
        await alone_until_commit(connection, lock(view.qualified))
        found = await find(connection, view.qualified, "m")
        if found is None:
            raise UsageError(f"There is no materialized view {view.qualified}.", "Make it first, with create_view.")
        if concurrently is None:
            concurrently = not await _quick(connection, view)
        concurrently = concurrently and found.populated
        if concurrently and not await unique_index(connection, view.qualified):
            raise UsageError(
                f"The materialized view {view.qualified} has no unique index over all its rows, "
                "so it cannot be refreshed while it is read.",
                "Call create_view, which builds the index of its key; or refresh it with concurrently=False.",
            )
        await connection.exec_driver_sql(_LOCK_TIMEOUT)
        working = time.perf_counter()
        await connection.exec_driver_sql(view.refresh(concurrently=concurrently))
        await refreshed(connection, view.qualified, time.perf_counter() - working, concurrently=concurrently)
    await vacuum(database, view.qualified)
    return Refreshed(view.qualified, time.perf_counter() - started, concurrently)


async def _quick(connection: Connection, view: View) -> bool:
    """Whether a plain refresh is known to be one that no reader minds."""
    told = await known(connection, view.qualified)
    if told is None or told.plain_seconds is None or told.plain_seconds > READERS_WAIT_SECONDS:
        return False
    return told.concurrent_seconds is None or told.plain_seconds <= told.concurrent_seconds


async def drop_view(database: Database, view: View) -> None:
    """Drop `view` with its indexes; nothing happens when it is not there."""
    async with database.transaction() as connection:
        await connection.exec_driver_sql(view.drop())
        await forget(connection, view.qualified)


def lock(name: str) -> str:
    """The name of the lock under which the view of this quoted name is made or refreshed."""
    return f"the refresh of the materialized view {name}"
