"""A table read in batches, each with the version at which it is certainly so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tercet.errors import ExtraMissing
from tercet.router.writing.postgres_save import VERSION

try:
    from sqlalchemy import select
except ImportError as error:
    raise ExtraMissing("A projection", module="sqlalchemy", extra="postgres") from error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tercet.router.port import Postgres
    from tercet.router.source import InTable

# Rows that are locked together while they are read: some milliseconds for whoever wants to write one of them.
BATCH_ROWS = 500


class PostgresRebuild:
    """Reads rows in the order of their keys, each batch under share locks.

    A snapshot alone would not do: a commit can be in the log, and told already, before its row can be seen. Whoever
    has waited for a row's lock sees its last commit, and none that comes later has a smaller position in the log.
    The login needs the right to update the table.
    """

    def __init__(self, database: Postgres, columns: Sequence[InTable]) -> None:
        self._database = database
        self._key = columns[0].key
        self._wanted = [self._key.label("k"), *(one.column.label(f"c{at}") for at, one in enumerate(columns))]

    async def version(self) -> int:
        """The version of now."""
        async with self._database.transaction() as connection:
            return int((await connection.execute(VERSION)).scalar_one())

    async def batches(self) -> AsyncIterator[tuple[int, Sequence[tuple[Any, ...]]]]:
        """The version of a batch, and its rows: the key, then the columns."""
        last: Any = None
        while True:
            statement = select(*self._wanted).order_by(self._key).limit(BATCH_ROWS).with_for_update(read=True)
            if last is not None:
                statement = statement.where(self._key > last)
            async with self._database.transaction() as connection:
                rows = (await connection.execute(statement)).all()
                version = int((await connection.execute(VERSION)).scalar_one())
            if not rows:
                return
            yield version, rows
            last = rows[-1][0]
