"""What a feed asks of the edge that reads a store, and of whoever listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tercet.changes.change import Commit, Position, Wants


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
