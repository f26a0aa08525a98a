"""The decoder of pgoutput: payloads in, commits out.

    decoder = Decoder(wants, source="pg:7412…", near=xmax)
    for frame in frames:                                  # as bytes, from a replication connection
        if frame[0] == XLOG_DATA:
            for commit in decoder.feed(frame, XLOG_HEADER):
                ...
    for payload in rows:                                  # or from pg_logical_slot_get_binary_changes
        for commit in decoder.feed(payload):
            ...

One decoder reads one connection from its beginning: PostgreSQL describes each table once a connection, through SQL once
a call. After an error, and for a new connection, make a new one; for a further call by SQL the same one goes on.

A Commit is made for each transaction that has said something that is wanted. Of others nothing is handed on, but
`decoder.position` goes past them: it may be confirmed as soon as all that was handed on was taken care of. A large
transaction comes in parts (`last=False`), whose position is the one before it: going on from there, all of it comes
again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias

from tercet.changes.change import Commit
from tercet.changes.pgoutput import message as kinds
from tercet.changes.pgoutput.catalog import Catalog
from tercet.changes.pgoutput.counts import Widening, instant
from tercet.changes.pgoutput.message import IN_STREAM, broken, kind_text
from tercet.changes.pgoutput.stream import STREAM_BYTES, Streams
from tercet.changes.pgoutput.transaction import PART_CHANGES, Commits, Transaction
from tercet.changes.pgoutput.wanted import Wanted
from tercet.witness import Moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from tercet.changes.change import Wants
    from tercet.changes.pgoutput.stream import Stream

_Handler: TypeAlias = Callable[[bytes, int], Iterable[Commit]]

# Protocol 4 tells more of an abort, where changes are streamed in parallel.
_PROTOCOL_STREAMS = 2
_PROTOCOL_PARALLEL = 4


class Decoder:
    """Makes commits of pgoutput's messages; of what nobody wants it reads no more than the length."""

    __slots__ = (
        "_between",
        "_catalog",
        "_handlers",
        "_inside",
        "_part",
        "_position",
        "_protocol",
        "_source",
        "_streaming",
        "_streams",
        "_transaction",
        "_wide",
    )

    def __init__(
        self,
        wants: Wants,
        *,
        source: str,
        near: int,
        protocol: int = 1,
        part: int = PART_CHANGES,
        memory: int = STREAM_BYTES,
    ) -> None:
        """A decoder at the beginning of a connection.

        - `source`: the moments' own, "pg:" and the server's system identifier;
        - `near`: any 64-bit transaction id of the server's present, such as the xmax of pg_current_snapshot(); by it
          the 32 bits of the protocol are widened;
        - `protocol`: 1; 2 where the connection has asked for streaming "on"; 4 where it has asked for "parallel";
        - `part`: a transaction of more changes is handed on in parts;
        - `memory`: so many bytes of transactions that still run are held; what is beyond goes to files.
        """
        self._source, self._protocol, self._part = source, protocol, part
        self._wide = Widening(near)
        self._catalog = Catalog(Wanted(wants))
        self._streams = Streams(self._catalog, memory)
        self._transaction = Transaction(self._catalog, part)
        self._position = 0
        self._inside = self._handlers_inside()
        self._between = self._handlers_between()
        self._streaming = self._handlers_streaming()
        self._handlers: Mapping[int, _Handler] = self._between

    @property
    def position(self) -> int:
        """All that was committed before here has been handed on, also where nobody wanted it; 0 before the first."""
        return self._position

    def feed(self, data: bytes, at: int = 0) -> Iterable[Commit]:
        """Read the message that begins there; what is to be handed on now, to be read to its end before the next one.

        A large streamed transaction is read from its file while this is: it is never in memory as a whole.
        Raises FeedBroken.
        """
        try:
            handler = self._handlers.get(data[at])
            if handler is None:
                raise self._unexpected(data[at])
            return handler(data, at + 1)
        except (IndexError, struct.error) as fault:
            raise _short(data, at) from fault

    def close(self) -> None:
        """Let go of what transactions that still run have left in files; twice is fine."""
        self._streams.close()

    def _handlers_between(self) -> dict[int, _Handler]:
        """What comes between transactions."""
        handlers: dict[int, _Handler] = {
            kinds.BEGIN: self._begin,
            kinds.RELATION: self._relation,
            kinds.TYPE: self._type,
            kinds.MESSAGE: self._message_outside,
        }
        if self._protocol >= _PROTOCOL_STREAMS:
            handlers |= {
                kinds.STREAM_START: self._stream_start,
                kinds.STREAM_COMMIT: self._stream_commit,
                kinds.STREAM_ABORT: self._stream_abort,
            }
        return handlers

    def _handlers_inside(self) -> dict[int, _Handler]:
        """What comes between Begin and Commit."""
        return {
            kinds.INSERT: self._transaction.insert,
            kinds.UPDATE: self._transaction.update,
            kinds.DELETE: self._transaction.delete,
            kinds.TRUNCATE: self._transaction.truncate,
            kinds.MESSAGE: self._transaction.message,
            kinds.RELATION: self._relation,
            kinds.TYPE: self._type,
            kinds.ORIGIN: self._origin,
            kinds.COMMIT: self._commit,
        }

    def _handlers_streaming(self) -> dict[int, _Handler]:
        """What comes between Stream Start and Stream Stop."""
        kept = (kinds.INSERT, kinds.UPDATE, kinds.DELETE, kinds.TRUNCATE, kinds.MESSAGE, kinds.RELATION, kinds.TYPE)
        handlers: dict[int, _Handler] = dict.fromkeys(kept, self._keep)
        return handlers | {kinds.ORIGIN: self._origin, kinds.STREAM_STOP: self._stream_stop}

    def _begin(self, data: bytes, at: int) -> Commits:
        position, when, xid = kinds.BEGIN_FACTS.unpack_from(data, at)
        self._transaction.begin(Moment(self._source, self._wide(xid)), instant(when), position)
        self._handlers = self._inside
        return ()

    def _commit(self, data: bytes, at: int) -> Commits:
        _flags, _start, end, when = kinds.COMMIT_FACTS.unpack_from(data, at)
        self._handlers = self._between
        self._position = end
        return self._transaction.end(end, instant(when))

    def _relation(self, data: bytes, at: int) -> Commits:
        self._catalog.relation(data, at)
        return ()

    def _type(self, data: bytes, at: int) -> Commits:
        self._catalog.type(data, at)
        return ()

    def _origin(self, _data: bytes, _at: int) -> Commits:
        return ()

    def _message_outside(self, data: bytes, at: int) -> Commits:
        """A message of no transaction is not handed on: it says nothing that was committed.

        PostgreSQL sends it as soon as it is written, also when whoever wrote it rolls back. But it tells how far the
        log was read.
        """
        flags, position = kinds.MESSAGE_FACTS.unpack_from(data, at)
        if flags & kinds.TRANSACTIONAL:
            raise broken("a message of a transaction, outside of it")
        self._position = max(self._position, position)
        return ()

    def _stream_start(self, data: bytes, at: int) -> Commits:
        xid, first = kinds.STREAM_START_FACTS.unpack_from(data, at)
        self._streams.start(xid, first=bool(first))
        self._handlers = self._streaming
        return ()

    def _stream_stop(self, _data: bytes, _at: int) -> Commits:
        self._streams.stop()
        self._handlers = self._between
        return ()

    def _keep(self, data: bytes, at: int) -> Commits:
        self._streams.keep(data, at)
        return ()

    def _stream_abort(self, data: bytes, at: int) -> Commits:
        xid, part = kinds.STREAM_ABORT_FACTS.unpack_from(data, at)
        more = len(data) - at - kinds.STREAM_ABORT_FACTS.size
        if more and not (self._protocol >= _PROTOCOL_PARALLEL and more == kinds.STREAM_ABORT_MORE):
            raise broken(f"a Stream Abort with {more} bytes that protocol {self._protocol} does not know")
        self._streams.undo(xid, part)
        return ()

    def _stream_commit(self, data: bytes, at: int) -> Iterable[Commit]:
        xid, _flags, position, end, when = kinds.STREAM_COMMIT_FACTS.unpack_from(data, at)
        stream = self._streams.take(xid)
        return self._replayed(stream, Moment(self._source, self._wide(xid)), instant(when), (position, end))

    def _replayed(self, stream: Stream, moment: Moment, when: datetime, places: tuple[int, int]) -> Iterator[Commit]:
        """What a stream holds, read as a transaction of its own; its tables are as it has described them."""
        catalog = self._catalog.fork()
        transaction = Transaction(catalog, self._part)
        read: dict[int, Callable[[bytes, int], Commits]] = {
            kinds.INSERT: transaction.insert,
            kinds.UPDATE: transaction.update,
            kinds.DELETE: transaction.delete,
            kinds.TRUNCATE: transaction.truncate,
            kinds.MESSAGE: transaction.message,
        }
        transaction.begin(moment, when, places[0])
        payload = b""
        try:
            for payload in stream.payloads():
                if payload[0] == kinds.RELATION:
                    catalog.relation(payload, 1 + IN_STREAM)
                else:
                    yield from read[payload[0]](payload, 1 + IN_STREAM)
            self._catalog.adopt(catalog, stream.told)
            self._position = places[1]
            yield from transaction.end(places[1], when)
        except (IndexError, struct.error) as fault:
            raise _short(payload, 0) from fault
        finally:
            stream.close()

    def _unexpected(self, kind: int) -> Exception:
        if self._handlers is self._inside:
            where = "within a transaction"
        elif self._handlers is self._streaming:
            where = "within a stream"
        else:
            where = "between transactions"
        return broken(f"a message of the kind {kind_text(kind)} {where} (protocol {self._protocol})")


def _short(data: bytes, at: int) -> Exception:
    if at >= len(data):
        return broken("an empty message")
    return broken(f"a message of the kind {kind_text(data[at])} that ends too early, after {len(data) - at} bytes")
