"""Tells a load's witness what each transaction of PostgreSQL could see, whoever reads through the engine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import asyncpg
from sqlalchemy import event

from tercet.witness import Snapshot, current

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from sqlalchemy.engine import Connection, Transaction
    from sqlalchemy.ext.asyncio import AsyncEngine

    from tercet.witness import Witness

_SNAPSHOT = "SELECT pg_current_snapshot()::text"

# Both are for everybody unless somebody has taken them away. The identifier is the one that IDENTIFY_SYSTEM tells.
_IDENTITY = "SELECT system_identifier::text, pg_current_snapshot()::text FROM pg_control_system()"

# What reads no rows, and what must come before the first snapshot of its transaction: SET TRANSACTION is refused
# after it, and whoever locks a table first wants to read what is there once it is locked.
_BEFORE_ANY_SNAPSHOT = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:SET|RESET|SHOW|LOCK|SAVEPOINT|RELEASE|ROLLBACK|COMMIT|BEGIN|START|END|ABORT)\b",
    re.IGNORECASE | re.DOTALL,
)
_ABORTED = "25P02"


def seen(source: str, text: str) -> Snapshot:
    """What a read with this snapshot could see, on a primary and on a standby.

    A standby's snapshot lists none of the transactions that run (PostgreSQL keeps them where
    pg_current_snapshot() does not look), so it proves only what is below its xmin. On a primary none is listed
    where none runs but its own transaction, and then the same holds.
    """
    told = Snapshot.read(source, text)
    return told if told.xip else Snapshot(source, told.xmin, told.xmin)


async def source_of(connection: asyncpg.Connection) -> str | None:
    """Whose count this server's transactions are by, or None where it does not say: nothing is noted then."""
    try:
        row = await connection.fetchrow(_IDENTITY)
    except asyncpg.PostgresError:
        return None
    return None if row is None else f"pg:{row[0]}"


class Watch:
    """Precedes the first statement of each transaction that a witness watches with one that tells its snapshot."""

    def __init__(self) -> None:
        # None says nothing to any witness, which makes it refuse what it cannot know.
        self.source: str | None = None
        # Who has been told of the transactions under way.
        self._told: MutableMapping[Transaction, list[Witness]] = WeakKeyDictionary()

    def listen(self, engine: AsyncEngine) -> None:
        """Watch everything that goes through this engine."""
        event.listen(engine.sync_engine, "before_cursor_execute", self._before)

    def _before(
        self,
        connection: Connection,
        _cursor: object,
        statement: str,
        _parameters: object,
        _context: object,
        _many: bool,
    ) -> None:
        witness = current()
        if witness is None or self.source is None or _BEFORE_ANY_SNAPSHOT.match(statement):
            return
        adapted: Any = connection.connection.dbapi_connection
        transaction = connection.get_transaction()
        # Where each statement stands alone, each has its own snapshot.
        told = None if transaction is None or adapted.autocommit else self._told.setdefault(transaction, [])
        if told is None or not any(one is witness for one in told):
            # Later statements of a READ COMMITTED transaction see more than the first: this is the safe side.
            # A transaction that keeps its snapshot tells that one here, however long ago it began.
            self._tell(witness, self.source, adapted)
            if told is not None:
                told.append(witness)

    def _tell(self, witness: Witness, source: str, adapted: Any) -> None:
        cursor = adapted.cursor()
        try:
            cursor.execute(_SNAPSHOT)
            (text,) = cursor.fetchone()
        except Exception as error:
            # What is not known must not count as seen.
            witness.note(Snapshot(source, 0, 0))
            # The statement that follows says the same of an aborted transaction; the rest is what it would meet.
            if getattr(error, "sqlstate", None) != _ABORTED:
                raise
        else:
            witness.note(seen(source, text))
        finally:
            cursor.close()
