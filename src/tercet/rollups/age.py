"""How old what is kept is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.rollups.kept.build import located
from tercet.rollups.kept.rollup import Rollup
from tercet.rollups.memory import Known, known, promised

if TYPE_CHECKING:
    from tercet.migrations import Database
    from tercet.sql import View


async def age(database: Database, of: View | Rollup) -> Known | None:
    """How old a view or rollup is, and what its last refreshes took; None if nothing was ever remembered of it.

    `as_of` is when the last refresh or merge began: all that was committed before is in it. A refresh that was made
    by other means is not known of, so a view is never older than this says. A rollup that triggers keep, or that
    reads its log, is never behind: what is told then is when it was filled, or last merged.
    """
    what = await located(database, of) if isinstance(of, Rollup) else of
    async with database.transaction() as connection:
        return await known(connection, what.qualified)


async def promise(database: Database, of: View | Rollup, every: float) -> None:
    """Let the database remember that somebody keeps this about as fresh as `every` seconds."""
    what = await located(database, of) if isinstance(of, Rollup) else of
    async with database.transaction() as connection:
        await promised(connection, what.qualified, every)
