"""PostgreSQL's changes over a replication connection: one reading of one slot."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg import sql

from tercet.changes.change import Wants
from tercet.changes.feeding.place import NO_SLOT
from tercet.changes.pgoutput import SETTINGS, XLOG_DATA, XLOG_HEADER, Decoder, lsn_read
from tercet.changes.stream.postgres_refusal import SlotBusy, publication_missing
from tercet.changes.stream.standby import Standby
from tercet.changes.stream.statements import STATEMENTS
from tercet.errors import FeedRefused, PositionLost, StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from tercet.changes.change import Commit, Position
    from tercet.changes.feeding.place import Place
    from tercet.changes.stream.postgres_line import Door, Line

# Frames that are read in one wake-up: some milliseconds of decoding, after which others have their turn.
FRAMES_AT_ONCE = 1000
# Changes that are handed on at once, unless one part of a transaction has more.
CHANGES_AT_ONCE = 10_000
# A process that was killed holds its slot until the server has noticed, which takes a moment on one machine.
BUSY_SECONDS = 0.25
# How long the server is given to end a stream in order, before the connection is closed as it is.
END_SECONDS = 5.0

# The messages after which no transaction is under way: Commit, and the ends of what is streamed.
_ENDS = frozenset(b"CEcA")
# Ours ends by itself, and waits as long as it takes: for transactions that were begun before, for a resync.
_PATIENT = {"statement_timeout": "0", "idle_session_timeout": "0", "lock_timeout": "0"}

_log = logging.getLogger("tercet.changes")


@dataclass(slots=True)
class _Opened:
    """What is known of the server once it is connected to."""

    line: Line
    wants: Wants
    # One that has read nothing, until it is known what the server counts by.
    decoder: Decoder = field(default_factory=lambda: Decoder(Wants(), source="", near=0))
    # The server's wal_sender_timeout, and whether its slots can be kept in step by a replica.
    timeout: float = 0.0
    failover: bool = False
    # Where the slot stood.
    position: int = 0


class PostgresSource:
    """Reads one slot once: a temporary one that begins now, or a durable one where it stands.

    A durable one that is begun anew is temporary until `commits` is asked for: should this process die before its
    listener has begun anew, the next one finds no slot, and knows that it has to.
    """

    def __init__(self, door: Door, place: Place, slot: str, *, publication: str, streaming: bool = False) -> None:
        self._door, self._place = door, place
        self._slot = slot
        self._publication = publication
        self._streaming = streaming
        self._opened: _Opened | None = None
        self._standby: Standby | None = None
        # The temporary slot, while there is one.
        self._passing = ""
        self._creating = False
        # The kind of the last message.
        self._last = b"C"[0]

    async def open(self, wants: Wants, since: Position | None) -> Position:  # noqa: ARG002 - the slot itself knows
        """Begin to read where the slot stands, or now. `since` is not asked: after a failover it may mean nothing."""
        line = await self._door.line(replication=True, place=self._place.name)
        # Known from here on, so that close() ends it whatever happens.
        self._opened = opened = _Opened(line, wants)
        ((system, *_),) = await line.query(STATEMENTS["identify"])
        (facts,) = await line.query(STATEMENTS["facts"], {"publication": self._publication})
        self._check(facts)
        for name, value in {**SETTINGS, **_PATIENT}.items():
            await line.query(STATEMENTS["settle"], {"name": name, "value": value})
        _, timeout, snapshot, _, failover = facts
        opened.timeout, opened.failover = int(timeout or 0) / 1000, failover == "t"
        near = int(str(snapshot).split(":")[1])
        opened.decoder = Decoder(wants, source=f"pg:{system}", near=near, protocol=2 if self._streaming else 1)
        if self._place.durable and not self._place.anew:
            opened.position = await self._standing(line)
            await self._begin(opened)
        else:
            if self._place.durable:
                await _patiently(line, "drop", self._place.slot, {"slot": self._place.slot})
            opened.position = await self._create(line)
        return opened.position

    async def commits(self) -> AsyncIterator[Sequence[Commit]]:
        """What was committed; the first call says that the listener knows from where on it is told."""
        opened = self._opened
        if opened is None:
            raise RuntimeError("a source is read after it was opened")
        standby = self._standby or await self._streamed(opened)
        while True:
            standby.reading(True)
            frames = await opened.line.frames(FRAMES_AT_ONCE)
            standby.reading(False)
            for commits in self._decoded(frames, opened.decoder, standby):
                yield commits

    async def confirm(self, position: Position) -> None:
        """All up to here was taken care of; the server is told so soon after."""
        if self._standby is not None:
            self._standby.confirm(int(position))

    async def close(self) -> None:
        """End the stream, and with it a temporary slot; twice is fine."""
        opened, self._opened = self._opened, None
        standby, self._standby = self._standby, None
        if opened is None:
            return
        try:
            if standby is not None:
                standby.close()
            opened.decoder.close()
            async with asyncio.timeout(END_SECONDS):
                await self._part(opened.line)
        except (StoreError, TimeoutError):
            # The connection is closed as it is; the server ends what was temporary when it notices.
            pass
        finally:
            opened.line.close()

    async def _part(self, line: Line) -> None:
        """Leave nothing behind on the server."""
        if self._creating:
            # Or it would wait on, for transactions of others.
            await line.cancel()
        await line.end()
        if self._passing:
            await line.query(STATEMENTS["drop_passing"], {"slot": sql.Identifier(self._passing)})

    def _check(self, facts: Sequence[str | None]) -> None:
        if facts[0] != "logical":
            mend = "Set wal_level to logical and restart it (ALTER SYSTEM SET wal_level = 'logical')."
            raise FeedRefused("postgres", reason=f"its wal_level is {facts[0]}", mend=mend)
        if facts[3] != "t":
            raise publication_missing(f"the publication {self._publication!r} does not exist in this database")

    async def _standing(self, line: Line) -> int:
        """Where the durable slot stands; raises PositionLost where there is none that can be read on."""
        rows = await line.query(STATEMENTS["slot"], {"slot": self._place.slot})
        if not rows:
            raise PositionLost("postgres", place=self._place.name, reason=NO_SLOT)
        ours, kind, plugin, _pid, wal, position = rows[0]
        if ours != "t" or kind != "logical" or plugin != "pgoutput":
            raise FeedRefused(
                "postgres",
                reason=f"the slot {self._place.slot} is another database's, or somebody else's",
                mend="Give the place, or the service (application_name), another name.",
            )
        if wal == "lost":
            raise PositionLost("postgres", place=self._place.name, reason="the server has cut its slot off")
        return lsn_read(position or "0/0")

    async def _create(self, line: Line) -> int:
        """A temporary slot from now on. It waits for every transaction that writes and was begun before."""
        self._creating, self._passing = True, self._slot
        ((_, position, *_),) = await line.query(STATEMENTS["create_passing"], {"slot": sql.Identifier(self._slot)})
        self._creating = False
        return lsn_read(position or "0/0")

    async def _streamed(self, opened: _Opened) -> Standby:
        """Stream from the temporary slot, or make it a durable one first."""
        if self._place.durable:
            slot = self._place.slot
            await opened.line.query(STATEMENTS["keep"], {"passing": self._passing, "slot": slot})
            await opened.line.query(STATEMENTS["drop_passing"], {"slot": sql.Identifier(self._passing)})
            self._passing = ""
            if opened.failover:
                await opened.line.query(STATEMENTS["follow_failover"], {"slot": sql.Identifier(slot)})
        return await self._begin(opened)

    async def _begin(self, opened: _Opened) -> Standby:
        line, slot = opened.line, self._passing or self._place.slot
        name = "stream_messages" if opened.wants.prefixes else "stream"
        if self._streaming:
            name += "_early"
        # The list of publications is itself a text of names.
        publications = sql.Identifier(self._publication).as_string()
        await _patiently(line, name, slot, {"slot": sql.Identifier(slot), "publications": publications})
        self._standby = Standby(line.send, line.fail, line.read_at, timeout_seconds=opened.timeout, at=opened.position)
        return self._standby

    def _decoded(self, frames: Sequence[bytes], decoder: Decoder, standby: Standby) -> Iterator[list[Commit]]:
        feed = decoder.feed
        found: list[Commit] = []
        weight = 0
        for frame in frames:
            if frame[0] != XLOG_DATA:
                standby.keepalive(frame, between=self._last in _ENDS)
                continue
            self._last = frame[XLOG_HEADER]
            for commit in feed(frame, XLOG_HEADER):
                standby.handed(int(commit.position))
                found.append(commit)
                weight += len(commit.changes)
                if weight >= CHANGES_AT_ONCE:
                    yield found
                    found, weight = [], 0
        if found:
            yield found
        standby.reached(decoder.position)


async def _patiently(line: Line, name: str, slot: str, values: dict[str, object]) -> None:
    """Run what needs the slot for itself; one that another process still holds is waited for."""
    said = False
    while True:
        try:
            if name == "drop":
                await line.query(STATEMENTS[name], values)
            else:
                await line.stream(STATEMENTS[name], values)
        except SlotBusy:
            if not said:
                said = True
                _log.info("the slot %s is still read by another process, and is waited for", slot)
            await asyncio.sleep(BUSY_SECONDS)
        else:
            return
