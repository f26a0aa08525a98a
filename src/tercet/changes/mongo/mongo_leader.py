"""Who reads, where there is no PostgreSQL to ask: a lease in MongoDB, renewed while its holder lives."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError, PyMongoError
from pymongo.write_concern import WriteConcern

from tercet.changes.feeding.port import Lag
from tercet.changes.mongo.mongo_asked import STORE, asked
from tercet.changes.mongo.mongo_place import PLACES
from tercet.errors import StoreError, StoreUnreachable, TercetError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pymongo.asynchronous.collection import AsyncCollection
    from pymongo.asynchronous.database import AsyncDatabase

    from tercet.changes.feeding.place import Place

# How long nobody reads when the one who did was killed; a pause of the process of that length costs it the lead.
LEASE_SECONDS = 10.0
# Renewed this often within a lease, so that one renewal may fail.
RENEWALS = 3
# A last word at the end is not worth more.
_GOODBYE_SECONDS = 1.0
_HOLDER_BYTES = 8


def leaders(
    database: AsyncDatabase[dict[str, Any]],
    *,
    collection: str = PLACES,
    seconds: float = LEASE_SECONDS,
    every: float | None = None,
) -> Callable[[Place], MongoLeader]:
    """Makes the leader of a place, by a lease in this database; see MongoLeader."""

    def make(place: Place) -> MongoLeader:
        key = f"lease:{place.service}:{place.name}"
        return MongoLeader(database, key, collection=collection, seconds=seconds, every=every)

    return make


class MongoLeader:
    """Lets one process of a service lead, by a lease in a document.

    The server's clock says when a lease is over, and a majority has it before it counts, so a failover does not
    make a second leader. A holder gives up by its own clock, counted from before it asked, so before the server
    would give it to another. It is a lease all the same: a process that sleeps through its end hears of it late.
    What is derived must bear to be told twice, which at least once asks for anyway.
    """

    def __init__(
        self,
        database: AsyncDatabase[dict[str, Any]],
        key: str,
        *,
        collection: str = PLACES,
        seconds: float = LEASE_SECONDS,
        every: float | None = None,
    ) -> None:
        self._database, self._collection = database, collection
        self._key, self._seconds = key, seconds
        # How often it is asked for, and renewed.
        self._every = seconds / RENEWALS if every is None else every
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(_HOLDER_BYTES)}"
        # Until when this process leads, by its loop's clock; it may be passed already.
        self._until: float | None = None

    @property
    def _leases(self) -> AsyncCollection[dict[str, Any]]:
        # Asked for when it is used: a place is subscribed to before the Tercet is open.
        return self._database[self._collection].with_options(write_concern=WriteConcern("majority"))

    async def lead(self, follows: Callable[[], None]) -> None:
        """Return once this process leads; `follows` is called when another one does. Raises a StoreError."""
        told = False
        while not await self._take():
            if not told:
                told = True
                follows()
            await asyncio.sleep(self._every)

    async def led(self, note: Callable[[Lag], None]) -> None:
        """Return when this process leads no more, or raise the StoreError for which that is not known."""
        # MongoDB keeps the same for everybody, however far they are.
        note(Lag())
        while (until := self._until) is not None:
            await asyncio.sleep(self._every)
            left = until - asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(left):
                    if not await self._take():
                        self._until = None
            except TimeoutError as error:
                raise StoreUnreachable(STORE, reason="the lease could not be renewed in time") from error
            except StoreError:
                # While there is time for another try, one is made.
                if left <= self._every:
                    raise

    async def close(self) -> None:
        """Lead no more, and let another one begin at once; twice is fine."""
        until, self._until = self._until, None
        if until is None:
            return
        with suppress(PyMongoError, TercetError, TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await self._leases.delete_one({"_id": self._key, "holder": self._holder})

    async def _take(self) -> bool:
        """Take the lease, or renew it, if nobody else has it."""
        asked_at = asyncio.get_running_loop().time()
        found = await asked(self._taken(), place=self._key, within=self._seconds)
        if found is None:
            return False
        self._until = asked_at + self._seconds
        return True

    async def _taken(self) -> Mapping[str, Any] | None:
        """The lease if it is ours now, else None."""
        free = {"$or": [{"holder": self._holder}, {"$expr": {"$lt": ["$until", "$$NOW"]}}]}
        span = {"startDate": "$$NOW", "unit": "millisecond", "amount": round(self._seconds * 1000)}
        lease = [{"$set": {"holder": {"$literal": self._holder}, "until": {"$dateAdd": span}}}]
        ours = await self._leases.find_one_and_update(
            {"_id": self._key, **free}, lease, return_document=ReturnDocument.AFTER
        )
        if ours is not None or await self._leases.find_one({"_id": self._key}) is not None:
            return ours
        try:
            # An upsert takes no $expr; this one finds nothing, and makes it unless somebody was quicker.
            return await self._leases.find_one_and_update(
                {"_id": self._key, "holder": None}, lease, upsert=True, return_document=ReturnDocument.AFTER
            )
        except DuplicateKeyError:
            return None
