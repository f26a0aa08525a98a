"""Three stores of which each can fall silent: a gate before it holds back every byte."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest_asyncio
from sqlalchemy import BigInteger
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tercet.clock import StoppedClock
from tercet.router import Entity, Router, mongo, postgres, redis
from tercet.telemetry import Telemetry
from tercet.tercet import Tercet

# For what must end by itself, on a machine that is busy with other things.
PATIENCE_SECONDS = 60


class Base(DeclarativeBase):
    """The tables of these tests."""


class User(Base):
    """A row that every customer has."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str]


class Customer(Entity, key=int):
    """A customer in three stores, of which only the row is needed."""

    name: str = postgres(User.name)
    city: str | None = mongo("tastes", on="user_id", field="city", stale="1h")
    page: str | None = redis.hash("status:{key}", field="page")


class Gate:
    """Hands bytes on between a client and a server, until it is shut."""

    def __init__(self, url: str) -> None:
        self._at = urlsplit(url)
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        """The address before which it stands now."""
        self._server = await asyncio.start_server(self._met, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        login, _, _ = self._at.netloc.rpartition("@")
        return self._at._replace(netloc=f"{login}{'@' if login else ''}127.0.0.1:{port}").geturl()

    def shut(self) -> None:
        """Not a byte passes; connections stay."""
        self._open.clear()

    def open(self) -> None:
        """What was held back passes."""
        self._open.set()

    async def close(self) -> None:
        """End it."""
        self._open.set()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._at.hostname, self._at.port)
        for come, go in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pass(come, go))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, come: asyncio.StreamReader, go: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            try:
                while some := await come.read(65_536):
                    await self._open.wait()
                    go.write(some)
                    await go.drain()
            finally:
                go.close()


class Guarded:
    """The stores, each behind a gate, and a router to them."""

    customer, user = Customer, User

    def __init__(self, db: Tercet, router: Router, clock: StoppedClock, gates: dict[str, Gate]) -> None:
        self.db, self.router, self.clock, self.gates = db, router, clock, gates


@pytest_asyncio.fixture
async def guarded(postgres_url: str, mongo_url: str, redis_url: str) -> AsyncIterator[Guarded]:
    """A customer 1 with everything."""
    gates = {"postgres": Gate(postgres_url), "mongo": Gate(mongo_url), "redis": Gate(redis_url)}
    urls = {name: await gate.start() for name, gate in gates.items()}
    # Else the driver would go to the address by which the replica set knows itself.
    urls["mongo"] = urls["mongo"].partition("?")[0] + "?directConnection=true"
    clock = StoppedClock()
    settings: dict[str, Any] = {
        **urls,
        "postgres_statement_timeout": "60s",
        "mongo_timeout": "60s",
        "close_wait": "200ms",
    }
    try:
        async with Tercet(**settings) as db:
            async with db.postgres.engine.begin() as connection:
                await connection.run_sync(Base.metadata.create_all)
                await connection.exec_driver_sql("insert into users values (1, 'Ann')")
            await db.mongo["tastes"].insert_one({"user_id": 1, "city": "Seoul"})
            await db.redis.hset("status:1", mapping={"page": "/"})
            router = Router(
                postgres=db.postgres, mongo=db.mongo, wire=db.wire, deadline="60s", clock=clock, telemetry=Telemetry()
            )
            yield Guarded(db, router, clock, gates)
            for gate in gates.values():
                gate.open()
            async with asyncio.timeout(PATIENCE_SECONDS):
                await router.close()
    finally:
        for gate in gates.values():
            await gate.close()
