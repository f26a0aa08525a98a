"""Two ways of asking one question, run against each other: answers first, then times in pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.verify.answer import Answer, Sameness, compare_answers, order_of
from tercet.advisor.verify.change import Measured
from tercet.advisor.verify.paired import PAIRS_FOR_A_TEST, Paired, compare_pairs
from tercet.advisor.verify.runs import Run, Stopped

if TYPE_CHECKING:
    from tercet.advisor.verify.change import Bounds
    from tercet.advisor.verify.runs import Arm, Runs
    from tercet.sql import Plan

# Below what the clock of EXPLAIN can tell; a ratio needs something above zero.
_MS_MIN = 0.001


@dataclass(frozen=True, slots=True)
class Duel:
    """What came of it. Without `paired` one side at least did not end, or was refused: `why` says which."""

    before: Measured | None
    after: Measured | None
    answers: Sameness | None
    paired: Paired | None = None
    why: str = ""

    @property
    def at_least(self) -> float | None:
        """The least number of times that it is faster where only the new way came to an end."""
        if self.before is None or self.after is None or self.before.ended or not self.after.ended:
            return None
        return self.before.best / max(self.after.median, _MS_MIN)

    @property
    def at_most(self) -> float | None:
        """The greatest that it can be where only the old way came to an end."""
        if self.before is None or self.after is None or self.after.ended or not self.before.ended:
            return None
        return self.before.median / max(self.after.best, _MS_MIN)


async def duel(runs: Runs, before: Arm, after: Arm, bounds: Bounds, *, answers: bool = True) -> Duel:
    """Run both. What takes long gets few runs, and what does not end is cut off and counts as its limit.

    Each is run once before, for its answer, which also warms what it reads. Then they take turns, and who begins
    takes turns too, so that a machine that gets slower or faster does not favour one of them. Where the first few
    pairs leave no doubt, no more are run.
    """
    first = await _warm(runs, after, bounds, answers=answers)
    second = await _warm(runs, before, bounds, answers=answers)
    refused = _refused("as it is", second) or _refused("after the change", first)
    if refused:
        return Duel(None, None, None, why=refused)
    same = None
    if isinstance(first, Answer) and isinstance(second, Answer):
        same = compare_answers(second, first, order_of(before.sql, second.names))
    if isinstance(first, Stopped) or isinstance(second, Stopped):
        return await _cut_off(
            runs, before, after, bounds, late=(isinstance(second, Stopped), isinstance(first, Stopped))
        )
    return await _pairs(runs, before, after, bounds, same)


def _refused(when: str, one: Answer | Run | Stopped) -> str:
    return f"{when} it is refused: {one.why}" if isinstance(one, Stopped) and not one.late else ""


async def _warm(runs: Runs, arm: Arm, bounds: Bounds, *, answers: bool) -> Answer | Run | Stopped:
    if answers and not arm.writes:
        return await runs.answer(arm, bounds.statement_seconds)
    return await runs.run(arm, bounds.statement_seconds)


async def _cut_off(runs: Runs, before: Arm, after: Arm, bounds: Bounds, *, late: tuple[bool, bool]) -> Duel:
    """At least one of them did not end: the other is measured by itself, against the limit."""
    sides: list[Measured | None] = []
    for arm, ended in ((before, not late[0]), (after, not late[1])):
        run = await runs.run(arm, bounds.statement_seconds) if ended else None
        if isinstance(run, Run):
            sides.append(_measured([run]))
        else:
            plan = await runs.plan(arm, bounds.statement_seconds)
            shown: Plan | None = None if isinstance(plan, Stopped) else plan
            sides.append(Measured((bounds.statement_seconds * 1000,), shown, ended=False))
    return Duel(sides[0], sides[1], None, why=f"cut off after {bounds.statement_seconds:g} s")


async def _pairs(runs: Runs, before: Arm, after: Arm, bounds: Bounds, same: Sameness | None) -> Duel:
    taken: tuple[list[Run], list[Run]] = ([], [])
    spent = 0.0
    while len(taken[0]) < bounds.pairs and (not taken[0] or spent * (1 + 1 / len(taken[0])) <= bounds.budget_seconds):
        if len(taken[0]) == PAIRS_FOR_A_TEST and _paired(taken).settled(min(bounds.gain, bounds.loss)):
            break
        turn = (0, 1) if len(taken[0]) % 2 == 0 else (1, 0)
        for side in turn:
            run = await runs.run((before, after)[side], bounds.statement_seconds)
            if isinstance(run, Stopped):
                return await _late(runs, before, after, bounds, side, run, same)
            taken[side].append(run)
            spent += run.ms / 1000
    return Duel(_measured(taken[0]), _measured(taken[1]), same, _paired(taken))


def _paired(taken: tuple[list[Run], list[Run]]) -> Paired:
    before, after = ([max(run.ms, _MS_MIN) for run in side] for side in taken)
    return compare_pairs(before, after)


async def _late(
    runs: Runs, before: Arm, after: Arm, bounds: Bounds, side: int, run: Stopped, same: Sameness | None
) -> Duel:
    """It ended when its answer was fetched, and not now: at the edge of its limit, or somebody was in the way."""
    if not run.late:
        return Duel(None, None, same, why=run.why)
    return await _cut_off(runs, before, after, bounds, late=(side == 0, side == 1))


def _measured(runs: list[Run]) -> Measured:
    pages = [run.pages for run in runs if run.pages is not None]
    cpu = [run.cpu_ms for run in runs if run.cpu_ms is not None]
    return Measured(
        tuple(run.ms for run in runs),
        runs[-1].plan,
        pages=min(pages) if pages else None,
        cpu_ms=tuple(cpu) if len(cpu) == len(runs) else (),
    )
