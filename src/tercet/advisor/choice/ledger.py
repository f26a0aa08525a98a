"""What each statement takes under each set of indexes: asked once, remembered, and worked out where that is enough."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from tercet.advisor.choice.observation import Lesson, correction
from tercet.advisor.port import Refused
from tercet.sql import Expression
from tercet.sql.identifier import table_parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tercet.advisor.candidate import Candidate
    from tercet.advisor.choice.observation import Observation
    from tercet.advisor.choice.timing.reckoner import Reckoner
    from tercet.advisor.port import Supposed, WhatIf
    from tercet.advisor.query import Example, Query
    from tercet.sql import Plan

Names = frozenset[str]

# How far the time that was measured may be from the one that was reckoned, compared with the other statements: what
# waits for locks or disks is not a hundred times dearer to plan.
_CALIBRATION_MOST = 20.0
# What a plan would take with ten times the rows that were planned counts so much: enough to decide between plans of
# about equal worth, too little to shy from every nested loop.
OFF, _OFF_SHARE = 10.0, 0.02

_COST = attrgetter("cost")
_WORD = re.compile(r"[\w$]+")


@dataclass(frozen=True, slots=True)
class Found:
    """One statement under one set of indexes, in calibrated milliseconds of one call."""

    ms: float
    cost: float
    used: Names


# A statement that cannot be planned takes nothing, whatever there is.
_NOTHING = Found(0.0, 0.0, frozenset())


@dataclass(frozen=True, slots=True)
class Asked:
    """One example under one set of indexes, in milliseconds that are not yet calibrated."""

    using: Names
    hiding: Names
    ms: float
    # The same with ten times the rows in its loops.
    ms_off: float
    cost: float
    used: Names
    # Those of them that are supposed.
    needs: Names

    @property
    def weighed(self) -> float:
        """Milliseconds, the doubt in them included."""
        return (1 - _OFF_SHARE) * self.ms + _OFF_SHARE * self.ms_off


class Ledger:
    """The statements of one workload, and an engine that plans them.

    A plan that uses only some of the indexes that are there stays the best one while the others go: the planner
    found nothing better among more. So most questions are answered by what was asked before.
    """

    def __init__(self, queries: Sequence[Query], engine: WhatIf, reckoner: Reckoner, *, examples: int) -> None:
        self.queries: tuple[Query, ...] = tuple(queries)
        self.engine = engine
        self.reckoner = reckoner
        self.tried = 0
        self.refused: dict[int, str] = {}
        self.sizes: dict[str, Supposed] = {}
        self.candidates: dict[str, Candidate] = {}
        self._relevant: list[set[str]] = [set() for _ in self.queries]
        self._words = [frozenset(word.lower() for word in _WORD.findall(query.sql)) for query in self.queries]
        # Those that some plan uses.
        self.liked: set[str] = set()
        self._asked: dict[tuple[int, int], list[Asked]] = {}
        # The statements that may use each candidate.
        self._concerned: dict[str, list[int]] = {}
        # What was guessed since nobody is asked; None while the engine is.
        self.guessed: dict[tuple[int, Names], Found] | None = None
        self._searched = examples
        self._examples = [_by_weight(query.examples) for query in self.queries]
        self._factors: list[float] = [1.0] * len(self.queries)
        self._lessons: list[list[Lesson]] = [[] for _ in self.queries]
        self.before: list[Found] = []

    async def begin(self) -> None:
        """Plan every statement as it is, and learn from the measured ones how fast the server is."""
        raw = [await self.found(at, frozenset()) for at in range(len(self.queries))]
        ratios = sorted(
            query.ms / found.ms
            for query, found in zip(self.queries, raw, strict=True)
            if query.ms and found is not None and found.ms > 0
        )
        server = ratios[len(ratios) // 2] if ratios else 1.0
        for at, (query, found) in enumerate(zip(self.queries, raw, strict=True)):
            own = query.ms / found.ms if query.ms and found is not None and found.ms > 0 else server
            self._factors[at] = min(max(own, server / _CALIBRATION_MOST), server * _CALIBRATION_MOST)
        self.before = [await self.need(at, frozenset()) for at in range(len(self.queries))]

    async def suppose(self, candidates: Iterable[Candidate]) -> dict[str, str]:
        """Make candidates known to the engine; those that it cannot take, with its reasons."""
        new = [one for one in candidates if one.name not in self.candidates]
        answers: Mapping[str, Supposed | Refused] = await self.engine.suppose([one.index for one in new]) if new else {}
        refused: dict[str, str] = {}
        for one in new:
            answer = answers.get(one.name)
            if answer is None or isinstance(answer, Refused):
                refused[one.name] = answer.why if answer is not None else "The engine does not tell of it."
                continue
            self.candidates[one.name] = one
            self.sizes[one.name] = answer
            self.reckoner.ground.learn(one.index, answer)
            self._concerned[one.name] = [
                at for at, query in enumerate(self.queries) if self._matters(one, query, self._words[at])
            ]
            for at in self._concerned[one.name]:
                self._relevant[at].add(one.name)
        return refused

    async def observe(self, observations: Sequence[Observation]) -> None:
        """Learn from runs: what is reckoned of plans with the same indexes is corrected by them, the latest last.

        One with indexes that are not known here says nothing.
        """
        numbers = {query.fingerprint: at for at, query in enumerate(self.queries)}
        for one in observations:
            at = numbers.get(one.fingerprint)
            if at is None or not one.indexes <= self.candidates.keys():
                continue
            before, found = self.before[at], await self.need(at, one.indexes)
            needs = found.used & self._relevant[at]
            if needs:
                reckoned = found.ms / correction(self._lessons[at], needs)
                self._lessons[at] = [lesson for lesson in self._lessons[at] if lesson.needs != needs]
                self._lessons[at].append(Lesson.of(needs, before.ms * one.ratio, reckoned))

    def sure(self, at: int, found: Found) -> bool:
        """Whether a statement was run with a plan like this."""
        needs = found.used & self._relevant[at]
        return any(lesson.needs == needs for lesson in self._lessons[at])

    def relevant(self, at: int) -> Names:
        """The candidates that the plan of this statement may use."""
        return frozenset(self._relevant[at])

    def faster(self, at: int) -> list[Names]:
        """The sets of candidates that are known to make a statement faster than it was, the best first."""
        known = [one for one in self._asked.get((at, 0), ()) if not one.hiding]
        best: dict[Names, float] = {}
        for one in known:
            best[one.needs] = min(one.ms, best.get(one.needs, one.ms))
        before = best.get(frozenset(), 0.0)
        return sorted((needs for needs, ms in best.items() if ms < before), key=lambda one: (best[one], sorted(one)))

    def liked_by(self, at: int) -> Names:
        """The candidates that some plan of this statement uses."""
        return frozenset().union(*(one.needs for one in self._asked.get((at, 0), ())))

    def meant_for(self, at: int) -> Names:
        """The candidates that were thought of for this statement."""
        who = self.queries[at].fingerprint
        return frozenset(name for name in self._relevant[at] if who in self.candidates[name].queries)

    def concerned(self, name: str) -> list[int]:
        """The statements that may use this candidate."""
        return self._concerned[name]

    def size(self, names: Iterable[str]) -> int:
        """What these take together on the disk."""
        return sum(self.sizes[name].size_bytes for name in names)

    async def need(self, at: int, using: Names, hiding: Names = frozenset()) -> Found:
        """As `found`; a statement that cannot be planned takes nothing, whatever there is."""
        return await self.found(at, using, hiding) or _NOTHING

    async def found(self, at: int, using: Names, hiding: Names = frozenset()) -> Found | None:
        """What a statement takes, on average of its examples; None if the engine cannot plan it."""
        if at in self.refused:
            return None
        if self.guessed is not None and not hiding:
            return self.guess(at, using)
        using = using & self._relevant[at]
        planned = await self._planned(at, using, hiding)
        return None if planned is None else self._weighed(at, using, planned)

    def guess(self, at: int, using: Names) -> Found:
        """What a statement takes by the plans that are known."""
        if at in self.refused or self.guessed is None:
            return _NOTHING
        using = using & self._relevant[at]
        found = self.guessed.get((at, using))
        if found is None:
            found = self.guessed[at, using] = self._weighed(at, using, self._known(at, using))
        return found

    async def _planned(self, at: int, using: Names, hiding: Names) -> list[Asked] | None:
        """What the examples that the search looks at take; None if the engine cannot plan one."""
        found = []
        for number, example in enumerate(self._examples[at][: self._searched]):
            asked = await self._ask(at, number, example, using, hiding)
            if asked is None:
                return None
            found.append(asked)
        return found

    def _known(self, at: int, using: Names) -> list[Asked]:
        """The same by the plans that are known: one that was asked for, else the cheapest that could be had."""
        found = []
        for number, _ in enumerate(self._examples[at][: self._searched]):
            known = [one for one in self._asked[at, number] if one.needs <= using and not one.hiding]
            asked = next((one for one in reversed(known) if using <= one.using), None)
            found.append(asked or min(known, key=_COST))
        return found

    def _weighed(self, at: int, using: Names, found: Sequence[Asked]) -> Found:
        ms = cost = share = 0.0
        used: Names = frozenset()
        for example, asked in zip(self._examples[at], found, strict=False):
            ms, cost = ms + asked.weighed * example.weight, cost + asked.cost * example.weight
            share, used = share + example.weight, used | asked.used
        factor = self._factors[at] * correction(self._lessons[at], used & using)
        return Found(ms / share * factor, cost / share, used)

    async def used(self, at: int, using: Names) -> Names:
        """What the engine would use for a statement as it plans at this moment; nothing of it is remembered."""
        self.tried += 1
        query = self.queries[at]
        plan = await self.engine.plan(query.sql, using=using & self._relevant[at], search_path=query.search_path)
        return frozenset() if isinstance(plan, Refused) else frozenset(plan.indexes)

    async def each(self, at: int, using: Names) -> list[tuple[Example, Asked]]:
        """What every example of a statement takes, not only those that the search looks at."""
        found = [
            (one, await self._ask(at, number, one, using & self._relevant[at], frozenset()))
            for number, one in enumerate(self._examples[at])
        ]
        return [(example, asked) for example, asked in found if asked is not None]

    @property
    def asking(self) -> bool:
        """Whether what is not known is asked for."""
        return self.guessed is None

    @contextmanager
    def guessing(self) -> Iterator[None]:
        """Within, nobody is asked: of the plans that are known and could be had, the planner's favourite is taken.

        It would find that one or a cheaper one, so a guess is a plan that there is, and no surprise a missing one.
        """
        self.guessed = {}
        try:
            yield
        finally:
            self.guessed = None

    async def _ask(self, at: int, number: int, example: Example, using: Names, hiding: Names) -> Asked | None:
        known = self._asked.setdefault((at, number), [])
        for one in reversed(known):
            if one.hiding <= hiding and one.needs <= using <= one.using and not one.used & hiding:
                return one
        self.tried += 1
        path = self.queries[at].search_path
        plan = await self.engine.plan(example.sql, using=using, hiding=hiding, search_path=path)
        if isinstance(plan, Refused):
            # An engine may be unable to hide what is there, and plan the statement all the same.
            if not hiding:
                self.refused[at] = plan.why
            return None
        reckoner = self.reckoner.under(path)
        ms = reckoner.ms(plan)
        # Only loops are looked at with more rows.
        ms_off = reckoner.ms(plan, off=OFF) if plan.nodes("Nested Loop") else ms
        used = frozenset(plan.indexes) | self._ruling(plan, using)
        asked = Asked(using, hiding, ms, ms_off, plan.root.cost, used, used & using)
        known.append(asked)
        self.liked |= asked.needs
        return asked

    def _ruling(self, plan: Plan, using: Names) -> Names:
        """The unique ones whose table is not read: a join to at most one row, of which nothing is asked, falls away."""
        read = {node.relation for node in plan.walk()}
        return frozenset(
            name for name in using
            if (index := self.candidates[name].index).unique and table_parts(index.table)[-1] not in read
        )  # fmt: skip

    @staticmethod
    def _matters(candidate: Candidate, query: Query, words: Names) -> bool:
        """Whether a statement may use a candidate: it names its table, and the column that the index begins with."""
        if query.fingerprint in candidate.queries:
            return True
        if table_parts(candidate.index.table)[-1].lower() not in words:
            return False
        first = candidate.index.keys[0].of
        return isinstance(first, Expression) or first.lower() in words


def _by_weight(examples: Sequence[Example]) -> tuple[Example, ...]:
    """The examples, those that weigh most first."""
    return tuple(sorted(examples, key=lambda one: -one.weight))
