"""Effects in MongoDB, each once: the mark is a document of the same transaction."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tercet.errors import ExtraMissing

try:
    from pymongo import WriteConcern
    from pymongo.errors import DuplicateKeyError, OperationFailure
    from pymongo.read_concern import ReadConcern
except ImportError as error:
    raise ExtraMissing("The outbox's inbox in MongoDB", module="pymongo", extra="mongo") from error

if TYPE_CHECKING:
    from pymongo.asynchronous.client_session import AsyncClientSession
    from pymongo.asynchronous.database import AsyncDatabase

    from tercet.changes.outbox.port import Effect

COLLECTION = "tercet_inbox"

# MongoDB's words for an index that exists with other options.
_INDEX_DIFFERS = 85


class _Made(Exception):
    """The effect was made before."""


class MongoInbox:
    """Marks in `tercet_inbox` of the database in which the effects happen; it has to be a replica set."""

    __slots__ = ("_database", "_seconds")

    def __init__(self, database: AsyncDatabase[dict[str, Any]], *, seconds: float) -> None:
        self._database, self._seconds = database, int(seconds)

    async def prepare(self) -> None:
        """Marks end by themselves, a minute or so after their time."""
        collection = self._database[COLLECTION]
        try:
            await collection.create_index("at", expireAfterSeconds=self._seconds)
        except OperationFailure as error:
            if error.code != _INDEX_DIFFERS:
                raise
            index = {"keyPattern": {"at": 1}, "expireAfterSeconds": self._seconds}
            await self._database.command("collMod", COLLECTION, index=index)

    async def once(self, consumer: str, event_id: str, effect: Effect) -> bool:
        """Mark and effect in one transaction, durable on a majority; of two at once, one begins anew and finds it."""
        # A document of two: nothing of a name can be taken for an operator, nor two names for one.
        mark = {"_id": {"consumer": consumer, "id": event_id}, "at": datetime.now(UTC)}

        async def both(session: AsyncClientSession) -> None:
            try:
                await self._database[COLLECTION].insert_one(dict(mark), session=session)
            except DuplicateKeyError as error:
                raise _Made from error
            await effect(session)

        try:
            async with self._database.client.start_session() as session:
                await session.with_transaction(
                    both, read_concern=ReadConcern("snapshot"), write_concern=WriteConcern("majority")
                )
        except _Made:
            return False
        return True
