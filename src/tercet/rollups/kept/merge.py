"""The log of a rollup is folded into its groups, batch by batch; whoever is cut off has lost and doubled nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.errors import UsageError
from tercet.migrations import alone_until_commit
from tercet.rollups.kept.build import known_statements, lock
from tercet.rollups.kept.ranges import plainly
from tercet.rollups.memory import refreshed

if TYPE_CHECKING:
    from tercet.migrations import Database
    from tercet.rollups.kept.rollup import Rollup

# Lines of the log that one transaction takes: some tenths of a second, in which nothing else can be merged.
BATCH_LINES = 10_000


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge has done: so many lines of the log in so many transactions; `whole` when none were left."""

    name: str
    lines: int
    batches: int
    seconds: float
    whole: bool


async def merge(database: Database, rollup: Rollup, *, lines: int = BATCH_LINES, batches: int | None = None) -> Merged:
    """Fold the log of `rollup` into its groups until it is empty, or so many `batches` of `lines` are done.

    Each batch is one transaction: it is there as a whole or not at all. Writers are not waited for, and do not wait.
    Raises LockBusy at once when another merge or a repair is under way, UsageError for one that has no log.
    """
    started = time.perf_counter()
    known = await known_statements(database, rollup)
    rollup = known.rollup
    if rollup.way != "delta":
        raise UsageError(f"The rollup {rollup.qualified} has no log: triggers keep it.", "There is nothing to merge.")
    done = taken = 0
    whole = False
    while not whole and (batches is None or done < batches):
        async with database.transaction(within=0) as connection:
            await alone_until_commit(connection, lock(rollup.name))
            await plainly(connection)
            count: int = (await connection.exec_driver_sql(known.call("merge"), (lines,))).all()[0][0]
            done, taken, whole = done + 1, taken + count, count < lines
            if whole:
                # All that was committed before this transaction is in the groups now.
                await refreshed(connection, rollup.qualified, time.perf_counter() - started, concurrently=True)
    return Merged(rollup.qualified, taken, done, time.perf_counter() - started, whole)
