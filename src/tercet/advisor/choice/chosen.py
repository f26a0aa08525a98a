"""Which indexes to take, which to let go, and what that is worth: values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tercet.advisor.advice import Rejected
    from tercet.advisor.candidate import Candidate
    from tercet.advisor.catalog import Standing
    from tercet.advisor.port import Supposed


@dataclass(frozen=True, slots=True)
class WriteCost:
    """What an index takes from those who write to its table.

    `percent` is how much dearer the work of a written row becomes, `ms_a_second` the time it takes as the table was
    written to so far; None where nobody knows how long its counters have run.
    """

    percent: float = 0.0
    ms_a_second: float | None = None
    # Statements that set one of its columns: their updates cannot stay on the page any more (HOT).
    hot_lost: tuple[str, ...] = ()
    # What is not known about it.
    note: str = ""


@dataclass(frozen=True, slots=True)
class Outlook:
    """One statement before and after, by estimate, in milliseconds of one call."""

    fingerprint: str
    ms_before: float
    ms_after: float
    calls: float
    # As the planner has it.
    cost_before: float
    cost_after: float
    # Supposed and real indexes in the plan after.
    used: frozenset[str] = frozenset()

    @property
    def saved_ms(self) -> float:
        """What all calls together save; below zero if they lose."""
        return (self.ms_before - self.ms_after) * self.calls


@dataclass(frozen=True, slots=True)
class Picked:
    """An index to make. `benefit_ms` is what all calls would lose without it, the other picked ones staying."""

    candidate: Candidate
    supposed: Supposed
    benefit_ms: float
    # For each fingerprint that it makes faster: milliseconds of one call.
    by_query: tuple[tuple[str, float], ...]
    write_cost: WriteCost
    rejected: tuple[Rejected, ...] = ()
    # Why its gain is not to be relied on; empty if nothing speaks against it.
    fragile: tuple[str, ...] = ()

    @property
    def helps(self) -> tuple[str, ...]:
        """The fingerprints of the statements that it makes faster, those that it helps most first."""
        return tuple(fingerprint for fingerprint, _ in self.by_query)


@dataclass(frozen=True, slots=True)
class Dropped:
    """An index that is there and not needed: without it, every statement was planned again and none is slower."""

    standing: Standing
    why: str
    # The picked index that does its work, if one does.
    by: str | None = None
    write_cost: WriteCost = WriteCost()


@dataclass(frozen=True, slots=True)
class Choice:
    """What to take and what to let go. The milliseconds are those of all calls, by estimate."""

    picked: tuple[Picked, ...]
    dropped: tuple[Dropped, ...]
    outlooks: tuple[Outlook, ...]
    ms_before: float
    ms_after: float
    # EXPLAINs that were asked for.
    tried: int
    seconds: float
    budget_bytes: int | None = None
    # Whether the search came to its own end rather than to that of its time.
    ended: bool = True
    # Statements that could not be planned, and what else is to be known.
    notes: tuple[str, ...] = ()
    # For statements that use nothing of what was picked: their fingerprints, and what spoke against their best index.
    passed: tuple[tuple[str, str], ...] = ()

    @property
    def size_bytes(self) -> int:
        """What the picked indexes take together."""
        return sum(one.supposed.size_bytes for one in self.picked)

    def why_not(self, fingerprint: str) -> str:
        """What spoke against the index that would help a statement most; empty where none would."""
        return dict(self.passed).get(fingerprint, "")

    def outlook(self, fingerprint: str) -> Outlook | None:
        """The statement of this fingerprint before and after."""
        return next((one for one in self.outlooks if one.fingerprint == fingerprint), None)
