"""coredis: a typed client with a tracking cache and a lock."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import coredis
from coredis.patterns.cache import LRUCache
from coredis.patterns.lock import Lock
from payload import dumps, loads, plain

from peers.port import Function

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

PACKAGES = ("coredis",)
ADVICE = "its handbook: async with Redis.from_url(url, cache=LRUCache()) as client; Lock(client, name, timeout)"

TTL = 3_600


@asynccontextmanager
async def _tracking(url: str, load: Callable[..., Awaitable[Any]]) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Its client-side cache keeps replies: the value is decoded at each hit."""
    async with coredis.Redis.from_url(url, cache=LRUCache()) as client:
        await client.set("tracked:42", dumps(plain(await load(42))), ex=TTL)

        async def call(user: int) -> Any:
            body = await client.get(f"tracked:{user}")
            return None if body is None else loads(body)

        yield call


class _Store:
    def __init__(self, client: coredis.Redis[bytes]) -> None:
        self._client = client

    async def put(self, key: str, value: Any) -> None:
        await self._client.set(key, dumps(plain(value)), ex=TTL)

    async def get(self, key: str) -> Any:
        body = await self._client.get(key)
        return None if body is None else loads(body)

    async def get_many(self, keys: Sequence[str]) -> Sequence[Any]:
        return [None if body is None else loads(body) for body in await self._client.mget(keys)]


@asynccontextmanager
async def _store(url: str, kind: Any) -> AsyncIterator[_Store]:
    del kind
    async with coredis.Redis.from_url(url) as client:
        yield _Store(client)


@asynccontextmanager
async def _aside(url: str, function: Callable[..., Awaitable[Any]]) -> AsyncIterator[Function]:
    """Cache-aside by hand: it has no decorator."""
    async with coredis.Redis.from_url(url) as client:
        name = function.__name__

        async def call(key: Any) -> Any:
            found = await client.get(f"{name}:{key}")
            if found is not None:
                return loads(found)
            made = await function(key)
            await client.set(f"{name}:{key}", dumps(plain(made)), ex=TTL)
            return made

        yield Function(call, None)


@asynccontextmanager
async def _lock(url: str) -> AsyncIterator[Callable[[str], AbstractAsyncContextManager[Any]]]:
    async with coredis.Redis.from_url(url) as client:
        yield lambda name: Lock(client, f"lock:{name}", timeout=10)


L1 = {"coredis GET, tracking cache": _tracking}
STORE = {"coredis GET + orjson": _store}
FROZEN = {"coredis GET, SET": _aside}
LOCK = {"coredis Lock": _lock}
