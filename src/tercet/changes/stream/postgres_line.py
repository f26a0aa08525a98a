"""One connection of libpq in an event loop: statements, and the two-way stream of a replication slot."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from tercet.changes.stream.postgres_refusal import gone, not_let_in, refused
from tercet.errors import DeadlinePassed, ExtraMissing

try:
    import psycopg
    from psycopg import pq, sql
except ImportError as error:
    raise ExtraMissing("The change feed of PostgreSQL", module="psycopg", extra="changes") from error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg.pq.abc import PGresult

Rows: TypeAlias = Sequence[Sequence[str | None]]

# What is left to be read after so many frames in one wake-up is likely to be as many again: ask once more
# before going back to the loop.
_WORTH_ANOTHER_LOOK = 64

# A statement that is not given up by then ends with its connection, sooner or later.
CANCEL_SECONDS = 1.0

_DONE = {pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK, pq.ExecStatus.EMPTY_QUERY}


@dataclass(frozen=True, slots=True, repr=False)
class Door:
    """How connections are made; it carries the password and therefore does not show itself."""

    conninfo: str
    # Where it is, without secrets: for errors.
    address: str
    within: float

    async def line(self, *, replication: bool, place: str) -> Line:
        """A new connection for this place; raises StoreUnreachable, LoginRefused or FeedRefused."""
        words: dict[str, Any] = {"replication": "database"} if replication else {}
        try:
            async with asyncio.timeout(self.within):
                connection = await psycopg.AsyncConnection.connect(self.conninfo, autocommit=True, **words)
        except TimeoutError as error:
            raise gone(self.address, "no connection was made in time") from error
        except psycopg.Error as error:
            raise not_let_in(error, address=self.address) from error
        connection.pgconn.nonblocking = 1
        return Line(connection, address=self.address, place=place)


class Line:
    """One connection, used by one task at a time; never blocks the loop.

    The socket is watched only while somebody waits for it: what is not asked for stays in the kernel, and then with
    the server, which waits.
    """

    def __init__(self, connection: psycopg.AsyncConnection, *, address: str, place: str) -> None:
        self._connection = connection
        self._pg = connection.pgconn
        self._loop = asyncio.get_running_loop()
        self._socket = self._pg.socket
        self._address, self._place = address, place
        self._waiter: asyncio.Future[None] | None = None
        self._listening = self._writing = False
        # A statement is not answered yet; a stream has begun.
        self._running = self._copying = False
        # More may lie in libpq's own buffer, of which the socket says nothing.
        self._more = False
        self._read_at = self._loop.time()
        self.closed = False

    def written(self, statement: str, values: Mapping[str, object]) -> str:
        """A statement with its {names} filled in, quoted by the driver: replication knows no parameters."""
        told = {
            name: value if isinstance(value, sql.Composable) else sql.Literal(value) for name, value in values.items()
        }
        return sql.SQL(statement).format(**told).as_string(self._connection)

    async def query(
        self, statement: str, values: Mapping[str, object] | None = None, *, within: float | None = None
    ) -> Rows:
        """Run one statement; its rows, as texts. Raises a StoreError; after DeadlinePassed, close it."""
        text = self.written(statement, values or {})
        try:
            async with asyncio.timeout(within):
                results = await self._run(text)
        except TimeoutError as error:
            raise DeadlinePassed("postgres", what="a question of the change feed", deadline=within or 0.0) from error
        last = results[-1]
        return [[_text(last.get_value(row, at)) for at in range(last.nfields)] for row in range(last.ntuples)]

    async def stream(self, command: str, values: Mapping[str, object]) -> None:
        """Begin to stream; from here on only frames() and send() are allowed."""
        results = await self._run(self.written(command, values), until=pq.ExecStatus.COPY_BOTH)
        if results[-1].status != pq.ExecStatus.COPY_BOTH:
            raise gone(self._address, "it did not begin to stream")
        # The first frames may have come together with the answer, and the socket would never tell of them again.
        self._more = True

    async def frames(self, most: int) -> list[bytes]:
        """What has come since, at least one and about `most` of them; raises a StoreError when the stream has ended."""
        while True:
            if self._more:
                # Others have their turn, however much there is to read.
                self._more = False
                await asyncio.sleep(0)
            else:
                await self.arrived()
            found = self._taken(most)
            if found:
                return found

    def send(self, frame: bytes) -> None:
        """Send a frame as soon as the socket takes it."""
        with self._translated():
            self._pg.put_copy_data(frame)
            self._flush()

    async def arrived(self) -> None:
        """Return once the server has sent something; raises StoreUnreachable when the connection has ended."""
        waiter = self._waiter = self._loop.create_future()
        if not self._listening:
            self._loop.add_reader(self._socket, self._readable)
            self._listening = True
        try:
            await waiter
        finally:
            self._waiter = None

    def read_at(self) -> float:
        """When the server has last sent anything, by the loop's time; a part of a frame counts."""
        return self._read_at

    def fail(self, error: Exception) -> None:
        """Whoever waits is told this instead."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    async def end(self) -> None:
        """End what runs in order, a statement or a stream, so that statements can be run again; raises a StoreError."""
        with self._translated():
            if self._running:
                # Whoever has asked was cancelled before the answer came.
                await self._results(pq.ExecStatus.COPY_BOTH)
                self._running = False
            if not self._copying:
                return
            self._pg.put_copy_end()
            self._flush()
            while True:
                size, _ = self._pg.get_copy_data(1)
                if size == 0:
                    await self.arrived()
                elif size < 0:
                    break
            self._copying = False
            await self._results(None)

    async def cancel(self) -> None:
        """Have the server give up the statement that runs, if one does."""
        with contextlib.suppress(psycopg.Error):
            await self._connection.cancel_safe(timeout=CANCEL_SECONDS)

    def close(self) -> None:
        """Let go of the connection at once; twice is fine."""
        if not self.closed:
            self.closed = True
            self._unlisten()
            if self._writing:
                self._loop.remove_writer(self._socket)
            self._pg.finish()

    async def _run(self, text: str, *, until: pq.ExecStatus | None = None) -> list[PGresult]:
        with self._translated():
            self._pg.send_query(text.encode())
            self._running = True
            self._flush()
            results = await self._results(until)
            self._running = False
        for result in results:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                raise refused(result, address=self._address, place=self._place)
        if not results:
            raise gone(self._address)
        return results

    async def _results(self, until: pq.ExecStatus | None) -> list[PGresult]:
        """Every result of what was sent, up to its end or to one of this status."""
        results: list[PGresult] = []
        while True:
            while self._pg.is_busy():
                await self.arrived()
            result = self._pg.get_result()
            if result is None:
                return results
            results.append(result)
            if result.status == until:
                self._copying = True
                return results
            if result.status not in _DONE and result.status != pq.ExecStatus.FATAL_ERROR:
                # A copy that nobody has asked for does not end by itself.
                raise gone(self._address, "it has answered what was not asked")

    def _taken(self, most: int) -> list[bytes]:
        """The frames in libpq's buffer, and what the socket has beside them."""
        found: list[bytes] = []
        take, add = self._pg.get_copy_data, found.append
        with self._translated():
            while True:
                before = len(found)
                while len(found) < most:
                    size, frame = take(1)
                    if size <= 0:
                        break
                    add(bytes(frame))
                else:
                    self._more = True
                    return found
                if size < 0:
                    if found:
                        self._more = True
                        return found
                    raise self._ended()
                if len(found) - before < _WORTH_ANOTHER_LOOK:
                    return found
                self._pg.consume_input()

    def _ended(self) -> Exception:
        """Why the server has ended the stream."""
        while not self._pg.is_busy() and (result := self._pg.get_result()) is not None:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                return refused(result, address=self._address, place=self._place)
        return gone(self._address, "it has ended the stream")

    def _readable(self) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            self._unlisten()
            return
        try:
            self._pg.consume_input()
        except psycopg.Error as error:
            self._unlisten()
            waiter.set_exception(self._lost(error))
        else:
            self._read_at = self._loop.time()
            waiter.set_result(None)

    def _unlisten(self) -> None:
        if self._listening:
            self._listening = False
            self._loop.remove_reader(self._socket)

    def _flush(self) -> None:
        """Hand on what waits to be sent; what the socket does not take goes when it does."""
        try:
            left = self._pg.flush() == 1
        except psycopg.Error as error:
            if self._writing:
                self._writing = False
                self._loop.remove_writer(self._socket)
            self.fail(self._lost(error))
            return
        if left and not self._writing:
            self._loop.add_writer(self._socket, self._flush)
        elif not left and self._writing:
            self._loop.remove_writer(self._socket)
        self._writing = left

    def _lost(self, error: psycopg.Error) -> Exception:
        """What a failed connection means: the server's last words, if it had any."""
        with contextlib.suppress(psycopg.Error):
            return self._ended()
        lost = gone(self._address)
        lost.__cause__ = error
        return lost

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """No error of libpq's leaves."""
        try:
            yield
        except psycopg.Error as error:
            raise self._lost(error) from error


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
