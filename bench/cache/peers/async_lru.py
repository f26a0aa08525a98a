"""async_lru: a decorator that keeps results in this process."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from async_lru import alru_cache

from peers.port import Function

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

PACKAGES = ("async-lru",)
ADVICE = "its Readme: @alru_cache(maxsize=…, ttl=…)"

TTL = 3_600


@asynccontextmanager
async def _memory(url: str, load: Callable[..., Awaitable[Any]]) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    del url
    made = alru_cache(maxsize=10_000, ttl=TTL)(load)
    yield made
    await made.cache_close()


@asynccontextmanager
async def _function(url: str, function: Callable[..., Awaitable[Any]]) -> AsyncIterator[Function]:
    del url
    made = alru_cache(maxsize=10_000, ttl=TTL)(function)

    async def drop(*args: Any, **kwargs: Any) -> None:
        made.cache_invalidate(*args, **kwargs)

    yield Function(made, drop)
    await made.cache_close()


L1 = {"async_lru @alru_cache": _memory}
FUNCTION = {"async_lru @alru_cache (one process)": _function}
REFUSES = {"FROZEN": {"async_lru": "has no Redis"}}
