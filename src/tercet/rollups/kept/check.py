"""Whether a rollup is what its table says, range by range, and its mending where it is not; writers go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.migrations import alone_until_commit
from tercet.rollups.kept.build import known_statements, lock
from tercet.rollups.kept.ranges import RANGE_ROWS, Range, call, plainly, ranges

if TYPE_CHECKING:
    from tercet.migrations import Database
    from tercet.rollups.kept.rollup import Rollup
    from tercet.rollups.kept.statements import Statements

# A range of usual size takes a hundredth of this; one that takes longer has a table without an index, or no quiet.
RANGE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check has found: how many groups there are, how many are wrong, and in which ranges of the first key.

    After a repair `mended` says that those ranges were made right.
    """

    name: str
    groups: int
    wrong: int
    ranges: int
    drifted: tuple[Range, ...]
    mended: bool = False


async def check(
    database: Database, rollup: Rollup, *, rows: int = RANGE_ROWS, within: str | float = RANGE_SECONDS
) -> Checked:
    """Compare each group of `rollup` with the rows of its table, of one snapshot for each range of some `rows`.

    Only reads. `within` limits each range.
    """
    known = await known_statements(database, rollup)
    return await _walk(database, known, rows=rows, within=within, mend=False)


async def repair(
    database: Database, rollup: Rollup, *, rows: int = RANGE_ROWS, within: str | float = RANGE_SECONDS
) -> Checked:
    """Check `rollup`, and make the ranges right that are not; others are not touched.

    Writers of the groups in such a range wait while it is counted, unless they write to a log.
    Raises LockBusy when it is being merged or repaired by somebody else.
    """
    known = await known_statements(database, rollup)
    return await _walk(database, known, rows=rows, within=within, mend=True)


async def _walk(database: Database, known: Statements, *, rows: int, within: str | float, mend: bool) -> Checked:
    groups = wrong = seen = 0
    drifted = []
    async for one in ranges(database, known, rows=rows):
        async with database.transaction(within=within) as connection:
            await plainly(connection)
            ((there, off),) = await call(connection, known, "differ", one)
        groups, wrong, seen = groups + there, wrong + off, seen + 1
        if off:
            drifted.append(one)
            if mend:
                await _mend(database, known, one, within)
    return Checked(known.rollup.qualified, groups, wrong, seen, tuple(drifted), mended=mend and bool(drifted))


async def _mend(database: Database, known: Statements, one: Range, within: str | float) -> None:
    async with database.transaction(within=within) as connection:
        await alone_until_commit(connection, lock(known.rollup))
        await plainly(connection)
        await call(connection, known, "replace", one)
