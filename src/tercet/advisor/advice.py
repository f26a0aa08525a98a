"""What the advisor says: pieces of advice with their price and their proof, statement by statement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tercet.advisor.port import EngineKind
    from tercet.advisor.views.policy import Policy
    from tercet.sql import Index, Plan, View

# A view is let go by a review only.
Kind = Literal["index", "drop_index", "rewrite", "view", "drop_view", "cache", "none"]


@dataclass(frozen=True, slots=True)
class Rejected:
    """Another way that was tried, and why it was not taken."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Another text of the same question; `rules` are those that led to it, `conditions` what they rest on."""

    fingerprint: str
    before: str
    after: str
    rules: tuple[str, ...]
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """Where an answer should be kept, under which key, and what makes it old."""

    fingerprint: str
    layer: str
    key: str
    tags: tuple[str, ...]
    # The lines to paste: the decorated function's head, and cache.follow(…).
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MongoChange:
    """An index of MongoDB to be made or taken away: `spec` is what createIndexes takes, as extended JSON.

    `commands`, of the same form, are those that it must not make dearer.
    """

    collection: str
    name: str
    spec: str
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of advice. `ddl` does it and `undo` takes it back, statement by statement.

    `write_cost` is how many percent dearer the table's writes become (below zero: cheaper), as far as that is known.
    `helps` are fingerprints.
    """

    kind: Kind
    why: str
    ddl: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    table: str = ""
    columns: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    where: str | None = None
    method: str = ""
    size_bytes: int = 0
    write_cost: float | None = None
    refresh_seconds: float | None = None
    helps: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    # Its gain rests on guesses of rows that may be off: said beside it.
    fragile: bool = False
    # The value that it was made from.
    value: Index | View | Rewrite | CachePolicy | MongoChange | None = None
    # How a view is best kept up to date.
    policy: Policy | None = None
    # Counted from 1 in the order in which the advice tells them; what `--explain 1` and `--apply 1` name.
    number: int = 0


@dataclass(frozen=True, slots=True)
class Proof:
    """How a claim was checked. `interval` holds the two ends of the speed-up, `same_rows` None where nobody compared.

    `rows` is how many rows were compared: of two empty answers none, so that `same_rows` is None.

    method: "run" on the same data, "sample" on a part of it, "plan" where only the planner was asked.
    """

    method: Literal["run", "sample", "plan"]
    same_rows: bool | None = None
    interval: tuple[float, float] | None = None
    estimated_ms: float | None = None
    buffers_before: int | None = None
    buffers_after: int | None = None
    # "same 100 rows", or what did not hold.
    sentence: str = ""
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class StatementAdvice:
    """One statement of the workload before and after; `pieces` are the numbers of what changes it."""

    fingerprint: str
    sql: str
    label: str
    calls: float
    ms_before: float | None
    ms_after: float | None
    pieces: tuple[int, ...] = ()
    proof: Proof | None = None
    plan_before: Plan | None = None
    plan_after: Plan | None = None
    sites: tuple[str, ...] = ()
    # Why it is left alone, or what is to be known of it (an undetermined top, a missing tie-break).
    notes: tuple[str, ...] = ()
    sql_after: str | None = None


@dataclass(frozen=True, slots=True)
class Engine:
    """Who planned, why that one, and how far its costs are from production's own without any change."""

    kind: EngineKind
    why: str
    # Greatest and mean relative deviation of cost over the workload, and how many of how many plans were the same.
    cost_error_worst: float | None = None
    cost_error_mean: float | None = None
    same_plans: int = 0
    plans: int = 0
    # What it took from production.
    read_bytes: int = 0
    read_seconds: float = 0.0
    tried: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Advice:
    """All that the advisor says of one workload. Nothing was changed."""

    statements: tuple[StatementAdvice, ...]
    pieces: tuple[Piece, ...]
    engine: Engine | None
    source: str
    budget_bytes: int | None = None
    # What could not be looked at, and what else is to be known.
    notes: tuple[str, ...] = field(default=())

    @property
    def size_bytes(self) -> int:
        """What all pieces together take on the disk; below zero if they give some back."""
        return sum(-piece.size_bytes if piece.kind.startswith("drop") else piece.size_bytes for piece in self.pieces)

    def piece(self, number: int) -> Piece | None:
        """The piece of this number, if there is one."""
        return next((piece for piece in self.pieces if piece.number == number), None)
