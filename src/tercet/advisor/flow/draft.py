"""What is known of each statement while advice is being made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tercet.advisor.advice import Rejected, Rewrite
    from tercet.advisor.choice.chosen import Outlook
    from tercet.advisor.port import EngineKind, Progress
    from tercet.advisor.query import Query
    from tercet.advisor.verify.change import Verified
    from tercet.sql import Index, Plan, View

Verification = Literal["on", "replica", "sample", "off"]

# A quarter of an hour: what a person lets go on beside other work. What is not run by then is told as it was planned.
RUNNING_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user has asked for."""

    budget_bytes: int | None = None
    thorough: bool = True
    # How long the search for indexes may take.
    seconds: float = 30.0
    engine: EngineKind | Literal["auto"] = "auto"
    verify: Verification = "off"
    # How old an answer may be that comes from a view.
    tolerated_age: float = 60.0
    progress: Progress = field(default=lambda _what, _done, _all: None)
    # What a run counts as: its time, unless this takes another figure from its plan.
    figure: Callable[[Plan], float] | None = None
    # How long all that is run may take together, copies of rows included.
    running_seconds: float = RUNNING_SECONDS

    @property
    def runs(self) -> bool:
        """Whether what is picked is built and run before it is told."""
        return self.verify == "sample"


@dataclass(slots=True, eq=False)
class Form:
    """One text of a question; `rewrite` is None for the statement as it is asked now."""

    query: Query
    rewrite: Rewrite | None = None
    # What it is reckoned to take without any change, and with the indexes that are best for it alone.
    before: float | None = None
    ms: float | None = None
    indexes: tuple[Index, ...] = ()
    # Whether it has answered as the statement itself does on rows that were generated to tell them apart.
    compared: bool = False

    def words(self) -> str:
        """What it is called in a sentence."""
        return f"rewritten by {', '.join(self.rewrite.rules)}" if self.rewrite is not None else "as it is"


@dataclass(slots=True, eq=False)
class Draft:
    """One statement on its way: what was found about it, what it becomes, and how that turned out."""

    query: Query
    # What is to be known of the question itself, in sentences.
    notes: list[str] = field(default_factory=list)
    # What else it may be asked by, as the rules have it.
    others: tuple[Rewrite, ...] = ()
    # The texts that may be the quickest; the first is the one that indexes are chosen for.
    forms: list[Form] = field(default_factory=list)
    # Whether running has told which of them is.
    ran: bool = False
    outlook: Outlook | None = None
    rejected: list[Rejected] = field(default_factory=list)
    # Why it cannot be planned; and why nothing is advised for it.
    refused: str = ""
    alone: str = ""
    # The rung above: a view and the statement over it.
    view: View | None = None
    over_view: Rewrite | None = None
    view_ms: float | None = None
    # By running.
    verified: Verified | None = None
    view_verified: Verified | None = None
    plan_before: Plan | None = None
    plan_after: Plan | None = None

    @property
    def fingerprint(self) -> str:
        """Of the statement as it is asked now."""
        return self.query.fingerprint

    @property
    def asked(self) -> Query:
        """What indexes are chosen for: the statement, or the rewrite that is taken."""
        return self.forms[0].query if self.forms else self.query

    @property
    def rewrite(self) -> Rewrite | None:
        """The rewrite that is taken, if one is."""
        return self.forms[0].rewrite if self.forms else None

    def label(self) -> str:
        """What it is called in a sentence."""
        return self.query.label or self.fingerprint
