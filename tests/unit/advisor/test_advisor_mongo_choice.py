"""Which of MongoDB's indexes are chosen together: no query pays for another one's gain, no example for another's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from tercet.advisor.mongo import MongoIndex, from_specs
from tercet.advisor.mongo.candidates import Candidate
from tercet.advisor.mongo.choice import Draft, Form, Tried, Trying, choose, prove
from tercet.advisor.mongo.choice.trying import dearer
from tercet.advisor.mongo.explained import Told
from tercet.advisor.mongo.shape import Command
from tercet.advisor.mongo.trial import Copied, Cost, Desk

COPIED = {"things": Copied("things", 1_000, 1_000, 0, 0.0)}
# Milliseconds of the command that asks for this field and value, and which index it goes by, with these to be seen.
Costs = Callable[[str, int, frozenset[str]], tuple[float, str]]


class FakeDesk:
    """A server on which the planner does, and everything costs, what a test says."""

    def __init__(self, costs: Costs) -> None:
        self._costs = costs
        self._seen: dict[str, bool] = {}

    def _of(self, command: Command) -> tuple[float, str]:
        ((field, value),) = command.filter.items()
        return self._costs(field, value, frozenset(name for name, seen in self._seen.items() if seen))

    async def cost(self, command: Command, *, hint: Any = None, runs: int = 1) -> Cost:
        """As it was said."""
        ms = self._of(command)[0]
        return Cost(ms, ms, 1)

    async def explain(self, command: Command, *, run: bool = True) -> Told:
        """By which index, under its name of the moment."""
        used = self._of(command)[1]
        return Told("", indexes=frozenset(name for name in self._seen if used and name.endswith(used)))

    async def chosen(self, command: Command) -> frozenset[str]:
        """The same."""
        return (await self.explain(command)).indexes

    async def answer(self, command: Command) -> tuple[str, int]:
        """Always one row."""
        return "", 1

    async def build(self, index: MongoIndex) -> None:
        """It can be seen from now on."""
        self._seen[index.called] = True

    async def drop(self, collection: str, name: str) -> None:
        """It is gone."""
        self._seen.pop(name, None)

    async def show(self, collection: str, name: str, *, hidden: bool) -> None:
        """Or hidden."""
        self._seen[name] = not hidden

    async def size(self, collection: str, name: str) -> int:
        """All are of one size."""
        return 1

    async def write_ms(self, collection: str, count: int) -> float:
        """Writes cost nothing here."""
        return 1.0


def _drafts(*examples: tuple[str, Sequence[float]]) -> list[Draft]:
    """Queries by field, with what each of their examples (value 0, 1 …) costs without an index."""
    specs = [{"find": "things", "filter": {field: at}} for field, ms in examples for at in range(len(ms))]
    queries = {next(iter(query.command.filter)): query for query in from_specs(specs).queries}
    drafts = []
    for field, ms in examples:
        draft = Draft(queries[field], [Form(queries[field].examples)])
        for at, one in enumerate(ms):
            draft.before[0, at], draft.told[0, at] = Cost(one, one, 1), Told("")
        drafts.append(draft)
    return drafts


def _tried(name: str, drafts: Sequence[Draft], *, size: int = 1, **costs: Sequence[float]) -> Tried:
    """An index with what the examples of each field cost with it."""
    fields = {next(iter(draft.query.command.filter)): draft.fingerprint for draft in drafts}
    index = MongoIndex("things", ((name, 1),), {}, name)
    one = Tried(Candidate(index, "", tuple(fields[field] for field in costs)), size)
    one.costs = {(fields[field], 0, at): ms for field, every in costs.items() for at, ms in enumerate(every)}
    return one


def _names(picked: Sequence[Tried]) -> list[str]:
    return [one.candidate.index.called for one in picked]


async def _proved(costs: Costs, drafts: Sequence[Draft], tried: Sequence[Tried]) -> list[str]:
    trying = Trying(cast("Desk", FakeDesk(costs)), COPIED, thorough=True)
    return _names((await prove(trying, drafts, tried, None, lambda *_: None)).picked)


def test_a_smaller_index_is_not_taken_where_one_query_waits_longer_for_it() -> None:
    """In the sum it is as good; the light query would take half as long again as it could."""
    drafts = _drafts(("heavy", [1_000.0]), ("light", [10.0]))
    small = _tried("small", drafts, size=1, heavy=[100.0], light=[6.0])
    large = _tried("large", drafts, size=9, heavy=[98.0], light=[4.0])
    assert _names(choose(drafts, [small, large], {}, None)) == ["large"]
    alike = _tried("alike", drafts, size=1, heavy=[100.0], light=[4.2])
    assert _names(choose(drafts, [alike, large], {}, None)) == ["alike"]


@pytest.mark.parametrize(
    ("before", "after", "is_dearer"),
    [
        ([100.0], [120.0], True),
        ([100.0], [110.0], False),
        # A tenth in every pair is no chance; one pair the other way round, and it may be.
        ([100.0, 101.0, 102.0, 103.0, 104.0], [109.0, 110.0, 111.0, 112.0, 113.0], True),
        ([100.0, 101.0, 102.0, 103.0, 115.0], [109.0, 110.0, 111.0, 112.0, 104.0], False),
        ([100.0] * 5, [103.0] * 5, False),
        ([0.2] * 5, [0.4] * 5, False),
    ],
)
def test_what_is_dearer_is_told_from_noise(before: list[float], after: list[float], *, is_dearer: bool) -> None:
    """By much, or by little in all pairs."""
    assert dearer(before, after) is is_dearer


async def test_what_one_example_gains_does_not_pay_for_another() -> None:
    """A month is ten times faster, a year a third slower: in the mean that looks like a gain."""
    drafts = _drafts(("at", [100.0, 100.0]))
    index = _tried("at_1", drafts, at=[10.0, 130.0])

    def costs(_: str, value: int, seen: frozenset[str]) -> tuple[float, str]:
        return ((10.0, 130.0)[value], "at_1") if "at_1" in seen else (100.0, "")

    assert await _proved(costs, drafts, [index]) == []
    assert "100 ms → 130 ms" in index.rejected


async def test_company_that_makes_a_query_fall_behind_is_not_kept() -> None:
    """The second helps another query; once it is there to stay, the planner takes it where the first one is better."""
    drafts = _drafts(("one", [100.0]), ("two", [100.0]))
    first, second = _tried("first", drafts, one=[10.0]), _tried("second", drafts, two=[50.0])
    second.rejected, second.harmful = "makes one dearer", True

    def costs(field: str, _: int, seen: frozenset[str]) -> tuple[float, str]:
        if field == "two":
            helps = seen & {"second", "trial_second"}
            return (50.0, "second") if helps else (100.0, "")
        if {"first", "second"} <= seen:
            return 40.0, "second"
        return (10.0, "first") if "first" in seen else (100.0, "")

    assert await _proved(costs, drafts, [first, second]) == ["first"]


async def test_another_look_is_taken_at_an_index_that_alone_does_better() -> None:
    """The planner goes by another one than in the first trial: what served a query better is tried beside it."""
    drafts = _drafts(("one", [100.0]), ("two", [100.0]))
    broad, narrow = _tried("broad", drafts, one=[30.0], two=[30.0]), _tried("narrow", drafts, one=[29.0])

    def costs(field: str, _: int, seen: frozenset[str]) -> tuple[float, str]:
        if field == "one" and seen & {"narrow", "trial_narrow"}:
            return 29.0, "narrow"
        return ((45.0 if field == "one" else 30.0), "broad") if "broad" in seen else (100.0, "")

    assert await _proved(costs, drafts, [broad, narrow]) == ["broad", "narrow"]
