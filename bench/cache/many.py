"""How many keys a second one core reads in bulk, decoded: 64 keys a call.

.venv-bench/bin/python bench/cache/many.py [--quick] [--only tercet,redis]
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import measure
import payload
import question
import sides

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peers.port import Store

# Keys of one call.
KEYS = 64

# Callers at once: one by itself, and as many as a busy page has.
TASKS = (1, 16)


async def ask(setting: question.Setting) -> Mapping[str, object]:
    """Keys a second of wall time and of one core's CPU time, each side in turns."""
    return {f"{tasks} callers" if tasks > 1 else "1 caller": await _compare(setting, tasks) for tasks in TASKS}


async def _compare(setting: question.Setting, tasks: int) -> dict[str, object]:
    every = {
        f"profile:{task}:{number}": payload.profile(task * KEYS + number)
        for task in range(tasks)
        for number in range(KEYS)
    }
    names = list(every)
    groups = [names[start : start + KEYS] for start in range(0, len(names), KEYS)]
    factories = setting.sides("STORE") | (setting.sides("STORE_SYNCHRONOUS") if tasks == 1 else {})

    async def prepare(store: Store) -> None:
        for name, value in every.items():
            await store.put(name, value)
        for group in groups:
            if payload.checksum(list(await store.get_many(group))) != payload.checksum([every[one] for one in group]):
                raise sides.Differs("other values than were put, or in another order")

    async with sides.opened(factories, setting.server.url, payload.Profile, prepare=prepare) as (stores, refused):
        calls = tasks * setting.pick(3, 60 if tasks == 1 else 15)
        figures = await measure.alternate(
            {name: partial(_lap, store, groups, tasks, calls) for name, store in stores.items()}, setting.pick(2, 7)
        )
    return sides.with_refused({name: _per_key(one) for name, one in figures.items()}, refused)


async def _lap(store: Store, groups: list[list[str]], tasks: int, calls: int) -> measure.Lap:
    share = calls // tasks

    def step(number: int) -> Any:
        return _whole(store, groups[number // share])

    return await measure.crowd(step, tasks=tasks, operations=calls)


async def _whole(store: Store, keys: list[str]) -> object:
    found = await store.get_many(keys)
    return found if len(found) == len(keys) and None not in found else None


def _per_key(figure: measure.Figure) -> dict[str, float]:
    keys = {
        "keys_per_second_core": round(KEYS * 1e6 / figure.cpu_us),
        "keys_per_second": round(KEYS * figure.per_second),
        "cpu_us_per_key": round(figure.cpu_us / KEYS, 3),
    }
    return keys | {name: value for name, value in asdict(figure).items() if name in {"p50_us", "p99_us", "nothing"}}


if __name__ == "__main__":
    question.main("many", ask)
