"""Where statements are run to prove something: a copy of our own, a replica, or production itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from tercet.advisor.marked import marked

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from tercet.sql.port import Connection, Database


class Place(Protocol):
    """Hands out transactions. Only in a sandbox is anything built or written."""

    @property
    def kind(self) -> Literal["sandbox", "replica", "production"]:
        """Which of them it is."""
        ...

    @property
    def sampled(self) -> bool:
        """Whether it holds a part of the rows only."""
        ...

    def autocommit(self) -> AbstractAsyncContextManager[Connection]:
        """A connection on which each statement stands alone."""
        ...

    def transaction(self, *, within: str | float | None = None) -> AbstractAsyncContextManager[Connection]:
        """A connection inside BEGIN."""
        ...


@dataclass(frozen=True, slots=True)
class Live:
    """A replica or production: statements are run there READ ONLY, within a limit, and nothing is built."""

    database: Database
    kind: Literal["replica", "production"] = "production"
    sampled: bool = False

    def autocommit(self) -> AbstractAsyncContextManager[Connection]:
        """Never used on a place that is only read; transactions are."""
        raise RuntimeError("nothing stands alone where everything is read only")

    def transaction(self, *, within: str | float | None = None) -> AbstractAsyncContextManager[Connection]:
        """A connection inside BEGIN, within this limit for each statement."""
        return marked(self.database).transaction(within=within)
