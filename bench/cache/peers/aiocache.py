"""aiocache: decorators over Redis or memory, and a lock against stampedes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiocache
from aiocache.serializers import PickleSerializer

from peers.port import Function

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

PACKAGES = ("aiocache",)
ADVICE = "its documentation: @cached(ttl=…, cache=Cache.REDIS, serializer=PickleSerializer(), endpoint=…, port=…)"

TTL = 3_600


def _where(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {"endpoint": parts.hostname, "port": parts.port, "db": int(parts.path.strip("/") or 0)}


@asynccontextmanager
async def _memory(url: str, load: Callable[..., Awaitable[Any]]) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    del url
    yield aiocache.cached(ttl=TTL, cache=aiocache.Cache.MEMORY)(load)


class _Store:
    def __init__(self, cache: Any) -> None:
        self._cache = cache

    async def put(self, key: str, value: Any) -> None:
        await self._cache.set(key, value, ttl=TTL)

    def get(self, key: str) -> Awaitable[Any]:
        found: Awaitable[Any] = self._cache.get(key)
        return found

    async def get_many(self, keys: Sequence[str]) -> Sequence[Any]:
        found: Sequence[Any] = await self._cache.multi_get(keys)
        return found


@asynccontextmanager
async def _store(url: str, kind: Any) -> AsyncIterator[_Store]:
    del kind
    cache = aiocache.Cache(aiocache.Cache.REDIS, serializer=PickleSerializer(), **_where(url))
    yield _Store(cache)
    await cache.close()


@asynccontextmanager
async def _function(url: str, function: Callable[..., Awaitable[Any]]) -> AsyncIterator[Function]:
    made = aiocache.cached(ttl=TTL, cache=aiocache.Cache.REDIS, serializer=PickleSerializer(), **_where(url))
    yield _handled(made, made(function), function)
    await made.cache.close()


@asynccontextmanager
async def _stampede(url: str, function: Callable[..., Awaitable[Any]]) -> AsyncIterator[Function]:
    made = aiocache.cached_stampede(
        lease=2, ttl=TTL, cache=aiocache.Cache.REDIS, serializer=PickleSerializer(), **_where(url)
    )
    yield _handled(made, made(function), function)
    await made.cache.close()


@asynccontextmanager
async def _near(url: str, function: Callable[..., Awaitable[Any]]) -> AsyncIterator[Function]:
    del url
    made = aiocache.cached(ttl=TTL, cache=aiocache.Cache.MEMORY)
    yield _handled(made, made(function), function)


def _handled(made: Any, call: Callable[..., Awaitable[Any]], function: Callable[..., Awaitable[Any]]) -> Function:
    async def drop(*args: Any, **kwargs: Any) -> None:
        await made.cache.delete(made.get_cache_key(function, args, kwargs))

    return Function(call, drop)


class _Spaced:
    """Members lie in a namespace of their own, which can be cleared."""

    def __init__(self, members: Any, others: Any) -> None:
        self._members, self._others = members, others

    def _of(self, *, member: bool) -> Any:
        return self._members if member else self._others

    async def put(self, number: int, *, member: bool) -> None:
        await self._of(member=member).set(str(number), number, ttl=TTL)

    async def has(self, number: int, *, member: bool) -> bool:
        return bool(await self._of(member=member).get(str(number)) == number)

    async def drop(self) -> None:
        # Without the argument it would run FLUSHDB, whatever namespace the cache was made with.
        await self._members.clear(namespace="group:7")


@asynccontextmanager
async def _tagged(url: str) -> AsyncIterator[_Spaced]:
    members, others = (
        aiocache.Cache(aiocache.Cache.REDIS, serializer=PickleSerializer(), namespace=space, **_where(url))
        for space in ("group:7", "group:8")
    )
    yield _Spaced(members, others)
    await members.close()
    await others.close()


L1 = {"aiocache @cached memory": _memory}
STORE = {"aiocache .get": _store}
FUNCTION = {"aiocache @cached": _function, "aiocache @cached_stampede": _stampede}
NEAR = {"aiocache @cached memory": _near}
FROZEN = {"aiocache @cached": _function}
TAGGED = {"aiocache clear(namespace=)": _tagged}
REFUSES = {
    "L1": {"aiocache two tiers": "has none"},
    "LOCK": {"aiocache RedLock": "only inside cached_stampede, and its waiters do not wait across processes"},
}
