"""A TCP proxy that can be cut, held and let go: what a network does to a cache's connection."""

from __future__ import annotations

import asyncio
import contextlib

# What is read at once.
_CHUNK = 65_536


class Proxy:
    """One listening port in front of one server. Held, it takes bytes and passes none on; cut, they are lost."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._open = {"up": asyncio.Event(), "down": asyncio.Event()}
        self._lines: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Server | None = None
        self.refusing = False
        self.let_go()

    @property
    def port(self) -> int:
        """The port to connect to."""
        assert self._listening is not None
        found: int = self._listening.sockets[0].getsockname()[1]
        return found

    async def start(self) -> None:
        """Listen on a free port."""
        self._listening = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    def hold(self, *ways: str) -> None:
        """Pass nothing on, up to the server or down from it."""
        for way in ways:
            self._open[way].clear()

    def let_go(self) -> None:
        """Pass on what was held and what comes."""
        for event in self._open.values():
            event.set()

    def cut(self) -> None:
        """End every connection at once; what was held is lost."""
        for line in self._lines:
            line.cancel()

    async def close(self) -> None:
        """Cut everything and listen no more."""
        if self._listening is not None:
            self._listening.close()
        self.cut()
        await asyncio.gather(*self._lines, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        line = asyncio.create_task(self._carry(reader, writer))
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream: asyncio.StreamWriter | None = None
        try:
            answers, upstream = await asyncio.open_connection("127.0.0.1", self._server_port)
            ways = [
                asyncio.create_task(self._pass(reader, upstream, "up")),
                asyncio.create_task(self._pass(answers, writer, "down")),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            # The server is not there: neither are we.
            pass
        finally:
            for one in (writer, upstream):
                if one is not None:
                    one.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK):
                await self._open[way].wait()
                writer.write(chunk)
                await writer.drain()
