"""Rollups when processes and servers die: nothing is lost, and nothing counts twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tercet import Tercet
from tercet.rollups import Keeper, Measure, Rollup, check, create_rollup, merge
from tercet.servers import Servers, start

# Both cores may be taken: nothing here is about how fast it is.
PATIENCE_SECONDS = 90.0
# Below those that systems give to clients, above those of services that people know.
PORTS = (20_000, 32_000)
SPENT = Rollup("spent", "orders", ("user_id",), {"n": Measure("count"), "total": Measure("sum", "total")}, way="delta")

TABLES = (
    "create table orders (id bigint generated always as identity primary key, user_id int, total int)",
    "create index on orders (user_id)",
    "insert into orders (user_id, total) select i % 40, i from generate_series(1, 400) i",
)

# Merges a line at a time, for ever; its first word says that it has begun.
_MERGER = """
import asyncio, sys
from tercet import Tercet
from tercet.rollups import Measure, Rollup, merge

SPENT = Rollup("spent", "orders", ("user_id",), {"n": Measure("count"), "total": Measure("sum", "total")}, way="delta")

async def main():
    async with Tercet(postgres=sys.argv[1]) as db:
        while True:
            await merge(db.postgres, SPENT, lines=1)
            print("merged", flush=True)

asyncio.run(main())
"""


async def _do(db: Tercet, *statements: str) -> list[Any]:
    async with db.postgres.transaction() as connection:
        for statement in statements:
            answer = await connection.exec_driver_sql(statement)
        return [tuple(row) for row in answer.all()] if answer.returns_rows else []


async def _differences(db: Tercet) -> int:
    """Groups that are not what GROUP BY says, in one snapshot."""
    truth = "select user_id, count(*), sum(total) from orders group by 1"
    both = "select count(*) from (({a} except {b}) union all ({b} except {a})) d"
    return int((await _do(db, both.format(a=truth, b="select * from spent")))[0][0])


async def _until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            answer = holds()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def db(postgres_url: str) -> AsyncIterator[Tercet]:
    """Orders and their rollup."""
    async with Tercet(postgres=postgres_url) as db:
        await _do(db, *TABLES)
        await create_rollup(db.postgres, SPENT)
        yield db


def _start(program: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *words], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )


def _kill(process: subprocess.Popen[str]) -> None:
    """As the system would: at once, and gone when this returns."""
    process.kill()
    with process:
        pass


def _ports(last: Any) -> Iterator[int]:
    """The last port again and again; at first, one that no client is given by the system while the server is away."""
    while last is not None:
        yield last.port
    while True:
        yield random.randrange(*PORTS)


async def test_a_merger_that_is_killed_has_lost_and_doubled_nothing(db: Tercet, postgres_url: str) -> None:
    """Whichever batch it was in, the next one does it; each look is exact."""
    for round_ in range(2):
        await _do(
            db,
            "insert into orders (user_id, total) select i % 40, i from generate_series(1, 5) i, generate_series(1, 40)",
        )
        merger = _start(_MERGER, postgres_url)
        try:
            assert merger.stdout is not None
            for look in range(20):
                await _do(db, f"insert into orders (user_id, total) values ({look}, {round_})")
                await _do(db, f"delete from orders where user_id = {look % 7} and total % 2 = 0")
                assert await _differences(db) == 0
            await asyncio.to_thread(merger.stdout.readline)
        finally:
            _kill(merger)
        assert await _differences(db) == 0

    async def merged() -> bool:
        return (await merge(db.postgres, SPENT)).whole

    await _until(lambda: _quietly(merged))
    assert await _do(db, "select count(*) from spent_log") == [(0,)]
    assert (await check(db.postgres, SPENT)).wrong == 0


async def _quietly(work: Callable[[], Any]) -> object:
    """What it answers; False while the server has not noticed yet that the killed one is gone."""
    from tercet.errors import LockBusy

    try:
        return await work()
    except LockBusy:
        return False


async def test_a_keeper_that_is_cut_off_from_a_server_goes_on_when_that_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL is killed in the middle of writes and merges, and comes back at its address."""
    monkeypatch.setattr(start, "_ports", _ports)
    servers = Servers(tmp_path, ("postgres",), durable=True, sources=("wheel",))
    url = (await servers.start()).postgres
    assert url is not None
    try:
        async with Tercet(postgres=url) as db:
            await _do(db, *TABLES)
            await create_rollup(db.postgres, SPENT)
            keeper = Keeper(db.postgres)
            keeper.keep(SPENT, every=0.1)
            keeper.open()
            for number in range(60):
                await _do(db, f"insert into orders (user_id, total) values ({number % 40}, {number})")
            postmaster = int((tmp_path / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])
            os.kill(postmaster, signal.SIGKILL)
            await _until(lambda: keeper.kept()[0].state == "failing")
            await servers.stop()
            servers = Servers(tmp_path, ("postgres",), durable=True, sources=("wheel",))
            await servers.start()

            async def back() -> bool:
                try:
                    return await _differences(db) == 0
                except Exception:  # noqa: BLE001 - it may not answer yet
                    return False

            await _until(back)
            await _do(db, "insert into orders (user_id, total) values (1, 1)", "delete from orders where user_id = 2")
            await _until(lambda: keeper.kept()[0].well)

            async def empty() -> bool:
                return await _do(db, "select count(*) from spent_log") == [(0,)]

            await _until(empty)
            assert await _differences(db) == 0
            assert (await check(db.postgres, SPENT)).wrong == 0
            await keeper.close()
    finally:
        await servers.stop()


async def test_a_build_that_is_killed_is_finished_by_the_next_one(postgres_url: str) -> None:
    """Its triggers have kept what it had filled, and the rest is filled."""
    program = (
        _MERGER[: _MERGER.index("        while True")].replace("Rollup, merge", "Rollup, create_rollup").rstrip()
        + """
        def told(one):
            print("filled", flush=True)
            input()
        await create_rollup(db.postgres, SPENT, rows=20, on_range=told)

asyncio.run(main())
"""
    )
    async with Tercet(postgres=postgres_url) as db:
        await _do(db, *TABLES)
        builder = _start(program, postgres_url)
        try:
            assert builder.stdout is not None
            assert await asyncio.to_thread(builder.stdout.readline) == "filled\n"
        finally:
            _kill(builder)
        assert await _do(db, "select state from tercet.rollups") == [("filling",)]
        await _do(db, "update orders set user_id = 39 - user_id", "delete from orders where id % 5 = 0")

        async def built() -> bool:
            return not (await create_rollup(db.postgres, SPENT)).existed

        await _until(lambda: _quietly(built))
        assert await _differences(db) == 0
        assert (await check(db.postgres, SPENT)).wrong == 0
