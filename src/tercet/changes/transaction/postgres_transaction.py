"""One transaction: its session, the events that commit with it, and afterwards its moment and its token."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from sqlalchemy import event

from tercet.changes.transaction.statements import STATEMENTS
from tercet.errors import UsageError
from tercet.stores.reads.token import ReadToken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session, SessionTransaction

    from tercet.changes.port import Emitter
    from tercet.stores.postgres import Postgres
    from tercet.witness import Moment

State = Literal["open", "committing", "committed", "over"]


class Transaction:
    """What `async with db.transaction() as tx` gives: commits when the block ends well, rolls back if it raises."""

    def __init__(self, postgres: Postgres, session: AsyncSession, emitter: Emitter | None) -> None:
        self._postgres, self._session, self._emitter = postgres, session, emitter
        self._events: list[object] = []
        # How many events there were when each savepoint under way was set.
        self._marks: MutableMapping[SessionTransaction, int] = WeakKeyDictionary()
        self._state: State = "open"
        self._began = False
        self._flushed = True
        self._moment: Moment | None = None
        self._listen(session.sync_session)

    @property
    def session(self) -> AsyncSession:
        """SQLAlchemy's AsyncSession; the block commits it, nobody else does."""
        return self._session

    @property
    def events(self) -> tuple[object, ...]:
        """What will be handed to the outbox as things stand, in order."""
        return tuple(self._events)

    @property
    def moment(self) -> Moment | None:
        """When it was committed; None before that, and for one that wrote nothing."""
        return self._moment

    def emit(self, *events: object) -> None:
        """These events commit with the rows of this transaction, in this order, or not at all."""
        if self._state != "open":
            raise UsageError(
                "An event was emitted after the end of its transaction.",
                "Emit inside the block: what comes later could not commit with its rows.",
            )
        if self._emitter is None:
            raise UsageError(
                "An event was emitted, and there is no outbox that would hand it on.",
                "Set up the outbox of this Tercet before its first transaction that emits.",
            )
        self._events += events

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """What is written and emitted in this block is undone alone when it raises; the error goes on."""
        async with self._session.begin_nested():
            yield

    async def token(self) -> ReadToken:
        """What a reader must have to see this transaction; one round trip, after the end of the block."""
        if self._state != "committed":
            raise UsageError(
                "A token was asked of a transaction that is not committed.", "Ask for it after the end of its block."
            )
        # What was committed without waiting for the disk lies between the two.
        place = STATEMENTS["flushed" if self._flushed else "inserted"]
        async with self._postgres.connection() as connection:
            lsn = (await connection.exec_driver_sql(place)).scalar_one()
        return ReadToken.at_lsn(self._postgres.source, lsn)

    # ---- for whoever runs it ----

    async def finish(self, *, mark: bool) -> int:
        """Write what is left to write; the transaction's number, or 0 if it wrote nothing. COMMIT comes next."""
        if self._events and self._emitter is not None:
            await self._session.flush()
            await self._emitter.emit(await self._session.connection(), tuple(self._events))
        return await self._session.run_sync(self._ask_about, STATEMENTS["about, marked" if mark else "about"])

    def _ask_about(self, session: Session, statement: str) -> int:
        session.flush()
        if not self._began:
            return 0
        told: Sequence[Any] = session.connection().exec_driver_sql(statement).one()
        self._flushed = told[1] != "off"
        return int(told[0])

    async def commit(self) -> None:
        """COMMIT itself; no event is taken from here on."""
        self._state = "committing"
        await self._session.commit()

    def committed(self, moment: Moment | None) -> None:
        """It is committed."""
        self._state, self._moment = "committed", moment

    def end(self) -> None:
        """It is over, whatever became of it."""
        if self._state != "committed":
            self._state = "over"
            self._events.clear()

    # ---- what the session tells ----

    def _listen(self, session: Session) -> None:
        event.listen(session, "after_begin", self._has_begun)
        event.listen(session, "before_commit", self._before_commit)
        event.listen(session, "after_transaction_create", self._created)
        event.listen(session, "after_soft_rollback", self._rolled_back)

    def _has_begun(self, *_about: object) -> None:
        self._began = True

    def _before_commit(self, session: Session) -> None:
        # The end of a savepoint is told in the same way.
        if self._state == "open" and not session.in_nested_transaction():
            raise UsageError(
                "The session of a transaction was committed inside its block.",
                "Leave that to the end of the block: the events commit with it.",
            )

    def _created(self, _session: Session, transaction: SessionTransaction) -> None:
        if transaction.nested:
            self._marks[transaction] = len(self._events)

    def _rolled_back(self, _session: Session, transaction: SessionTransaction) -> None:
        if transaction.nested:
            del self._events[self._marks.get(transaction, len(self._events)) :]
        elif transaction.parent is None:
            self._events.clear()
