"""How often a cold key is loaded when everybody wants it at once: one process, four, and four of which the first dies.

.venv-bench/bin/python bench/cache/stampede.py [--quick] [--only tercet,cashews]
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import peers
import question
import sides

if TYPE_CHECKING:
    from collections.abc import Mapping

# What the load takes: a query that is worth caching.
LOAD_SECONDS = 0.05

# The same where its process dies in the middle, long enough that the middle can be met.
KILLED_LOAD_SECONDS = 0.5

# After this nobody waits any more; a side that hangs is a finding.
LIMIT_SECONDS = 10.0

# Every process starts its callers at this moment after all are ready.
START_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Case:
    """How many processes, callers in each, and whether the one that loads first is killed."""

    name: str
    processes: int
    callers: int
    load: float = LOAD_SECONDS
    killed: bool = False


CASES = (
    Case("1 process, 200 callers", 1, 200),
    Case("4 processes, 50 callers each", 4, 50),
    Case("4 processes, 50 callers each, the loading one killed", 4, 50, KILLED_LOAD_SECONDS, killed=True),
)


async def ask(setting: question.Setting) -> Mapping[str, object]:
    """Loads, errors, and the wall time until the last caller was served, of several tries."""
    tries = setting.pick(1, 3)
    table: dict[str, dict[str, object]] = {}
    for case in CASES:
        if setting.quick:
            case = replace(case, processes=min(2, case.processes), callers=5)  # noqa: PLW2901 - the same case, smaller
        seen: dict[str, list[dict[str, Any]]] = {}
        for turn in range(tries):
            for number, name in enumerate(setting.sides("FUNCTION")):
                if case.killed and "one process" in name:
                    continue
                url = f"{setting.server.url.rpartition('/')[0]}/{number}"
                key = f"{setting.loop}:{case.name}:{turn}"
                seen.setdefault(name, []).append(await _try(case, setting.peers.of("FUNCTION", name), name, url, key))
        table[case.name] = {name: _told(case, told) for name, told in seen.items()}
    return table


def _told(case: Case, tries: list[dict[str, Any]]) -> dict[str, object]:
    loads = [one["loads"] for one in tries]
    walls = [one["wall"] for one in tries if one["wall"] is not None]
    after = "load after the kill" if case.killed else "load"
    told: dict[str, object] = {
        "loads": statistics.median(loads),
        "loads_max": max(loads),
        "wall_ms": round(statistics.median(walls) * 1e3, 1) if walls else None,
        "of_the_load": round(statistics.median(walls) / case.load, 2) if walls else None,
        "of_the_load_max": round(max(walls) / case.load, 2) if walls else None,
        "errors": sum(one["errors"] for one in tries),
        "unserved": sum(one["unserved"] for one in tries),
        "measured": after,
    }
    said = sorted({one["said"] for one in tries if one["said"]})
    return told | ({"said": said[0]} if said else {})


async def _try(case: Case, peer: str, name: str, url: str, key: str) -> dict[str, Any]:
    """One cold key: workers get ready, start together, and say when their last caller was served."""
    with tempfile.TemporaryDirectory() as folder:
        tally = Path(folder) / "loads"
        tally.touch()
        words = json.dumps(
            {"peer": peer, "side": name, "url": url, "key": key, "callers": case.callers, "load": case.load}
        )
        workers = [_spawn(words, tally) for _ in range(case.processes)]
        try:
            return await _watched(case, workers, tally)
        finally:
            for worker in workers:
                worker.kill()
                worker.communicate()


async def _watched(case: Case, workers: list[subprocess.Popen[bytes]], tally: Path) -> dict[str, Any]:
    for line in await asyncio.gather(*(_line(worker) for worker in workers)):
        if line.get("failed"):
            return {"loads": 0, "wall": None, "errors": case.callers, "unserved": 0, "said": line["failed"]}
    start = time.monotonic() + START_SECONDS
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(f"{start}\n".encode())
        worker.stdin.flush()
    since = await _kill_the_loader(tally, case, start) if case.killed else start
    ended = await asyncio.gather(*(_end(worker) for worker in workers))
    living = [one for one in ended if one is not None]
    served = [one["ended"] for one in living if one.get("ended")]
    died = 1 if case.killed else 0
    return {
        "loads": len(_begun(tally)),
        "wall": max(served) - since if served else None,
        "errors": sum(one["errors"] for one in living),
        "unserved": (case.processes - died - len(living)) * case.callers,
        "said": next((one["said"] for one in living if one["said"]), ""),
    }


async def _kill_the_loader(tally: Path, case: Case, start: float) -> float:
    """Kill the process whose loader began first, in the middle of its load; the moment it was gone."""
    until = start + LIMIT_SECONDS
    while not (begun := _begun(tally)):
        if time.monotonic() > until:
            return start
        await asyncio.sleep(0.002)
    await asyncio.sleep(max(0.0, start + case.load / 2 - time.monotonic()))
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(begun[0]), signal.SIGKILL)
    return time.monotonic()


def _begun(tally: Path) -> list[str]:
    """The processes whose loaders have begun, in that order."""
    return tally.read_text(encoding="ascii").split()


def _spawn(words: str, tally: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - this program again, with what it was given
        [sys.executable, __file__, "--worker", words, str(tally)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


async def _line(worker: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The next line that a worker says; one that says nothing in time is ended, so that nobody waits for it."""
    assert worker.stdout is not None
    reading = asyncio.create_task(asyncio.to_thread(worker.stdout.readline))
    done, _ = await asyncio.wait([reading], timeout=LIMIT_SECONDS)
    if not done:
        worker.kill()
    line = await reading
    found: dict[str, Any] = json.loads(line) if line else {"failed": "its process ended"}
    return found


async def _end(worker: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    """What a worker says at its end; None from one that was killed or never came to it."""
    said = await _line(worker)
    return None if "failed" in said else said


async def work(words: dict[str, Any], tally: Path) -> None:
    """A worker: open its side, warm it with another key, wait for the start, ask with all callers at once."""
    factory = peers.load([words["peer"]]).sides("FUNCTION")[words["side"]]

    async def load(key: str) -> dict[str, str]:
        if key.startswith("warm"):
            return {"key": key}
        with tally.open("a", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
        await asyncio.sleep(words["load"])
        return {"key": key}

    async with factory(words["url"], load) as function:
        try:
            await function.call(f"warm{os.getpid()}")
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is its answer
            print(json.dumps({"failed": sides.said(error)}), flush=True)
            return
        print(json.dumps({"ready": True}), flush=True)
        start = float(await asyncio.to_thread(sys.stdin.readline))
        await asyncio.sleep(max(0.0, start - time.monotonic()))
        key = words["key"]
        found = await asyncio.gather(*(function.call(key) for _ in range(words["callers"])), return_exceptions=True)
        ended = time.monotonic()
        wrong = [one for one in found if one != {"key": key}]
        said = next((sides.said(one) for one in wrong if isinstance(one, BaseException)), "")
        print(json.dumps({"ended": ended, "errors": len(wrong), "said": said}), flush=True)
        # Its connections end with it: some sides take their time to close.
        os._exit(0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        asyncio.run(work(json.loads(sys.argv[2]), Path(sys.argv[3])))
    else:
        question.main("stampede", ask, loops=("asyncio",))
