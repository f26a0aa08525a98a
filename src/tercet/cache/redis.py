"""The shelf in Redis: entries and tag versions under one prefix, one round trip and one deadline each."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, cast

from tercet.errors import ExtraMissing, SettingInvalid, StoreError, StoreUnreachable, UsageError
from tercet.units import duration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

try:
    from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import RedisError
    from redis.exceptions import TimeoutError as RedisTimeoutError
except ImportError as error:
    raise ExtraMissing("A cache in Redis", module=error.name or "redis", extra="redis") from error

R = TypeVar("R")

# What one read or fill may cost at most when Redis is slow. A healthy one answers in well under a
# millisecond; a first connection on a loaded machine takes some tens.
DEADLINE_SECONDS = 0.25

# A drop must arrive, so it is given longer before it fails aloud.
DROP_SECONDS = 1.0

# After a missed deadline nobody asks for this long; then one caller tries, and the rest follow if it
# succeeds. So a frozen Redis costs one deadline a half second for the whole process, and one that is back is
# used within it.
PAUSE_SECONDS = 0.5

# Connections of a client made from a URL. A loop in one thread cannot use more of them than this.
POOL_SIZE = 16

# A version outlives every entry that carries it; two days cover the longest layer twice, and longer entries
# ask for twice their own time.
TAG_SECONDS_MIN = 2 * 86_400.0

# 64 random bits: a version that was evicted, dropped or lost in a failover never comes back by counting.
VERSION_BYTES = 8

# A command with more names would hold the server up for others.
NAMES_A_COMMAND = 500

# The layout of what lies under the prefix; another layout gets another number and leaves this one alone.
LAYOUT = "1"

_NAMESPACE = re.compile(r"[A-Za-z0-9_.\-]{1,64}", re.ASCII)

_log = logging.getLogger("tercet.cache")


class _Pipeline(Protocol):
    """What is asked of a redis-py pipeline."""

    def execute_command(self, *args: Any, **options: Any) -> Any: ...

    async def execute(self) -> list[Any]: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *error: object) -> None: ...


class _Client(Protocol):
    """What is asked of a redis-py client."""

    def execute_command(self, *args: Any, **options: Any) -> Awaitable[Any]: ...

    def pipeline(self, transaction: bool = ...) -> _Pipeline: ...

    async def aclose(self) -> None: ...


# The answer as it came, whatever the client decodes for its owner.
_AS_IT_IS = {"NEVER_DECODE": True}


class Breaker:
    """Keeps callers away from a server that did not answer, but for one in each pause."""

    __slots__ = ("_now", "_until", "open")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._until = 0.0
        self.open = False

    def admits(self) -> bool:
        """Whether this caller may try."""
        if not self.open:
            return True
        if self._now() < self._until:
            return False
        self._until = self._now() + PAUSE_SECONDS
        return True

    def failed(self) -> None:
        """Nobody answered."""
        self.open = True
        self._until = self._now() + PAUSE_SECONDS

    def worked(self) -> None:
        """Somebody answered."""
        self.open = False


class RedisShelf:
    """Entries and tag versions in one Redis, through the redis-py client that `client` hands out."""

    def __init__(
        self, client: Callable[[], object], *, namespace: str, deadline: float, now: Callable[[], float]
    ) -> None:
        if not _NAMESPACE.fullmatch(namespace):
            raise SettingInvalid(
                "namespace",
                where="Cache",
                shown=repr(namespace),
                wanted="1 to 64 letters, digits, '_', '-' or '.'",
            )
        self._find = client
        self._prefix = f"{namespace}:{LAYOUT}:"
        self._deadline = deadline
        self._breaker = Breaker(now)

    async def read(
        self, names: Sequence[str], tags: Sequence[str]
    ) -> tuple[tuple[bytes | None, ...], dict[str, bytes | None]]:
        """Entries and versions, by one MGET."""
        asked = [*map(self._entry, names), *map(self._tag, tags)]
        found = await self._within(
            self._deadline, lambda redis: redis.execute_command("MGET", *asked, **_AS_IT_IS)
        )
        return tuple(found[: len(names)]), dict(zip(tags, found[len(names) :], strict=True))

    async def versions(self, tags: Sequence[str]) -> dict[str, bytes | None]:
        """Versions, made where there are none; of several who make one at the same time, the first wins."""

        async def make(redis: _Client) -> list[Any]:
            async with redis.pipeline(transaction=False) as pipe:
                for tag in tags:
                    pipe.execute_command(
                        "SET",
                        self._tag(tag),
                        secrets.token_bytes(VERSION_BYTES),
                        "NX",
                        "PX",
                        _ms(TAG_SECONDS_MIN),
                    )
                pipe.execute_command("MGET", *map(self._tag, tags), **_AS_IT_IS)
                return await pipe.execute()

        answers = await self._within(self._deadline, make)
        return dict(zip(tags, answers[-1], strict=True))

    async def write(
        self, name: str, frame: bytes, seconds: float, tags: Sequence[str]
    ) -> dict[str, bytes | None]:
        """SET with its expiry, the tags kept alive, and the versions as they are now."""

        async def store(redis: _Client) -> list[Any]:
            if not tags:
                await redis.execute_command("SET", self._entry(name), frame, "PX", _ms(seconds))
                return [()]
            async with redis.pipeline(transaction=False) as pipe:
                pipe.execute_command("SET", self._entry(name), frame, "PX", _ms(seconds))
                for tag in tags:
                    pipe.execute_command("PEXPIRE", self._tag(tag), _ms(max(TAG_SECONDS_MIN, 2 * seconds)))
                pipe.execute_command("MGET", *map(self._tag, tags), **_AS_IT_IS)
                return await pipe.execute()

        answers = await self._within(self._deadline, store)
        return dict(zip(tags, answers[-1], strict=True))

    async def drop(self, names: Sequence[str], tags: Sequence[str]) -> None:
        """UNLINK of entries and versions alike; tried even while reads keep away."""
        every = [*map(self._tag, tags), *map(self._entry, names)]
        for start in range(0, len(every), NAMES_A_COMMAND):
            some = every[start : start + NAMES_A_COMMAND]
            await self._within(DROP_SECONDS, partial(_unlink, some), always=True)

    async def close(self) -> None:
        """Nothing: the client is its owner's."""

    def _entry(self, name: str) -> bytes:
        return f"{self._prefix}e:{name}".encode("utf-8", "surrogatepass")

    def _tag(self, tag: str) -> bytes:
        return f"{self._prefix}t:{tag}".encode("utf-8", "surrogatepass")

    async def _within(
        self, deadline: float, ask: Callable[[_Client], Awaitable[R]], *, always: bool = False
    ) -> R:
        redis = self._find()
        if isinstance(redis, RedisCluster):
            raise UsageError(
                "This cache cannot live on a Redis Cluster yet.", "Give it a single Redis or a Sentinel."
            )
        if not always and not self._breaker.admits():
            raise StoreUnreachable("redis", reason="it did not a moment ago, and is left alone")
        try:
            async with asyncio.timeout(deadline):
                answer = await ask(cast("_Client", redis))
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            self._broke(error)
            reason = (
                f"nothing came within {duration(deadline)}"
                if isinstance(error, TimeoutError)
                else _said(error)
            )
            raise StoreUnreachable("redis", reason=reason) from error
        except RedisError as error:
            # It answers, and says no: out of memory, read only, not permitted. It is asked again next time.
            raise StoreError(
                "redis", f"redis refused: {error}.", "See what its own log and ACL say."
            ) from error
        self._breaker.worked()
        return answer

    def _broke(self, error: Exception) -> None:
        if not self._breaker.open:
            _log.warning("Redis does not answer (%s): the cache goes on without it", type(error).__name__)
        self._breaker.failed()


