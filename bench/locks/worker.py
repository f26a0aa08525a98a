"""One process of the fault run: it takes the lock again and again, and writes down when it believed to hold it.

Each belief is one line, `token time`: at that time, by its own clock, the lock was its own. The time is taken
before the question, so that a process that is frozen between the two claims nothing that it did not know.
"""

# ruff: noqa: S311 - how long some work takes is no secret

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tercet.clock import SystemClock
from tercet.errors import TercetError
from tercet.locks import Held, Locks
from tercet.locks.postgres import fence
from tercet.telemetry import Telemetry
from tercet.wire import Wire

NAME = "ledger"
TTL = "1s"
WAIT = "2s"
# How many tasks contend in each process.
TASKS = 2
# Most work is short; some lasts longer than a lease, so that it has to be renewed.
SHORT_SECONDS = 0.03
LONG_SECONDS = 2.5
LONG_SHARE = 0.2
STAMP_SECONDS = 0.004


class Diary:
    """What this process believed, and how its attempts ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._beliefs = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.ends: Counter[str] = Counter()

    def stamp(self, held: Held) -> None:
        """Write down that it is ours now, if that is what we believe."""
        now = time.monotonic()
        if held.remaining() > 0:
            os.write(self._beliefs, f"{held.token} {now:.6f}\n".encode())

    def close(self) -> None:
        """Write down how the attempts ended."""
        self._path.with_suffix(".ends").write_text(repr(dict(self.ends)), encoding="utf-8")


async def work(held: Held, engine: AsyncEngine, diary: Diary, worker: str) -> None:
    """Read, take a while, and write what follows from it: without the fence, two holders would lose a write."""
    diary.stamp(held)
    async with engine.begin() as connection:
        await fence(connection, NAME, held.token)
        count = (await connection.execute(text("select count from ledger"))).scalar_one()
    until = time.monotonic() + (LONG_SECONDS if random.random() < LONG_SHARE else random.uniform(0, SHORT_SECONDS))
    while time.monotonic() < until:
        diary.stamp(held)
        await asyncio.sleep(STAMP_SECONDS)
    diary.stamp(held)
    async with engine.begin() as connection:
        await fence(connection, NAME, held.token)
        await connection.execute(text("update ledger set count = :count"), {"count": count + 1})
        row = {"token": held.token, "worker": worker}
        await connection.execute(text("insert into writes (token, worker) values (:token, :worker)"), row)
    diary.stamp(held)


async def contend(locks: Locks, engine: AsyncEngine, diary: Diary, worker: str, stop: asyncio.Event) -> None:
    """Take the lock, work, give it back; whatever goes wrong is counted."""
    while not stop.is_set():
        try:
            async with locks.lock(NAME, ttl=TTL, wait=WAIT) as held:
                await work(held, engine, diary, worker)
        except (TercetError, SQLAlchemyError) as error:
            diary.ends[type(error).__name__] += 1
        else:
            diary.ends["done"] += 1


async def main(redis_url: str, postgres_url: str, path: str, worker: str) -> None:
    """Contend until told to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    clock, telemetry = SystemClock(), Telemetry()
    wire = Wire.at(redis_url, clock=clock, telemetry=telemetry)
    locks = Locks(wire, clock=clock, telemetry=telemetry)
    engine = create_async_engine(postgres_url)
    diary = Diary(Path(path))
    await asyncio.gather(*(contend(locks, engine, diary, worker, stop) for _ in range(TASKS)))
    diary.close()
    await locks.close()
    await wire.close()
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
