"""The mark that is put behind whatever the advisor asks of a database of the user's.

pg_stat_statements and logs keep the text with it, so that the advisor does not find itself among the statements.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from tercet.sql.port import Connection, Database, Rows

MARK = "/* tercet */"


def marked(database: Database) -> Database:
    """The same database, which bears the mark in every statement that is asked of it by this way."""
    return database if isinstance(database, _Marked) else _Marked(database)


class _Marked:
    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[Connection]:
        """A connection on which each statement stands alone."""
        async with self._database.autocommit() as connection:
            yield _Connection(connection)

    @asynccontextmanager
    async def transaction(self, *, within: str | float | None = None) -> AsyncIterator[Connection]:
        """A connection inside BEGIN."""
        async with self._database.transaction(within=within) as connection:
            yield _Connection(connection)


class _Connection:
    __slots__ = ("_plain",)

    def __init__(self, plain: Connection) -> None:
        self._plain = plain

    def exec_driver_sql(self, statement: str, *parameters: Any) -> Coroutine[Any, Any, Rows]:
        """Run one statement with the mark behind it: it may end in a remark of its own."""
        return self._plain.exec_driver_sql(f"{statement}\n{MARK}", *parameters)

    def __getattr__(self, name: str) -> Any:
        # What only an edge asks of it: the driver's connection, and to let go of that.
        return getattr(self._plain, name)
