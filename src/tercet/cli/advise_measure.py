"""The statements that a piece helps, before and after it: what was promised, and what has come of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tercet.advisor import Example, Query, Workload
from tercet.advisor.report.words import milliseconds
from tercet.advisor.verify.port import Live
from tercet.advisor.verify.runs import Arm, Run, Runs
from tercet.advisor.workload import with_values
from tercet.advisor.workload.literals import parameters
from tercet.errors import SqlInvalid
from tercet.sql import Plan, Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor import Advice, Catalog, Piece, StatementAdvice
    from tercet.sql.port import Database

# Planning takes milliseconds, and no statement is let run on production for longer than a person waits.
_PLAN_SECONDS = 10.0
_RUN_SECONDS = 30.0
# The best of these: the first one also reads what is not in memory.
_RUNS = 3
# More statements than these say no more about one index.
_STATEMENTS_MAX = 8


@dataclass(frozen=True, slots=True)
class Look:
    """A statement as it is planned now and, where that was allowed, as long as it took."""

    cost: float | None = None
    indexes: tuple[str, ...] = ()
    ms: float | None = None
    why: str = ""


class Helped:
    """The reading statements that a piece helps, each with a text that can be planned."""

    def __init__(self, database: Database, told: Sequence[StatementAdvice], *, rewritten: bool, run: bool) -> None:
        self._runs = Runs(Live(database))
        self._told = told
        self._texts: dict[str, str] = {}
        # Why a text cannot be read.
        self._unread: dict[str, str] = {}
        self._rewritten, self._run = rewritten, run
        self._before: dict[str, Look] = {}

    @classmethod
    async def of(cls, database: Database, catalog: Catalog, advice: Advice, piece: Piece, *, run: bool) -> Helped:
        """Those of the advice; `run` allows to run them, READ ONLY and within a limit."""
        told = [one for one in advice.statements if one.fingerprint in piece.helps]
        helped = cls(database, told[:_STATEMENTS_MAX], rewritten=piece.kind == "view", run=run)
        for one in helped._told:
            try:
                query = Query(Statement(one.sql), (Example(one.sql),))
            except SqlInvalid as error:
                helped._unread[one.fingerprint] = error.says
                continue
            if not query.reading:
                continue
            workload = await with_values(database, Workload((query,), "advice"), catalog)
            text = workload.queries[0].examples[0].sql
            if not parameters(text):
                helped._texts[one.fingerprint] = text
        return helped

    async def before(self) -> None:
        """Look at them as they are answered now."""
        self._before = {name: await self._look(text) for name, text in self._texts.items()}

    async def after(self) -> list[str]:
        """A line for each: planned and measured now, against before and against what was promised."""
        lines = []
        for one in self._told:
            if one.fingerprint in self._unread:
                lines.append(_line(one, Look(why=self._unread[one.fingerprint]), Look()))
            if one.fingerprint in self._before:
                # Rewritten text has no other values than it was advised with.
                text = (
                    one.sql_after if one.sql_after and not parameters(one.sql_after) else self._texts[one.fingerprint]
                )
                lines.append(_line(one, self._before[one.fingerprint], await self._look(text)))
        return lines

    async def _look(self, text: str) -> Look:
        planned = await self._runs.plan(Arm(text), _PLAN_SECONDS)
        if not isinstance(planned, Plan):
            return Look(why=planned.why)
        look = Look(planned.root.cost, planned.indexes)
        if not self._run:
            return look
        times = []
        for _ in range(_RUNS):
            ran = await self._runs.run(Arm(text), _RUN_SECONDS)
            if not isinstance(ran, Run):
                return replace(look, why=ran.why)
            times.append(ran.ms)
        return replace(look, ms=min(times))


def _line(one: StatementAdvice, before: Look, after: Look) -> str:
    parts = []
    if before.cost is not None and after.cost is not None:
        parts.append(f"cost {before.cost:,.0f} → {after.cost:,.0f}")
    used = [name for name in after.indexes if name not in before.indexes]
    if used:
        parts.append(f"now by {', '.join(dict.fromkeys(used))}")
    if one.ms_before is not None and one.ms_after is not None:
        parts.append(f"estimated {milliseconds(one.ms_before)} → {milliseconds(one.ms_after)}")
    if before.ms is not None and after.ms is not None:
        parts.append(f"measured {milliseconds(before.ms)} → {milliseconds(after.ms)}")
    why = before.why or after.why
    return f"{one.label or one.fingerprint}: {', '.join([*parts, *([why] if why else [])])}"
