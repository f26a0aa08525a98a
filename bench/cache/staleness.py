"""Whether a cache is ever wrong for longer than it says: processes that read, write and drop, while things break.

.venv-bench/bin/python bench/cache/staleness.py [--steps 1000000] [--seconds 100] [--seed 1] [--bound 2]

Each process has a Cache over a proxy of its own. A seeded schedule freezes the server, cuts and holds connections (a
held one that is then cut has lost its pushes), empties the server, and kills processes. Loaders are slow at times and
callers go away. Every read is compared with what had been acknowledged before it began; see truth.py. It ends with 1
when a read was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis.asyncio as driver
import server as servers
import truth
from proxy import Proxy

import tercet.cache
from tercet import Cache
from tercet.errors import TercetError
from tercet.proof import describe_machine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Few keys, so that everybody meets everybody; half are dropped by tag, half by their arguments.
KEYS = 64
PROCESSES = 4
TASKS = 8

# Steps of a task between two pauses: hits in memory never wait, and nobody else would get a turn.
BURST = 25

# Of a thousand steps: writes, reads whose caller goes away, reloads. The rest are reads.
WRITES, CANCELLED, REFRESHED = 20, 10, 2

# Of a hundred loads one is slow, for up to this: longer than the pushes and heartbeats that it competes with.
SLOW_SECONDS = 3.0

# A fault lasts up to this, and up to this passes between two: heartbeats are missed in some and not in others.
FAULT_SECONDS = 3.0
CALM_SECONDS = 1.5

# After the last fault everything has to come to rest and be read once more.
REST_SECONDS = 4.0

# Nobody waits longer for a step to end; a read that takes longer hangs, which is told.
END_SECONDS = 10.0

# A run that makes no steps is ended after so many times the seconds that it was given, and so many more.
PATIENCE, PATIENCE_SECONDS = 20, 60.0

FAULTS = ("freeze", "cut", "hold both", "hold down and cut", "hold up", "refuse", "empty", "kill")


def bound() -> float:
    """What tercet.cache states, where it does."""
    return float(getattr(tercet.cache, "STALE_SECONDS_MAX", 2.0))


class Worker:
    """One process: its cache, its tasks, its journal."""

    def __init__(self, words: dict[str, Any]) -> None:
        self._words = words
        self._place: int = words["place"]
        self._truth = truth.Register(Path(words["register"]), KEYS, PROCESSES)
        self._journal = truth.Journal(Path(words["journal"]))
        self._draw = random.Random(f"{words['seed']}:{self._place}:{words['life']}")  # noqa: S311 - a schedule, not a secret
        self._seen: Counter[str] = Counter()
        self._ending = False

    async def run(self) -> None:
        """All tasks until the parent ends it, or asks for the end by closing its input."""
        options = {"memory": self._words["memory"]} if self._words["memory"] else {}
        cache: Any = Cache(self._words["url"], ttl="1h", **options)

        async def load(key: int) -> int:
            version = self._truth.version(key)
            if self._draw.random() < 0.01:
                await asyncio.sleep(self._draw.random() * self._words["slow"])
            return version

        async def by_tag(key: int) -> int:
            return await load(key)

        async def by_call(key: int) -> int:
            return await load(key)

        tagged, plain = cache(tags=["key:{key}"], name="tagged")(by_tag), cache(name="plain")(by_call)

        def of(key: int) -> tuple[Any, Callable[[], Awaitable[object]]]:
            if key % 2:
                return tagged, lambda: cache.drop_tags(f"key:{key}")
            return plain, lambda: plain.drop(key)

        tasks = [asyncio.create_task(self._task(of)) for _ in range(TASKS)]
        await asyncio.to_thread(sys.stdin.readline)
        self._ending = True
        _, hung = await asyncio.wait(tasks, timeout=END_SECONDS)
        self._seen["hung"] += len(hung)
        self._journal.flush()
        print(json.dumps(self._seen), flush=True)
        # What hangs would be waited for otherwise.
        os._exit(0)

    async def _task(self, of: Callable[[int], tuple[Any, Callable[[], Awaitable[object]]]]) -> None:
        draw = self._draw
        # A flag and not a cancellation, which a step may take for that of its own caller.
        while not self._ending:
            for _ in range(BURST):
                # Some keys are everybody's, the others are rarely looked at.
                key = min(int(draw.expovariate(0.1)), KEYS - 1)
                function, drop = of(key)
                try:
                    await self._step(draw.randrange(1_000), key, function, drop)
                except TercetError as error:
                    self._seen[type(error).__name__] += 1
            self._truth.step(self._place, BURST)
            await asyncio.sleep(draw.random() * 2 * self._words["pause"])

    async def _step(self, what: int, key: int, function: Any, drop: Callable[[], Awaitable[object]]) -> None:
        if what < WRITES:
            version = self._truth.write(key)
            # True and None say that it was done; False, that it is kept and will be.
            if await drop() is not False:
                self._journal.note(truth.ACKNOWLEDGED, key, version, time.monotonic())
                self._seen["acknowledged"] += 1
            else:
                self._seen["kept for later"] += 1
        elif what < WRITES + CANCELLED:
            self._seen["cancelled"] += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._draw.random() * 0.002):
                    await function(key)
        else:
            since = time.monotonic()
            ask = function.refresh if what < WRITES + CANCELLED + REFRESHED else function
            self._journal.note(truth.READ, key, await ask(key), since)


class Field:
    """The parent: the server, the proxies, the processes, and what is done to them."""

    def __init__(self, options: argparse.Namespace, server: servers.Server, folder: Path) -> None:
        self._options, self._server, self._folder = options, server, folder
        self._draw = random.Random(options.seed)  # noqa: S311 - a schedule, not a secret
        self._register = truth.Register(folder / "register", KEYS, PROCESSES)
        self._proxies = [Proxy(server.port) for _ in range(PROCESSES)]
        self._workers: list[subprocess.Popen[bytes]] = []
        self._lives = [0] * PROCESSES
        self.faults: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()

    async def run(self) -> truth.Checked:
        """Start everything, break things until the steps are done, let it rest, and check."""
        for proxy in self._proxies:
            await proxy.start()
        self._workers = [self._spawn(place) for place in range(PROCESSES)]
        try:
            until = time.monotonic() + self._options.seconds
            limit = until + PATIENCE * self._options.seconds + PATIENCE_SECONDS
            while self._steps() < self._options.steps or time.monotonic() < until:
                if time.monotonic() > limit:
                    raise TimeoutError(f"only {self._steps()} steps were made")
                await asyncio.sleep(self._draw.random() * CALM_SECONDS)
                await self._fault(self._draw.choice(FAULTS), self._draw.randrange(PROCESSES))
                self._revive()
            await asyncio.sleep(self._options.rest)
            for worker in self._workers:
                self.seen.update(await asyncio.to_thread(_end, worker))
        finally:
            for worker in self._workers:
                worker.kill()
                worker.communicate()
            for proxy in self._proxies:
                await proxy.close()
        return await asyncio.to_thread(truth.check, sorted(self._folder.glob("journal-*")), self._options.bound)

    def steps(self) -> int:
        """All steps of all processes."""
        return self._steps()

    async def _fault(self, what: str, place: int) -> None:
        self.faults[what] += 1
        proxy, lasts = self._proxies[place], self._draw.random() * FAULT_SECONDS
        if what == "freeze":
            self._server.freeze()
            await asyncio.sleep(lasts)
            self._server.thaw()
        elif what == "kill":
            self._workers[place].kill()
        elif what == "empty":
            async with driver.from_url(self._server.url) as raw:
                await raw.flushall()
        elif what == "refuse":
            proxy.refusing = True
            proxy.cut()
            await asyncio.sleep(lasts)
            proxy.refusing = False
        elif what == "cut":
            proxy.cut()
        else:
            proxy.hold(*{"hold both": ("up", "down"), "hold up": ("up",)}.get(what, ("down",)))
            await asyncio.sleep(lasts)
            if what.endswith("cut"):
                proxy.cut()
            proxy.let_go()

    def _revive(self) -> None:
        for place, worker in enumerate(self._workers):
            if worker.poll() is not None:
                worker.communicate()
                self._lives[place] += 1
                self._workers[place] = self._spawn(place)

    def _steps(self) -> int:
        return sum(self._register.steps(place) for place in range(PROCESSES))

    def _spawn(self, place: int) -> subprocess.Popen[bytes]:
        words = {
            "place": place,
            "life": self._lives[place],
            "seed": self._options.seed,
            "url": f"redis://127.0.0.1:{self._proxies[place].port}/0",
            "register": str(self._folder / "register"),
            "journal": str(self._folder / f"journal-{place}-{self._lives[place]}"),
            "memory": self._options.memory,
            "pause": self._options.pause,
            "slow": self._options.slow,
        }
        return subprocess.Popen(  # noqa: S603 - this program again, with what it was given
            [sys.executable, __file__, "--worker", json.dumps(words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )


def _end(worker: subprocess.Popen[bytes]) -> dict[str, int]:
    """What a worker says at its end; one that does not come to it is counted as hung."""
    try:
        said, _ = worker.communicate(b"\n", timeout=2 * END_SECONDS)
    except subprocess.TimeoutExpired:
        worker.kill()
        return {"hung": TASKS}
    found: dict[str, int] = json.loads(said or b"{}")
    return found


def main() -> int:
    """Run it, print what was found, and write it where --json says."""
    parser = argparse.ArgumentParser(prog="staleness.py", description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=100.0, help="at least so long, that faults find their place")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bound", type=float, default=bound(), help="seconds that a read may be behind a drop")
    parser.add_argument("--memory", default=None, help="the cache's memory=, where it is not to be the default")
    parser.add_argument("--pause", type=float, default=0.05, help="seconds between two bursts of a task, on average")
    parser.add_argument("--slow", type=float, default=SLOW_SECONDS, help="seconds that a slow load takes at most")
    parser.add_argument("--rest", type=float, default=REST_SECONDS, help="seconds without faults at the end")
    parser.add_argument("--json", type=Path, default=None, help="write what was found to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tercet-stale-") as folder, servers.running() as server:
        field = Field(options, server, Path(folder))
        checked = asyncio.run(field.run())
        found = {
            "format": "tercet.staleness/1",
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": asdict(describe_machine([server.version])),
            "seed": options.seed,
            "bound_seconds": options.bound,
            "slow_loads_seconds": options.slow,
            "memory": options.memory or "default",
            "steps": field.steps(),
            "reads": checked.reads,
            "acknowledged": checked.acknowledged,
            "behind": checked.stale_reads,
            "furthest_behind_seconds": round(checked.stalest_seconds, 3),
            "violations": len(checked.violations),
            "first_violations": [asdict(one) for one in checked.violations[:10]],
            "faults": dict(field.faults),
            "seen": dict(field.seen),
        }
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 1 if checked.violations else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        logging.getLogger().addHandler(logging.NullHandler())
        asyncio.run(Worker(json.loads(sys.argv[2])).run())
    else:
        sys.exit(main())
