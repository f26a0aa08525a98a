"""What it costs to drop what belongs together: 10,000 of 200,000 entries.

.venv-bench/bin/python bench/cache/tags.py [--quick] [--only tercet,redis]
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING, Any

import question
import redis.asyncio as driver
import sides

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peers.port import Tagged

ENTRIES = 200_000
MEMBERS = 10_000

# Entries that a peer writes at once while its members are made.
WRITERS = 32

# How often it is done: the members are made anew each time.
TRIES = 3

# Commands that the server needed longer for are looked up in its slow log (microseconds).
SLOW_US = 500


async def ask(setting: question.Setting) -> Mapping[str, object]:
    """Wall and CPU time of one drop; the longest command says how long everybody else had to wait."""
    root = setting.server.url.rpartition("/")[0]
    table: dict[str, object] = {}
    for name, factory in setting.sides("TAGGED").items():
        # One after another in an empty server: what one leaves behind is not scanned by the next.
        async with driver.from_url(f"{root}/0") as raw:
            await raw.flushall()
            await raw.config_set("slowlog-log-slower-than", SLOW_US)
            try:
                async with factory(f"{root}/0") as side:
                    table[name] = await _measured(setting, side, raw)
            except Exception as error:  # noqa: BLE001 - whatever a peer raises is its answer
                table[name] = {"refused": sides.said(error)}
    return table


async def _measured(setting: question.Setting, side: Tagged, raw: driver.Redis) -> dict[str, object]:
    entries, members = setting.pick(2_000, ENTRIES), setting.pick(100, MEMBERS)
    await side.put(members, member=False)
    copies = entries - members - 1
    await _copies(raw, copies)
    tries = []
    for _ in range(setting.pick(1, TRIES)):
        await _written(side, members)
        tries.append(await _drop(setting, side, raw, members))
    return {
        "ms": round(statistics.median(one["wall"] for one in tries) * 1e3, 3),
        "ms_max": round(max(one["wall"] for one in tries) * 1e3, 3),
        "cpu_ms": round(statistics.median(one["cpu"] for one in tries) * 1e3, 3),
        "server_cpu_ms": round(statistics.median(one["server"] for one in tries) * 1e3, 3),
        "longest_command_ms": max(one["longest"] for one in tries) / 1e3,
        "entries": entries,
        "members": members,
    }


async def _drop(setting: question.Setting, side: Tagged, raw: driver.Redis, members: int) -> dict[str, float]:
    await raw.slowlog_reset()
    server = setting.server.cpu_seconds()
    wall, cpu = time.perf_counter(), time.process_time()
    await side.drop()
    seen: dict[str, float] = {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "server": setting.server.cpu_seconds() - server,
    }
    slow = await raw.slowlog_get(128)
    seen["longest"] = max((float(one["duration"]) for one in slow), default=0.0)
    for number in range(0, members, max(1, members // 100)):
        if await side.has(number, member=True):
            raise sides.Differs(f"entry {number} is there after the drop")
    if not await side.has(members, member=False):
        raise sides.Differs("an entry of another tag is gone")
    return seen


async def _written(side: Tagged, members: int) -> None:
    """All members through the peer's own door."""

    async def writer(first: int) -> None:
        for number in range(first, members, WRITERS):
            await side.put(number, member=True)

    await asyncio.gather(*(writer(first) for first in range(WRITERS)))
    for number in (0, members - 1):
        if not await side.has(number, member=True):
            raise sides.Differs(f"entry {number} is not there before the drop")


async def _copies(raw: driver.Redis, count: int) -> None:
    """The many others: the one entry that the peer has written, copied under names of the same form."""
    found = [key async for key in raw.scan_iter(count=1_000)]
    bodies: list[tuple[bytes, Any]] = [(key, await raw.get(key)) for key in found if await raw.type(key) == b"string"]
    # An entry weighs more than what is kept beside it.
    plain, body = max(bodies, key=lambda one: len(one[1]))
    for start in range(0, count, 5_000):
        names = {plain + f":{number}".encode(): body for number in range(start, min(count, start + 5_000))}
        await raw.mset(names)


if __name__ == "__main__":
    question.main("tags", ask, loops=("asyncio",))
