"""A thousand entities from three stores beside what each store alone takes, and how often each is spoken to.

.venv/bin/python bench/changes/load_many.py [--keys 1000] [--rounds 30] [--folder …]

Prints JSON: medians in milliseconds. `driver` is the store's own driver with the same question and nothing of
tercet's; `entity` an entity whose fields all are in that store; `all` the entity of all three. `turns` counts how
often a client has begun to send to its store during one load, seen by a proxy in between. `frozen` is with mongod
stopped (SIGSTOP) and a deadline: an entity that needs it fails, one that can do without it comes without it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asked
import asyncpg
import msgspec
import redis.asyncio
from pymongo import AsyncMongoClient
from sqlalchemy import BigInteger
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tercet import Tercet
from tercet.clock import SystemClock
from tercet.errors import DeadlinePassed
from tercet.router import Entity, Failed, Loaded, Router
from tercet.router import mongo as in_mongo
from tercet.router import postgres as in_postgres
from tercet.router import redis as in_redis
from tercet.servers import Servers, status
from tercet.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

STORES = ("postgres", "mongo", "redis")
# Several times what a load of a thousand takes, and short enough to be asked for.
FROZEN_DEADLINE_MS = 250
FROZEN_ROUNDS = 5
DEADLINE = "60s"


class Base(DeclarativeBase):
    """The tables of this measurement."""


class User(Base):
    """A row of some columns."""

    __tablename__ = "bench_users"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str]
    email: Mapped[str]


class Taste(msgspec.Struct):
    """A document of some fields."""

    genre: str
    level: int
    tags: list[str]


class Status(msgspec.Struct):
    """A hash of some fields."""

    online: bool
    page: str


class FromPostgres(Entity, key=int):
    """PostgreSQL alone."""

    name: str = in_postgres(User.name)
    email: str = in_postgres(User.email)


class FromMongo(Entity, key=int):
    """MongoDB alone."""

    taste: Taste = in_mongo("bench_tastes", on="user_id", key=str)


class FromRedis(Entity, key=int):
    """Redis alone."""

    status: Status = in_redis.hash("bench:status:{key}")


class Customer(Entity, key=int):
    """All three."""

    name: str = in_postgres(User.name)
    email: str = in_postgres(User.email)
    taste: Taste = in_mongo("bench_tastes", on="user_id", key=str)
    status: Status = in_redis.hash("bench:status:{key}")


class Guest(Entity, key=int):
    """All three, and can do without MongoDB."""

    name: str = in_postgres(User.name)
    email: str = in_postgres(User.email)
    taste: Taste | None = in_mongo("bench_tastes", on="user_id", key=str)
    status: Status = in_redis.hash("bench:status:{key}")


class Turns:
    """A proxy that counts how often the client begins to send after it has heard something."""

    def __init__(self, url: str) -> None:
        self.at = urlsplit(url)
        self.turns = 0
        self._server: asyncio.Server | None = None

    async def open(self) -> str:
        """The address of the proxy."""
        self._server = await asyncio.start_server(self._met, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        login, _, _ = self.at.netloc.rpartition("@")
        return self.at._replace(netloc=f"{login}{'@' if login else ''}127.0.0.1:{port}").geturl()

    def close(self) -> None:
        """Forward nobody new."""
        if self._server is not None:
            self._server.close()

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self.at.hostname, self.at.port)
        heard = [True]
        # MongoDB's client watches its server on a connection of its own, which says "hello" first and for ever.
        await asyncio.gather(
            self._pass(reader, back, heard, counts=True), self._pass(there, writer, heard, counts=False)
        )

    async def _pass(
        self, come: asyncio.StreamReader, go: asyncio.StreamWriter, heard: list[bool], *, counts: bool
    ) -> None:
        try:
            while some := await come.read(1 << 20):
                if counts and heard[0] and b"hello" not in some and b"isMaster" not in some:
                    self.turns += 1
                heard[0] = not counts
                go.write(some)
                await go.drain()
        except OSError:
            pass
        finally:
            go.close()


async def fill(db: Tercet, many: int) -> None:
    """The same customers in every store."""
    async with db.postgres.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.exec_driver_sql(
            "insert into bench_users (id, name, email)"
            " select n, 'user ' || n, n || '@shop' from generate_series(1, $1) n",
            (many,),
        )
    documents = [{"user_id": str(key), "genre": "jazz", "level": key, "tags": ["a", "b"]} for key in range(1, many + 1)]
    await db.mongo["bench_tastes"].insert_many(documents)
    await db.mongo["bench_tastes"].create_index("user_id", unique=True)
    pipe = db.redis.pipeline()
    for key in range(1, many + 1):
        pipe.hset(f"bench:status:{key}", mapping={"online": "true", "page": "/home"})
    await pipe.execute()


def router(db: Tercet) -> Router:
    """Reads what `db` has."""
    return Router(
        postgres=db.postgres,
        mongo=db.mongo,
        wire=db.wire,
        deadline=DEADLINE,
        clock=SystemClock(),
        telemetry=Telemetry(),
    )


def questions(db: Tercet, keys: list[int], raw: dict[str, Any]) -> dict[str, Any]:
    """What is timed, by name."""
    made = router(db)
    texts = [str(key) for key in keys]

    async def ask_postgres() -> int:
        return len(await raw["postgres"].fetch("select id, name, email from bench_users where id = any($1)", keys))

    async def ask_mongo() -> int:
        wanted = {"_id": 0, "user_id": 1, "genre": 1, "level": 1, "tags": 1}
        cursor = raw["mongo"].find({"user_id": {"$in": texts}}, wanted, batch_size=len(texts) + 1)
        return len(await cursor.to_list())

    async def ask_redis() -> int:
        pipe = raw["redis"].pipeline(transaction=False)
        for key in keys:
            pipe.hgetall(f"bench:status:{key}")
        return len(await pipe.execute())

    def load(entity: type[Entity]) -> Callable[[], Awaitable[int]]:
        async def loaded() -> int:
            return len((await made.load_many(entity, keys)).entities)

        return loaded

    return {
        "driver": {"postgres": ask_postgres, "mongo": ask_mongo, "redis": ask_redis},
        "entity": {"postgres": load(FromPostgres), "mongo": load(FromMongo), "redis": load(FromRedis)},
        "all": {"all": load(Customer)},
    }


async def timed(asked: dict[str, Any], rounds: int, many: int) -> dict[str, Any]:
    """The median of each; they take turns, so that what else the machine does falls on all alike."""
    taken: dict[tuple[str, str], list[float]] = {}
    for turn in range(rounds + 3):
        for kind, ways in asked.items():
            for name, ask in ways.items():
                began = time.perf_counter()
                got = await ask()
                seconds = time.perf_counter() - began
                assert got == many, (kind, name, got)
                if turn >= 3:
                    taken.setdefault((kind, name), []).append(seconds * 1000)
    return {kind: {name: round(median(taken[kind, name]), 2) for name in ways} for kind, ways in asked.items()}


async def counted(urls: dict[str, str], keys: list[int]) -> dict[str, int]:
    """How often each store was spoken to during one load on connections that are warm."""
    proxies = {name: Turns(url) for name, url in urls.items()}
    through: dict[str, Any] = {name: await proxy.open() for name, proxy in proxies.items()}
    through["mongo"] = through["mongo"].partition("?")[0] + "?directConnection=true"
    async with Tercet(**through, mongo_timeout="60s") as db:
        made = router(db)
        for _ in range(2):
            await made.load_many(Customer, keys)
        before = {name: proxy.turns for name, proxy in proxies.items()}
        await made.load_many(Customer, keys)
        turns = {name: proxy.turns - before[name] for name, proxy in proxies.items()}
        await made.close()
    for proxy in proxies.values():
        proxy.close()
    return turns


async def frozen(db: Tercet, keys: list[int], pid: int) -> dict[str, Any]:
    """How long each kind of entity takes when mongod stands still, and what comes of it."""
    made, taken = router(db), dict[str, list[float]]()
    for entity in (Customer, Guest):
        await made.load_many(entity, keys)
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(FROZEN_ROUNDS):
            for name, entity in (("required", Customer), ("optional", Guest)):
                began = time.perf_counter()
                outcomes = await made.load_many(entity, keys, deadline=FROZEN_DEADLINE_MS / 1000)
                taken.setdefault(name, []).append((time.perf_counter() - began) * 1000)
                if name == "required":
                    assert all(isinstance(one, Failed) and isinstance(one.error, DeadlinePassed) for one in outcomes)
                else:
                    assert all(isinstance(one, Loaded) and one.entity.meta.degraded for one in outcomes)
                    guests: list[Any] = outcomes.entities
                    assert all(one.taste is None and one.name and one.status.page for one in guests)
    finally:
        os.kill(pid, signal.SIGCONT)
    await made.close()
    figures = {f"{name}_ms": round(median(some), 1) for name, some in taken.items()}
    return {"deadline_ms": FROZEN_DEADLINE_MS, **figures}


async def measured(folder: Path, many: int, rounds: int) -> dict[str, Any]:
    """Everything, as it is printed."""
    servers = Servers(folder, STORES, durable=False, sources=asked.SOURCES)
    addresses = await servers.start()
    urls = {name: getattr(addresses, name) for name in STORES}
    keys = list(range(1, many + 1))
    at: dict[str, Any] = {**urls}
    try:
        async with Tercet(**at, mongo_timeout="60s") as db:
            await fill(db, many)
            client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(urls["mongo"])
            raw: dict[str, Any] = {
                "postgres": await asyncpg.connect(urls["postgres"]),
                "mongo": client.get_default_database()["bench_tastes"],
                "redis": redis.asyncio.from_url(urls["redis"]),
            }
            times = await timed(questions(db, keys, raw), rounds, many)
            await raw["postgres"].close()
            await client.close()
            await raw["redis"].aclose()
        turns = await counted(urls, keys)
        pid = next(one.pid for one in await status(folder) if one.store == "mongo")
        assert pid is not None
        async with Tercet(**at, mongo_timeout="60s") as db:
            stopped = await frozen(db, keys, pid)
        told = await asked.versions(addresses)
    finally:
        await servers.stop()
    slowest = max(times["entity"].values())
    return {
        "servers": told,
        "keys": many,
        "rounds": rounds,
        "ms": times,
        "turns": turns,
        "to_slowest_entity": round(times["all"]["all"] / slowest, 2),
        "to_slowest_driver": round(times["all"]["all"] / max(times["driver"].values()), 2),
        "frozen": stopped,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or Path(made) / "servers"
        asked.told(asyncio.run(measured(folder, options.keys, options.rounds)))


if __name__ == "__main__":
    main()
