"""The fence in MongoDB: a document, or a transaction, that has seen a newer token refuses an older one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from tercet.errors import ExtraMissing, FencedOff, UsageError

try:
    from pymongo.errors import DuplicateKeyError
except ImportError as error:
    raise ExtraMissing("The fence in MongoDB", module="pymongo", extra="mongo") from error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymongo.asynchronous.client_session import AsyncClientSession
    from pymongo.asynchronous.collection import AsyncCollection
    from pymongo.asynchronous.database import AsyncDatabase
    from pymongo.results import UpdateResult

    Document: TypeAlias = dict[str, Any]
    Change: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]

# Where a guarded document keeps the newest token that has written it.
FIELD = "_fence"

# One document for each name, for transactions over several documents.
COLLECTION = "tercet_fence"


async def update_one(
    collection: AsyncCollection[Document],
    where: Mapping[str, Any],
    change: Change,
    *,
    name: str,
    token: int,
    upsert: bool = False,
    session: AsyncClientSession | None = None,
) -> UpdateResult:
    """Update the one document that `where` finds, unless a newer token has written it: then raise FencedOff.

    The token is compared and written in the same step as the change, in the document's field `_fence`; a document
    without one has seen none. `where` should find by `_id`, or by fields that are unique together and indexed so:
    an upsert that is refused is known by the duplicate. A document that is deleted forgets its token.
    """
    guarded = {"$and": [dict(where), {FIELD: {"$not": {"$gt": token}}}]}
    try:
        done = await collection.update_one(guarded, _stamped(change, token), upsert=upsert, session=session)
    except DuplicateKeyError as error:
        # In a transaction the error has ended it already: whoever is asked now stands outside of it.
        newest = await _newer(collection, where, token, None)
        if newest is None:
            raise
        raise FencedOff(name, token=token, newest=newest) from error
    if done.matched_count == 0 and done.upserted_id is None:
        newest = await _newer(collection, where, token, session)
        if newest is not None:
            raise FencedOff(name, token=token, newest=newest)
    return done


async def fence(
    database: AsyncDatabase[Document], name: str, token: int, *, session: AsyncClientSession | None = None
) -> None:
    """Let a transaction write under `token`, or raise FencedOff when a newer one has been here before.

    It belongs into the transaction that writes (`session`), before it writes: two that are open at once conflict
    here, and MongoDB lets one of them begin anew. Without a transaction it only looks, and what is written later
    is not guarded: `update_one` is for that.
    """
    collection = database[COLLECTION]
    # Counted, so that the same token again is a write too: one that changes nothing would conflict with nobody.
    change = {"$set": {"token": token}, "$inc": {"passed": 1}}
    try:
        await collection.update_one(
            {"_id": name, "token": {"$not": {"$gt": token}}}, change, upsert=True, session=session
        )
    except DuplicateKeyError as error:
        # Outside of the transaction, as above.
        seen = await collection.find_one({"_id": name})
        raise FencedOff(name, token=token, newest=seen["token"] if seen else None) from error


def _stamped(change: Change, token: int) -> Document | list[Mapping[str, Any]]:
    """The change, which also writes the token."""
    if not isinstance(change, Mapping):
        return [*change, {"$set": {FIELD: token}}]
    if not change or not all(word.startswith("$") for word in change):
        raise UsageError(
            "A fenced update was given a whole document.", "Give it operators, such as {'$set': {…}}, or a pipeline."
        )
    return {**change, "$set": {**change.get("$set", {}), FIELD: token}}


async def _newer(
    collection: AsyncCollection[Document],
    where: Mapping[str, Any],
    token: int,
    session: AsyncClientSession | None,
) -> int | None:
    """The token of a document that is there and has seen a newer one."""
    newer = {"$and": [dict(where), {FIELD: {"$gt": token}}]}
    found = await collection.find_one(newer, {FIELD: True}, session=session)
    return int(found[FIELD]) if found else None
