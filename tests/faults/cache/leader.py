"""A process that loads a key for all others, and ends when it is told to; a test kills or freezes it meanwhile."""

from __future__ import annotations

import asyncio
import sys

from tercet.cache import Cache


async def load() -> str:
    """Slow: until a line comes."""
    print("loading", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    return "of the leader"


async def main(url: str) -> None:
    """Load, and say what became of it."""
    async with Cache(url, ttl="1h", deadline="20s") as cache:
        value = await cache.get_or_load("k", load, str, tags=["t"])
        print(f"{value}, refused {cache.stats().late_fills_refused}", flush=True)


asyncio.run(main(sys.argv[1]))
