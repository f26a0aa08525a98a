"""One statement under one set of changes: planned both ways, and run both ways where the plans differ."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tercet.advisor.advice import Rewrite
from tercet.advisor.allowance import TIME_UP
from tercet.advisor.verify.answer import Sameness
from tercet.advisor.verify.change import Drop
from tercet.advisor.verify.duel import Duel, duel
from tercet.advisor.verify.judge import judged, unproved, untouched
from tercet.advisor.verify.runs import Arm, Stopped
from tercet.advisor.verify.values import filled, parametric
from tercet.sql import Index
from tercet.sql.identifier import table_parts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tercet.advisor.allowance import Allowance
    from tercet.advisor.query import Query
    from tercet.advisor.verify.building import Built
    from tercet.advisor.verify.change import Bounds, Verified
    from tercet.advisor.verify.runs import Runs
    from tercet.sql import Plan

# What a copy may run and roll back.
_WRITING = frozenset({"insert", "update", "delete", "merge"})


@dataclass(frozen=True, slots=True)
class Examined:
    """A statement's verdict, and which changes its plans have to do with: by their places among all."""

    verified: Verified
    # New indexes that are in the plan after, and not in the one before.
    uses: frozenset[int] = frozenset()
    # Indexes that are to go and that the plan before uses.
    misses: frozenset[int] = frozenset()
    # Whether there was no time to look.
    cut: bool = False


