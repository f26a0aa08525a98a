"""When the answer to COMMIT was lost: asks the server what became of the transaction."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import sqlalchemy.exc

from tercet.changes.transaction.statements import STATEMENTS
from tercet.errors import CommitUnknown, StoreError

if TYPE_CHECKING:
    from tercet.clock import Clock
    from tercet.stores.postgres import Postgres

# PostgreSQL restarts itself in a second or two after a crash; a caller waits no longer for an answer that may not come.
DOUBT_SECONDS = 5.0
# Between two questions: a backend that was told to end is gone within a few milliseconds.
_PAUSE_SECONDS = 0.05


async def committed(postgres: Postgres, xid: int, *, clock: Clock, patience: float = DOUBT_SECONDS) -> bool:
    """Whether this transaction was committed, as the server says; raises CommitUnknown where it cannot say."""
    until = clock.monotonic() + patience
    reason = "the server still works at it"
    while True:
        try:
            async with asyncio.timeout(max(_PAUSE_SECONDS, until - clock.monotonic())):
                status = await _ask(postgres, xid)
        except (StoreError, TimeoutError, sqlalchemy.exc.SQLAlchemyError) as error:
            # After a failover the server may not even know the number.
            status, reason = None, f"asking failed ({type(error).__name__.partition('[')[0]})"
        if status in {"committed", "aborted"}:
            return status == "committed"
        if clock.monotonic() >= until:
            raise CommitUnknown("postgres", xid=xid, reason=reason)
        await asyncio.sleep(_PAUSE_SECONDS)


async def _ask(postgres: Postgres, xid: int) -> str | None:
    async with postgres.connection() as connection:
        answer = await connection.exec_driver_sql(STATEMENTS["outcome"], (str(xid),))
        status: str | None = answer.scalar_one()
        if status == "in progress":
            # Its client is gone, so nothing can come after; left alone it would keep its locks for minutes.
            await connection.exec_driver_sql(STATEMENTS["end it"], (str(xid),))
        return status
