"""What the advisor asks of others: somebody who plans as a database would with other indexes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from tercet.sql import Index, Plan, View

# (what is being done, how much of it is done, how much there is; 0 of 0 if nobody knows).
Progress = Callable[[str, int, int], None]

EngineKind = Literal["shadow", "hypopg", "trial"]


@dataclass(frozen=True, slots=True)
class Supposed:
    """An index that an engine plans with as if it were there, and what it would be on the disk."""

    name: str
    size_bytes: int
    # Levels above the leaves; None where the method has none.
    height: int | None = None
    tuples: float = 0.0
    # Of a real one rather than worked out.
    measured: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """An index or a statement that the engine cannot take, in the server's words."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Costed:
    """What the planner thinks of one example under one set of indexes."""

    total: float
    # Indexes in the plan by name, supposed ones and real ones.
    used: frozenset[str]


class WhatIf(Protocol):
    """Plans statements as the database would if other indexes were there.

    Indexes are made known once (`suppose`) and switched by each question: `using` names the supposed ones that are
    there, `hiding` the real ones that are not, and `search_path` is that of the statement where it is not the
    connection's. Nothing of it is seen by production. One question at a time.
    """

    kind: EngineKind
    # Why this one and not another, a sentence.
    why: str

    async def suppose(self, indexes: Sequence[Index]) -> Mapping[str, Supposed | Refused]:
        """Make indexes known, all off, and tell their sizes by name; one that is known already is kept."""
        ...

    async def suppose_view(self, view: View, *, rows: float) -> Supposed | Refused:
        """Make a materialized view known with its indexes, as if it held so many rows; queries may name it then."""
        ...

    async def cost(
        self, sql: str, *, using: Collection[str] = (), hiding: Collection[str] = (), search_path: Sequence[str] = ()
    ) -> Costed | Refused:
        """The planner's cost of a statement; one with $1 in it is planned generically."""
        ...

    async def plan(
        self, sql: str, *, using: Collection[str] = (), hiding: Collection[str] = (), search_path: Sequence[str] = ()
    ) -> Plan | Refused:
        """The whole plan of a statement."""
        ...

    async def close(self) -> None:
        """End it and take away what it has made; twice is fine."""
        ...
