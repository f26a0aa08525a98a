"""Who watches what the advisor does to a server: bytes on the wire, locks in pg_locks, processor time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from server import Server

# By this the advisor's connections are known among all others.
NAME = "advised"
# More often, and the advisor would wait for whoever watches it.
LOOK_SECONDS = 0.002
_CHUNK = 1 << 16
# Of what everybody holds who has begun a transaction.
_HARMLESS = {"relation AccessShareLock", "virtualxid ExclusiveLock"}
_LOCKS = (
    "select distinct l.pid, l.locktype || ' ' || l.mode as lock, l.relation, l.granted "
    "from pg_locks l join pg_stat_activity a on a.pid = l.pid where a.application_name = $1"
)


@dataclass(slots=True)
class Seen:
    """What came of one errand."""

    seconds: float = 0.0
    server_cpu_seconds: float = 0.0
    to_server_bytes: int = 0
    from_server_bytes: int = 0
    looks: int = 0
    # How often each kind of lock was seen.
    locks: Counter[str] = field(default_factory=Counter)

    def answers(self) -> dict[str, Any]:
        """As they are written down; `beyond` counts what is more than AccessShare."""
        return {
            "seconds": self.seconds,
            "server_cpu_seconds": self.server_cpu_seconds,
            "to_server_bytes": self.to_server_bytes,
            "from_server_bytes": self.from_server_bytes,
            "looks": self.looks,
            "locks": dict(self.locks),
            "beyond": sum(count for lock, count in self.locks.items() if lock not in _HARMLESS),
        }


class Witness:
    """Stands between the advisor and a database. `url` is what the advisor is given."""

    def __init__(self, server: Server, url: str) -> None:
        self._server, self._to = server, urlsplit(url)
        self._direct = url
        self._seen = Seen()
        self._served: set[asyncio.Task[None]] = set()
        self.url = ""

    @asynccontextmanager
    async def standing(self) -> AsyncIterator[Witness]:
        """Listen."""
        listening = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        place = f"{self._to.username}@127.0.0.1:{port}"
        self.url = self._to._replace(netloc=place, query=f"application_name={NAME}").geturl()
        try:
            yield self
        finally:
            listening.close()
            for task in self._served:
                task.cancel()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Seen]:
        """Count from here on, and look at the locks all the time; what the looking takes is not counted."""
        self._seen = Seen()
        connection = await asyncpg.connect(self._direct)
        own = connection.get_server_pid()
        began, cpu = time.perf_counter(), self._server.cpu(without=own)
        looking = asyncio.create_task(self._look(connection, self._seen))
        try:
            yield self._seen
        finally:
            self._seen.seconds = time.perf_counter() - began
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
            self._seen.server_cpu_seconds = self._server.cpu(without=own) - cpu
            await connection.close()

    async def _look(self, connection: asyncpg.Connection, seen: Seen) -> None:
        while True:
            for row in await connection.fetch(_LOCKS, NAME):
                seen.locks[row["lock"]] += 1
            seen.looks += 1
            await asyncio.sleep(LOOK_SECONDS)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._served.add(task)
            task.add_done_callback(self._served.discard)
        there, back = await asyncio.open_connection(self._to.hostname, self._to.port)
        try:
            # Ended with the witness, which is no error of a connection's.
            with suppress(asyncio.CancelledError):
                await asyncio.gather(
                    self._pass(reader, back, "to_server_bytes"), self._pass(there, writer, "from_server_bytes")
                )
        finally:
            back.close()
            writer.close()

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, what: str) -> None:
        with suppress(ConnectionError):
            while chunk := await source.read(_CHUNK):
                setattr(self._seen, what, getattr(self._seen, what) + len(chunk))
                target.write(chunk)
                await target.drain()
            target.write_eof()
