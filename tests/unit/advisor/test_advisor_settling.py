"""What was measured counts for more than what was reckoned: of plans like those that were run, and until it settles."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tercet.advisor.candidate import Candidate, index_name
from tercet.advisor.choice import Choice, Observation, Outlook, Picked, WriteCost, settle
from tercet.advisor.choice.observation import Lesson, correction
from tercet.advisor.port import Supposed
from tercet.sql import Index

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def choice(*columns: str) -> Choice:
    """A choice of one index for each of these columns, for one statement that is called twice and one called once."""
    picked = []
    for column in columns:
        index = Index("x", ("public", "t"), (column,))
        named = Candidate(replace(index, name=index_name(index)), "test", "asked", frozenset({"often", "once"}))
        picked.append(Picked(named, Supposed(named.name, 1), 1.0, (), WriteCost()))
    outlooks = tuple(Outlook(who, 10.0, 5.0, calls, 10.0, 5.0) for who, calls in (("often", 2.0), ("once", 1.0)))
    return Choice(tuple(picked), (), outlooks, 30.0, 15.0, tried=1, seconds=0.0)


class Lab:
    """Chooses one set after the other, and measures each as it is told: milliseconds by statement, of ten before."""

    def __init__(self, sets: Sequence[str], took: Mapping[str, Mapping[str, float]]) -> None:
        self.sets, self.took = list(sets), took
        self.heard: list[int] = []
        self.measured: list[str] = []

    async def choose(self, observed: Sequence[Observation]) -> Choice:
        self.heard.append(len(observed))
        return choice(*self.sets[min(len(self.heard), len(self.sets)) - 1])

    async def measure(self, chosen: Choice) -> Sequence[Observation]:
        names = frozenset(one.candidate.name for one in chosen.picked)
        columns = "".join(sorted(name[2] for name in names))
        self.measured.append(columns)
        return [Observation(who, names, ms, 10.0) for who, ms in self.took[columns].items()]


def test_a_choice_that_makes_nothing_slower_is_measured_once() -> None:
    """Where everything holds at the first run, nothing is chosen again."""
    lab = Lab(["a"], {"a": {"often": 2.0, "once": 10.9}})
    settled = asyncio.run(settle(lab.choose, lab.measure))
    assert (lab.heard, lab.measured) == ([0], ["a"])
    assert (settled.rounds, settled.slower) == (1, ())


def test_what_was_measured_is_heard_by_the_next_choice() -> None:
    """A statement that became slower leads to another choice, which knows all that was observed."""
    lab = Lab(["a", "b"], {"a": {"often": 2.0, "once": 20.0}, "b": {"often": 3.0, "once": 10.0}})
    settled = asyncio.run(settle(lab.choose, lab.measure))
    assert lab.heard == [0, 2]
    assert [one.candidate.name for one in settled.choice.picked] == ["t_b_idx"]
    assert (settled.rounds, settled.slower, len(settled.observed)) == (2, (), 4)


def test_without_an_end_the_best_that_was_measured_is_taken() -> None:
    """After three runs the one with the fewest losers is it, of those the fastest for all calls, not the last."""
    took = {
        "a": {"often": 20.0, "once": 20.0},
        "b": {"often": 2.0, "once": 20.0},
        "c": {"often": 8.0, "once": 12.0},
    }
    lab = Lab(["a", "b", "c", "d"], took)
    settled = asyncio.run(settle(lab.choose, lab.measure))
    assert lab.measured == ["a", "b", "c"]
    assert [one.candidate.name for one in settled.choice.picked] == ["t_b_idx"]
    assert settled.slower == ("once",)


def test_what_is_chosen_again_is_not_run_again() -> None:
    """The same set twice ends it, and so does one of nothing, which needs no run."""
    lab = Lab(["a", "a"], {"a": {"once": 20.0}})
    assert asyncio.run(settle(lab.choose, lab.measure)).slower == ("once",)
    assert lab.measured == ["a"]
    nothing = Lab(["a", ""], {"a": {"once": 20.0}})
    settled = asyncio.run(settle(nothing.choose, nothing.measure))
    assert (nothing.measured, settled.choice.picked, settled.slower) == (["a"], (), ())


@pytest.mark.parametrize(
    ("needs", "times"), [({"a", "b"}, 4.0), ({"a"}, 2.0), ({"a", "b", "c", "d"}, 2.0), ({"c"}, 1.0), (set(), 1.0)]
)
def test_plans_are_corrected_by_what_they_share_with_one_that_was_run(needs: set[str], times: float) -> None:
    """The same indexes take the whole lesson, half of them its root, others nothing."""
    assert correction([Lesson(frozenset("ab"), 4.0)], frozenset(needs)) == pytest.approx(times)


def test_a_run_that_says_nothing_teaches_nothing() -> None:
    """Zero on either side is no measurement, and one lucky run is not believed without bounds."""
    assert Lesson.of(frozenset("a"), 0.0, 5.0).times == 1.0
    assert Lesson.of(frozenset("a"), 5.0, 0.0).times == 1.0
    assert Lesson.of(frozenset("a"), 1e9, 1.0).times == 100.0
