"""What the shop asks of tercet: two of its stores, and somebody to tell how far the loading is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from pymongo.asynchronous.database import AsyncDatabase
    from sqlalchemy.ext.asyncio import AsyncConnection

# What is being done, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]


class Relational(Protocol):
    """tercet's door to PostgreSQL, as far as the shop uses it."""

    def transaction(self, *, within: float) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection in a transaction that is committed at the end; 0 is no limit for its statements."""
        ...

    def autocommit(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection on which each statement stands alone, and takes as long as it takes."""
        ...


class Stores(Protocol):
    """A Tercet, as far as the shop uses it."""

    @property
    def postgres(self) -> Relational:
        """PostgreSQL."""
        ...

    @property
    def mongo(self) -> AsyncDatabase[dict[str, Any]]:
        """MongoDB."""
        ...


def silent(part: str, done: int, total: int) -> None:
    """Tell nobody."""
