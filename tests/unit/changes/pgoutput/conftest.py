"""A server's side of pgoutput: writes every message as PostgreSQL's manual lays it out."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from tercet.changes.change import Commit, Wants
from tercet.changes.pgoutput import Decoder

EVERYTHING = Wants({"*": None}, prefixes=("",))


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


class Writer:
    """Writes messages; `part` is the transaction that a message of a stream begins with."""

    everything = EVERYTHING
    epoch = datetime(2000, 1, 1, tzinfo=UTC)

    def begin(self, xid: int, *, lsn: int = 100, at: int = 0) -> bytes:
        """Begin."""
        return b"B" + struct.pack(">QqI", lsn, at, xid)

    def commit(self, *, lsn: int = 100, end: int = 150, at: int = 0) -> bytes:
        """Commit."""
        return b"C" + struct.pack(">BQQq", 0, lsn, end, at)

    def origin(self, name: str) -> bytes:
        """Origin."""
        return b"O" + struct.pack(">Q", 7) + _text(name)

    def relation(
        self,
        oid: int,
        table: str,
        columns: Sequence[tuple[str, int]],
        *,
        schema: str = "public",
        key: Sequence[str] = ("id",),
        identity: str = "d",
        part: int | None = None,
    ) -> bytes:
        """Relation: its columns are names and numbers of types."""
        head = struct.pack(">I", oid) + _text(schema) + _text(table) + identity.encode()
        rest = b"".join(bytes([name in key]) + _text(name) + struct.pack(">Ii", number, -1) for name, number in columns)
        return b"R" + self._part(part) + head + struct.pack(">H", len(columns)) + rest

    def type(self, oid: int, name: str, *, schema: str = "public", part: int | None = None) -> bytes:
        """Type."""
        return b"Y" + self._part(part) + struct.pack(">I", oid) + _text(schema) + _text(name)

    def insert(self, oid: int, *values: object, part: int | None = None) -> bytes:
        """Insert."""
        return b"I" + self._part(part) + struct.pack(">I", oid) + b"N" + self._tuple(values)

    def update(
        self,
        oid: int,
        *values: object,
        key: Sequence[object] | None = None,
        old: Sequence[object] | None = None,
        part: int | None = None,
    ) -> bytes:
        """Update, with the old row's identity, the old row whole, or neither."""
        before = b""
        if key is not None:
            before = b"K" + self._tuple(key)
        if old is not None:
            before = b"O" + self._tuple(old)
        return b"U" + self._part(part) + struct.pack(">I", oid) + before + b"N" + self._tuple(values)

    def delete(
        self,
        oid: int,
        *,
        key: Sequence[object] | None = None,
        old: Sequence[object] | None = None,
        part: int | None = None,
    ) -> bytes:
        """Delete."""
        before = b"K" + self._tuple(key) if key is not None else b"O" + self._tuple(old or ())
        return b"D" + self._part(part) + struct.pack(">I", oid) + before

    def truncate(self, *oids: int, options: int = 0, part: int | None = None) -> bytes:
        """Truncate."""
        return b"T" + self._part(part) + struct.pack(f">IB{len(oids)}I", len(oids), options, *oids)

    def message(
        self, prefix: str, content: bytes, *, transactional: bool = True, lsn: int = 90, part: int | None = None
    ) -> bytes:
        """Message."""
        head = struct.pack(">BQ", transactional, lsn) + _text(prefix)
        return b"M" + self._part(part) + head + struct.pack(">I", len(content)) + content

    def stream_start(self, xid: int, *, first: bool) -> bytes:
        """Stream Start."""
        return b"S" + struct.pack(">IB", xid, first)

    def stream_stop(self) -> bytes:
        """Stream Stop."""
        return b"E"

    def stream_commit(self, xid: int, *, lsn: int = 100, end: int = 150, at: int = 0) -> bytes:
        """Stream Commit."""
        return b"c" + struct.pack(">IBQQq", xid, 0, lsn, end, at)

    def stream_abort(self, xid: int, part: int, *, more: bytes = b"") -> bytes:
        """Stream Abort."""
        return b"A" + struct.pack(">II", xid, part) + more

    def decoder(
        self,
        wants: Wants = EVERYTHING,
        *,
        near: int = 1000,
        protocol: int = 1,
        part: int = 10_000,
        memory: int = 1 << 20,
    ) -> Decoder:
        """A decoder near transaction 1000."""
        return Decoder(wants, source="pg:1", near=near, protocol=protocol, part=part, memory=memory)

    def read(self, decoder: Decoder, *payloads: bytes) -> list[Commit]:
        """All that is handed on."""
        return [commit for payload in payloads for commit in decoder.feed(payload)]

    def _part(self, part: int | None) -> bytes:
        return b"" if part is None else struct.pack(">I", part)

    def _tuple(self, values: Sequence[object]) -> bytes:
        return struct.pack(">H", len(values)) + b"".join(map(self._value, values))

    def _value(self, value: object) -> bytes:
        if value is None:
            return b"n"
        if value is ...:
            return b"u"
        text = value if isinstance(value, bytes) else str(value).encode()
        return b"t" + struct.pack(">I", len(text)) + text


@pytest.fixture(scope="session")
def server() -> Writer:
    """A server that says what it is told to say."""
    return Writer()
