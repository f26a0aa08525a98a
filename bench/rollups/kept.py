"""Rollups under random writes and kills: equal to the view at every check, and what they cost beside a refresh.

    python bench/rollups/kept.py --seconds 60 --results bench/results

First the fault run: writers insert, update, delete, move and truncate, some roll back; the merger and PostgreSQL are
killed (SIGKILL) again and again; every check compares both rollups with the query itself in one snapshot. Then the
prices, on so many users and orders: one insert and a batch without a rollup, with one kept by triggers and with one
kept by a log; a merge, per line of the log; a plain and a concurrent refresh of the same view. Fails when one check
has found a difference.
"""

# ruff: noqa: S311, S608 - which write comes next is no secret, and all SQL is written here

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from tercet import Tercet
from tercet.rollups import Measure, Rollup, check, create_rollup, create_view, drop_rollup, merge, refresh_view
from tercet.servers import Servers
from tercet.sql import View

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

WRITERS = 4
CALM_SECONDS = (1.0, 4.0)
START_SECONDS = 60.0
KEYS = 30
# What a connection says whose server was killed: the last one is asyncpg's own surprise.
LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

MEASURES = {"n": Measure("count"), "total": Measure("sum", "total"), "mean": Measure("avg", "total")}
LOGGED = Rollup("logged", "orders", ("user_id",), MEASURES, where="total <> 13", way="delta")
TRIGGERED = Rollup(
    "triggered",
    "orders",
    ("user_id",),
    {**MEASURES, "least": Measure("min", "total"), "most": Measure("max", "total")},
    where="total <> 13",
)
QUERY = (
    "select user_id, count(*) as n, sum(total) as total, avg(total) as mean{more} from orders {where} group by user_id"
)
TABLE = (
    "create table orders (id bigint generated always as identity primary key, user_id int, total numeric(12, 2))",
    "create index on orders (user_id)",
)
WRITES = (
    ("insert", "insert into orders (user_id, total) values ({a}, {n})"),
    ("insert", "insert into orders (user_id, total) select i % {a} + 1, i % 40 from generate_series(1, 50) i"),
    ("update", "update orders set total = total + {n} where user_id = {a}"),
    ("move", "update orders set user_id = {b} where user_id = {a} and id % 2 = 0"),
    ("move", "update orders set user_id = nullif({b}, user_id) where id % 31 = {n}"),
    ("delete", "delete from orders where user_id = {a} and id % 3 = 0"),
    ("delete", "delete from orders where total = (select max(total) from orders where user_id = {a})"),
)
TRUNCATES = 0.004
ROLLBACKS = 0.1

MERGER = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from kept import LOGGED
from tercet import Tercet
from tercet.rollups import merge

async def main():
    while True:
        try:
            async with Tercet(postgres=sys.argv[1]) as db:
                while True:
                    await merge(db.postgres, LOGGED, lines=20)
        except Exception:
            await asyncio.sleep(0.1)

