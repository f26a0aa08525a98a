"""pottery: Redlock over one or more servers."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import redis.asyncio as driver
from pottery import AIORedlock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

PACKAGES = ("pottery",)
ADVICE = "its Readme: AIORedlock(key=…, masters={client})"


@asynccontextmanager
async def _lock(url: str) -> AsyncIterator[Callable[[str], AbstractAsyncContextManager[Any]]]:
    async with driver.from_url(url) as client:
        yield lambda name: AIORedlock(key=name, masters={client}, auto_release_time=10)


LOCK = {"pottery AIORedlock": _lock}
