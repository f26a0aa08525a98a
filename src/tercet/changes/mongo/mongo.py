"""The change streams of MongoDB as a Source: one database, or some of its collections."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from bson.codec_options import DatetimeConversion
from pymongo import errors

from tercet.changes.mongo.gathering import Gathering
from tercet.changes.mongo.mongo_asked import PATIENCE_SECONDS, STORE, asked
from tercet.changes.mongo.mongo_place import PLACES, MongoPlace
from tercet.changes.mongo.scope import Images, Scope
from tercet.clock import SystemClock
from tercet.errors import FeedRefused, NotOpen, PositionLost, StoreUnreachable, TercetError
from tercet.stores.reads.mongo_witness import source_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from bson.codec_options import CodecOptions
    from pymongo.asynchronous.client_session import AsyncClientSession
    from pymongo.asynchronous.database import AsyncDatabase

    from tercet.changes.change import Commit, Position, Wants
    from tercet.changes.feeding.place import Place
    from tercet.clock import Clock

Document = dict[str, Any]

# Events of one answer. 1,000 key-only ones are some 300 kB; more did not make it faster.
BATCH = 1_000
# How long the server holds a question when nothing happens; so often an idle place is looked after.
WAIT_SECONDS = 1.0
# Asks whether more of a transaction has come, and does not wait for it.
_NO_WAIT_MS = 1
# The server forgets a cursor by itself after ten minutes; telling it is not worth more than this.
_GOODBYE_SECONDS = 1.0

_TOKEN = re.compile(r"82(?P<at>[0-9A-F]{16})[0-9A-F]*")
_SECONDS_SHIFT = 32


def sources(
    database: AsyncDatabase[Document],
    *,
    images: Images = "wanted",
    collection: str = PLACES,
    clock: Clock | None = None,
) -> Callable[[Place], MongoSource]:
    """Makes a source for each reading of a place, in this database; see MongoSource."""

    def make(place: Place) -> MongoSource:
        return MongoSource(database, place, images=images, collection=collection, clock=clock)

    return make


class MongoSource:
    """Reads what was committed in one database, by PyMongo's own client.

    `place` is kept in `collection` of the same database where it is durable: the token of what was confirmed is
    written there at most every second, and when it is closed. `images` says what is told of a document
    beside its key: see Images. A transaction of several documents is one commit; whatever else is written is one
    each. A collection that is dropped or renamed is told as a truncate. One that is renamed to a wanted name,
    which is also how $out fills it, ends the reading with PositionLost: its documents are new, and none is told.
    """

    def __init__(
        self,
        database: AsyncDatabase[Document],
        place: Place,
        *,
        images: Images = "wanted",
        collection: str = PLACES,
        clock: Clock | None = None,
    ) -> None:
        self._database, self._images, self._name = database, images, place.name
        key = f"place:{place.service}:{place.name}"
        self._place = (
            MongoPlace(database, key, clock=clock or SystemClock(), collection=collection) if place.durable else None
        )
        self._anew = place.anew
        self._hidden = collection
        # What cannot be decoded would come again for ever: dates beyond Python's and broken texts come through.
        self._codec: CodecOptions[Document] = cast(
            "CodecOptions[Document]",
            database.codec_options.with_options(
                document_class=dict,
                datetime_conversion=DatetimeConversion.DATETIME_AUTO,
                unicode_decode_error_handler="replace",
            ),
        )
        self._session: AsyncClientSession | None = None
        self._scope = Scope(database.name, {})
        self._stage: Document = {}
        self._gathering = Gathering(self._scope, "")
        # The cursor, and the namespace that it is of.
        self._cursor: tuple[int, str] | None = None
        self._end: str = ""
        # The last position that was told, and the last that was confirmed.
        self._told: str | None = None
        self._confirmed: str | None = None
        self._under_way: set[asyncio.Timeout] = set()
        self._closed = False

    async def open(self, wants: Wants, since: Position | None) -> Position:
        """Begin to read, from what is kept, from `since`, or from now; the position from which nothing is missing."""
        self._check()
        self._scope = Scope.of(self._database.name, wants, hidden=(self._hidden,))
        token = await self._token(since)
        hello = await self._ask(self._database.client.admin.command("hello"))
        source = source_of(hello.get("setName"), sharded=hello.get("msg") == "isdbgrid")
        if source is None:
            raise FeedRefused(
                STORE,
                reason="it is no replica set, and only those tell their changes",
                mend="Start it with --replSet and initiate it, also where it is alone.",
            )
        self._gathering = Gathering(self._scope, source)
        self._stage = await self._images_stage()
        self._session = self._database.client.start_session(causal_consistency=False)
        await self._begin(token)
        return token if token is not None else self._end

    async def commits(self) -> AsyncIterator[Sequence[Commit]]:
        """What was committed, as much at once as has come; ends by a StoreError only."""
        if self._place is not None and self._anew:
            # Whoever asks for commits has begun anew, and goes on from here after whatever happens.
            await self._place.begin(self._end)
        while True:
            reply = await self._more()
            events, end = reply["nextBatch"], reply["postBatchResumeToken"]["_data"]
            over = not reply["id"]
            # Where a stream is over, its last token is of that stream alone; an event's own is good for any.
            ready = self._gathering.add(events, end=None if over else end)
            if ready:
                self._told = str(ready[-1].position)
                yield ready
            if self._gathering.replaced is not None:
                raise PositionLost(
                    STORE, place=self._name, reason=f"the collection {self._gathering.replaced} was replaced as a whole"
                )
            if over:
                # A collection or the database was dropped, which ends its stream; the next one begins after that.
                if end == self._end and not events:
                    raise StoreUnreachable(STORE, reason="it has ended the stream")
                await self._begin(end)
            else:
                self._end = end
                await self._settle(end)

    async def confirm(self, position: Position) -> None:
        """All up to here was taken care of; a durable place remembers it, written at most every second."""
        self._check()
        self._confirmed = str(position)
        if self._place is not None:
            await self._place.confirm(self._confirmed)

    async def close(self) -> None:
        """Let go of the cursor and the session, and write what is not written yet; twice is fine."""
        self._closed = True
        cursor, self._cursor = self._cursor, None
        session, self._session = self._session, None
        for limit in self._under_way:
            limit.reschedule(asyncio.get_running_loop().time())
        if self._place is not None:
            await self._place.close()
        if session is None:
            return
        # A server that is away has nothing to be told, and a client that was closed has told it.
        with suppress(errors.PyMongoError, TercetError, TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                if cursor is not None:
                    kill = {"killCursors": cursor[1], "cursors": [cursor[0]]}
                    await self._database.command(kill, session=session)
        with suppress(errors.PyMongoError, TercetError):
            await session.end_session()

    def _check(self) -> None:
        if self._closed:
            raise NotOpen("This feed of MongoDB", closed=True)

    async def _token(self, since: Position | None) -> str | None:
        """The token to go on from; None is from now."""
        if self._place is None or self._anew:
            return None if since is None or self._anew else self._checked(str(since))
        kept = await self._place.kept()
        known = [token for token in (kept, since) if isinstance(token, str)]
        if not known:
            raise PositionLost(STORE, place=self._name, reason="nothing is kept for it yet")
        # The place goes on by itself while nothing that is wanted happens, and `since` does not know of it.
        return self._checked(max(known))

    def _checked(self, token: str) -> str:
        if not _TOKEN.fullmatch(token):
            raise PositionLost(STORE, place=self._name, reason="the token is not one of MongoDB's")
        return token

    async def _images_stage(self) -> Document:
        """The options of the stream by which images of documents come, where any are wanted."""
        kinds = await self._collections()
        for name in self._scope.names:
            if kinds is not None and (kind := kinds.get(name, ("collection", False))[0]) != "collection":
                raise FeedRefused(
                    STORE, reason=f"{name} is a {kind}, which has no changes", mend="Follow what it is made of."
                )
        images = self._images
        if images == "keys" or (images == "wanted" and self._scope.only_keys):
            return {}
        stored = {name for name, (_, keeps) in (kinds or {}).items() if keeps}
        names = self._scope.names if not self._scope.every else tuple(kinds or ())
        # Who may not ask is believed.
        bare = [name for name in names if name not in stored and name != self._hidden] if kinds is not None else []
        if images == "stored" and bare:
            raise FeedRefused(
                STORE,
                reason=f"the collection {bare[0]} keeps no images of its documents",
                mend=f"Run collMod on {bare[0]} with changeStreamPreAndPostImages: {{enabled: true}}.",
            )
        if images == "stored" or (images == "wanted" and stored and not (bare or self._scope.every)):
            return {"fullDocument": "whenAvailable", "fullDocumentBeforeChange": "whenAvailable"}
        before = {"fullDocumentBeforeChange": "whenAvailable"} if images == "wanted" and stored else {}
        return {"fullDocument": "updateLookup", **before}

    async def _collections(self) -> Mapping[str, tuple[str, bool]] | None:
        """What there is, by name: its kind, and whether it keeps images; None where the login may not ask."""
        named: Document = {} if self._scope.every else {"name": {"$in": list(self._scope.names)}}
        try:
            cursor = await self._ask(self._database.list_collections(filter=named))
            found = await self._ask(cursor.to_list())
        except FeedRefused:
            return None
        return {
            one["name"]: (
                one.get("type", "collection"),
                bool(one.get("options", {}).get("changeStreamPreAndPostImages", {}).get("enabled")),
            )
            for one in found
            if not one["name"].startswith("system.")
        }

    async def _begin(self, token: str | None) -> None:
        """Open a stream after this token; it tells nothing yet."""
        # Not resumeAfter: only this goes on after the end of a collection, too.
        after = {} if token is None else {"startAfter": {"_data": token}}
        command: Document = {
            # A collection's own stream asks for less rights; of a database it is one for all.
            "aggregate": self._scope.single or 1,
            "pipeline": [{"$changeStream": {**after, **self._stage}}, *self._scope.stages()],
            "cursor": {"batchSize": 0},
        }
        reply = await self._ask(self._command(command), token=token is not None)
        cursor = reply["cursor"]
        self._cursor = (cursor["id"], cursor["ns"].partition(".")[2])
        self._end = cursor["postBatchResumeToken"]["_data"]
        if token is not None:
            self._know(token, reply)

    def _know(self, token: str, reply: Mapping[str, Any]) -> None:
        """A token of a time to come is of another server, and its stream would be silent until then."""
        found, cluster = _TOKEN.fullmatch(token), reply.get("$clusterTime")
        if found is None or cluster is None:
            return
        now = cluster["clusterTime"]
        if int(found["at"], 16) > now.time << _SECONDS_SHIFT | now.inc:
            raise PositionLost(STORE, place=self._name, reason="the token is from a time that the server has not seen")

    async def _more(self) -> Mapping[str, Any]:
        """The next events, as soon as there are any, or none when it has waited long enough."""
        self._check()
        if self._cursor is None:
            raise NotOpen("This feed of MongoDB", closed=False)
        cursor, collection = self._cursor
        wait = _NO_WAIT_MS if self._gathering.holds else round(WAIT_SECONDS * 1000)
        command: Document = {"getMore": cursor, "collection": collection, "batchSize": BATCH, "maxTimeMS": wait}
        reply = await self._ask(self._command(command), token=True)
        return cast("Mapping[str, Any]", reply["cursor"])

    async def _settle(self, end: str) -> None:
        """Remember how far this is, where that is due."""
        if self._place is None:
            return
        await self._place.settle()
        if self._told == self._confirmed and not self._gathering.holds:
            await self._place.idle(end)

    def _command(self, command: Document) -> Any:
        return self._database.command(command, session=self._session, codec_options=self._codec)

    async def _ask(self, work: Any, *, token: bool = False) -> Any:
        try:
            async with asyncio.timeout(None) as closing:
                self._under_way.add(closing)
                try:
                    return await asked(work, place=self._name, token=token, within=WAIT_SECONDS + PATIENCE_SECONDS)
                finally:
                    self._under_way.discard(closing)
        except TimeoutError:
            # Only close() sets this limit.
            self._check()
            raise
