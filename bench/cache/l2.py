"""What a hit costs that is read from Redis: one caller, 64, 512, small and large.

.venv-bench/bin/python bench/cache/l2.py [--quick] [--only tercet,redis]
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import measure
import payload
import question
import sides

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peers.port import Store

# How many different keys there are. Tasks that run at once never ask for the same one: what can be gained by sharing
# a reply is not part of this figure.
KEYS = 2_048


@dataclass(frozen=True, slots=True)
class Case:
    """One way of asking: how many tasks, which value, how many operations a round."""

    name: str
    tasks: int
    large: bool
    operations: int
    quick: int


CASES = (
    Case("1 task, 209 B", tasks=1, large=False, operations=1_500, quick=50),
    Case("64 tasks, 209 B", tasks=64, large=False, operations=6_400, quick=128),
    Case("512 tasks, 209 B", tasks=512, large=False, operations=5_120, quick=512),
    Case("64 tasks, 20 kB", tasks=64, large=True, operations=1_280, quick=64),
)


async def ask(setting: question.Setting) -> Mapping[str, object]:
    """Every case, each side in turns; all sides give back the same rows."""
    return {case.name: await _compare(setting, case) for case in CASES}


async def _compare(setting: question.Setting, case: Case) -> dict[str, object]:
    keys = setting.pick(case.tasks, KEYS)
    names = [f"{'rows' if case.large else 'profile'}:{number}" for number in range(keys)]
    # A large list is made once and stored under every key: making a thousand takes longer than measuring.
    values = [payload.rows(0)] * keys if case.large else [payload.profile(number) for number in range(keys)]
    kind = list[payload.Row] if case.large else payload.Profile
    factories = {name: make for name, make in setting.sides("STORE").items() if ".many" not in name} | (
        setting.sides("STORE_SYNCHRONOUS") if case.tasks == 1 else {}
    )

    async def prepare(store: Store) -> None:
        for name, value in zip(names, values, strict=True):
            await store.put(name, value)
        for index in (0, keys // 2, keys - 1):
            if payload.checksum(await store.get(names[index])) != payload.checksum(values[index]):
                raise sides.Differs(f"another value than was put under {names[index]}")

    async with sides.opened(factories, setting.server.url, kind, prepare=prepare) as (stores, refused):
        laps = {name: partial(_lap, store, case, names, setting) for name, store in stores.items()}
        for name in list(laps):
            try:
                await laps[name]()
            except Exception as error:  # noqa: BLE001 - a peer that raises under load has answered
                refused[name] = sides.said(error)
                del laps[name]
        figures = await measure.alternate(laps, setting.pick(2, 5))
    return sides.with_refused(figures, refused)


async def _lap(store: Store, case: Case, names: list[str], setting: question.Setting) -> measure.Lap:
    size, get = len(names), store.get
    operations = setting.pick(case.quick, case.operations)
    share = max(1, operations // case.tasks)

    def step(number: int) -> Any:
        # Task t asks for t, t + tasks, t + 2 tasks …: at no moment do two of them ask for one key.
        task, turn = divmod(number, share)
        return get(names[(task + turn * case.tasks) % size])

    return await measure.crowd(step, tasks=case.tasks, operations=operations)


if __name__ == "__main__":
    question.main("l2", ask)
