"""What a hit of a decorated function costs that never leaves this process.

.venv-bench/bin/python bench/cache/l1.py [--quick] [--only tercet,cashews]
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import measure
import payload
import question
import sides

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

# One argument, and the one that the driver-level sides have filled.
USER = 42


async def load(user: int) -> payload.Profile:
    """The decorated function."""
    return payload.profile(user)


async def load_rows(user: int) -> list[payload.Row]:
    """The same for a value that its caller could change."""
    return payload.rows(user)


async def ask(setting: question.Setting) -> Mapping[str, object]:
    """CPU for one hit, each side in turns; the floor is an async function that returns what it holds."""
    small = await _compare(setting, load, payload.profile(USER), setting.pick(200, 20_000), sorted(setting.sides("L1")))
    wide = [name for name in setting.sides("L1") if "client" not in name and "tracking" not in name]
    large = await _compare(setting, load_rows, payload.rows(USER), setting.pick(50, 1_000), wide)
    return {"profile of 209 B": small, "list of 100 rows, 20 kB": large}


async def _compare(
    setting: question.Setting,
    function: Callable[[int], Awaitable[Any]],
    wanted: object,
    operations: int,
    names: list[str],
) -> dict[str, object]:
    factories = {name: make for name, make in setting.sides("L1").items() if name in names}
    factories["floor: plain async def"] = partial(_floor, wanted)
    right = payload.checksum(wanted)

    async def prepare(call: Callable[[int], Awaitable[Any]]) -> None:
        for _ in range(3):
            if payload.checksum(await call(USER)) != right:
                raise sides.Differs("another value than the function's")

    async with sides.opened(factories, setting.server.url, function, prepare=prepare) as (calls, refused):
        # Slow sides get fewer operations: a round of each is about as long.
        sizes = {name: await _size(call, operations) for name, call in calls.items()}
        figures = await measure.alternate(
            {name: partial(measure.batch, call, USER, sizes[name]) for name, call in calls.items()}, setting.pick(2, 7)
        )
    return sides.with_refused(figures, refused)


@asynccontextmanager
async def _floor(value: object, *_: object) -> AsyncIterator[Callable[[int], Awaitable[object]]]:
    async def plain(user: int) -> object:
        del user
        return value

    yield plain


async def _size(call: Callable[[int], Awaitable[Any]], operations: int) -> int:
    loop = asyncio.get_running_loop()
    since = loop.time()
    for _ in range(10):
        await call(USER)
    each = (loop.time() - since) / 10
    return max(10, min(operations, int(0.3 / max(each, 1e-7))))


if __name__ == "__main__":
    question.main("l1", ask)
