"""cachebox: caches in Rust, and a decorator that keeps results in this process."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import cachebox

from peers.port import Function

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

PACKAGES = ("cachebox",)
ADVICE = "its Readme: @cachebox.cached(cachebox.TTLCache(maxsize, global_ttl))"

TTL = 3_600


def _decorate(function: Callable[..., Awaitable[Any]]) -> Any:
    return cachebox.cached(cachebox.TTLCache(10_000, TTL))(function)


@asynccontextmanager
async def _memory(url: str, load: Callable[..., Awaitable[Any]]) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    del url
    yield _decorate(load)


@asynccontextmanager
async def _function(url: str, function: Callable[..., Awaitable[Any]]) -> AsyncIterator[Function]:
    del url
    made = _decorate(function)

    async def drop(*args: Any, **kwargs: Any) -> None:
        # It drops no single result: its Readme clears the whole.
        del args, kwargs
        made.cache_clear()

    yield Function(made, drop)


L1 = {"cachebox @cached TTLCache": _memory}
FUNCTION = {"cachebox @cached (one process)": _function}
REFUSES = {"FROZEN": {"cachebox": "has no Redis"}}
