"""Candidates built on the sample one by one, and every query of the collection run by the planner's own choice."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.advisor.mongo.choice.draft import DEARER, DEARER_MS, SLOWER, WORTH, Draft, Form, Tried
from tercet.advisor.mongo.parsing.access import accesses
from tercet.advisor.mongo.trial.mongo_desk import BUILD_ERRORS, RUN_ERRORS
from tercet.advisor.verify.paired import compare_pairs
from tercet.units import duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tercet.advisor.mongo.candidates.candidate import Candidate
    from tercet.advisor.mongo.choice.draft import Place
    from tercet.advisor.mongo.explained import Told
    from tercet.advisor.mongo.shape import Command, Query
    from tercet.advisor.mongo.trial.mongo_copy import Copied
    from tercet.advisor.mongo.trial.mongo_desk import Desk
    from tercet.advisor.port import Progress

# The heaviest and two others: plans differ by the class of a value, and examples are chosen to differ.
EXAMPLES_RUN = 3
# Pairs in which a suspicion is looked at again before a candidate is thrown out.
_PAIRS_OF_DOUBT = 3
_PREFIX = "trial_"


class Trying:
    """The sample with what is known of it; `thorough` measures twice what quick measures once."""

    def __init__(self, desk: Desk, copied: Mapping[str, Copied], *, thorough: bool) -> None:
        self.desk, self.copied, self.thorough = desk, copied, thorough
        self._runs = 2 if thorough else 1

    @property
    def ratios(self) -> dict[str, float]:
        """How many times larger production's collections are."""
        return {name: one.ratio for name, one in self.copied.items()}

    async def draft(self, query: Query) -> Draft:
        """Run it as it stands."""
        draft = Draft(query, [Form(spread(query.examples))])
        if query.unrunnable:
            draft.notes.append(query.unrunnable)
        elif query.collection not in self.copied:
            draft.notes.append(f"{query.collection} is not there, or no plain collection")
        else:
            await self.run_form(draft, 0)
        return draft

    async def again(self, draft: Draft) -> Draft:
        """The same query measured as things stand now."""
        fresh = Draft(draft.query, draft.forms, scale=draft.scale)
        if draft.runs:
            for form in sorted({one for one, _ in draft.before}):
                await self.run_form(fresh, form)
        return fresh

    async def run_form(self, draft: Draft, form: int) -> None:
        """Measure one form of a query as things stand."""
        for example, command in enumerate(draft.forms[form].commands):
            try:
                cost = await self.desk.cost(command, runs=self._runs + 1)
                # What takes too long is not waited for twice.
                told = await self.desk.explain(command, run=cost.whole)
            except RUN_ERRORS as error:
                if example == 0:
                    draft.notes.append(f"it cannot be run: {error}")
                continue
            draft.before[form, example], draft.told[form, example] = cost, told
        if form == 0 and draft.runs:
            draft.scale = self.scale(draft.query.command, draft.told[0, 0])

    def scale(self, command: Command, told: Told) -> float:
        """How many times longer it takes on all documents: not at all where it ends early, or as many as there are."""
        first = self.copied.get(command.collection)
        ratio = first.ratio if first is not None else 1.0
        if command.limit and told.returned >= command.limit and not told.sorted:
            ratio = 1.0
        if told.scanned_joins:
            ratio *= max((one.ratio for name, one in self.copied.items() if name != command.collection), default=1.0)
        return ratio

    async def all_of(
        self, candidates: Sequence[Candidate], drafts: Sequence[Draft], progress: Progress
    ) -> tuple[Tried, ...]:
        """Try each."""
        tried = []
        for at, candidate in enumerate(candidates):
            progress("building and trying indexes on the sample", at, len(candidates))
            tried.append(await self._one(candidate, drafts))
        return tuple(tried)

    async def _one(self, candidate: Candidate, drafts: Sequence[Draft]) -> Tried:
        index = replace(candidate.index, name=_PREFIX + candidate.index.called[:100])
        one = Tried(candidate)
        if index.collection not in self.copied:
            one.rejected = f"{index.collection} is not there, or no plain collection"
            return one
        try:
            await self.desk.build(index)
            one.size_bytes = await self.desk.size(index.collection, index.called)
        except BUILD_ERRORS as error:
            one.rejected = f"it cannot be built: {error.details and error.details.get('errmsg')}"
            return one
        try:
            for draft in drafts:
                if draft.runs and index.collection in draft.collections:
                    await self._with(one, index.called, draft)
            await self._judge(one, index.called, drafts)
        finally:
            with suppress(RUN_ERRORS):
                await self.desk.drop(index.collection, index.called)
        return one

    async def _with(self, one: Tried, name: str, draft: Draft) -> None:
        """What a query costs with it, if the planner takes it."""
        for place in draft.places():
            command = draft.forms[place[1]].commands[place[2]]
            # Which index a $lookup takes shows only when it runs; which one comes first, at once.
            first = one.candidate.index.collection not in joined(command)
            if first and name not in await self.desk.chosen(command):
                continue
            cost = await self.desk.cost(command, runs=self._runs)
            told = await self.desk.explain(command, run=cost.whole)
            if name in told.indexes:
                one.costs[place], one.told[place] = cost.ms, told

    async def _judge(self, one: Tried, name: str, drafts: Sequence[Draft]) -> None:
        """Throw it out if it makes a query dearer, or nothing cheaper."""
        by = {place: draft for draft in drafts if draft.runs for place in draft.places()}
        for place, ms in one.costs.items():
            before = by[place].before[place[1], place[2]].ms
            if place[1] == 0 and dearer([before], [ms]):
                told = await self._again(one, name, by[place], place)
                if told is not None:
                    one.rejected, one.harmful = told, True
                    return
        gains = [ms <= by[place].before[place[1], place[2]].ms * (1 - WORTH) for place, ms in one.costs.items()]
        if not any(gains):
            one.rejected = await self._useless(one, name, drafts)

    async def _again(self, one: Tried, name: str, draft: Draft, place: Place) -> str | None:
        """The figures if it is dearer indeed: both ways in turn, and the quickest of each."""
        command = draft.forms[0].commands[place[2]]
        collection = one.candidate.index.collection
        without, with_ = [], []
        for _ in range(_PAIRS_OF_DOUBT):
            await self.desk.show(collection, name, hidden=True)
            without.append((await self.desk.cost(command)).ms)
            await self.desk.show(collection, name, hidden=False)
            with_.append((await self.desk.cost(command)).ms)
        one.costs[place] = min(with_)
        if not dearer(without, with_):
            return None
        # Its examples differ by their values: a month may gain by what a year suffers from.
        which = f" (example {place[2] + 1})" if place[2] else ""
        return (
            f"makes {draft.query.label}{which} dearer: {times(min(without), min(with_))} ({one.told[place].sentence()})"
        )

    async def _useless(self, one: Tried, name: str, drafts: Sequence[Draft]) -> str:
        """Why nothing gets faster: the planner does not take it, or it does not help, also if it is told to."""
        if one.costs:
            place, ms = min(one.costs.items(), key=lambda pair: pair[1])
            draft = next(draft for draft in drafts if draft.fingerprint == place[0])
            before = draft.before[place[1], place[2]].ms
            return f"{draft.query.label}: {times(before, ms)} ({one.told[place].sentence()})"
        for draft in drafts:
            mine = draft.fingerprint in one.candidate.helps and draft.query.collection == one.candidate.index.collection
            if mine and draft.runs:
                try:
                    cost = await self.desk.cost(draft.forms[0].commands[0], hint=name)
                except RUN_ERRORS:
                    continue
                return f"the planner does not take it; told to: {times(draft.before[0, 0].ms, cost.ms)}"
        return "the planner does not take it"


def dearer(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether pairs say that it is: the quickest runs by more than noise, or nearly all of them by less."""
    if min(after) - min(before) <= DEARER_MS:
        return False
    return min(after) > min(before) * DEARER or compare_pairs(before, after).surely_slower(SLOWER)


def times(before: float, after: float) -> str:
    """Two times for people."""
    return f"{duration(before / 1e3)} → {duration(after / 1e3)} on the sample"


def joined(command: Command) -> frozenset[str]:
    """The collections that a command looks into from another one."""
    return frozenset(access.collection for access in accesses(command)[1:])


def spread(examples: tuple[Command, ...]) -> tuple[Command, ...]:
    """The first, the last and the middle one."""
    if len(examples) <= EXAMPLES_RUN:
        return examples
    return examples[0], examples[len(examples) // 2], examples[-1]
