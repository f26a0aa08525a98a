"""What is to be verified, what is asked of a proof, and what came of it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tercet.advisor.advice import Rewrite
from tercet.sql import Index, View

if TYPE_CHECKING:
    from tercet.advisor.advice import Proof
    from tercet.sql import Plan


@dataclass(frozen=True, slots=True)
class Drop:
    """An index that is there and shall go."""

    index: Index


# What can be claimed to help. A rewrite is of the statement of its fingerprint.
Change = Index | Drop | Rewrite | View


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds as proved, and how long may be spent on it."""

    # A gain below a tenth is not worth an index, and hardly told from noise.
    gain: float = 1.10
    # What others may lose; the same tenth.
    loss: float = 1.10
    # A loss of less than this is below what anybody waits for.
    loss_ms: float = 0.1
    # A statement that has not ended by then is ended; rung 0 of a slow report takes seconds.
    statement_seconds: float = 60.0
    # All runs of one statement in one pair of ways; a slow one gets fewer.
    budget_seconds: float = 20.0
    # As many pairs as bring the chance of an accident well under one in twenty, even with a stray one among them.
    pairs: int = 9
    # Everything together; what is left then is told as not run.
    total_seconds: float = 900.0
    # Examples of one statement that are run: a frequent value, a rare one, and one more.
    examples: int = 3
    # Rows of a batch by which the cost of writing is measured; 0 leaves that out.
    write_rows: int = 1_000
    # Each change has to help by itself too, and is taken out once to see it.
    each: bool = True


@dataclass(frozen=True, slots=True)
class Measured:
    """One way of answering as it ran; `ended` is False where it was cut off, and its time a lower bound.

    `pages` are those touched, wherever they were found; `cpu_ms` is the backend's, where that can be seen.
    """

    ms: tuple[float, ...]
    plan: Plan | None
    pages: int | None = None
    cpu_ms: tuple[float, ...] = ()
    ended: bool = True

    @property
    def median(self) -> float:
        """Half of the runs took no longer."""
        return statistics.median(self.ms)

    @property
    def best(self) -> float:
        """The quickest run."""
        return min(self.ms)

    @property
    def cpu(self) -> float | None:
        """The median of the backend's CPU time; None where nobody saw it."""
        return statistics.median(self.cpu_ms) if self.cpu_ms else None


Outcome = Literal["faster", "slower", "same", "different", "unproved"]


@dataclass(frozen=True, slots=True)
class Verified:
    """One statement before and after, by running.

    faster, slower: by more than the bound, and not by chance. same: neither, or the plan did not change. different:
    the rows are others. unproved: it could not be run to an end.
    """

    fingerprint: str
    label: str
    outcome: Outcome
    proof: Proof
    sentence: str
    before: Measured | None = None
    after: Measured | None = None
    sql_after: str | None = None

    @property
    def ms_before(self) -> float | None:
        """Median milliseconds before; None where it was not run."""
        return self.before.median if self.before is not None else None

    @property
    def ms_after(self) -> float | None:
        """Median milliseconds after; None where it was not run."""
        return self.after.median if self.after is not None else None


@dataclass(frozen=True, slots=True)
class Held:
    """What became of one change. `helps` are fingerprints that it makes faster by itself, the others staying."""

    change: Change
    state: Literal["kept", "withdrawn", "unproved"]
    why: str
    helps: tuple[str, ...] = ()
    size_bytes: int = 0
    build_seconds: float | None = None
    # How many percent dearer a batch of inserts, and of updates of its columns, became on its table.
    insert_percent: float | None = None
    update_percent: float | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """A statement as it was run on the way, with these changes against without any."""

    changes: tuple[Change, ...]
    verified: Verified


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What verification came to: statement by statement, and change by change."""

    place: Literal["sandbox", "replica", "production"]
    statements: tuple[Verified, ...]
    changes: tuple[Held, ...]
    # How far a claim by these runs reaches: on the same data, or on a part of them.
    method: Literal["run", "sample"]
    runs: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    # All that was run before it came to this, in its order.
    trials: tuple[Trial, ...] = ()

    @property
    def kept(self) -> tuple[Change, ...]:
        """The changes that held."""
        return tuple(one.change for one in self.changes if one.state == "kept")

    @property
    def withdrawn(self) -> tuple[Held, ...]:
        """The changes that did not, each with why."""
        return tuple(one for one in self.changes if one.state == "withdrawn")

    def statement(self, fingerprint: str) -> Verified | None:
        """What came of this statement."""
        return next((one for one in self.statements if one.fingerprint == fingerprint), None)


def title(change: Change) -> str:
    """A change as a sentence names it."""
    match change:
        case Index():
            return f"index {change.name}"
        case Drop():
            return f"dropping index {change.index.name}"
        case Rewrite():
            return f"rewrite by {', '.join(change.rules)}" if change.rules else "rewrite"
        case View():
            return f"view {change.name if isinstance(change.name, str) else '.'.join(change.name)}"
