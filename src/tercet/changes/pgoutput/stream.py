"""Transactions that are sent while they still run: kept as they came until they commit."""

from __future__ import annotations

import struct
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

from tercet.changes.pgoutput.message import (
    IN_STREAM,
    MESSAGE,
    MESSAGE_FACTS,
    NUMBER,
    RELATION,
    TRUNCATE,
    TYPE,
    broken,
    string,
)
from tercet.changes.pgoutput.relation import relation_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.changes.pgoutput.catalog import Catalog

# All of them together hold so much in memory; beyond, the largest goes to a file. PostgreSQL streams what is larger
# than its logical_decoding_work_mem, 64 MB by default: most of it is going to be in a file anyway.
STREAM_BYTES = 32 << 20

# A payload costs its length and about so much more in memory.
_OVERHEAD = 100

# In the file: which part of the transaction has said it, and how long it is.
_RECORD = struct.Struct(">II")


class Stream:
    """One transaction that still runs: what it has said, and which of its parts were undone."""

    __slots__ = ("_file", "_payloads", "_undone", "held", "told", "unwanted")

    def __init__(self) -> None:
        self._payloads: list[tuple[int, bytes]] = []
        self._file: IO[bytes] | None = None
        self._undone: set[int] = set()
        # The bytes that it holds in memory.
        self.held = 0
        # The tables it has described, with the number of the description; and those of them that nobody wants.
        self.told: dict[int, int] = {}
        self.unwanted: set[int] = set()

    def keep(self, part: int, payload: bytes) -> int:
        """Keep what a part of it says; how much more memory it holds now."""
        self._payloads.append((part, payload))
        size = len(payload) + _OVERHEAD
        self.held += size
        return size

    def undo(self, part: int) -> None:
        """A subtransaction was rolled back: what it said does not count."""
        self._undone.add(part)

    def spill(self) -> None:
        """Move what it holds to its file, which nobody else can open and which is gone with it."""
        try:
            if self._file is None:
                self._file = TemporaryFile(prefix="tercet-stream-")  # noqa: SIM115 - closed with the stream
            for part, payload in self._payloads:
                self._file.write(_RECORD.pack(part, len(payload)))
                self._file.write(payload)
            self._file.flush()
        except OSError as fault:
            raise broken(f"a transaction too large to be kept: {fault.strerror}") from fault
        self._payloads.clear()
        self.held = 0

    def payloads(self) -> Iterator[bytes]:
        """All that counts, in order; what describes tables counts always."""
        for part, payload in self._all():
            if part not in self._undone or payload[0] == RELATION:
                yield payload

    def close(self) -> None:
        """Let go of the file."""
        self._payloads.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _all(self) -> Iterator[tuple[int, bytes]]:
        if self._file is not None:
            self._file.seek(0)
            while record := self._file.read(_RECORD.size):
                part, size = _RECORD.unpack(record)
                yield part, self._file.read(size)
        yield from self._payloads


class Streams:
    """All transactions that are sent while they still run, within one bound of memory."""

    __slots__ = ("_bound", "_catalog", "_current", "_held", "_open")

    def __init__(self, catalog: Catalog, bound: int) -> None:
        self._catalog, self._bound = catalog, bound
        self._open: dict[int, Stream] = {}
        self._current: Stream | None = None
        self._held = 0

    def start(self, xid: int, *, first: bool) -> None:
        """What comes now is said by this transaction."""
        if first:
            # Known already where the log is read again from an earlier place: by each call, through SQL.
            self._drop(xid)
            self._open[xid] = Stream()
        elif xid not in self._open:
            raise broken(f"more of the stream of transaction {xid}, whose beginning was not sent")
        self._current = self._open[xid]

    def stop(self) -> None:
        """Enough of it for now."""
        self._current = None

    def keep(self, data: bytes, at: int) -> None:
        """Keep a message of the transaction whose turn it is; what nobody wants is not kept."""
        stream = self._current
        if stream is None:
            raise broken("a change of a stream, outside of any")
        (part,) = NUMBER.unpack_from(data, at)
        if self._counts(stream, data, at + IN_STREAM, data[at - 1]):
            self._held += stream.keep(part, data[at - 1 :])
            if self._held > self._bound:
                self._spill()

    def undo(self, xid: int, part: int) -> None:
        """A transaction was rolled back, or a part of it; of one that is not known nothing was ever sent."""
        if xid == part:
            self._drop(xid)
        elif xid in self._open:
            self._open[xid].undo(part)

    def take(self, xid: int) -> Stream:
        """It is committed; whoever takes it closes it."""
        stream = self._open.pop(xid, None)
        if stream is None:
            raise broken(f"the commit of transaction {xid}, of which nothing was sent")
        self._held -= stream.held
        return stream

    def close(self) -> None:
        """Let go of all of them."""
        while self._open:
            self._open.popitem()[1].close()
        self._current, self._held = None, 0

    def _drop(self, xid: int) -> None:
        stream = self._open.pop(xid, None)
        if stream is not None:
            self._held -= stream.held
            stream.close()

    def _counts(self, stream: Stream, data: bytes, at: int, kind: int) -> bool:
        """Whether a message has to be kept; what it says of types and tables is noted."""
        if kind == TYPE:
            # A type's number never gets another meaning: it holds at once.
            self._catalog.type(data, at)
            return False
        if kind == RELATION:
            number, schema, table, _ = relation_name(data, at)
            stream.told[number] = self._catalog.tell()
            if self._catalog.wanted.columns(schema, table, ()) is None:
                stream.unwanted.add(number)
            else:
                stream.unwanted.discard(number)
            return True
        if kind == MESSAGE:
            return self._catalog.wanted.message(string(data, at + MESSAGE_FACTS.size)[0])
        return kind == TRUNCATE or NUMBER.unpack_from(data, at)[0] not in stream.unwanted

    def _spill(self) -> None:
        largest = max(self._open.values(), key=lambda stream: stream.held)
        self._held -= largest.held
        largest.spill()
