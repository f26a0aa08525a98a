"""valkey-glide: one multiplexed connection in Rust, with a client-side cache."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import glide
from payload import dumps, loads, plain

from peers.port import Function

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

PACKAGES = ("valkey-glide",)
ADVICE = "its documentation: GlideClient.create(GlideClientConfiguration([NodeAddress(…)])), server-assisted cache"

TTL = 3_600


async def _client(url: str, **options: Any) -> glide.GlideClient:
    parts = urlsplit(url)
    nodes = [glide.NodeAddress(parts.hostname or "127.0.0.1", parts.port or 6379)]
    database = int(parts.path.strip("/") or 0)
    return await glide.GlideClient.create(glide.GlideClientConfiguration(nodes, database_id=database, **options))


def _expiry() -> glide.ExpirySet:
    return glide.ExpirySet(glide.ExpiryType.SEC, TTL)


@asynccontextmanager
async def _cached(url: str, load: Callable[..., Awaitable[Any]]) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Its client-side cache keeps replies: the value is decoded at each hit."""
    from glide_shared.cache import ClientSideCache  # noqa: PLC0415 - an older one has none, and still answers the rest

    kept = ClientSideCache.create(max_cache_kb=10_240, entry_ttl_ms=TTL * 1000, server_assisted=True)
    client = await _client(url, client_side_cache=kept)
    await client.set("tracked:42", dumps(plain(await load(42))), expiry=_expiry())

    async def call(user: int) -> Any:
        body = await client.get(f"tracked:{user}")
        return None if body is None else loads(body)

    yield call
    await client.close()


class _Store:
    def __init__(self, client: glide.GlideClient) -> None:
        self._client = client

    async def put(self, key: str, value: Any) -> None:
        await self._client.set(key, dumps(plain(value)), expiry=_expiry())

    async def get(self, key: str) -> Any:
        body = await self._client.get(key)
        return None if body is None else loads(body)

    async def get_many(self, keys: Sequence[str]) -> Sequence[Any]:
        found = await self._client.mget(list(keys))
        return [None if body is None else loads(body) for body in found]


@asynccontextmanager
async def _store(url: str, kind: Any) -> AsyncIterator[_Store]:
    del kind
    client = await _client(url)
    yield _Store(client)
    await client.close()


@asynccontextmanager
async def _aside(url: str, function: Callable[..., Awaitable[Any]]) -> AsyncIterator[Function]:
    """Cache-aside by hand: it has no decorator."""
    client = await _client(url)
    name = function.__name__

    async def call(key: Any) -> Any:
        found = await client.get(f"{name}:{key}")
        if found is not None:
            return loads(found)
        made = await function(key)
        await client.set(f"{name}:{key}", dumps(plain(made)), expiry=_expiry())
        return made

    yield Function(call, None)
    await client.close()


L1 = {"valkey-glide GET, client-side cache": _cached}
STORE = {"valkey-glide GET + orjson": _store}
FROZEN = {"valkey-glide GET, SET": _aside}
REFUSES = {"LOCK": {"valkey-glide": "has no lock"}}