@dataclass
class Examiner:
    """Examines statements on one place; what has been run once is not run again."""

    runs: Runs
    built: Sequence[Built]
    bounds: Bounds
    estimates: Mapping[str, tuple[float, float]]
    allowance: Allowance
    known: dict[object, Duel] = field(default_factory=dict)
    _verdicts: dict[object, Examined] = field(default_factory=dict)

    async def examine(self, query: Query, active: frozenset[int], base: frozenset[int] = frozenset()) -> Examined:
        """The statement with these changes against the statement with those of `base` (none: as it is).

        When the time is up it is ended in the middle, and nothing is known of it.
        """
        key = (query.fingerprint, frozenset(active), frozenset(base))
        if key not in self._verdicts:
            limit = self.allowance.limit()
            try:
                async with limit:
                    if not self.allowance.left:
                        return _cut(query)
                    self._verdicts[key] = await self._examined(query, active, base)
            except TimeoutError:
                if not limit.expired():
                    raise
                return _cut(query)
        return self._verdicts[key]

    async def _examined(self, query: Query, active: frozenset[int], base: frozenset[int]) -> Examined:
        why = self._not_runnable(query)
        texts = [] if why else self._texts(query, active, base)
        if not texts:
            return Examined(unproved(query, why or "no values are known for its parameters"))
        duels: list[Duel] = []
        uses: set[int] = set()
        misses: set[int] = set()
        for before, after in texts[: self.bounds.examples]:
            old, new = self._arm(query, before, base), self._arm(query, after, active)
            plans = [await self.runs.plan(arm, self.bounds.statement_seconds) for arm in (old, new)]
            one, other = plans
            if isinstance(one, Stopped) or isinstance(other, Stopped):
                duels.append(_refused(one, other))
                continue
            uses |= self._in(other, active - base, Index) - self._in(one, active - base, Index)
            uses |= self._ruling(one, other, active - base)
            misses |= self._in(one, active - base, Drop)
            if before != after or _shape(one) != _shape(other):
                duels.append(await self._duel(query, (old, new), (one, other)))
        verified = self._verdict(query, duels, texts, active)
        return Examined(verified, frozenset(uses), frozenset(misses))

    def _ruling(self, one: Plan, other: Plan, among: frozenset[int]) -> set[int]:
        """The unique indexes by whose rule a join to their table has fallen away: no plan shows them."""
        gone = {node.relation for node in one.walk()} - {node.relation for node in other.walk()}
        return {
            at for at in among
            if isinstance(index := self.built[at].change, Index)
            and index.unique and table_parts(index.table)[-1] in gone
        }  # fmt: skip

    def _verdict(
        self, query: Query, duels: Sequence[Duel], texts: Sequence[tuple[str, str]], active: frozenset[int]
    ) -> Verified:
        if not duels:
            return untouched(query)
        rewrite = self.rewrite(query, active)
        return judged(
            query,
            duels,
            self.bounds,
            method="sample" if self.runs.place.sampled else "run",
            estimate=self.estimates.get(query.fingerprint),
            sql_after=rewrite.after if rewrite is not None and texts[0][0] != texts[0][1] else None,
        )

    def rewrite(self, query: Query, active: frozenset[int]) -> Rewrite | None:
        """The rewrite of this statement among these changes; of several, the last."""
        found = [self.built[at].change for at in sorted(active)]
        mine = [one for one in found if isinstance(one, Rewrite) and one.fingerprint == query.fingerprint]
        return mine[-1] if mine else None

    def _not_runnable(self, query: Query) -> str:
        if query.reading:
            return ""
        if query.statement.kind not in _WRITING:
            return f"it is a {query.statement.kind}, which is no question"
        return "" if self.runs.place.kind == "sandbox" else "it writes, and only a copy of our own is written to"

    def _texts(self, query: Query, active: frozenset[int], base: frozenset[int]) -> list[tuple[str, str]]:
        """The texts before and after for each example that can be run, the heaviest first."""
        examples = sorted(query.examples, key=lambda one: -one.weight)
        found = []
        for example in examples:
            if parametric(example.sql):
                continue
            sides = (self._text(query, example.sql, base), self._text(query, example.sql, active))
            if sides[0] is not None and sides[1] is not None:
                found.append((sides[0], sides[1]))
        return found

    def _text(self, query: Query, example: str, active: frozenset[int]) -> str | None:
        rewrite = self.rewrite(query, active)
        return example if rewrite is None else filled(rewrite.after, rewrite.before, example)

    def _arm(self, query: Query, sql: str, active: frozenset[int]) -> Arm:
        hidden: set[int] = set()
        for at, one in enumerate(self.built):
            new, gone = isinstance(one.change, Index), isinstance(one.change, Drop)
            if (new and at not in active) or (gone and at in active):
                hidden |= one.oids
        return Arm(sql, frozenset(hidden), query.search_path, writes=not query.reading)

    def _in(self, plan: Plan, active: frozenset[int], kind: type) -> set[int]:
        names = set(plan.indexes)
        return {at for at in active if isinstance(self.built[at].change, kind) and self.built[at].names & names}

    async def _duel(self, query: Query, arms: tuple[Arm, Arm], plans: tuple[Plan, Plan]) -> Duel:
        """The same two plans of the same two texts are the same two ways, whatever else is there."""
        key = (query.search_path, arms[0].sql, arms[1].sql, _shape(plans[0]), _shape(plans[1]))
        if key not in self.known:
            fought = await duel(self.runs, *arms, self.bounds)
            if arms[0].sql == arms[1].sql and fought.answers is not None and fought.answers.same is False:
                fought = replace(fought, answers=_UNDETERMINED)
            self.known[key] = fought
        return self.known[key]


_UNDETERMINED = Sameness(None, "its rows differ between two runs of the same text: what it asks for is not determined")


def _cut(query: Query) -> Examined:
    return Examined(unproved(query, TIME_UP), cut=True)


def _refused(before: Plan | Stopped, after: Plan | Stopped) -> Duel:
    which, stopped = ("as it is", before) if isinstance(before, Stopped) else ("after the change", after)
    why = stopped.why if isinstance(stopped, Stopped) else ""
    return Duel(None, None, None, why=f"{which} it is refused: {why}")


def _shape(plan: Plan) -> tuple[object, ...]:
    """What a plan does, without what it costs: steps, tables, indexes and conditions in their order."""
    return tuple(
        (node.type, node.join, node.relation, node.alias, node.index, node.subplan, node.conditions, len(node.children))
        for node in plan.walk()
    )
