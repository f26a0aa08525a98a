"""What was measured counts for more than what was reckoned: of plans like those that were run, and until it settles."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import pytest

from tercet.advisor.advice import Proof
from tercet.advisor.candidate import Candidate, index_name
from tercet.advisor.choice import Choice, Outlook, Picked, WriteCost
from tercet.advisor.choice.observation import Lesson, correction
from tercet.advisor.flow.settling import Way, observed, picked, settle
from tercet.advisor.port import Supposed
from tercet.advisor.verify.change import Held, Measured, Trial, Verdicts, Verified
from tercet.sql import Index

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tercet.advisor.verify.change import Outcome


def index(column: str) -> Index:
    """One of this column."""
    one = Index("x", ("public", "t"), (column,))
    return replace(one, name=index_name(one))


def choice(columns: str) -> Choice:
    """A choice of one index for each of these columns, for one statement that is called twice and one called once."""
    made = []
    for column in columns:
        named = Candidate(index(column), "test", "asked", frozenset({"often", "once"}))
        made.append(Picked(named, Supposed(named.name, 1), 1.0, (), WriteCost()))
    outlooks = tuple(Outlook(who, 10.0, 5.0, calls, 10.0, 5.0) for who, calls in (("often", 2.0), ("once", 1.0)))
    return Choice(tuple(made), (), outlooks, 30.0, 15.0, tried=1, seconds=0.0)


def ran(who: str, ms: float, outcome: Outcome = "faster") -> Verified:
    """A statement that took ten milliseconds before."""
    proof = Proof("run")
    return Verified(who, who, outcome, proof, "", Measured((10.0,), None), Measured((ms,), None))


def way(columns: str, took: Mapping[str, float], gone: str = "") -> Way:
    """These indexes as they were run, of which some were withdrawn."""
    changes = tuple(index(column) for column in columns)
    statements = tuple(ran(who, ms) for who, ms in took.items())
    state: dict[bool, Literal["kept", "withdrawn"]] = {True: "withdrawn", False: "kept"}
    held = tuple(Held(one, state[column in gone], "slow") for one, column in zip(changes, columns, strict=True))
    trials = tuple(Trial(changes, one) for one in statements)
    return Way(choice(columns), picked(choice(columns)), Verdicts("sandbox", statements, held, "run", trials=trials))


class Lab:
    """Chooses one set after the other, and has run each before anybody asks."""

    def __init__(self, *ways: tuple[str, Mapping[str, float], str]) -> None:
        self.sets = [columns for columns, _, _ in ways]
        self.took = {columns: way(columns, took, gone) for columns, took, gone in ways}
        self.heard: list[int] = []
        self.ways: list[Way] = []

    async def again(self, ways: Sequence[Way]) -> Choice:
        """The next, or the last once more."""
        self.heard.append(len(ways))
        return choice(self.sets[min(len(self.heard), len(self.sets) - 1)])

    async def run(self, chosen: Choice) -> Way:
        """As it was told."""
        return self.took["".join(sorted(one.candidate.name[2] for one in chosen.picked))]

    def settle(self) -> list[str]:
        """What was run, in its order."""
        asyncio.run(settle(choice(self.sets[0]), self.run, self.again, self.ways))
        return ["".join(sorted(name[2] for name in one.names)) for one in self.ways]


def test_a_choice_that_holds_is_run_once() -> None:
    """Where everything holds at the first run, nothing is chosen again."""
    lab = Lab(("a", {"often": 2.0}, ""))
    assert (lab.settle(), lab.heard) == (["a"], [])


def test_a_choice_that_does_not_hold_leads_to_others_which_hear_of_it() -> None:
    """As long as something is withdrawn, but twice at most, whatever comes of it."""
    lab = Lab(("a", {"once": 20.0}, "a"), ("b", {"once": 5.0}, ""), ("c", {}, ""))
    assert (lab.settle(), lab.heard) == (["a", "b"], [1])
    lab = Lab(*((one, {"once": 20.0}, one) for one in "abcd"))
    assert (lab.settle(), lab.heard) == (["a", "b", "c"], [1, 2])


def test_what_is_chosen_again_is_not_run_again() -> None:
    """The same set a second time ends it."""
    lab = Lab(("ab", {"once": 20.0}, "b"))
    assert (lab.settle(), lab.heard) == (["ab"], [1])


def test_what_promised_next_to_nothing_is_not_looked_for_again() -> None:
    """One of the two milliseconds that fifteen were to be saved by is much, a hundredth of one is not."""
    much = way("ab", {}, gone="b")
    first, second = much.choice.picked
    little = replace(much, choice=replace(much.choice, picked=(first, replace(second, benefit_ms=0.01))))
    assert (much.broken, little.broken, way("ab", {}).broken) == (True, False, False)


def test_the_way_that_saves_most_counts_calls() -> None:
    """What is called twice saves twice."""
    ways = [way("a", {"often": 5.0, "once": 10.0}), way("b", {"often": 9.0, "once": 2.0})]
    assert [one.saved for one in ways] == [10.0, 10.0]
    assert way("c", {}).saved == 0.0


def test_runs_become_observations_of_plans() -> None:
    """With the indexes that were there; what is not to be told apart took as long, and other texts say nothing."""
    same = replace(way("ab", {}).verdicts or Verdicts("sandbox", (), (), "run"), trials=(
        Trial((index("a"),), ran("often", 10.9, "same")), Trial((index("a"), index("b")), ran("often", 20.0, "slower")),
        Trial((index("a"),), ran("new text", 1.0)),
    ))  # fmt: skip
    found = observed([replace(way("a", {}), verdicts=same)], {"new text"})
    assert [(one.fingerprint, sorted(one.indexes), one.ms, one.ms_before) for one in found] == [
        ("often", ["t_a_idx"], 10.0, 10.0),
        ("often", ["t_a_idx", "t_b_idx"], 20.0, 10.0),
    ]
    assert observed([replace(way("a", {}), verdicts=None)], ()) == ()


@pytest.mark.parametrize(
    ("needs", "times"), [({"a", "b"}, 4.0), ({"a"}, 2.0), ({"a", "b", "c", "d"}, 2.0), ({"c"}, 1.0), (set(), 1.0)]
)
def test_plans_are_corrected_by_what_they_share_with_one_that_was_run(needs: set[str], times: float) -> None:
    """The same indexes take the lesson whole, half of them its root, others nothing."""
    assert correction([Lesson(frozenset("ab"), 4.0)], frozenset(needs)) == pytest.approx(times)


def test_a_run_that_says_nothing_teaches_nothing() -> None:
    """Zero on either side is no measurement, and one lucky run is not believed without bounds."""
    assert Lesson.of(frozenset("a"), 0.0, 5.0).times == 1.0
    assert Lesson.of(frozenset("a"), 5.0, 0.0).times == 1.0
    assert Lesson.of(frozenset("a"), 1e9, 1.0).times == 100.0
