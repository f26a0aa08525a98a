"""COMMIT has returned in one process: how long until another process has forgotten what it kept of that row?

    python bench/changes/latency.py [--seconds 20] [--rate 100] [--stores postgres,mongo]

Three processes, as a service has them, on a durable PostgreSQL (fsync) or an embedded mongod (w: 1), and a Redis. The
writer changes each row once and notes when its commit had returned. The relay reads the feed. The hearer is another
process of the same service: a Tercet, a Cache, a decorated function whose entry of each row is in its memory, and
`cache.follow`. The relay keeps and follows the same, so its own figure is that of a service of one process.

All times are of CLOCK_MONOTONIC, which all processes of a machine share. That of a drop is noted by a wrapper around
Memory.drop_tags, when it has returned and an entry had carried the tag; afterwards each process reads every row again
and must be shown the new one. `redis_ms` is when Redis had acknowledged the drop to the relay. A value below zero: it
came before the writer was told of its own commit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import asked
import asyncpg
from pymongo import AsyncMongoClient

from tercet import Cache, Tercet
from tercet.cache.follow.following import Following
from tercet.cache.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tercet.changes import Change, Commit

# The first ones pay for plans and imports: a twentieth, of which nothing is told.
WARM_SHARE = 20
# Rows that are read at once before the run; less than a pool has connections.
READ_AT_ONCE = 8
# For what must have happened, on a machine that is busy with other things.
PATIENCE_SECONDS = 60.0

TABLE = ("CREATE TABLE item (id bigint PRIMARY KEY, n int NOT NULL)", "CREATE PUBLICATION tercet FOR TABLE item")
FILLED = "INSERT INTO item SELECT id, 0 FROM generate_series(1, $1) AS id"
CHANGED = "UPDATE item SET n = n + 1 WHERE id = $1"
READ = "SELECT n FROM item WHERE id = :id"

Times = dict[int, int]


# ---- the writer


async def write(urls: dict[str, str], store: str, count: int, rate: float) -> Times:
    """Change each row in a transaction of its own, so many a second; when each commit had returned."""
    if store == "postgres":
        return await _write_postgres(urls["postgres"], count, rate)
    async with AsyncMongoClient[dict[str, Any]](urls["mongo"], w=1) as client:
        items = client.get_default_database()["item"]
        returned: Times = {}
        async for row in _paced(count, rate):
            await items.update_one({"_id": row}, {"$inc": {"n": 1}})
            returned[row] = time.monotonic_ns()
    return returned


async def _write_postgres(url: str, count: int, rate: float) -> Times:
    connection = await asyncpg.connect(url)
    assert (await connection.fetchval("SHOW fsync"), await connection.fetchval("SHOW synchronous_commit")) == (
        "on",
        "on",
    )
    change, returned = await connection.prepare(CHANGED), dict[int, int]()
    async for row in _paced(count, rate):
        async with connection.transaction():
            await change.fetch(row)
        returned[row] = time.monotonic_ns()
    await connection.close()
    return returned


async def _paced(count: int, rate: float) -> Any:
    begun = time.monotonic()
    for row in range(1, count + 1):
        await asyncio.sleep(max(0.0, begun + row / rate - time.monotonic()))
        yield row


# ---- who keeps and follows


class Notes:
    """When, in this process, each row was told of, dropped, and known to Redis."""

    def __init__(self) -> None:
        self.told: Times = {}
        self.dropped: Times = {}
        self.redis: Times = {}

    def wrap(self) -> None:
        """From now on every drop of this process is noted."""
        drop_tags, hear = Memory.drop_tags, Following.hear

        def dropping(memory: Memory, tags: Iterable[str]) -> None:
            kept = [tag for tag in tags if tag in memory._cells]  # noqa: SLF001 - whether an entry carries it is asked of nobody else
            drop_tags(memory, tags)
            now = time.monotonic_ns()
            self.dropped |= {_row(tag): now for tag in kept if _row(tag) not in self.dropped}

        async def hearing(following: Following, commits: Sequence[Commit]) -> None:
            rows = [_id(change) for commit in commits for change in commit.changes]
            self.told |= dict.fromkeys(rows, time.monotonic_ns())
            await hear(following, commits)
            self.redis |= dict.fromkeys(rows, time.monotonic_ns())

        Memory.drop_tags = dropping  # type: ignore[assignment, method-assign]  # the very place that is measured
        Following.hear = hearing  # type: ignore[assignment, method-assign]  # as above


def _id(change: Change) -> int:
    return int(str(change.new["id" if "id" in change.new else "_id"]))


def _row(tag: str) -> int:
    return int(tag.partition(":")[2])


async def keep(urls: dict[str, str], store: str, count: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Keep every row, follow, and say so; when the line is there that ends it, what was noted and is shown now."""
    notes, rows = Notes(), range(1, count + 1)
    notes.wrap()
    async with Tercet(**urls) as db:  # type: ignore[arg-type]  # the addresses of the stores, by their names
        cache = Cache(db, ttl="1h", memory="1h")

        @cache(tags=["item:{row}"], name="item")
        async def item(row: int) -> int:
            return await _read(db, store, row)

        shape = {"item": "item:{id}"} if store == "postgres" else {"item": "item:{_id}"}
        following = cache.follow(db.changes if store == "postgres" else db.changes.mongo, shape)
        await following.ready()
        assert await _all(item, rows) == [0] * count
        say(json.dumps({"relay": following.status().relaying}))
        await asyncio.to_thread(sys.stdin.readline)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(notes.dropped) < count:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)
        shown = await _all(item, rows)
        relaying = following.status().relaying
        await cache.close()
    return {
        "told": notes.told,
        "dropped": notes.dropped,
        "redis": notes.redis,
        "old": sum(one != 1 for one in shown),
        "relay": relaying,
    }


