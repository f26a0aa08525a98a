"""What a check of a rate limit costs, how much a key keeps, and whether it lets through what it says.

.venv-bench/bin/python bench/cache/rate.py [--quick] [--only tercet,redis]
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import measure
import question
import redis.asyncio as driver
import sides

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peers.port import Check

TASKS = 64
KEYS = 1_000

# A limit that is far away: what is measured is a check that is allowed.
LIMIT = 100_000

# Hits on one key before its memory is asked for.
HITS = 2_000

# A limit that is met: so many are let through of twice as many.
TIGHT = 100
PERIOD_SECONDS = 60.0

# Calls that come at once meanwhile: fewer than any pool has connections.
AT_ONCE = 50


async def ask(setting: question.Setting) -> Mapping[str, object]:
    """Each side in turns, then each by itself for its memory and its count."""

    async def prepare(check: Check) -> None:
        if not await check("warm"):
            raise sides.Differs("the first call was refused")

    url = setting.server.url
    async with sides.opened(setting.sides("RATE"), url, LIMIT, PERIOD_SECONDS, prepare=prepare) as (checks, refused):
        laps = {name: partial(_lap, check, setting.pick(128, 3_200)) for name, check in checks.items()}
        figures = await measure.alternate(laps, setting.pick(2, 5))
    table: dict[str, Any] = {name: asdict(one) for name, one in figures.items()}
    root = url.rpartition("/")[0]
    for name in table:
        factory = setting.sides("RATE")[name]
        table[name] |= await _memory(factory, f"{root}/0", setting.pick(50, HITS))
        table[name] |= await _count(factory, f"{root}/0")
    return sides.with_refused(table, refused)


async def _lap(check: Check, operations: int) -> measure.Lap:
    def step(number: int) -> Any:
        return check(f"user:{number % KEYS}")

    return await measure.crowd(step, tasks=TASKS, operations=operations)


async def _memory(factory: Any, url: str, hits: int) -> dict[str, object]:
    """What all keys of one caller weigh after many hits."""
    async with driver.from_url(url) as raw, factory(url, HITS * 2, PERIOD_SECONDS) as check:
        await raw.flushall()
        for _ in range(hits):
            await check("user:42")
        keys = [key async for key in raw.scan_iter(count=1_000)]
        return {
            "bytes_a_key": sum([int(await raw.memory_usage(key, samples=0) or 0) for key in keys]),
            "keys": len(keys),
            "hits": hits,
        }


async def _count(factory: Any, url: str) -> dict[str, object]:
    """How many of twice the limit are let through at once."""
    async with driver.from_url(url) as raw, factory(url, TIGHT, PERIOD_SECONDS) as check:
        await raw.flushall()
        found: list[object] = []
        for _ in range(0, 2 * TIGHT, AT_ONCE):
            found += await asyncio.gather(*(check("user:42") for _ in range(AT_ONCE)), return_exceptions=True)
        errors = sum(isinstance(one, BaseException) for one in found)
        return {"let_through": sum(one is True for one in found), "of_limit": TIGHT, "errors": errors}


if __name__ == "__main__":
    question.main("rate", ask)
