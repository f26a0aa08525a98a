"""What a feed asks of the edge that reads a store, of whoever listens, and of PostgreSQL where it is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from tercet.sql.port import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence

    from tercet.changes.change import Commit, Position, Wants
    from tercet.witness import Moment

# What a transaction says (pg_logical_emit_message, transactional, no content) where somebody follows, so that its
# commit is told also when it touches nothing that is followed.
MARK = "tercet:mark"


class Listener(Protocol):
    """Whoever is told of changes, in the order of their commits."""

    @property
    def wants(self) -> Wants:
        """What it is to be told of."""
        ...

    async def hear(self, commits: Sequence[Commit]) -> None:
        """Take care of these; when it returns, they count as done. An error is retried, with the same ones again."""
        ...

    async def resync(self, why: str) -> None:
        """Some may have been missed, and nobody can say which; what comes next is from after this was called."""
        ...


class Source(Protocol):
    """Reads the changes of one store from one place on; an edge, made for one reading."""

    async def open(self, wants: Wants, since: Position | None) -> Position:
        """Begin to read, from `since` or from now; the position from which nothing is missing.

        Raises PositionLost where the store no longer has what came after `since`, and a StoreError.
        """
        ...

    def commits(self) -> AsyncIterator[Sequence[Commit]]:
        """What was committed, as much at once as has come; ends by a StoreError only."""
        ...

    async def confirm(self, position: Position) -> None:
        """All up to here was taken care of: the store need not keep it for us."""
        ...

    async def close(self) -> None:
        """Let go of the connection; twice is fine. What is temporary on the server is gone then."""
        ...


class Writing(Connection, Protocol):
    """The same inside a transaction, which takes SQLAlchemy's statements too."""

    def execute(self, statement: Any, parameters: Any = None, /) -> Coroutine[Any, Any, Any]:
        """Run one statement."""
        ...


class Emitter(Protocol):
    """The outbox, as a transaction sees it."""

    async def emit(self, connection: Writing, events: Sequence[object]) -> None:
        """Write these events, in this order, into the transaction of this connection; it commits right after."""
        ...


class Hearing(Protocol):
    """Whoever follows the changes in this process, as a transaction that has committed sees it."""

    @property
    def listening(self) -> bool:
        """Whether there is something to wait for: it follows, and is told of commits right now."""
        ...

    async def heard(self, moment: Moment, within: float) -> bool:
        """Return once what this commit has made old is dropped here; False when that was not in so many seconds."""
        ...
