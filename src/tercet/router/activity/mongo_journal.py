"""Activities as documents of MongoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tercet.errors import ExtraMissing
from tercet.router.activity.activity import Kept

try:
    from pymongo.errors import DuplicateKeyError
except ImportError as error:
    raise ExtraMissing("save_activity", module="pymongo", extra="mongo") from error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from tercet.router.port import Mongo

# The collection, unless another is named.
COLLECTION = "activities"

_WANTED = {"user_id": 1, "kind": 1, "counted": 1}


class MongoJournal:
    """Keeps each activity as one document, whose _id is the activity's."""

    def __init__(self, database: Mongo, collection: str = COLLECTION) -> None:
        self._collection: Any = database[collection]

    async def prepare(self) -> None:
        """Make the index by which a recount finds what is left: only what was not counted is in it."""
        await self._collection.create_index("at", name="tercet_uncounted", partialFilterExpression={"counted": False})

    async def add(self, document: Mapping[str, Any]) -> Kept:
        """Keep this, unless one with its id is there; what is there then."""
        try:
            await self._collection.insert_one(dict(document))
        except DuplicateKeyError:
            there = await self._collection.find_one({"_id": {"$eq": document["_id"]}}, _WANTED)
            if there is None:
                raise
            return _kept(there)
        return _kept(document)

    async def mark(self, id: str) -> None:  # noqa: A002 - it is called so everywhere
        """It was counted."""
        await self._collection.update_one({"_id": {"$eq": id}}, {"$set": {"counted": True}})

    async def uncounted(self, since: datetime, most: int) -> list[Kept]:
        """The oldest that were not counted, from this moment on."""
        cursor = self._collection.find({"counted": False, "at": {"$gte": since}}, _WANTED, limit=most).sort("at")
        return [_kept(one) for one in await cursor.to_list()]


def _kept(document: Mapping[str, Any]) -> Kept:
    return Kept(document["_id"], document["user_id"], document["kind"], bool(document["counted"]))
