"""A line that can be cut: between a process and its server, at any moment, in either direction."""

from __future__ import annotations

import asyncio
import contextlib

CHUNK_BYTES = 65_536


class Proxy:
    """Forwards a port to another, until it is cut, or made to keep back what goes one way or both."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._cut = False
        self._there = asyncio.Event()
        self._back = asyncio.Event()
        self.heal()
        self.port = 0

    async def open(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Forward no more."""
        self.cut()
        if self._server is not None:
            self._server.close()

    def cut(self) -> None:
        """End every connection, and every new one."""
        self._cut = True
        for writer in self._writers:
            writer.transport.abort()

    def hold(self, *, there: bool, back: bool) -> None:
        """Keep back what is sent; it arrives when this is healed, late."""
        if there:
            self._there.clear()
        if back:
            self._back.clear()

    def heal(self) -> None:
        """Forward again, first what was kept back."""
        self._cut = False
        self._there.set()
        self._back.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        self._writers.add(writer)
        try:
            onward, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            self._writers.discard(writer)
            writer.transport.abort()
            return
        self._writers.add(back)
        try:
            pumps = (self._pump(reader, back, self._there), self._pump(onward, writer, self._back))
            await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            for one in (writer, back):
                self._writers.discard(one)
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await gate.wait()
                writer.write(data)
                await writer.drain()
        # The end of the line is news too, and is kept back like all other.
        await gate.wait()
        writer.close()
