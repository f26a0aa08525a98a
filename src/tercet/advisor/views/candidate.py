"""A view that might answer statements, before anybody has tried it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tercet.advisor.advice import Rejected, Rewrite
    from tercet.advisor.query import Example
    from tercet.sql import View


@dataclass(frozen=True, slots=True)
class Answer:
    """One statement over the view: `rewrite.after` asks the same question, and `examples` are the query's own."""

    rewrite: Rewrite
    examples: tuple[Example, ...]
    # Each of its groups is one row of the view, so that nothing is added up again.
    direct: bool = True

    @property
    def fingerprint(self) -> str:
        """Of the statement as it is asked now."""
        return self.rewrite.fingerprint


@dataclass(frozen=True, slots=True)
class ViewCandidate:
    """A view with the statements that it answers, the heaviest first.

    `rows` is what it would hold, `base_rows` what it is made from; `conditions` are what is to be known of it, and
    `rejected` the statements of the same tables that it cannot answer, and other views that were thought of.
    """

    view: View
    answers: tuple[Answer, ...]
    rows: float
    base_rows: float
    why: str
    conditions: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    # Only sums and counts, so that it can be kept up by adding and taking away.
    additive: bool = True

    @property
    def name(self) -> str:
        """What it is proposed as."""
        return self.view.name if isinstance(self.view.name, str) else self.view.name[-1]

    @property
    def helps(self) -> tuple[str, ...]:
        """The fingerprints that it answers."""
        return tuple(one.fingerprint for one in self.answers)


@dataclass(frozen=True, slots=True)
class Gain:
    """What the planner thinks of one statement: over the tables, and over the view."""

    fingerprint: str
    before: float
    after: float
