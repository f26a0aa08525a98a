"""One process with a cache: many tasks that read, write and drop until everybody is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import time
from dataclasses import asdict
from pathlib import Path

from actions import Actions
from breakages import BREAKAGES
from families import KEYS
from judge import GLANCE, Glance, Judge
from truth import Truth

from tercet.cache import TRUST_SECONDS, Cache
from tercet.telemetry import Telemetry

# Fewer than there are keys: some are always being evicted.
MEMORY_ENTRIES = 250
DEADLINE_SECONDS = 0.1
# No step takes as long as this by itself; a frozen worker's time does not count.
STUCK_SECONDS = 60.0
# How long it may take until all is well again once all faults are over.
WELL_SECONDS = 60.0


async def _go_on(actions: Actions, judge: Judge, rng: random.Random, pace: float) -> None:
    while not judge.truth.stopped:
        GLANCE.set(Glance())
        try:
            async with asyncio.timeout(STUCK_SECONDS) as limit:
                await actions.step()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            judge.complain("stuck" if limit.expired() else f"raised {error!r}", "step")
        await asyncio.sleep(rng.expovariate(1 / pace))


async def _well_again(cache: Cache, judge: Judge) -> None:
    """All faults are over: what was kept is delivered, and the bus is believed again."""
    until = time.monotonic() + WELL_SECONDS
    while time.monotonic() < until:
        stats = cache.stats()
        if stats.trusted and not stats.undelivered:
            return
        await asyncio.sleep(0.05)
    judge.complain(f"not well again: {cache.stats()!r}", "end")


async def _work(words: argparse.Namespace) -> None:
    truth = Truth(words.folder / "truth", keys=KEYS, slots=words.slots)
    into = words.folder / f"violations-{words.slot}.jsonl"
    judge = Judge(truth, words.slot, os.getpid(), TRUST_SECONDS, into)
    telemetry = Telemetry()
    telemetry.listen(judge.hear)
    rng = random.Random(f"{words.seed} {words.slot} {words.life}")
    async with Cache(
        f"redis://127.0.0.1:{words.port}/0",
        memory_entries=MEMORY_ENTRIES,
        deadline=DEADLINE_SECONDS,
        telemetry=telemetry,
    ) as cache:
        actions = Actions(cache, judge, rng, words.slots)
        if words.broken:
            BREAKAGES[words.broken](cache)
        (words.folder / f"ready-{words.slot}").touch()
        async with asyncio.TaskGroup() as group:
            for _ in range(words.tasks):
                group.create_task(_go_on(actions, judge, rng, words.pace))
        await _well_again(cache, judge)
        stats = asdict(cache.stats())
    (words.folder / f"stats-{words.slot}-{words.life}.json").write_text(json.dumps(stats, default=repr))


def main() -> None:
    """Work as the words say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    for name in ("slot", "slots", "life", "port", "tasks"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--pace", type=float, required=True)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--broken", default="")
    asyncio.run(_work(parser.parse_args()))


if __name__ == "__main__":
    main()
