"""cashews: decorators over one Redis, with client-side caching by invalidation where asked for."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from cashews import Cache, RateLimitError

from peers.port import Function

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from peers.port import Check

PACKAGES = ("cashews",)
ADVICE = (
    "its Readme: cache.setup(url), client_side=True for two tiers; @cache(ttl=…, key=…), lock=True against stampedes"
)

TTL = "1h"
# Its Readme's own numbers for many callers: the default of 10 connections turns waiting into silent misses.
CONNECTIONS = 64


def _cache(url: str, **options: Any) -> Cache:
    cache = Cache()
    if not url.startswith("mem"):
        options |= {"max_connections": CONNECTIONS}
    cache.setup(url, **options)
    return cache


@asynccontextmanager
async def _memory(url: str, load: Callable[..., Awaitable[Any]]) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    del url
    cache = _cache("mem://", size=10_000)
    yield cache(ttl=TTL, key="profile:{user}")(load)
    await cache.close()


@asynccontextmanager
async def _tiers(url: str, load: Callable[..., Awaitable[Any]]) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    cache = _cache(url, client_side=True)
    yield cache(ttl=TTL, key="profile:{user}")(load)
    await cache.close()


@asynccontextmanager
async def _tiers_get(url: str, load: Callable[..., Awaitable[Any]]) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Its plain get of a key, without a decorator and its key."""
    cache = _cache(url, client_side=True)
    await cache.set("bare:42", await load(42), expire=TTL)
    yield lambda user: cache.get(f"bare:{user}")
    await cache.close()


class _Store:
    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def put(self, key: str, value: Any) -> None:
        await self._cache.set(key, value, expire=TTL)

    def get(self, key: str) -> Awaitable[Any]:
        return self._cache.get(key)

    async def get_many(self, keys: Sequence[str]) -> Sequence[Any]:
        return await self._cache.get_many(*keys)


@asynccontextmanager
async def _store(url: str, kind: Any) -> AsyncIterator[_Store]:
    del kind
    cache = _cache(url)
    yield _Store(cache)
    await cache.close()


@asynccontextmanager
async def _function(url: str, function: Callable[..., Awaitable[Any]]) -> AsyncIterator[Function]:
    cache = _cache(url)
    yield _handled(cache, cache(ttl=TTL)(function), function)
    await cache.close()


@asynccontextmanager
async def _locked(url: str, function: Callable[..., Awaitable[Any]]) -> AsyncIterator[Function]:
    cache = _cache(url)
    yield _handled(cache, cache(ttl=TTL, lock=True)(function), function)
    await cache.close()


@asynccontextmanager
async def _near(url: str, function: Callable[..., Awaitable[Any]]) -> AsyncIterator[Function]:
    del url
    cache = _cache("mem://", size=10_000)
    yield _handled(cache, cache(ttl=TTL)(function), function)
    await cache.close()


@asynccontextmanager
async def _both(url: str, function: Callable[..., Awaitable[Any]]) -> AsyncIterator[Function]:
    cache = _cache(url, client_side=True)
    yield _handled(cache, cache(ttl=TTL)(function), function)
    await cache.close()


def _handled(cache: Cache, call: Callable[..., Awaitable[Any]], function: Callable[..., Awaitable[Any]]) -> Function:
    from cashews.key import get_cache_key  # noqa: PLC0415 - the only one who needs it

    async def drop(*args: Any, **kwargs: Any) -> None:
        await cache.delete(get_cache_key(function, None, args, kwargs))

    return Function(call, drop)


class _Tagged:
    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def put(self, number: int, *, member: bool) -> None:
        await self._cache.set(f"entry:{number}", number, expire=TTL, tags=["group:7"] if member else ["group:8"])

    async def has(self, number: int, *, member: bool) -> bool:
        del member
        return bool(await self._cache.get(f"entry:{number}") == number)

    async def drop(self) -> None:
        await self._cache.delete_tags("group:7")


class _ByPattern(_Tagged):
    async def put(self, number: int, *, member: bool) -> None:
        await self._cache.set(f"group:{7 if member else 8}:{number}", number, expire=TTL)

    async def has(self, number: int, *, member: bool) -> bool:
        return bool(await self._cache.get(f"group:{7 if member else 8}:{number}") == number)

    async def drop(self) -> None:
        await self._cache.delete_match("group:7:*")


@asynccontextmanager
async def _tagged(url: str) -> AsyncIterator[_Tagged]:
    cache = _cache(url)
    cache.register_tag("group:{group}", "entry:{entry}")
    yield _Tagged(cache)
    await cache.close()


@asynccontextmanager
async def _matched(url: str) -> AsyncIterator[_Tagged]:
    cache = _cache(url)
    yield _ByPattern(cache)
    await cache.close()


@asynccontextmanager
async def _lock(url: str) -> AsyncIterator[Callable[[str], AbstractAsyncContextManager[Any]]]:
    cache = _cache(url)
    yield lambda name: cache.lock(f"lock:{name}", expire=10)
    await cache.close()


@asynccontextmanager
async def _rate(url: str, limit: int, seconds: float) -> AsyncIterator[Check]:
    cache = _cache(url)

    @cache.slice_rate_limit(limit=limit, period=seconds, key="rate:{key}")
    async def guarded(key: str) -> None:
        del key

    async def check(key: str) -> bool:
        try:
            await guarded(key)
        except RateLimitError:
            return False
        return True

    yield check
    await cache.close()


L1 = {"cashews @cache mem://": _memory, "cashews @cache client_side": _tiers, "cashews .get client_side": _tiers_get}
STORE = {"cashews .get": _store}
FUNCTION = {"cashews @cache": _function, "cashews @cache(lock=True)": _locked}
NEAR = {"cashews @cache mem://": _near, "cashews @cache client_side": _both}
FROZEN = {"cashews @cache": _function, "cashews @cache client_side": _both}
TAGGED = {"cashews delete_tags": _tagged, "cashews delete_match": _matched}
LOCK = {"cashews lock": _lock}
RATE = {"cashews slice_rate_limit": _rate}
