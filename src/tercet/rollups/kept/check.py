"""Whether a rollup is what its table says, range by range, and its mending where it is not; writers go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.rollups.kept.build import TURN_SECONDS, known_statements, turn
from tercet.rollups.kept.ranges import RANGE_ROWS, Range, call, plainly, ranges
from tercet.units import seconds

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
    return await _walk(database, known, rows=rows, within=within)


async def repair(
    database: Database,
    rollup: Rollup,
    *,
    rows: int = RANGE_ROWS,
    within: str | float = RANGE_SECONDS,
    wait: str | float = TURN_SECONDS,
) -> Checked:
    """Check `rollup`, and make the ranges right that are not; others are not touched.

    Writers of the groups in such a range wait while it is counted, unless they write to a log.
    Whoever merges it is waited for; raises LockBusy when that takes longer than `wait`.
    """
    known = await known_statements(database, rollup)
    return await _walk(database, known, rows=rows, within=within, wait=seconds(wait))


async def _walk(
    database: Database, known: Statements, *, rows: int, within: str | float, wait: float | None = None
) -> Checked:
    groups = wrong = seen = 0
    drifted = []
    async for one in ranges(database, known, rows=rows):
        async with database.transaction(within=within) as connection:
            await plainly(connection)
            ((there, off),) = await call(connection, known, "differ", one)
        groups, wrong, seen = groups + there, wrong + off, seen + 1
        if off:
            drifted.append(one)
            if wait is not None:
                await _mend(database, known, one, within=within, wait=wait)
    return Checked(
        known.rollup.qualified, groups, wrong, seen, tuple(drifted), mended=wait is not None and bool(drifted)
    )


async def _mend(database: Database, known: Statements, one: Range, *, within: str | float, wait: float) -> None:
    async with database.transaction(within=within) as connection:
        await turn(connection, known.rollup, wait=wait)
        await plainly(connection)
        await call(connection, known, "replace", one)
