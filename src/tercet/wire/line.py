"""One connection: what was sent and not yet answered stands in a queue, and each reply belongs to its head."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Protocol

from tercet.wire.port import Refusal

if TYPE_CHECKING:
    from tercet.wire.batch import Ask
    from tercet.wire.port import Edge, Opened, Pushed

_log = logging.getLogger("tercet.wire")

# What is read in one go; a reply of several MGETs of a tick fits.
BUFFER_BYTES = 64 * 1024


class Owner(Protocol):
    """Whoever uses a line is told what is not an answer."""

    def refused(self, line: Line, ask: Ask, refusal: Refusal) -> None:
        """The server has answered this with an error."""
        ...

    def pushed(self, line: Line, message: Pushed) -> None:
        """The server has sent something that nobody asked for."""
        ...

    def resumed(self, line: Line) -> None:
        """The line takes commands again."""
        ...

    def lost(self, line: Line) -> None:
        """The line has ended; what it still expects will never be answered."""
        ...


class Line(asyncio.BufferedProtocol):
    """A connection with its queue of expected replies; it is the transport's protocol."""

    def __init__(self, owner: Owner, edge: Edge) -> None:
        self._owner = owner
        self._reader = edge.reader()
        self._pushed, self._nothing = edge.pushed, edge.nothing
        # A view, for asyncio's TLS cuts it into pieces and writes into them: those of a bytearray are copies.
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        loop = asyncio.get_running_loop()
        self._time = loop.time
        self._opened: Opened | None = None
        self.expected: deque[Ask] = deque()
        # Told to wait by the transport: the server reads more slowly than we write.
        self.paused = False
        self.closed = False
        self.gone: asyncio.Future[None] = loop.create_future()
        # The server's name for this connection, and when it was last heard, how often it was spoken to.
        self.client_id = 0
        self.heard_at = 0.0
        self.writes = 0
        self.commands = 0

    def take(self, opened: Opened) -> None:
        """Speak through this transport, which has this line as its protocol already."""
        self._opened = opened
        opened.transport.set_write_buffer_limits(high=1 << 20)

    def send(self, asks: list[Ask]) -> None:
        """Everything in one write; the replies are expected in this order."""
        if self._opened is None:
            raise RuntimeError("a line speaks after it was taken")
        self.expected.extend(asks)
        self.writes += 1
        self.commands += len(asks)
        payload = asks[0].payload if len(asks) == 1 else b"".join([ask.payload for ask in asks])
        self._opened.transport.write(payload)

    def abort(self) -> None:
        """End it now; twice is fine."""
        self.closed = True
        if self._opened is not None:
            self._opened.transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the transport may write to."""
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come: each whole reply goes to whom it belongs."""
        self.heard_at = self._time()
        expected, pushed, nothing = self.expected, self._pushed, self._nothing
        reader = self._reader
        try:
            reader.feed(self._buffer, 0, nbytes)
            while not self.closed and (reply := reader.gets()) is not nothing:
                kind = type(reply)
                if kind is pushed:
                    self._owner.pushed(self, reply)
                elif kind is Refusal:
                    self._owner.refused(self, expected.popleft(), reply)
                else:
                    expected.popleft().answer(reply)
        except Exception:  # noqa: BLE001 - whatever it is, no reply can be trusted to be its caller's from here on
            _log.exception("a connection to redis is given up: what it sent cannot be read")
            self.abort()

    def eof_received(self) -> None:
        """The server has ended it; the transport closes itself."""

    def pause_writing(self) -> None:
        """The transport has more than it can send."""
        self.paused = True

    def resume_writing(self) -> None:
        """The transport has sent what it had."""
        self.paused = False
        self._owner.resumed(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is no more."""
        del exc
        self.closed = True
        if not self.gone.done():
            self.gone.set_result(None)
        self._owner.lost(self)