async def _read(db: Tercet, store: str, row: int) -> int:
    if store == "mongo":
        found = await db.mongo["item"].find_one({"_id": row})
        return int((found or {})["n"])
    from sqlalchemy import text  # noqa: PLC0415 - half of the runs have no use for it

    async with db.postgres.connection() as connection:
        return int((await connection.execute(text(READ), {"id": row})).scalar_one())


async def _all(item: Callable[[int], Any], rows: Sequence[int]) -> list[int]:
    shown: list[int] = []
    for first in range(0, len(rows), READ_AT_ONCE):
        shown += await asyncio.gather(*(item(row) for row in rows[first : first + READ_AT_ONCE]))
    return shown


# ---- all together


class Child:
    """A process of this file, in one of its roles."""

    def __init__(self, role: str, urls: dict[str, str], options: argparse.Namespace, store: str) -> None:
        words = ["--role", role, "--urls", json.dumps(urls), "--stores", store]
        words += ["--rate", str(options.rate), "--seconds", str(options.seconds)]
        self._process = subprocess.Popen(  # noqa: S603 - it is this very file
            [sys.executable, __file__, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def line(self) -> Any:
        """The next thing it says."""
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline() or '{"ended": true}')

    def end(self) -> Any:
        """Have it end; the last thing that it says."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.line()

    def close(self) -> None:
        """Wait for its end, or bring it about."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def measure(urls: dict[str, str], store: str, options: argparse.Namespace) -> dict[str, Any]:
    """The percentiles of one store, in milliseconds after the commit had returned."""
    children: list[Child] = []
    try:
        for role in ("relay", "hearer"):
            children.append(Child("keep", urls, options, store))
            said = children[-1].line()
            assert said == {"relay": role == "relay"}, f"the {role} says {said}"
        children.append(Child("write", urls, options, store))
        returned = children[-1].line()
        # The hearer first: it would lead as soon as the relay is gone.
        hearer = children[1].end()
        relay = children[0].end()
    finally:
        for child in children:
            child.close()
    ended = (relay["relay"], hearer["relay"], relay["old"], hearer["old"])
    assert ended == (True, False, 0, 0), f"another leads, or an old row is shown: {ended}"
    rows = list(returned)[len(returned) // WARM_SHARE :]

    def since(times: dict[str, int]) -> dict[str, float]:
        return asked.shares([(times[row] - returned[row]) / 1e6 for row in rows])

    return {
        "commits": len(rows),
        "rate": options.rate,
        "another_process_ms": since(hearer["dropped"]),
        "same_process_ms": since(relay["dropped"]),
        "relay_told_ms": since(relay["told"]),
        "redis_ms": since(relay["redis"]),
    }


async def prepare(urls: dict[str, str], store: str, count: int) -> None:
    """The rows."""
    if store == "mongo":
        async with AsyncMongoClient[dict[str, Any]](urls["mongo"]) as client:
            rows = [{"_id": row, "n": 0} for row in range(1, count + 1)]
            await client.get_default_database()["item"].insert_many(rows)
        return
    connection = await asyncpg.connect(urls["postgres"])
    for statement in TABLE:
        await connection.execute(statement)
    await connection.execute(FILLED, count)
    await connection.close()


async def whole(options: argparse.Namespace) -> dict[str, Any]:
    """Each store with servers of its own, one after the other."""
    stores, servers = dict[str, Any](), list[str]()
    for store in options.stores.split(","):
        async with asked.running(store, "redis") as addresses:
            servers += await asked.versions(addresses)
            urls = {name: getattr(addresses, name) for name in (store, "redis")}
            await prepare(urls, store, round(options.seconds * options.rate))
            stores[store] = await asyncio.to_thread(measure, urls, store, options)
    return {"servers": sorted(set(servers)), "stores": stores}


def main() -> None:
    """Measure and print, or be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=100.0, help="commits a second")
    parser.add_argument("--stores", default="postgres,mongo")
    parser.add_argument("--role", choices=["keep", "write"], help=argparse.SUPPRESS)
    parser.add_argument("--urls", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    count = round(options.seconds * options.rate)

    def say(line: str) -> None:
        print(line, flush=True)

    if options.role == "write":
        say(json.dumps(asyncio.run(write(options.urls, options.stores, count, options.rate))))
    elif options.role == "keep":
        say(json.dumps(asyncio.run(keep(options.urls, options.stores, count, say))))
    else:
        asked.told(asyncio.run(whole(options)))


if __name__ == "__main__":
    main()
