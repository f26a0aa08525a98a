"""The race of a change and its row: every change is read again at once, and what is kept of that is counted.

python bench/changes/race.py [--rows 20000] [--reads 5] [--arms rule,none] [--postgres URL] [--redis URL]

A standby that is waited for holds commits back after they are told, and each row is changed once, so nothing mends
what was kept too early. Prints JSON of both arms: with the rule of a fill, and with a double in its place that lets
everything pass.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import asked
import asyncpg

from tercet.cache import Cache
from tercet.cache.loading import doubt
from tercet.changes.stream.postgres import postgres_changes
from tercet.clock import SystemClock
from tercet.servers import Addresses
from tercet.settings import Settings
from tercet.telemetry import Telemetry
from tercet.witness import Snapshot, current

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tercet.changes import Changes, Commit, Wants

# Transactions that are told and not to be seen yet at one time.
WRITERS = 50
_PATIENCE_SECONDS = 60.0
_PUBLICATION = "tercet_race"

_MADE = (
    "DROP TABLE IF EXISTS race",
    "CREATE TABLE race (id int PRIMARY KEY, n int NOT NULL)",
    "DROP PUBLICATION IF EXISTS tercet_race",
    "CREATE PUBLICATION tercet_race FOR TABLE race",
)
_FILLED = "INSERT INTO race SELECT id, 0 FROM generate_series(1, $1) AS id"
_CHANGED = "UPDATE race SET n = 1 WHERE id = $1"


class Racer:
    """Hears what another hears, and then reads each changed row again at once."""

    def __init__(self, listener: Any, run: Run) -> None:
        self._listener, self._run = listener, run

    @property
    def wants(self) -> Wants:
        return self._listener.wants  # type: ignore[no-any-return]  # as the listener says

    async def hear(self, commits: Sequence[Commit]) -> None:
        await self._listener.hear(commits)
        for commit in commits:
            for change in commit.changes:
                self._run.again(int(str(change.new["id"])))

    async def resync(self, why: str) -> None:
        await self._listener.resync(why)


class Feed:
    """The feed itself, its listener made a racer of; it knows its primary and its table."""

    def __init__(self, changes: Changes, run: Run) -> None:
        self._changes, self._run = changes, run

    def subscribe(self, listener: Any, *, durable: str | None = None, place: str | None = None) -> Any:
        return self._changes.subscribe(Racer(listener, self._run), durable=durable, place=place)

    async def seen(self) -> Snapshot:
        return Snapshot.read(self._run.source, await self._run.pool.fetchval("SELECT pg_current_snapshot()::text"))

    async def covered(self, _tables: Mapping[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
        return {"race": frozenset({"id"})}


class Run:
    """One arm: a cache that follows, writers, and a reader that is as quick as it can be."""

    def __init__(self, cache: Cache, pool: asyncpg.Pool, source: str, reads: int) -> None:
        self.cache, self.pool, self.source = cache, pool, source
        self.reads, self.read = reads, 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._rows = [cache(tags=["race:{row}"], name=f"race{number}", ttl="1h")(self._load) for number in range(reads)]

    async def _load(self, row: int) -> int:
        found, snapshot = await self.pool.fetchrow("SELECT n, pg_current_snapshot()::text FROM race WHERE id = $1", row)
        witness = current()
        if witness is not None:
            witness.note(Snapshot.read(self.source, snapshot))
        return int(found)

    def again(self, row: int) -> None:
        """Read this row again, now."""
        task = asyncio.get_running_loop().create_task(self._again(row))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _again(self, row: int) -> None:
        for load in self._rows:
            await load(row)
            self.read += 1

    async def until(self, reads: int) -> None:
        """Wait until so many rows were read again."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while self.read < reads:  # noqa: ASYNC110 - cheaper than an event a read
                await asyncio.sleep(0.002)

    async def stale(self, rows: int) -> int:
        """What is old in the cache now that nothing changes any more."""
        found = 0
        for row in range(1, rows + 1):
            for load in self._rows:
                found += await load(row) != 1
        return found


