"""Servers that die and freeze while they are in use: what the program sees, how soon, and how it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pymongo.errors
import pytest
import redis.exceptions
import sqlalchemy.exc
from sqlalchemy import text

from tercet.errors import DeadlinePassed, StoreError, StoreUnreachable
from tercet.servers import Servers, status
from tercet.tercet import Tercet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

Name = Literal["postgres", "mongo", "redis"]

# Short limits, so that the tests are; a program's own are longer.
LIMITS: dict[str, Any] = {
    "postgres_connect_timeout": "400ms",
    "postgres_statement_timeout": "400ms",
    "mongo_connect_timeout": "400ms",
    "mongo_timeout": "700ms",
    "redis_connect_timeout": "400ms",
    "redis_timeout": "400ms",
    "close_wait": "100ms",
}
# The longest of the limits with PostgreSQL's two seconds of grace, on a machine that does other things too.
WITHIN_SECONDS = 25.0


class Machine:
    """One server that can be killed, frozen and brought back to the same port."""

    def __init__(self, folder: Path, name: Name) -> None:
        self._folder, self.name = folder, name
        self._servers: Servers | None = None
        self.url = ""

    async def start(self) -> None:
        """Bring it up, where it was if it was."""
        self._servers = Servers(self._folder, (self.name,), durable=False, sources=["wheel"])
        url = getattr(await self._servers.start(), self.name)
        assert self.url in {"", url}, "it came back somewhere else"
        self.url = url

    async def signal(self, number: signal.Signals) -> None:
        """Send this to it and to the processes that it has started."""
        (found,) = [one for one in await status(self._folder) if one.store == self.name]
        assert found.pid is not None
        children = Path(f"/proc/{found.pid}/task/{found.pid}/children").read_text().split()
        for pid in (found.pid, *map(int, children)):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        if number == signal.SIGSTOP:
            while not all(map(_stands_still, (found.pid, *map(int, children)))):
                await asyncio.sleep(0.001)

    async def stop(self) -> None:
        """Take it down, or what is left of it."""
        if self._servers is not None:
            await self._servers.stop()
            self._servers = None


def _stands_still(pid: int) -> bool:
    """Whether every thread of this process has stopped: a signal is sent before it has come to all of them."""
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if thread.read_text().rpartition(") ")[2][0] not in "TZX":
                return False
    return True


@pytest.fixture(params=["postgres", "mongo", "redis"])
async def machine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Machine]:
    """A server of the test's own."""
    made = Machine(tmp_path / "s", request.param)
    await made.start()
    yield made
    await made.stop()


async def ask(db: Tercet, name: str) -> None:
    """One round trip, as a program does it."""
    if name == "postgres":
        async with db.postgres.transaction() as connection:
            await connection.execute(text("SELECT 1"))
    elif name == "mongo":
        await db.mongo["one"].find_one({})
    else:
        await db.redis.get("one")


async def until_it_answers(db: Tercet, name: str) -> float:
    """Seconds until a question is answered again; every error on the way is tercet's."""
    started = time.monotonic()
    while time.monotonic() - started < 4 * WITHIN_SECONDS:
        try:
            await ask(db, name)
            return time.monotonic() - started
        except StoreError:
            await asyncio.sleep(0.05)
    raise AssertionError("it did not come back")


DRIVERS = {
    "postgres": (sqlalchemy.exc.SQLAlchemyError, OSError),
    "mongo": (pymongo.errors.PyMongoError,),
    "redis": (redis.exceptions.RedisError,),
}

# PyMongo leaves a socket whose connect failed or was cancelled to the garbage collector.
left_by_pymongo = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What PyMongo has left is collected here, where it is known, and not in some later test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@left_by_pymongo
async def test_a_killed_server_is_unreachable_and_used_again_when_it_is_back(
    machine: Machine,
) -> None:
    """kill -9 under load: a clear StoreUnreachable within the deadline, then recovery without a restart."""
    name = machine.name
    words: Any = {name: machine.url, **LIMITS}
    async with Tercet(**words) as db:
        await asyncio.gather(*(ask(db, name) for _ in range(5)))
        await machine.signal(signal.SIGKILL)
        await asyncio.sleep(0.05)
        for _ in range(3):
            started = time.monotonic()
            with pytest.raises(StoreUnreachable) as caught:
                await ask(db, name)
            assert time.monotonic() - started < WITHIN_SECONDS
            assert str(caught.value).startswith(f"{name} at 127.0.0.1:")
            assert str(caught.value).endswith("It is used again by itself as soon as it is back.")
            assert issubclass(type(caught.value), DRIVERS[name])
            assert isinstance(caught.value.__cause__, Exception)
        health = await db.health()
        assert health.status == "fail"
        assert health.stores[0].reason in {"nobody answers", "it did not answer in time"}
        await machine.stop()
        await machine.start()
        assert await until_it_answers(db, name) < WITHIN_SECONDS
        await asyncio.gather(*(ask(db, name) for _ in range(5)))
        assert (db.pools()[0].in_use, db.pools()[0].waiting) == (0, 0)


@left_by_pymongo
async def test_a_frozen_server_ends_the_call_at_its_deadline_and_is_used_again(machine: Machine) -> None:
    """SIGSTOP: the call ends with a tercet error in time, and later all is well again."""
    name = machine.name
    words: Any = {name: machine.url, **LIMITS}
    async with Tercet(**words) as db:
        await ask(db, name)
        await machine.signal(signal.SIGSTOP)
        try:
            started = time.monotonic()
            with pytest.raises((DeadlinePassed, StoreUnreachable)) as caught:
                await ask(db, name)
            assert time.monotonic() - started < WITHIN_SECONDS
            assert issubclass(type(caught.value), DRIVERS[name])
            started = time.monotonic()
            health = await db.health()
            assert time.monotonic() - started < WITHIN_SECONDS
            assert health.status == "fail"
        finally:
            await machine.signal(signal.SIGCONT)
        assert await until_it_answers(db, name) < WITHIN_SECONDS
        assert (db.pools()[0].in_use, db.pools()[0].waiting) == (0, 0)


@left_by_pymongo
async def test_closing_ends_in_time_while_the_server_is_frozen(machine: Machine) -> None:
    """A program can always end, also when a server does not answer its goodbye."""
    name = machine.name
    words: Any = {name: machine.url, **LIMITS}
    db = await Tercet(**words).open()
    await ask(db, name)
    await machine.signal(signal.SIGSTOP)
    try:
        busy = asyncio.ensure_future(ask(db, name))
        await asyncio.sleep(0.05)
        started = time.monotonic()
        await db.close()
        assert time.monotonic() - started < WITHIN_SECONDS
        (outcome,) = await asyncio.gather(busy, return_exceptions=True)
        assert isinstance(outcome, Exception)
    finally:
        await machine.signal(signal.SIGCONT)
