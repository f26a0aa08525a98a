"""Who runs SQL: what the rooms that work on a PostgreSQL ask of it; nothing here does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from contextlib import AbstractAsyncContextManager


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
    """A PostgreSQL that hands out connections; `db.postgres` fulfils it as it is."""

    def autocommit(self) -> AbstractAsyncContextManager[Connection]:
        """A connection on which each statement stands alone, as CONCURRENTLY demands, and takes what it takes."""
        ...

    def transaction(self, *, within: str | float | None = None) -> AbstractAsyncContextManager[Connection]:
        """A connection inside BEGIN, committed when the block ends well; `within` 0 lifts the limit of a statement."""
        ...