class OwnRedisShelf(RedisShelf):
    """A shelf with a client of its own, made from a URL, for one event loop after the other."""

    def __init__(self, url: str, *, namespace: str, deadline: float, now: Callable[[], float]) -> None:
        super().__init__(self._own, namespace=namespace, deadline=deadline, now=now)
        self._url = url
        self._loop: asyncio.AbstractEventLoop | None = None
        self._made: _Client | None = None
        # Made once to see that the URL can be read; a pool opens nothing before it is used.
        self._make()

    async def close(self) -> None:
        """Close the client; it is made anew when the shelf is used again."""
        made, self._made = self._made, None
        # Connections of a loop that has ended are gone with it.
        if made is not None and self._loop is asyncio.get_running_loop():
            await made.aclose()

    def _own(self) -> object:
        loop = asyncio.get_running_loop()
        if self._made is None or self._loop is not loop:
            self._made, self._loop = self._make(), loop
        return self._made

    def _make(self) -> _Client:
        try:
            pool = BlockingConnectionPool.from_url(
                self._url,
                max_connections=POOL_SIZE,
                timeout=DROP_SECONDS,
                socket_timeout=DROP_SECONDS,
                socket_connect_timeout=DROP_SECONDS,
                socket_keepalive=True,
                # Once more on a fresh connection: the server may have closed an idle one.
                retry=Retry(NoBackoff(), 1),
            )
        except (ValueError, TypeError) as error:
            scheme = self._url.partition(":")[0]
            raise SettingInvalid(
                "the Redis URL",
                where="Cache",
                shown=f"'{scheme}:…'",
                wanted="redis://host:6379/0 or rediss://…",
            ) from error
        # from_pool gives the pool to the client, which closes it with itself.
        return cast("_Client", Redis.from_pool(pool))


def _unlink(names: Sequence[bytes], redis: _Client) -> Awaitable[Any]:
    return redis.execute_command("UNLINK", *names)


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def _said(error: BaseException) -> str:
    """The class of an error: its text may carry an address or a user's name."""
    return type(error).__name__