asyncio.run(main())
"""


class Run:
    """The fault run: one server, its writers, its merger, and what became of them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._chosen = folder, random.Random(seed)
        self._servers = self._make()
        self._merger: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.told: Counter[str] = Counter()
        self.over = False

    def _make(self) -> Servers:
        # What was committed before a kill must be there after it.
        return Servers(self._folder, ("postgres",), durable=True, sources=("wheel",))

    async def start(self) -> None:
        """Start the server, at its last address."""
        url = (await self._servers.start()).postgres
        if url is None or self.url not in {"", url}:
            raise SystemExit("the server did not come back at its address")
        self.url = url

    async def run(self, seconds: float) -> None:
        """Write, kill and check for so long."""
        async with Tercet(postgres=self.url) as db, db.postgres.transaction() as connection:
            for statement in TABLE:
                await connection.exec_driver_sql(statement)
        writers = [asyncio.create_task(self._write(seed)) for seed in range(WRITERS)]
        async with Tercet(postgres=self.url, postgres_statement_timeout=60.0) as db:
            # Built while others write.
            for rollup in (LOGGED, TRIGGERED):
                await create_rollup(db.postgres, rollup, rows=100)
        self._begin_merger()
        checker = asyncio.create_task(self._check())
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await asyncio.sleep(self._chosen.uniform(*CALM_SECONDS))
            if self._chosen.random() < 0.75:
                self._end_merger()
                self._begin_merger()
                self.told["merger killed"] += 1
            else:
                await self._kill()
                self.told["postgresql killed"] += 1
        self.over = True
        await asyncio.gather(checker, *writers)
        self._end_merger()
        await self._last()

    async def _last(self) -> None:
        """With nobody else about: merged to its end, and compared group by group."""
        async with Tercet(postgres=self.url, postgres_statement_timeout=60.0) as db:
            while True:
                with suppress(Exception):
                    if (await merge(db.postgres, LOGGED)).whole:
                        break
                await asyncio.sleep(0.1)
            for rollup in (LOGGED, TRIGGERED):
                self.told["groups wrong at the end"] += (await check(db.postgres, rollup)).wrong

    async def close(self) -> None:
        """Nothing is left."""
        self._end_merger()
        await self._servers.stop()

    def _begin_merger(self) -> None:
        self._merger = subprocess.Popen(  # noqa: S603 - a program of ours
            [sys.executable, "-c", MERGER, self.url, str(Path(__file__).parent)]
        )

    def _end_merger(self) -> None:
        if self._merger is not None:
            self._merger.kill()
            self._merger.wait()
            self._merger = None

    async def _kill(self) -> None:
        postmaster = int((self._folder / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])
        os.kill(postmaster, signal.SIGKILL)
        await self._servers.stop()
        self._servers = self._make()
        await self.start()

    async def _connected(self, work: Callable[[asyncpg.Connection], Awaitable[None]]) -> None:
        """Do it again and again, on a new connection after each kill."""
        while not self.over:
            try:
                connection = await asyncpg.connect(self.url, timeout=START_SECONDS)
            except (OSError, asyncpg.PostgresError, TimeoutError):
                await asyncio.sleep(0.1)
                continue
            try:
                while not self.over:
                    await work(connection)
            except LOST:
                self.told["connections lost"] += 1
            finally:
                connection.terminate()

    async def _write(self, seed: int) -> None:
        chosen = random.Random(seed)

        async def work(connection: asyncpg.Connection) -> None:
            kind, text = chosen.choice(WRITES)
            if chosen.random() < TRUNCATES:
                kind, text = "truncate", "truncate orders"
            text = text.format(a=chosen.randint(1, KEYS), b=chosen.randint(1, KEYS), n=chosen.randint(1, 30))
            transaction = connection.transaction()
            await transaction.start()
            try:
                await connection.execute(text)
                # Several statements a transaction now and then.
                if chosen.random() < 0.3:
                    await connection.execute("insert into orders (user_id, total) values (null, 1), (1, 13), (2, -4)")
                if chosen.random() < ROLLBACKS:
                    await transaction.rollback()
                    self.told["rolled back"] += 1
                    return
                await transaction.commit()
                self.told[kind] += 1
            except asyncpg.DeadlockDetectedError:
                # Two writers took each other's rows, as they would without a rollup.
                await transaction.rollback()
                self.told["deadlocks"] += 1

        await self._connected(work)

    async def _check(self) -> None:
        async def work(connection: asyncpg.Connection) -> None:
            for rollup in (LOGGED, TRIGGERED):
                found = await connection.fetchval(_difference(rollup))
                self.told["checks"] += 1
                self.told["differences"] += found
                if found:
                    print(f"{rollup.name}: {found} rows differ", file=sys.stderr)
            await asyncio.sleep(0.02)

        await self._connected(work)


def _difference(rollup: Rollup) -> str:
    more = ", min(total) as least, max(total) as most" if rollup is TRIGGERED else ""
    truth = QUERY.format(more=more, where="where total <> 13")
    held = f"select * from {rollup.qualified}"
    return f"select count(*) from (({truth} except all {held}) union all ({held} except all {truth})) d"


