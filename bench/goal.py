"""What has to be shown, as data: each goal says where its figure lies among the answers and when it is met."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tables import MET, Whole, cell, missed, table, unmeasured

Answers = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Goal:
    """A line of the table: what, how much is wanted, how it is found, how it is written."""

    what: str
    wanted: str
    value: Callable[[Answers], float | None]
    meets: Callable[[float], bool]
    unit: str = ""


def at(*path: str) -> Callable[[Answers], Any]:
    """The figure that lies there, or None where it was not measured."""

    def found(questions: Answers) -> Any:
        here: Any = questions
        for step in path:
            if not isinstance(here, Mapping) or "failed" in here:
                return None
            here = here.get(step)
        return here

    return found


def at_most(most: float) -> Callable[[float], bool]:
    """No more than that."""
    return lambda value: value <= most


def at_least(least: float) -> Callable[[float], bool]:
    """No less than that."""
    return lambda value: value >= least


def judged(goals: Sequence[Goal], questions: Answers) -> Iterator[tuple[Goal, float | None, bool | None]]:
    """Each goal with its figure, and whether it is met; None: not measured."""
    for goal in goals:
        value = goal.value(questions)
        yield goal, value, None if value is None else goal.meets(value)


def goals_table(goals: Sequence[Goal], questions: Answers) -> str:
    """The goals as a Markdown table, those that are missed among them."""
    rows = [[goal.what, goal.wanted, cell(value, goal.unit), MET[met]] for goal, value, met in judged(goals, questions)]
    return table(["what", "goal", "measured", "met"], rows)


def said(goals: Sequence[Goal], questions: Answers) -> str:
    """How many are met, in a sentence or two."""
    met = [one for _, _, one in judged(goals, questions)]
    if all(met):
        return "All of them are met."
    return f"{missed(met)} {unmeasured(met)}".strip()


def place(whole: Whole) -> str:
    """The machine and the day."""
    machine = whole["machine"]
    words = [machine["cpu"], f"{machine['cores']} cores", machine["system"], machine["python"], *machine["servers"]]
    return f"{' · '.join(words)}. {whole['at'][:10]}."