class Standby:
    """A standby that is waited for and never answers: what commits is told, and is not to be seen until it is gone.

    So the moment between the two is as long as one likes, on any machine; without it, it is a matter of luck.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def hold(self) -> None:
        """From now on commits wait."""
        await self._set("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "nobody")

    async def release(self) -> None:
        """Those that wait are visible, and so is every other."""
        await self._set("ALTER SYSTEM RESET synchronous_standby_names", "")

    async def _set(self, statement: str, until: str) -> None:
        async with self._pool.acquire() as connection:
            await connection.execute(statement)
            await connection.execute("SELECT pg_reload_conf()")
            while await connection.fetchval("SHOW synchronous_standby_names") != until:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)


async def arm(postgres: str, redis: str | None, *, rows: int, reads: int, rule: bool) -> dict[str, Any]:
    """Change every row and read each change at once; what came of it."""
    real = doubt.may_keep
    if not rule:
        doubt.may_keep = lambda _records, _witness: True
    try:
        async with AsyncExitStack() as stack:
            pool = await stack.enter_async_context(asyncpg.create_pool(postgres, min_size=4, max_size=4))
            for statement in _MADE:
                await pool.execute(statement)
            await pool.execute(_FILLED, rows)
            identifier = await pool.fetchval("SELECT system_identifier FROM pg_control_system()")
            source = f"pg:{identifier}"
            settings = Settings.read({"postgres": postgres}, environ={})
            changes = postgres_changes(
                settings, clock=SystemClock(), telemetry=Telemetry(), publication=_PUBLICATION, service="race"
            )
            stack.push_async_callback(changes.close)
            cache = await stack.enter_async_context(
                Cache(redis, ttl="1h", memory_entries=rows * reads + 1, memory_size="2GB")
            )
            run = Run(cache, pool, source, reads)
            following = cache.follow(Feed(changes, run), {"race": "race:{id}"})
            await following.ready()
            return await _raced(run, following, rows, postgres)
    finally:
        doubt.may_keep = real


async def _raced(run: Run, following: Any, rows: int, postgres: str) -> dict[str, Any]:
    began = time.perf_counter()
    standby = Standby(run.pool)
    try:
        async with asyncpg.create_pool(postgres, min_size=WRITERS, max_size=WRITERS) as writers:
            for first in range(1, rows + 1, WRITERS):
                some = range(first, min(first + WRITERS, rows + 1))
                await standby.hold()
                writing = [asyncio.ensure_future(writers.execute(_CHANGED, row)) for row in some]
                await run.until((some[-1]) * run.reads)
                await standby.release()
                await asyncio.gather(*writing)
    finally:
        await standby.release()
    wrote = time.perf_counter() - began
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while following.status().unsettled:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
    stats = run.cache.stats()
    return {
        "rows": rows,
        "reads": run.read,
        "writes_per_second": round(rows / wrote),
        "loads": stats.loads,
        "late_fills_refused": stats.late_fills_refused,
        "stale": await run.stale(rows),
    }


async def _main(words: argparse.Namespace) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        postgres, redis = words.postgres, words.redis
        if postgres is None:
            stores = ("postgres", "redis") if words.shared else ("postgres",)
            addresses = await stack.enter_async_context(asked.running(*stores))
            postgres, redis = addresses.postgres, addresses.redis if words.shared else None
        servers = await asked.versions(Addresses(postgres=postgres, redis=redis))
        found = {
            name: await arm(postgres, redis, rows=words.rows, reads=words.reads, rule=name == "rule")
            for name in words.arms.split(",")
        }
    return {"servers": servers, "tier": "redis" if redis else "memory", "arms": found}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--reads", type=int, default=5, help="caches of each row, all read again at once")
    parser.add_argument("--arms", default="rule,none")
    parser.add_argument("--postgres", help="a PostgreSQL with wal_level=logical, instead of one of its own")
    parser.add_argument("--redis", help="a Redis, with --postgres")
    parser.add_argument("--shared", action="store_true", help="with a Redis of its own, as processes share it")
    asked.told(asyncio.run(_main(parser.parse_args())))
