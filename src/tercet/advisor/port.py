"""What the advisor asks of others: a database, and somebody who plans as it would with other indexes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextlib import AbstractAsyncContextManager

    from tercet.sql import Index, Plan, View

# (what is being done, how much of it is done, how much there is; 0 of 0 if nobody knows).
Progress = Callable[[str, int, int], None]

EngineKind = Literal["shadow", "hypopg", "trial"]


class Rows(Protocol):
    """What a statement has answered."""

    def all(self) -> Sequence[Any]:
        """Every row, each a tuple."""
        ...


class Connection(Protocol):
    """A connection that takes SQL as it is written, with $1, $2 … for values (a SQLAlchemy AsyncConnection)."""

    def exec_driver_sql(self, statement: str, parameters: Any = ...) -> Coroutine[Any, Any, Rows]:
        """Run one statement."""
        ...


class Database(Protocol):
    """Hands out connections; `db.postgres` fulfils it as it is."""

    def autocommit(self) -> AbstractAsyncContextManager[Connection]:
        """A connection on which each statement stands alone and takes what it takes."""
        ...

    def transaction(self, *, within: str | float | None = None) -> AbstractAsyncContextManager[Connection]:
        """A connection inside BEGIN, committed when the block ends well; `within` 0 lifts the limit of a statement."""
        ...


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
    there, `hiding` the real ones that are not. Nothing of it is seen by production. One question at a time.
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

    async def cost(self, sql: str, *, using: Collection[str] = (), hiding: Collection[str] = ()) -> Costed | Refused:
        """The planner's cost of a statement; one with $1 in it is planned generically."""
        ...

    async def plan(self, sql: str, *, using: Collection[str] = (), hiding: Collection[str] = ()) -> Plan | Refused:
        """The whole plan of a statement."""
        ...

    async def close(self) -> None:
        """End it and take away what it has made; twice is fine."""
        ...
