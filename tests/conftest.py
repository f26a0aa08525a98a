"""Real servers for the tests: one set for each xdist worker, begun when first asked for, gone at the end.

A test asks for what it needs and pays for nothing else: `postgres_url`, `mongo_url` and `redis_url` are a
fresh database each, `servers` the plain addresses. The servers live in a folder of pytest's own, on free
ports, so two test runs at once do not meet; they die with their worker, also when that is killed.

They come from the locked wheels, so that every machine tests against the same ones;
TERCET_TEST_SERVERS=path,wheel takes those on PATH first, and TERCET_PG_HOME=FOLDER runs all tests on that PostgreSQL.
A few tests run on other major versions by themselves, where these are installed or lie in TERCET_TEST_PG_HOMES/MAJOR.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import hypothesis
import pytest

from tercet.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    import asyncpg
    from pymongo import AsyncMongoClient

T = TypeVar("T")

# The database that every test's own is a copy of.
_TEMPLATE = "tercet_template"
# A start on a busy machine, with both cores taken by the other worker.
_START_SECONDS = 120.0


# How long an example takes is the machine's business, whose cores others share; the first one also pays for imports.
hypothesis.settings.register_profile("tercet", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs that tests start: a shell's background job ignores it, and hands that on."""
    hypothesis.settings.load_profile("tercet")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Portal:
    """An event loop in a thread of its own, for what outlives a test's loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="test-servers", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run this to its end there."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_SECONDS)

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class TestServers:
    """The servers of this worker; each starts when its address is first asked for."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._portal: Portal | None = None
        self._started: dict[str, Servers] = {}
        self._urls: dict[str, str] = {}
        # Kept for all tests of this worker: hundreds of them ask for a database.
        self._administrator: asyncpg.Connection | None = None
        self._mongo: AsyncMongoClient[dict[str, Any]] | None = None

    @property
    def postgres(self) -> str:
        """The URL of PostgreSQL's database `postgres`."""
        return self._url("postgres")

    @property
    def mongo(self) -> str:
        """The URL of mongod's database `tercet`."""
        return self._url("mongo")

    @property
    def redis(self) -> str:
        """The URL of Redis' database 0."""
        return self._url("redis")

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run this in the servers' own loop."""
        self._portal = self._portal or Portal()
        return self._portal.run(work)

    async def administer(self, url: str, statement: str) -> None:
        """Run this in PostgreSQL's own database."""
        import asyncpg

        if self._administrator is None or self._administrator.is_closed():
            self._administrator = await asyncpg.connect(url)
        await self._administrator.execute(statement)

    async def drop_mongo(self, url: str, name: str) -> None:
        """Drop this database of MongoDB's."""
        from pymongo import AsyncMongoClient

        self._mongo = self._mongo or AsyncMongoClient[dict[str, Any]](url)
        await self._mongo.drop_database(name)

    async def _leave(self) -> None:
        if self._administrator is not None:
            await self._administrator.close()
        if self._mongo is not None:
            await self._mongo.close()

    def close(self) -> None:
        """Stop what was started and leave nothing behind."""
        if self._portal is not None:
            self.run(self._leave())
        for servers in self._started.values():
            self.run(servers.stop())
        if self._portal is not None:
            self._portal.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _url(self, store: str) -> str:
        if store not in self._urls:
            sources = os.environ.get("TERCET_TEST_SERVERS", "wheel").split(",")
            servers = Servers(self._folder / store, (store,), durable=False, sources=sources)
            addresses = self.run(servers.start())
            self._started[store] = servers
            self._urls[store] = getattr(addresses, store)
            if store == "postgres":
                self.run(_make_template(self._urls[store]))
        return self._urls[store]


async def _make_template(url: str) -> None:
    await _postgres(url, f"create database {_TEMPLATE} is_template true")
    await _postgres(url.rpartition("/")[0] + f"/{_TEMPLATE}", "create extension pg_stat_statements")


async def _postgres(url: str, *statements: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def _flush_redis(url: str) -> None:
    import redis.asyncio as driver

    async with driver.from_url(url) as client:
        await client.flushall()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServers]:
    """The addresses of this worker's own servers; each starts when it is first asked for."""
    ours = TestServers(tmp_path_factory.mktemp("servers"))
    yield ours
    ours.close()


# Names go up and never come back: a connection that lingers cannot meet the next test's database.
@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return iter(range(1, 1_000_000))


@pytest.fixture
def postgres_url(servers: TestServers, _numbers: Iterator[int]) -> Iterator[str]:
    """A fresh PostgreSQL database, a copy of the template, dropped afterwards with whoever is still in it."""
    name = f"test_{next(_numbers)}"
    url = servers.postgres
    servers.run(servers.administer(url, f"create database {name} template {_TEMPLATE}"))
    yield url.rpartition("/")[0] + f"/{name}"
    servers.run(servers.administer(url, f"drop database if exists {name} with (force)"))


@pytest.fixture
def mongo_url(servers: TestServers, _numbers: Iterator[int]) -> Iterator[str]:
    """A fresh MongoDB database, dropped afterwards."""
    name = f"test_{next(_numbers)}"
    url = servers.mongo
    yield url.replace("/tercet?", f"/{name}?")
    servers.run(servers.drop_mongo(url, name))


@pytest.fixture
def redis_url(servers: TestServers) -> str:
    """A Redis database with nothing in it, nor in its neighbours."""
    servers.run(_flush_redis(servers.redis))
    return servers.redis


@pytest.fixture
def postgres_home(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Path]:
    """Makes another major version the one that servers are started of; skips where it is not on this machine."""

    def named(major: int) -> Path:
        places = (os.environ.get("TERCET_TEST_PG_HOMES", ""), "/usr/lib/postgresql")
        for home in (Path(place) / str(major) for place in places if place):
            if (home / "bin" / "postgres").is_file():
                monkeypatch.setenv("TERCET_PG_HOME", str(home))
                return home
        pytest.skip(f"no PostgreSQL {major} on this machine")

    return named
