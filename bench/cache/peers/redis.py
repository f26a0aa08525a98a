"""redis-py: GET and orjson as everybody writes it, its lock, and the recipes that are copied from page to page."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import redis.asyncio as driver
from payload import dumps, loads, plain

from peers.port import Function

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from peers.port import Check

PACKAGES = ("redis", "hiredis")
ADVICE = (
    "its documentation, asyncio examples: one client from_url with its own pool; Lock: client.lock(name, timeout=…)"
)

TTL = 3_600


class _Store:
    def __init__(self, client: driver.Redis) -> None:
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
    async with driver.from_url(url) as client:
        yield _Store(client)


@asynccontextmanager
async def _pooled(url: str, kind: Any) -> AsyncIterator[_Store]:
    """A pool that waits instead of raising, as its documentation has it for many tasks."""
    del kind
    pool = driver.BlockingConnectionPool.from_url(url, max_connections=16)
    async with driver.Redis.from_pool(pool) as client:
        yield _Store(client)


@asynccontextmanager
async def _recipe(url: str, function: Callable[..., Awaitable[Any]]) -> AsyncIterator[Function]:
    """Cache-aside as in the tutorials: GET, else call and SETEX; the key is the name and the arguments' repr."""
    async with driver.from_url(url) as client:

        def key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
            said = [*map(str, args), *(f"{name}={value}" for name, value in kwargs.items())]
            return f"{function.__name__}:" + ":".join(said)

        async def call(*args: Any, **kwargs: Any) -> Any:
            found = await client.get(key(args, kwargs))
            if found:
                return loads(found)
            made = await function(*args, **kwargs)
            await client.setex(key(args, kwargs), TTL, dumps(plain(made)))
            return made

        async def drop(*args: Any, **kwargs: Any) -> None:
            await client.delete(key(args, kwargs))

        yield Function(call, drop)


class _ByPattern:
    """Members share a prefix; they are looked for and deleted."""

    def __init__(self, client: driver.Redis, count: int, command: str) -> None:
        self._client, self._count, self._command = client, count, command

    async def put(self, number: int, *, member: bool) -> None:
        await self._client.set(_named(number, member=member), number)

    async def has(self, number: int, *, member: bool) -> bool:
        return bool(await self._client.exists(_named(number, member=member)))

    async def drop(self) -> None:
        some: list[bytes] = []
        async for key in self._client.scan_iter(match="group:7:*", count=self._count):
            some.append(key)
            if len(some) >= self._count:
                await self._client.execute_command(self._command, *some)
                some.clear()
        if some:
            await self._client.execute_command(self._command, *some)


def _named(number: int, *, member: bool) -> str:
    return f"group:{7 if member else 8}:{number}"


@asynccontextmanager
async def _scan(url: str) -> AsyncIterator[_ByPattern]:
    async with driver.from_url(url) as client:
        yield _ByPattern(client, 100, "DEL")


@asynccontextmanager
async def _unlink(url: str) -> AsyncIterator[_ByPattern]:
    async with driver.from_url(url) as client:
        yield _ByPattern(client, 5_000, "UNLINK")


@asynccontextmanager
async def _polled(url: str) -> AsyncIterator[Callable[[str], AbstractAsyncContextManager[Any]]]:
    """SET NX with a poll every 100 ms and a compare-and-delete, as it is copied around."""
    async with driver.from_url(url) as client:
        release = client.register_script(
            "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
        )

        @asynccontextmanager
        async def lock(name: str) -> AsyncIterator[None]:
            mine = uuid.uuid4().hex
            while not await client.set(f"lock:{name}", mine, nx=True, ex=10):  # noqa: ASYNC110 - the recipe polls
                await asyncio.sleep(0.1)
            try:
                yield
            finally:
                await release(keys=[f"lock:{name}"], args=[mine])

        yield lock


@asynccontextmanager
async def _lock(url: str) -> AsyncIterator[Callable[[str], AbstractAsyncContextManager[Any]]]:
    async with driver.from_url(url) as client:
        yield lambda name: client.lock(f"lock:{name}", timeout=10)


@asynccontextmanager
async def _eager(url: str) -> AsyncIterator[Callable[[str], AbstractAsyncContextManager[Any]]]:
    async with driver.from_url(url) as client:
        yield lambda name: client.lock(f"lock:{name}", timeout=10, sleep=0.005)


@asynccontextmanager
async def _rate(url: str, limit: int, seconds: float) -> AsyncIterator[Check]:
    """INCR, then EXPIRE for the first: a fixed window, as in the tutorials."""
    async with driver.from_url(url) as client:

        async def check(key: str) -> bool:
            used = await client.incr(f"rate:{key}")
            if used == 1:
                await client.expire(f"rate:{key}", int(seconds))
            return bool(used <= limit)

        yield check


STORE = {"redis-py GET + orjson": _store, "redis-py BlockingConnectionPool(16)": _pooled}
FUNCTION = {"recipe: redis-py GET, SETEX": _recipe}
FROZEN = FUNCTION
TAGGED = {"recipe: SCAN 100 + DEL": _scan, "recipe: SCAN 5000 + UNLINK": _unlink}
LOCK = {"recipe: SET NX, poll 100 ms": _polled, "redis-py Lock": _lock, "redis-py Lock(sleep=0.005)": _eager}
RATE = {"recipe: INCR, EXPIRE (fixed window)": _rate}
REFUSES = {"L1": {"redis-py client-side cache": "synchronous clients only, and Redis 7.4 or newer"}}
