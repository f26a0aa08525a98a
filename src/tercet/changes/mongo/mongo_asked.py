"""How a feed asks MongoDB, and what it means where the answer is an error."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pymongo
from pymongo import errors

from tercet.errors import DeadlinePassed, FeedRefused, PositionLost, StoreError, StoreUnreachable, UsageError
from tercet.stores.both import both
from tercet.stores.mongo_desk import meaning

if TYPE_CHECKING:
    from collections.abc import Coroutine

STORE = "mongo"

# An answer that has not come after so long does not come: a frozen server keeps its connections and is silent.
PATIENCE_SECONDS = 10.0

# What came after the token cannot be told any more, by MongoDB's own numbers: ChangeStreamHistoryLost,
# CappedPositionLost, ChangeStreamFatalError, InvalidResumeToken, and BSONObjectTooLarge, an event of more than 16 MB.
# FailedToParse and Overflow are what it says of a token that is none.
_LOST = {
    286: "the oplog has gone past it",
    136: "the oplog has gone past it while it was read",
    280: "the token is not in the oplog",
    260: "the token is not one of this server's",
    10334: "an event is larger than the 16 MB that a server can tell",
    9: "the token is not one of MongoDB's",
    15: "the token is not one of MongoDB's",
}
# Assertions of a server, which have no other name than their number; with a token, the token is what it finds wrong.
_ASSERTIONS_FROM = 40_000

_MENDS = {
    13: "Give this login the actions changeStream and find on what it follows, and on the whole database for '*'.",
    166: "It is a view: follow the collections that it is made of.",
    # Also a time series, whose changes are told to nobody.
    40573: "Start it as a replica set, also where it is alone: only replica sets have change streams.",
}

# What passes by itself: who is primary changes, a server goes away or comes back, a cursor was ended from outside.
_PASSING = frozenset(
    {6, 7, 43, 50, 63, 89, 91, 133, 143, 150, 189, 202, 234, 237, 262, 9001, 10107, 11600, 11602, 13388, 13435, 13436}
)


async def asked(work: Coroutine[Any, Any, Any], *, place: str, token: bool = False, within: float) -> Any:
    """What the driver brings in so many seconds; raises a StoreError, PositionLost only where a token was given."""
    try:
        async with asyncio.timeout(within):
            # A limit of the client's own would take the place of the time that a stream may wait for something new.
            with pymongo.timeout(0):
                return await work
    except TimeoutError as error:
        raise DeadlinePassed(STORE, what="an answer to a feed", deadline=within) from error
    except errors.PyMongoError as error:
        if isinstance(error, UsageError):
            # The Tercet whose client this is was closed.
            raise
        raise meant(error, place=place, token=token) from error


def meant(error: errors.PyMongoError, *, place: str, token: bool) -> StoreError:
    """What an error means for a feed, in one with the driver's own."""
    code = error.code if isinstance(error, errors.OperationFailure) else None
    if code is not None and token and (code in _LOST or (code >= _ASSERTIONS_FROM and code not in _MENDS)):
        lost = PositionLost(STORE, place=place, reason=_LOST.get(code, "the token is not one of MongoDB's"))
        return _joined(lost, error)
    if isinstance(error, StoreError):
        return error
    ours = meaning(error, "", PATIENCE_SECONDS)
    if code in _MENDS:
        ours = FeedRefused(STORE, reason=_named(error), mend=_MENDS[code])
    if ours is None and code is not None and code not in _PASSING and not _resumable(error):
        ours = FeedRefused(STORE, reason=_named(error), mend="The server's log may say more.")
    return _joined(ours or StoreUnreachable(STORE, reason=_named(error)), error)


def _joined(ours: StoreError, error: errors.PyMongoError) -> StoreError:
    joined = both(ours, error)
    return joined if isinstance(joined, StoreError) else ours


def _resumable(error: errors.PyMongoError) -> bool:
    return error.has_error_label("ResumableChangeStreamError")


def _named(error: errors.PyMongoError) -> str:
    """The server's name for it; its text may hold what was in a document."""
    details = error.details if isinstance(error, errors.OperationFailure) else None
    name = (details or {}).get("codeName")
    code = error.code if isinstance(error, errors.OperationFailure) else None
    return f"it answers {name or type(error).__name__}" + (f" ({code})" if code is not None else "")
