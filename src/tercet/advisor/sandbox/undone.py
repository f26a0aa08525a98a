"""A transaction of which nothing stays."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NoReturn, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from tercet.sql.port import Connection


class Transactions(Protocol):
    """Hands out transactions."""

    def transaction(self, *, within: str | float | None = None) -> AbstractAsyncContextManager[Connection]:
        """A connection inside BEGIN, committed when the block ends well."""
        ...


@asynccontextmanager
async def undone(place: Transactions, within: float) -> AsyncIterator[Connection]:
    """A connection inside BEGIN that is rolled back however the block ends, with a limit for each statement."""
    try:
        async with place.transaction(within=within) as connection:
            yield connection
            _undo()
    except _Undone:
        return


class _Undone(Exception):
    """The way out of a transaction that nothing shall stay of."""


def _undo() -> NoReturn:
    raise _Undone