async def faults(seconds: float, seed: int) -> dict[str, Any]:
    """The fault run; what happened in it."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), seed)
        try:
            await run.start()
            await run.run(seconds)
        finally:
            await run.close()
    return {"seconds": seconds, "seed": seed, "writers": WRITERS, **{key: run.told[key] for key in sorted(run.told)}}


async def prices(users: int, orders: int, singles: int) -> dict[str, Any]:
    """What each way costs, all of them in turns so that a busy machine is busy for each."""
    with tempfile.TemporaryDirectory() as folder:
        servers = Servers(Path(folder), ("postgres",), durable=False, sources=("wheel",))
        url = (await servers.start()).postgres
        try:
            async with Tercet(postgres=url or "", postgres_statement_timeout=3600.0) as db:
                return await _prices(db, url or "", users, orders, singles)
        finally:
            await servers.stop()


def _priced(way: str) -> Rollup | None:
    if way == "none":
        return None
    measures = {"n": Measure("count"), "total": Measure("sum", "total")}
    return Rollup(f"kept_{way}", f"orders_{way}", ("user_id",), measures, way=way)  # type: ignore[arg-type]


async def _prices(db: Tercet, url: str, users: int, orders: int, singles: int) -> dict[str, Any]:
    ways = ("none", "triggers", "delta")
    found: dict[str, Any] = {"users": users, "orders": orders}
    built = {}
    for way in ways:
        await _filled(db, way, users, orders)
        rollup = _priced(way)
        if rollup is not None:
            built[way] = (await create_rollup(db.postgres, rollup)).seconds
    found["build_seconds"] = built
    single: dict[str, list[float]] = {way: [] for way in ways}
    batch: dict[str, list[float]] = {way: [] for way in ways}
    # The driver itself, for what is asked is what the server takes longer.
    line = await asyncpg.connect(url)
    texts = {way: await line.prepare(f"insert into orders_{way} (user_id, total) values ($1, 5)") for way in ways}
    for _ in range(singles):
        for way, text in texts.items():
            user = random.randrange(users)
            started = time.perf_counter()
            await text.fetch(user)
            single[way].append(time.perf_counter() - started)
    await line.close()
    async with db.postgres.autocommit() as connection:
        for _ in range(5):
            for way in ways:
                text = (
                    f"insert into orders_{way} (user_id, total) select random() * $1, 5 from generate_series(1, 10000)"
                )
                started = time.perf_counter()
                await connection.exec_driver_sql(text, (users - 1,))
                batch[way].append(time.perf_counter() - started)
    found["single_insert_ms"] = {way: statistics.median(some) * 1e3 for way, some in single.items()}
    found["batch_10000_ms"] = {way: statistics.median(some) * 1e3 for way, some in batch.items()}
    logged = _priced("delta")
    if logged is not None:
        merged = await merge(db.postgres, logged)
        found["merge"] = {
            "lines": merged.lines,
            "seconds": merged.seconds,
            "us_a_line": merged.seconds / max(merged.lines, 1) * 1e6,
        }
    found["refresh"] = await _refreshes(db)
    for way in ways:
        rollup = _priced(way)
        if rollup is not None:
            found[f"wrong_{way}"] = (await check(db.postgres, rollup)).wrong
            await drop_rollup(db.postgres, rollup)
    return found


async def _filled(db: Tercet, way: str, users: int, orders: int) -> None:
    async with db.postgres.transaction(within=0) as connection:
        await connection.exec_driver_sql(
            f"create table orders_{way}"
            " (id bigint generated always as identity primary key, user_id int, total numeric(12, 2))"
        )
        await connection.exec_driver_sql(
            f"insert into orders_{way} (user_id, total) select power(random(), 2) * ($1::int - 1), i % 100"
            " from generate_series(1, $2::int) i",
            (users, orders),
        )
        await connection.exec_driver_sql(f"create index on orders_{way} (user_id)")
    async with db.postgres.autocommit() as connection:
        await connection.exec_driver_sql(f"vacuum (analyze) orders_{way}")


async def _refreshes(db: Tercet) -> dict[str, float]:
    view = View(
        "totals", "select user_id, count(*) as n, sum(total) as total from orders_none group by 1", ("user_id",)
    )
    await create_view(db.postgres, view)
    spent: dict[str, list[float]] = {"plain": [], "concurrently": []}
    for _ in range(3):
        for way, some in spent.items():
            async with db.postgres.autocommit() as connection:
                # One order in a hundred has changed since.
                await connection.exec_driver_sql("update orders_none set total = total + 1 where id % 100 = 0")
            some.append((await refresh_view(db.postgres, view, concurrently=way == "concurrently")).seconds)
    return {f"{way}_seconds": statistics.median(some) for way, some in spent.items()}


async def main() -> int:
    """Run both and write down what was found."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--seconds", type=float, default=60.0)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--users", type=int, default=200_000)
    words.add_argument("--orders", type=int, default=1_000_000)
    words.add_argument("--singles", type=int, default=400)
    words.add_argument("--results", type=Path)
    asked = words.parse_args()
    at, told = datetime.now(UTC).isoformat(timespec="seconds"), await faults(asked.seconds, asked.seed)
    found = {
        "at": at,
        "cores": os.cpu_count(),
        "faults": told,
        "prices": await prices(asked.users, asked.orders, asked.singles),
    }
    text = json.dumps(found, indent=1)
    print(text)
    if asked.results is not None:
        asked.results.mkdir(parents=True, exist_ok=True)
        place = asked.results / f"rollups-{at[:10]}.json"
        place.write_text(text + "\n", encoding="utf-8")
    exact = told["differences"] == 0 and told["groups wrong at the end"] == 0 and told["checks"] > 0
    return 0 if exact else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
