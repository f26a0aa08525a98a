"""A place that is kept: how far one reader has come, in a collection of MongoDB itself."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pymongo import ReadPreference
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from tercet.changes.mongo.mongo_asked import PATIENCE_SECONDS, asked
from tercet.errors import StoreError

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

    from tercet.clock import Clock

# The collection in which places and leases are, unless another is named.
PLACES = "tercet_places"

# A token is written no more often than this. What was heard since is heard again after a crash.
SAVE_SECONDS = 1.0
# Where nothing that is wanted happens, the place goes on no more often than this: each write is an event of the
# oplog itself, and a place that went on for each of them would never come to rest. An oplog holds hours.
IDLE_SAVE_SECONDS = 60.0
# A last word at the end is not worth more.
_GOODBYE_SECONDS = 1.0


class MongoPlace:
    """How far one reader of a database has come. One process at a time reads it: see MongoLeader."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], key: str, *, clock: Clock, collection: str) -> None:
        self.key, self._clock = key, clock
        places = database[collection]
        # Whoever takes over must read what the last one wrote, also after a failover.
        self._read = places.with_options(read_concern=ReadConcern("majority"), read_preference=ReadPreference.PRIMARY)
        self._write = places.with_options(write_concern=WriteConcern("majority"))
        self._saved_at = float("-inf")
        # Confirmed, and not written yet.
        self._pending: str | None = None

    async def kept(self) -> str | None:
        """The token that is stored, if one is."""
        found = await asked(self._read.find_one({"_id": self.key}), place=self.key, within=PATIENCE_SECONDS)
        token = found.get("token") if found else None
        return token if isinstance(token, str) else None

    async def begin(self, token: str) -> None:
        """Begin anew: what is stored, whatever it is, gives way to this."""
        await self._save({"$set": {"token": token}})

    async def confirm(self, token: str) -> None:
        """Everything up to here was taken care of; written when the last writing is long enough ago."""
        self._pending = token
        await self.settle()

    async def settle(self) -> None:
        """Write what is due."""
        if self._pending is not None and self._clock.monotonic() - self._saved_at >= SAVE_SECONDS:
            await self._move(self._pending)

    async def idle(self, token: str) -> None:
        """The stream has come to here, and everything that was told of it was confirmed."""
        if self._clock.monotonic() - self._saved_at >= IDLE_SAVE_SECONDS:
            await self._move(token)

    async def close(self) -> None:
        """Write what was confirmed and is not written yet, if the server takes it."""
        if self._pending is not None:
            with suppress(StoreError):
                await self._move(self._pending, within=_GOODBYE_SECONDS)

    async def _move(self, token: str, *, within: float = PATIENCE_SECONDS) -> None:
        # Tokens are ordered as their texts are: a reader that was slow to notice that another has taken over cannot
        # turn the place back.
        await self._save({"$max": {"token": token}}, within=within)

    async def _save(self, change: dict[str, Any], *, within: float = PATIENCE_SECONDS) -> None:
        due = self._pending
        work = self._write.update_one({"_id": self.key}, {**change, "$currentDate": {"at": True}}, upsert=True)
        await asked(work, place=self.key, within=within)
        self._saved_at = self._clock.monotonic()
        if self._pending == due:
            self._pending = None
