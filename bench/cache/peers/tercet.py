"""tercet itself, through the face that its users have."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from peers.port import Function
from tercet import Cache, Tercet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from peers.port import Check

PACKAGES = ("tercet", "msgspec", "hiredis")
ADVICE = "README.md and docs/reference of this repository"

# As long as a run: a hit that has to be renewed out of Redis is a question of its own.
LONG = "1h"

# Only where the harness itself is tried, on whatever machine: a read that waits longer is no finding there.
PATIENCE: dict[str, Any] = (
    {"deadline": os.environ["TERCET_BENCH_DEADLINE"]} if "TERCET_BENCH_DEADLINE" in os.environ else {}
)


@asynccontextmanager
async def _decorated(url: str, load: Callable[..., Awaitable[Any]]) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    async with Cache(url, ttl=LONG, memory=LONG, **PATIENCE) as cache:
        yield cache(load)


class _Store:
    def __init__(self, cache: Cache, kind: Any) -> None:
        self._cache, self._kind = cache, kind

    async def put(self, key: str, value: Any) -> None:
        await self._cache.set(key, value, type=self._kind)

    def get(self, key: str) -> Awaitable[Any]:
        return self._cache.get(key, self._kind)

    async def get_many(self, keys: Sequence[str]) -> Sequence[Any]:
        return list((await self._cache.get_many(keys, self._kind)).values())


@asynccontextmanager
async def _store(url: str, kind: Any) -> AsyncIterator[_Store]:
    """Without memory: every read is one of Redis."""
    async with Cache(url, ttl=LONG, memory=0, **PATIENCE) as cache:
        yield _Store(cache, kind)


class _Many:
    """The function form of get_many: what is missing would be loaded."""

    def __init__(self, cache: Cache, kind: Any) -> None:
        self._values: dict[str, Any] = {}

        async def load(key: str) -> Any:
            return self._values[key]

        cached: Any = cache(type=kind)(load)
        self._call: Callable[[str], Awaitable[Any]] = cached
        self._many: Callable[[Sequence[str]], Awaitable[Any]] = cached.many

    async def put(self, key: str, value: Any) -> None:
        self._values[key] = value
        await self._call(key)

    async def get(self, key: str) -> Any:
        return await self._call(key)

    async def get_many(self, keys: Sequence[str]) -> Sequence[Any]:
        found = await self._many(keys)
        return list(found.values()) if isinstance(found, dict) else list(found)


@asynccontextmanager
async def _many(url: str, kind: Any) -> AsyncIterator[_Many]:
    async with Cache(url, ttl=LONG, memory=0, **PATIENCE) as cache:
        yield _Many(cache, kind)


@asynccontextmanager
async def _function(url: str, function: Callable[..., Awaitable[Any]]) -> AsyncIterator[Function]:
    async with Cache(url, ttl=LONG, **PATIENCE) as cache:
        cached = cache(function)
        yield Function(cached, cached.drop)


@asynccontextmanager
async def _far(url: str, function: Callable[..., Awaitable[Any]]) -> AsyncIterator[Function]:
    """The same without memory, where the question is what becomes of a read of Redis."""
    async with Cache(url, ttl=LONG, memory=0, **PATIENCE) as cache:
        cached = cache(function)
        yield Function(cached, cached.drop)


class _Tagged:
    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def put(self, number: int, *, member: bool) -> None:
        await self._cache.set(f"entry:{number}", number, tags=("group:7",) if member else ("group:8",))

    async def has(self, number: int, *, member: bool) -> bool:
        del member
        return await self._cache.get(f"entry:{number}", int) == number

    async def drop(self) -> None:
        await self._cache.drop_tags("group:7")


@asynccontextmanager
async def _tagged(url: str) -> AsyncIterator[_Tagged]:
    async with Cache(url, ttl=LONG, memory=0, **PATIENCE) as cache:
        yield _Tagged(cache)


@asynccontextmanager
async def _lock(url: str) -> AsyncIterator[Callable[[str], AbstractAsyncContextManager[Any]]]:
    db: Any
    async with Tercet(redis=url) as db:
        lock = db.lock
        yield lambda name: lock(name, ttl="10s", wait="1m")


@asynccontextmanager
async def _rate(url: str, limit: int, seconds: float) -> AsyncIterator[Check]:
    db: Any
    async with Tercet(redis=url) as db:
        limiter = db.limit(f"{limit}/{int(seconds)}s" if seconds != 60 else f"{limit}/minute")

        async def check(key: str) -> bool:
            return bool((await limiter.check(key)).allowed)

        yield check


L1 = {"tercet @cache": _decorated}
STORE = {"tercet cache.get": _store, "tercet @cache .many": _many}
FUNCTION = {"tercet @cache": _function}
FROZEN = {"tercet @cache": _far}
TAGGED = {"tercet drop_tags": _tagged}
LOCK = {"tercet db.lock": _lock}
RATE = {"tercet db.limit (GCRA)": _rate}
