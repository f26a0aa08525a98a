"""dogpile.cache: regions with a lock around the creation; synchronous, so one caller a thread."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE

from peers.port import Function

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from dogpile.cache import CacheRegion

PACKAGES = ("dogpile.cache",)
ADVICE = "its documentation: make_region().configure('dogpile.cache.redis', arguments={url, distributed_lock})"

TTL = 3_600


def _region(url: str) -> CacheRegion:
    return make_region().configure(
        "dogpile.cache.redis",
        expiration_time=TTL,
        arguments={"url": url, "distributed_lock": True, "thread_local_lock": False},
    )


@asynccontextmanager
async def _memory(url: str, load: Callable[..., Awaitable[Any]]) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Its own function is synchronous; the coroutine around it costs a tenth of a microsecond."""
    del url
    region = make_region().configure("dogpile.cache.memory", expiration_time=TTL)
    value = await load(42)

    @region.cache_on_arguments()
    def profile(user: int) -> Any:
        del user
        return value

    async def call(user: int) -> Any:
        return profile(user)

    yield call


class _Store:
    def __init__(self, region: CacheRegion) -> None:
        self._region = region

    async def put(self, key: str, value: Any) -> None:
        self._region.set(key, value)

    async def get(self, key: str) -> Any:
        return self._region.get(key)

    async def get_many(self, keys: Sequence[str]) -> Sequence[Any]:
        return self._region.get_multi(keys)


@asynccontextmanager
async def _store(url: str, kind: Any) -> AsyncIterator[_Store]:
    del kind
    yield _Store(_region(url))


@asynccontextmanager
async def _function(url: str, function: Callable[..., Awaitable[Any]]) -> AsyncIterator[Function]:
    """Its threads as its documentation has it; the function runs in the loop that waits for them."""
    region, loop = _region(url), asyncio.get_running_loop()

    def key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        if kwargs:
            raise ValueError("dogpile.cache's default key maker takes no keyword arguments")
        return f"{function.__module__}:{function.__name__}|" + " ".join(map(str, args))

    async def call(*args: Any, **kwargs: Any) -> Any:
        def create() -> Any:
            return asyncio.run_coroutine_threadsafe(_coroutine(function, args, kwargs), loop).result()

        return await asyncio.to_thread(region.get_or_create, key(args, kwargs), create)

    async def drop(*args: Any, **kwargs: Any) -> None:
        await asyncio.to_thread(region.delete, key(args, kwargs))

    yield Function(call, drop)


async def _coroutine(function: Callable[..., Awaitable[Any]], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return await function(*args, **kwargs)


L1 = {"dogpile.cache memory (synchronous)": _memory}
STORE_SYNCHRONOUS = {"dogpile.cache .get (synchronous)": _store}
FUNCTION = {"dogpile.cache get_or_create, threads": _function}
MISSING = NO_VALUE
REFUSES = {
    "TAGGED": {"dogpile.cache region.invalidate": "whole regions, and only in the process that says it"},
    "STORE": {"dogpile.cache": "has no asyncio: one caller only"},
}
