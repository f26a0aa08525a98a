"""A connection that ends around COMMIT: the caller learns what became of the transaction, or that nobody knows."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from sqlalchemy import text

from tercet.changes.transaction import Transactions
from tercet.changes.transaction.postgres_doubt import committed
from tercet.clock import StoppedClock
from tercet.errors import CommitUnknown, StoreUnreachable
from tercet.stores.postgres import Postgres
from tercet.tercet import Tercet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tercet.changes.transaction import Transaction

Cut = Literal["nowhere", "before", "after"]


class Proxy:
    """Stands before the server, and cuts the connection that sends COMMIT before or after the server has had it."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.cut: Cut = "nowhere"
        # Whether new connections are let through after the cut.
        self.lets_in = True
        # Whether the server is told that the client is gone.
        self.tells = True
        self.cuts = 0
        self.port = 0
        self._kept: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> asyncio.Server:
        """Listen on a free port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def stop(self) -> None:
        """Let go of everything."""
        for writer in self._kept:
            writer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        if self.cuts and not self.lets_in:
            answer.close()
            return
        server, ask = await asyncio.open_connection(self._host, self._port)
        self._kept += [answer, ask]
        back = asyncio.create_task(self._copy(server, answer))
        self._tasks.add(back)
        with contextlib.suppress(OSError):
            while data := await client.read(65_536):
                if self.cut != "nowhere" and b"COMMIT" in data and not self.cuts:
                    self.cuts += 1
                    back.cancel()
                    await asyncio.gather(back, return_exceptions=True)
                    if self.cut == "after":
                        ask.write(data)
                        # The server's answer: it has committed.
                        await server.read(1)
                    answer.transport.abort()
                    if self.tells:
                        ask.close()
                    return
                ask.write(data)
        ask.close()

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                target.write(data)
        target.close()


@pytest_asyncio.fixture
async def proxy(postgres_url: str) -> AsyncIterator[Proxy]:
    """Before a fresh database."""
    parts = urlsplit(postgres_url)
    made = Proxy(str(parts.hostname), int(parts.port or 0))
    server = await made.start()
    yield made
    await made.stop()
    server.close()
    await server.wait_closed()


@pytest_asyncio.fixture
async def db(postgres_url: str, proxy: Proxy) -> AsyncIterator[Tercet]:
    """A database with a table, through the proxy."""
    url = f"postgresql://postgres@127.0.0.1:{proxy.port}{urlsplit(postgres_url).path}"
    async with Tercet(postgres=url, postgres_pool_size=3, close_wait=0, postgres_pool_wait="60s") as made:
        async with made.postgres.transaction() as connection:
            await connection.exec_driver_sql("CREATE TABLE thing (id int PRIMARY KEY)")
        yield made


async def rows(url: str) -> int:
    """How many rows there are, asked past the proxy."""
    async with Tercet(postgres=url) as direct, direct.postgres.session() as session:
        count: int = (await session.execute(text("SELECT count(*) FROM thing"))).scalar_one()
        return count


def made(db: Tercet, doubt: str = "60s") -> Transactions:
    """Transactions of this database."""
    return Transactions(db.postgres, clock=db.clock, telemetry=db.telemetry, doubt=doubt)


async def put(tx: Transaction) -> Transaction:
    """One row."""
    await tx.session.execute(text("INSERT INTO thing VALUES (1)"))
    return tx


async def test_a_commit_that_was_done_returns_though_its_answer_was_lost(
    db: Tercet, proxy: Proxy, postgres_url: str
) -> None:
    """The server says that it was committed; the moment is known, and the next transaction works."""
    proxy.cut = "after"
    tx = await made(db).run(put)
    assert proxy.cuts == 1
    assert tx.moment is not None
    assert (await tx.token()).at > 0
    assert await rows(postgres_url) == 1


@pytest.mark.parametrize("tells", [True, False], ids=["a closed connection", "a silent one"])
async def test_a_commit_that_never_came_is_an_error_that_may_be_repeated(
    db: Tercet, proxy: Proxy, postgres_url: str, tells: bool
) -> None:
    """Also where the server still holds the transaction open for a client that is gone: it is ended there."""
    proxy.cut, proxy.tells = "before", tells
    with pytest.raises(StoreUnreachable) as caught:
        await made(db).run(put)
    assert caught.value.retryable
    assert (proxy.cuts, await rows(postgres_url)) == (1, 0)
    await made(db).run(put)
    assert await rows(postgres_url) == 1


async def test_a_backend_that_is_killed_before_commit_has_committed_nothing(db: Tercet, postgres_url: str) -> None:
    """The connection turns out dead at COMMIT or right before it; either way the answer is sure."""

    async def killed(tx: Transaction) -> None:
        await put(tx)
        pid = (await tx.session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        async with db.postgres.transaction() as other:
            await other.execute(text("SELECT pg_terminate_backend(:pid, 20000)"), {"pid": pid})

    with pytest.raises(StoreUnreachable) as caught:
        await made(db).run(killed)
    assert caught.value.retryable
    assert await rows(postgres_url) == 0


async def test_where_nobody_can_be_asked_the_outcome_is_unknown(db: Tercet, proxy: Proxy, postgres_url: str) -> None:
    """The error says so, names the transaction, and is not to be repeated blindly."""
    proxy.cut, proxy.lets_in = "after", False
    with pytest.raises(CommitUnknown, match=r"Whether transaction \d+ was committed is not known") as caught:
        await made(db, doubt="200ms").run(put)
    assert not caught.value.retryable
    async with Tercet(postgres=postgres_url) as direct:
        assert await committed(direct.postgres, caught.value.xid, clock=direct.clock)


async def test_a_number_that_the_server_does_not_know_is_unknown(db: Tercet) -> None:
    """After a failover the new server may never have heard of the transaction."""
    postgres = db.postgres
    assert isinstance(postgres, Postgres)
    with pytest.raises(CommitUnknown):
        await committed(postgres, 2**40, clock=StoppedClock(), patience=0)
