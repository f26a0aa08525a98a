"""What a caller feels while Redis stands still (SIGSTOP), and after it goes on.

.venv-bench/bin/python bench/cache/frozen.py [--quick] [--only tercet,cashews]
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from typing import TYPE_CHECKING, Any

import question
import sides

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peers.port import Function

# A call that takes longer is not waited for: "> 12 s" says enough.
LIMIT_SECONDS = 12.0
QUICK_LIMIT_SECONDS = 1.0

# Calls after the first while it stands still; slow sides get as many as fit into the limit.
LATER_CALLS = 20

# A call after the thaw is normal when Redis answered it again within this.
NORMAL_SECONDS = 0.05

# Between two looks for that.
LOOK_SECONDS = 0.02


async def ask(setting: question.Setting) -> Mapping[str, object]:
    """Each side by itself: its first call, its later ones, and how long after the thaw it is as before."""
    root = setting.server.url.rpartition("/")[0]
    table: dict[str, object] = {}
    for number, (name, factory) in enumerate(setting.sides("FROZEN").items()):
        loads: list[str] = []

        async def profile(key: str, loads: list[str] = loads) -> dict[str, str]:
            loads.append(key)
            return {"key": key}

        try:
            async with contextlib.AsyncExitStack() as stack:
                function = await stack.enter_async_context(factory(f"{root}/{number}", _one_argument(profile)))
                table[name] = await _measured(setting, function, loads)
                # Some would wait for what was never answered when they close.
                with contextlib.suppress(Exception):
                    # Not wait_for: what was entered in a task has to be left in it.
                    async with asyncio.timeout(LIMIT_SECONDS):
                        await stack.pop_all().aclose()
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is its answer
            table[name] = {"refused": sides.said(error)}
    return table


def _one_argument(function: Any) -> Any:
    """A function of one argument, as the decorators look at the signature."""

    async def profile(key: str) -> dict[str, str]:
        made: dict[str, str] = await function(key)
        return made

    return profile


async def _measured(setting: question.Setting, function: Function, loads: list[str]) -> dict[str, object]:
    limit = QUICK_LIMIT_SECONDS if setting.quick else LIMIT_SECONDS
    before = await _healthy(function)
    setting.server.freeze()
    try:
        loads.clear()
        first, came = await _call(function, loads, limit)
        later: list[float] = []
        until = time.monotonic() + limit
        while len(later) < LATER_CALLS and time.monotonic() < until and first < limit:
            later.append((await _call(function, loads, limit))[0])
    finally:
        setting.server.thaw()
    back = await _until_normal(function, loads, LIMIT_SECONDS)
    return {
        "healthy_ms": _ms(before),
        "first_ms": _ms(first) if first < limit else f"> {limit:.0f} s",
        "came": came,
        "later_ms": _ms(statistics.median(later)) if later else None,
        "later_max_ms": _ms(max(later)) if later else None,
        "later_calls": len(later),
        "normal_after_thaw_s": None if back is None else round(back, 2),
    }


async def _healthy(function: Function) -> float:
    await function.call("user:42")
    took = []
    for _ in range(20):
        since = time.perf_counter()
        await function.call("user:42")
        took.append(time.perf_counter() - since)
    return statistics.median(took)


async def _call(function: Function, loads: list[str], limit: float) -> tuple[float, str]:
    """How long one call took, and what its caller got: a value, the function's own, or an error."""
    known = len(loads)
    since = time.perf_counter()
    try:
        async with asyncio.timeout(limit):
            await function.call("user:42")
    except TimeoutError:
        came = "nothing" if time.perf_counter() - since >= limit else "error TimeoutError"
    except Exception as error:  # noqa: BLE001 - whatever a peer raises is its answer
        came = f"error {type(error).__name__}"
    else:
        came = "loaded anew" if len(loads) > known else "from the cache"
    return time.perf_counter() - since, came


async def _until_normal(function: Function, loads: list[str], limit: float) -> float | None:
    """Seconds until a call comes from Redis again and quickly; None when it did not within the limit."""
    since = time.perf_counter()
    while time.perf_counter() - since < limit:
        took, came = await _call(function, loads, limit)
        if came == "from the cache" and took < NORMAL_SECONDS:
            return time.perf_counter() - since
        await asyncio.sleep(LOOK_SECONDS)
    return None


def _ms(seconds: float) -> float:
    return float(f"{seconds * 1e3:.3g}")


if __name__ == "__main__":
    question.main("frozen", ask, loops=("asyncio",))
