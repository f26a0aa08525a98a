"""How the sides of a question are timed: in turns, by the CPU's clock and the wall's, medians of rounds."""

from __future__ import annotations

import asyncio
import gc
import math
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

# One operation of a worker; what it returns is not looked at.
Step = Callable[[int], Awaitable[object]]


@dataclass(slots=True)
class Lap:
    """One round of one side: how many operations, what they cost, how long each took (nanoseconds)."""

    operations: int
    cpu: float
    wall: float
    latencies: list[int] = field(default_factory=list)
    nothing: int = 0


@dataclass(frozen=True, slots=True)
class Figure:
    """What is told of a side: medians over the rounds; microseconds for one operation.

    `nothing` counts operations that came back without a value, as a cache does that gave up waiting. Such a figure is
    one of another question, and meets no goal.
    """

    cpu_us: float
    cpu_us_best: float
    p50_us: float
    p99_us: float
    per_second: float
    rounds: int
    operations: int
    nothing: int = 0


async def alternate(sides: Mapping[str, Callable[[], Awaitable[Lap]]], rounds: int) -> dict[str, Figure]:
    """Every side once a round, one after another, so that a slow minute of the machine is everybody's.

    Each begins with a round that is not counted.
    """
    laps: dict[str, list[Lap]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, run in sides.items():
            gc.collect()
            lap = await run()
            if turn:
                laps[name].append(lap)
    return {name: figure(done) for name, done in laps.items()}


def figure(laps: Sequence[Lap]) -> Figure:
    """The medians of these rounds."""
    cpu = [lap.cpu / lap.operations * 1e6 for lap in laps]
    every = sorted(one for lap in laps for one in lap.latencies)
    wall = [lap.wall / lap.operations * 1e6 for lap in laps]
    return Figure(
        cpu_us=_round(statistics.median(cpu)),
        cpu_us_best=_round(min(cpu)),
        p50_us=_round(_rank(every, 0.5) / 1e3 if every else statistics.median(wall)),
        p99_us=_round(_rank(every, 0.99) / 1e3 if every else max(wall)),
        per_second=round(1e6 / statistics.median(wall), 1),
        rounds=len(laps),
        operations=sum(lap.operations for lap in laps),
        nothing=sum(lap.nothing for lap in laps),
    )


async def batch(call: Callable[[int], Awaitable[object]], word: int, operations: int) -> Lap:
    """One caller, again and again, with nothing in between: for what takes less than looking at a clock."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(operations):
        await call(word)
    return Lap(operations, time.process_time() - cpu, time.perf_counter() - wall)


async def crowd(step: Step, *, tasks: int, operations: int) -> Lap:
    """As many tasks at once, each with its share of the operations, each operation timed by its caller."""
    share = max(1, operations // tasks)
    latencies: list[int] = []

    nothing = 0

    async def worker(first: int) -> None:
        nonlocal nothing
        clock, told = time.perf_counter_ns, latencies.append
        for number in range(first * share, (first + 1) * share):
            since = clock()
            if await step(number) is None:
                nothing += 1
            told(clock() - since)

    wall, cpu = time.perf_counter(), time.process_time()
    if tasks == 1:
        await worker(0)
    else:
        await asyncio.gather(*(worker(one) for one in range(tasks)))
    return Lap(share * tasks, time.process_time() - cpu, time.perf_counter() - wall, latencies, nothing)


def _rank(ordered: Sequence[int], part: float) -> float:
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def _round(value: float) -> float:
    return float(f"{value:.4g}")
