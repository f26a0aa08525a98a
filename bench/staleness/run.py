"""The staleness checker: processes with caches, a Redis of their own, faults, and a judge of every read.

python bench/staleness/run.py [--steps 1000000] [--seed 1] [--results bench/results]

No read may show what was older than the last acknowledged invalidation, and the bound, when it began. Ends with an
error, and says all it knows, when one did.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from breakages import BREAKAGES
from chaos import Chaos
from families import KEYS
from link import Link
from server import Server, die_with_starter
from truth import COUNTS, Truth

from tercet.cache import TRUST_SECONDS
from tercet.proof import describe_machine

# How often it is looked whether enough was done.
_LOOK_SECONDS = 0.2
_READY_SECONDS = 120.0
_END_SECONDS = 150.0
# A broken cache is found within a minute on a busy machine; one that is not found by then never is.
_CONTROL_SECONDS = 240.0
# What is shown of what went wrong; the rest of it will not be different.
_SHOWN = 10
# Faults that ended up to so long before something was older than it should be may be why.
_BEFORE_SECONDS = 3.0


class Crew:
    """The workers: one process a slot, frozen, killed and replaced."""

    def __init__(self, folder: Path, links: list[Link], words: argparse.Namespace) -> None:
        self.slots = words.workers
        self._folder, self._links, self._words = folder, links, words
        self._lives: Counter[int] = Counter()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        # What those said who ended before they were told to.
        self.fallen: list[str] = []

    async def start(self, slot: int) -> None:
        """Put a worker into a slot and wait until it is there."""
        self._lives[slot] += 1
        ready = self._folder / f"ready-{slot}"
        ready.unlink(missing_ok=True)
        said = {
            "slot": slot, "slots": self.slots, "life": self._lives[slot], "port": self._links[slot].port,
            "tasks": self._words.tasks, "pace": self._words.pace, "seed": self._words.seed,
        }  # fmt: skip
        words = [word for name, value in said.items() for word in (f"--{name}", str(value))]
        with (self._folder / f"output-{slot}").open("ab") as output:
            self._processes[slot] = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("worker.py")), str(self._folder), *words]
                + (["--broken", self._words.broken] if self._words.broken else []),
                stdout=output,
                stderr=output,
                preexec_fn=die_with_starter,  # noqa: PLW1509 - one thread, and the child only asks to die with it
            )
        until = time.monotonic() + _READY_SECONDS
        while not ready.exists():
            if self._processes[slot].poll() is not None or time.monotonic() > until:
                raise SystemExit(f"A worker did not start: {self.output(slot)}")
            await asyncio.sleep(0.02)

    def freeze(self, slot: int) -> None:
        """Stop a worker where it is."""
        self._processes[slot].send_signal(signal.SIGSTOP)

    def thaw(self, slot: int) -> None:
        """Let it go on."""
        self._processes[slot].send_signal(signal.SIGCONT)

    async def replace(self, slot: int) -> None:
        """Kill it and put another in its place."""
        if self._processes[slot].poll() is not None:
            self.fallen.append(f"worker {slot} had ended: {self.output(slot)}")
        self._processes[slot].kill()
        self._processes[slot].wait()
        await self.start(slot)

    def dead(self) -> list[int]:
        """Those that have ended by themselves."""
        return [slot for slot, process in self._processes.items() if process.poll() is not None]

    async def end(self) -> list[int]:
        """Wait until all have ended; those that did not end well."""
        until = time.monotonic() + _END_SECONDS
        while len(self.dead()) < len(self._processes) and time.monotonic() < until:
            await asyncio.sleep(0.05)
        return [slot for slot, process in self._processes.items() if process.poll() != 0]

    def kill(self) -> None:
        """End all, however they are."""
        for process in self._processes.values():
            process.kill()
            process.wait()

    def output(self, slot: int) -> str:
        """What a worker has printed, from its end."""
        return (self._folder / f"output-{slot}").read_text(errors="replace")[-3000:]


async def _until_done(truth: Truth, words: argparse.Namespace) -> str:
    """Return when enough was done, or too much time has gone; what is wrong, if anything is."""
    until, moved, before = time.monotonic() + words.seconds, time.monotonic(), -1
    while truth.counted("steps") < words.steps and time.monotonic() < until:
        await asyncio.sleep(_LOOK_SECONDS)
        if words.until_found and truth.counted("violations"):
            return ""
        steps = truth.counted("steps")
        if steps != before:
            moved, before = time.monotonic(), steps
        if time.monotonic() > moved + _END_SECONDS:
            return "nothing goes on any more"
    return ""


async def _run(folder: Path, words: argparse.Namespace) -> dict[str, Any]:
    truth = Truth(folder / "truth", keys=KEYS, slots=words.workers)
    rng = random.Random(words.seed)
    server = Server(folder)
    await server.start()
    links = [Link(server.port) for _ in range(words.workers)]
    crew = Crew(folder, links, words)
    chaos = Chaos(server, links, crew, truth, rng, only=words.only)
    begun = time.monotonic()
    wrong = []
    try:
        for link in links:
            await link.start()
        await asyncio.gather(*map(crew.start, range(words.workers)))
        raging = asyncio.create_task(chaos.rage(words.gap))
        wrong.append(await _until_done(truth, words))
        raging.cancel()
        await asyncio.wait([raging])
        if not words.until_found:
            await chaos.calm()
            await asyncio.sleep(words.peace)
            truth.stop()
            wrong += [f"worker {slot} did not end well: {crew.output(slot)}" for slot in await crew.end()]
            wrong += crew.fallen
    finally:
        chaos.end()
        crew.kill()
        for link in links:
            await link.close()
        server.kill()
    return _result(truth, chaos, words, folder, [one for one in wrong if one], time.monotonic() - begun)


def _result(
    truth: Truth, chaos: Chaos, words: argparse.Namespace, folder: Path, wrong: list[str], seconds: float
) -> dict[str, Any]:
    counts = {name: truth.counted(name) for name in COUNTS}
    found = [json.loads(line) for path in folder.glob("violations-*.jsonl") for line in path.read_text().splitlines()]
    found.sort(key=lambda one: one["ended"])
    stats = [json.loads(path.read_text()) for path in folder.glob("stats-*.json")]
    names = ("late_fills_refused", "flushed", "joined", "stale_served", "evicted")
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine().line,
        "seed": words.seed,
        "broken": words.broken or None,
        "workers": words.workers,
        "tasks": words.workers * words.tasks,
        "keys": KEYS,
        "seconds": round(seconds, 1),
        "steps": counts["steps"],
        "bound_seconds": TRUST_SECONDS,
        "worst_age_seconds": round(truth.worst, 3),
        "violations": counts["violations"],
        "counts": {name: count for name, count in counts.items() if name not in {"steps", "violations"}},
        "faults": dict(sorted(chaos.happened.items())),
        "of_workers_alive_at_the_end": {name: sum(one[name] for one in stats) for name in names},
        "wrong": wrong,
        "kinds_found": dict(Counter(" · ".join((one["what"], one["action"], one["family"])) for one in found)),
        "found": [one | {"faults": _around(chaos, one)} for one in found[:_SHOWN]],
    }


def _around(chaos: Chaos, found: dict[str, Any]) -> list[str]:
    """The faults that were there when this was found, or a little before."""
    since = found["begun"] - found["age"] - _BEFORE_SECONDS
    return [
        f"{name}: {begun - found['ended']:.3f} to {ended - found['ended']:.3f} s"
        for begun, ended, name in chaos.log
        if ended > since and begun < found["ended"]
    ]


def _ran(words: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="staleness-") as folder:
        return asyncio.run(_run(Path(folder), words))


def _controls(words: argparse.Namespace) -> dict[str, int]:
    """After how many steps each broken cache was found; one that is not found is an error of the checker."""
    found = {}
    for name in BREAKAGES:
        said = vars(words) | {"broken": name, "until_found": True, "seconds": _CONTROL_SECONDS}
        result = _ran(argparse.Namespace(**said))
        if not result["violations"]:
            raise SystemExit(f"The checker has found nothing wrong with a {name} cache: {result}")
        found[name] = result["steps"]
    return found


def main() -> None:
    """Run it, say how it went, and fail if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=1800.0, help="end after so long, whatever was done")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--tasks", type=int, default=32, help="of each worker")
    parser.add_argument("--pace", type=float, default=0.02, help="seconds between two steps of a task")
    parser.add_argument("--gap", type=float, default=0.6, help="seconds between two faults")
    parser.add_argument("--peace", type=float, default=3.0, help="seconds to go on when all faults are over")
    parser.add_argument("--controls", action="store_true", help="see first that broken caches are found")
    parser.add_argument("--only", action="append", default=[], help="a fault; may be said again; all, where it is not")
    parser.add_argument("--broken", default="", help="a breakage of breakages.py, to see that it is found")
    parser.add_argument("--until-found", action="store_true", help="end with the first finding")
    parser.add_argument("--results", type=Path, help="a folder for staleness-<date>.json")
    parser.add_argument("--into", type=Path, help="a file for the same")
    words = parser.parse_args()
    controls = _controls(words) if words.controls else None
    result = _ran(words)
    result["broken_caches_found_after_steps"] = controls
    text = json.dumps(result, indent=2) + "\n"
    if words.into:
        words.into.write_text(text, encoding="utf-8")
    if words.results:
        words.results.mkdir(parents=True, exist_ok=True)
        (words.results / f"staleness-{result['at'][:10]}.json").write_text(text, encoding="utf-8")
    print(text)
    if result["violations"] or result["wrong"]:
        raise SystemExit(f"The cache has shown what it must not, or did not go on. The seed was {words.seed}.")


if __name__ == "__main__":
    main()
