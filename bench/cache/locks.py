"""What a lock costs: free, and wanted by fifty tasks that hold it for 5 ms each.

.venv-bench/bin/python bench/cache/locks.py [--quick] [--only tercet,redis]
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import question
import redis.asyncio as driver
import sides

TASKS = 50
HOLD_SECONDS = 0.005

# Between two tasks' coming: who asked first has asked first, and cannot be argued with.
APART_SECONDS = 0.0005

Locks = Callable[[str], AbstractAsyncContextManager[Any]]


async def ask(setting: question.Setting) -> Mapping[str, object]:
    """Each side in turns: the whole time, who was served out of turn, how many held it at once, what it cost."""
    factories = {"floor: asyncio.Lock": _floor} | setting.sides("LOCK")
    tasks, tries = setting.pick(8, TASKS), setting.pick(1, 5)

    async def prepare(lock: Locks) -> None:
        async with lock("warm"):
            pass

    async with (
        driver.from_url(setting.server.url) as raw,
        sides.opened(factories, setting.server.url, prepare=prepare) as (locks, refused),
    ):
        seen: dict[str, list[dict[str, float]]] = {name: [] for name in locks}
        free: dict[str, list[float]] = {name: [] for name in locks}
        for turn in range(tries):
            for name, lock in locks.items():
                free[name] += await _free(lock, setting.pick(10, 100))
                seen[name].append(await _wanted(lock, f"settle:{turn}", tasks, raw))
    return sides.with_refused({name: _told(seen[name], free[name], tasks) for name in locks}, refused)


def _told(tries: list[dict[str, float]], free: list[float], tasks: int) -> dict[str, object]:
    middle = {name: statistics.median(one[name] for one in tries) for name in tries[0]}
    ideal = tasks * HOLD_SECONDS
    return {
        "free_p50_us": round(statistics.median(free) * 1e6, 1),
        "wall_ms": round(middle["wall"] * 1e3, 1),
        "of_ideal": round(middle["wall"] / ideal, 2),
        "of_ideal_max": round(max(one["wall"] for one in tries) / ideal, 2),
        "inversions_max": int(max(one["inversions"] for one in tries)),
        "pairs": tasks * (tasks - 1) // 2,
        "holders_max": int(max(one["holders"] for one in tries)),
        "commands": int(middle["commands"]),
        "cpu_ms": round(middle["cpu"] * 1e3, 1),
        "errors": int(sum(one["errors"] for one in tries)),
    }


async def _free(lock: Locks, times: int) -> list[float]:
    took = []
    for number in range(times):
        since = time.perf_counter()
        async with lock(f"free:{number}"):
            pass
        took.append(time.perf_counter() - since)
    return took


async def _wanted(lock: Locks, name: str, tasks: int, raw: driver.Redis) -> dict[str, float]:
    order: list[int] = []
    holding = most = errors = 0

    async def body(number: int) -> None:
        nonlocal holding, most, errors
        try:
            async with lock(name):
                order.append(number)
                holding += 1
                most = max(most, holding)
                await asyncio.sleep(HOLD_SECONDS)
                holding -= 1
        except Exception:  # noqa: BLE001 - whatever a peer raises is its answer
            errors += 1

    before = await _commands(raw)
    wall, cpu = time.perf_counter(), time.process_time()
    running = []
    for number in range(tasks):
        running.append(asyncio.create_task(body(number)))
        await asyncio.sleep(APART_SECONDS)
    await asyncio.gather(*running)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "wall": wall,
        "cpu": cpu,
        # Our own question is one command.
        "commands": await _commands(raw) - before - 1,
        "inversions": sum(a > b for index, a in enumerate(order) for b in order[index + 1 :]),
        "holders": most,
        "errors": errors,
    }


async def _commands(raw: driver.Redis) -> int:
    return int((await raw.info("stats"))["total_commands_processed"])


@asynccontextmanager
async def _floor(url: str) -> AsyncIterator[Locks]:
    """What it takes within one process, where nobody else can come."""
    del url
    locks: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def lock(name: str) -> AsyncIterator[None]:
        async with locks.setdefault(name, asyncio.Lock()):
            yield

    yield lock


if __name__ == "__main__":
    question.main("locks", ask)
