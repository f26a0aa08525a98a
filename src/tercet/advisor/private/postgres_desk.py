"""A server of ours as a Database: connections of SQLAlchemy's on asyncpg, without a limit for statements."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import create_async_engine

from tercet.units import seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

# One for the work, one that looks at it; more would only compete for the machine.
_CONNECTIONS = 3


class Desk:
    """Hands out connections to one database of a server that belongs to us."""

    __slots__ = ("_engine",)

    def __init__(self, url: str) -> None:
        self._engine: AsyncEngine = create_async_engine(
            url.replace("postgresql://", "postgresql+asyncpg://", 1),
            pool_size=_CONNECTIONS,
            max_overflow=0,
            # Its tables change under every statement: a plan that was prepared would have to be made anew.
            connect_args={"prepared_statement_cache_size": 0, "statement_cache_size": 0},
        )

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which each statement stands alone."""
        async with self._engine.connect() as plain:
            yield await plain.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def transaction(self, *, within: str | float | None = None) -> AsyncIterator[AsyncConnection]:
        """A connection inside BEGIN, committed when the block ends well."""
        async with self._engine.begin() as connection:
            if within is not None:
                await connection.exec_driver_sql(f"set local statement_timeout = {round(seconds(within) * 1000)}")
            yield connection

    async def forget(self) -> None:
        """End all connections; the next ones begin with the settings of then."""
        await self._engine.dispose()

    async def close(self) -> None:
        """End all connections; twice is fine."""
        await self._engine.dispose()
