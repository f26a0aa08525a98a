"""Redis: redis-py's client as it is, on a pool that waits and says who holds it, with errors that say why."""

from __future__ import annotations

import asyncio
import random
import socket
from typing import TYPE_CHECKING, Any, cast

import redis.asyncio as driver
from redis import exceptions as exc
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tercet.errors import DeadlinePassed, LoginRefused, NotOpen, StoreError, StoreUnreachable, TercetError
from tercet.stores.both import both, cause_of, distrust, why
from tercet.stores.holders import here
from tercet.stores.lane import Lane
from tercet.stores.port import PoolState, Role, Vital

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

    from tercet.clock import Clock
    from tercet.settings import Settings
    from tercet.stores.budget import Budget
    from tercet.stores.lane import Gate
    from tercet.telemetry import Telemetry
    from tercet.telemetry.event import Store as StoreName

# A connection idle for longer than this is pinged before it is used: firewalls forget after minutes.
_PING_AFTER_SECONDS = 30
# A failed connect is tried again after about 50 and 200 ms: a restart takes that long, and nothing was sent.
_RETRIES = 2
_BACKOFF_SECONDS = 0.05
_BACKOFF_GROWTH = 4
# Found dead after 60 s + 3 × 10 s of silence.
_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
# redis-py has no class of its own for a pool that is exhausted; a test watches the words.
_NONE_FREE = "No connection available"


class _Pool(driver.BlockingConnectionPool):
    """redis-py's blocking pool, which says who holds its connections when there is none left."""

    # Given right after the pool is made, because from_url hands every keyword on to each connection.
    lane: Lane[AbstractConnection]
    meaning: Meaning
    patience: float
    # The last release that had to be finished without its caller: the loop itself keeps no hold of a task.
    unfinished: asyncio.Task[None] | None = None

    async def get_connection(self, *arguments: Any, **keywords: Any) -> AbstractConnection:
        """A connection that is connected; waits for one no longer than was set."""
        place = here()
        with self.lane.wait() as started:
            for attempt in range(_RETRIES + 1):
                try:
                    connection = await cast("Any", super()).get_connection(*arguments, **keywords)
                    if _dead(connection):
                        await self._revive(connection)
                    break
                except exc.RedisError as error:
                    await self._pause_or_raise(error, attempt, self.lane.since(started))
        self.lane.holders.take(connection, place)
        return cast("AbstractConnection", connection)

    async def _revive(self, connection: Any) -> None:
        """Connect again: the server has closed this connection while it lay in the pool."""
        try:
            await connection.disconnect()
            await connection.connect()
        except BaseException:
            await self.release(connection)
            raise

    async def _pause_or_raise(self, error: Exception, attempt: int, spent: float) -> None:
        """A short pause that no two callers share, before connecting is tried again."""
        if _NONE_FREE in str(error) and not isinstance(error, TercetError):
            raise both(self.lane.exhausted(spent), error) from error
        if attempt == _RETRIES or spent > self.patience or not isinstance(error, StoreUnreachable):
            joined = self.meaning.joined(error)
            raise joined from (error.__cause__ if joined is error else error)
        pause = _BACKOFF_SECONDS * _BACKOFF_GROWTH**attempt
        await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - spreads callers, guards nothing

    async def release(self, connection: AbstractConnection) -> None:
        """Give a connection back; being cancelled meanwhile does not lose it."""
        self.lane.holders.give(connection)
        try:
            await super().release(connection)
        except asyncio.CancelledError:
            if connection in self._in_use_connections:
                self.unfinished = asyncio.ensure_future(super().release(connection))
            raise

    def idle(self) -> int:
        """How many connections lie in the pool."""
        return len(self._available_connections)


def _dead(connection: Any) -> bool:
    # redis-py 8 looks only for data that is left over; that a server has gone shows at the end of its stream.
    reader = getattr(connection, "_reader", None)
    return reader is not None and reader.at_eof()


class _OneTry(Retry):
    """Every command passes here: it is tried once, and its error becomes tercet's.

    A command that was sent is never sent again by itself: INCR would count twice. Connecting is tried again
    by the pool, before anything was sent.
    """

    def __init__(self, meaning: Meaning, gate: Gate | None = None) -> None:
        super().__init__(NoBackoff(), 0)
        self._meaning, self._gate = meaning, gate

    def __deepcopy__(self, _memo: object) -> _OneTry:
        # Each connection copies what it is given; the gate is the one that closes, not a copy of it.
        return _OneTry(self._meaning, self._gate)

    async def call_with_retry(self, *arguments: Any, **keywords: Any) -> Any:
        """What redis-py calls for every command, pipeline and connect."""
        if self._gate is not None and self._gate.is_closed:
            # A connection that somebody still holds would connect again by itself.
            closed = NotOpen("This Tercet", closed=True)
            raise both(closed, exc.ConnectionError(closed.says))
        try:
            return await super().call_with_retry(*arguments, **keywords)
        except (exc.RedisError, OSError) as error:
            joined = self._meaning.joined(error)
            if joined is error:
                raise
            raise joined from error


class Meaning:
    """What a driver's error means for the caller."""

    __slots__ = ("_address", "_timeout")

    def __init__(self, address: str, timeout: float) -> None:
        self._address, self._timeout = address, timeout

    def joined(self, error: Exception) -> Exception:
        """Both errors in one, or the driver's own where that says it best."""
        meant = None if isinstance(error, TercetError) else self._of(error)
        return both(meant, error) if meant else error

    def _of(self, error: Exception) -> StoreError | None:
        # While connecting, redis-py hides what the server said behind a ConnectionError of its own.
        unknown = cause_of(error, (exc.AuthenticationError, exc.AuthorizationError)) is not None
        refused = "it does not accept this login" if unknown else distrust(error, setting="redis_tls_ca")
        if refused:
            return LoginRefused("redis", reason=refused, address=self._address)
        match error:
            case exc.TimeoutError() if "connecting" in str(error):
                return self._unreachable("no connection was made in time")
            case exc.TimeoutError():
                return DeadlinePassed("redis", what="a command", deadline=self._timeout)
            case exc.BusyLoadingError():
                return self._unreachable("it is still loading its data")
            case exc.ConnectionError() | OSError():
                return self._unreachable(why(error))
        return None

    def _unreachable(self, reason: str) -> StoreUnreachable:
        return StoreUnreachable("redis", reason=reason, address=self._address)


class Redis:
    """Redis or Valkey: opens, sizes and closes what `db.redis` is."""

    name: StoreName = "redis"

    def __init__(self, settings: Settings, *, clock: Clock, telemetry: Telemetry) -> None:
        self._settings = settings
        self._lane: Lane[AbstractConnection] = Lane("redis", clock=clock, telemetry=telemetry)
        self._probe = RedisProbe(settings)
        self._pool: _Pool | None = None
        self._client: driver.Redis | None = None

    @property
    def client(self) -> driver.Redis:
        """redis-py's client itself."""
        self._lane.gate.check()
        return cast("driver.Redis", self._client)

    @property
    def probe(self) -> RedisProbe:
        """Its own connection for questions about the server."""
        return self._probe

    @property
    def budget(self) -> Budget:
        """How the pool's size came about."""
        return self._lane.budget

    def pool(self) -> PoolState:
        """How the pool stands right now."""
        return self._lane.state(in_use=len(self._lane.holders), idle=self._pool.idle() if self._pool else 0)

    async def ping(self) -> None:
        """One round trip through the pool."""
        await self.client.ping()

    async def open(self) -> None:
        """Ask the server for its limits, size the pool, and make its first connection."""
        vital = await self._probe.look()
        settings = self._settings
        size = self._lane.size(settings, limit=vital.connections_max)
        pool = _Pool.from_url(
            self._probe.url,
            max_connections=size,
            timeout=settings.redis_pool_wait,
            **self._probe.keywords(self._lane.gate),
        )
        pool.lane, pool.meaning, pool.patience = (
            self._lane,
            self._probe.meaning,
            settings.redis_connect_timeout,
        )
        self._pool, self._client = pool, driver.Redis.from_pool(pool)
        self._lane.gate.open()
        await self.ping()

    async def close(self) -> None:
        """Wait for callers as long as was set, then end their connections; twice is fine."""
        await self._lane.shut(self._settings.close_wait, self._end)

    async def _end(self) -> None:
        pool, self._pool, self._client = self._pool, None, None
        if pool is not None:
            await pool.disconnect(inuse_connections=True)
        await self._probe.close()


class RedisProbe:
    """One connection beside the pool that asks the server about itself."""

    store: StoreName = "redis"

    def __init__(self, settings: Settings) -> None:
        url = settings.url("redis")
        if url is None:
            raise ValueError("settings without redis_url")
        self._settings = settings
        self.url = url.reveal()
        self.meaning = Meaning(url.place, settings.redis_timeout)
        self._client: driver.Redis | None = None
        # RESP3 unless the server turns out not to know it.
        self._protocol = 3

    def keywords(self, gate: Gate | None = None) -> dict[str, Any]:
        """What every connection is made with; what the address says wins."""
        settings = self._settings
        keywords: dict[str, Any] = {
            "client_name": settings.application_name,
            "health_check_interval": _PING_AFTER_SECONDS,
            "protocol": self._protocol,
            "retry": _OneTry(self.meaning, gate),
            "socket_connect_timeout": settings.redis_connect_timeout,
            "socket_timeout": settings.redis_timeout,
        }
        if not self.url.startswith("unix:"):
            options = {getattr(socket, name): value for name, value in _KEEPALIVE if hasattr(socket, name)}
            keywords |= {"socket_keepalive": True, "socket_keepalive_options": options}
        if settings.redis_tls_ca and self.url.startswith("rediss:"):
            keywords["ssl_ca_certs"] = settings.redis_tls_ca
        return keywords

    async def look(self) -> Vital:
        """The server's version, role and connections, in one round trip."""
        client, self._client = self._client, None
        try:
            if client is None:
                client = self._make()
            info = await client.info()
            limit = info.get("maxclients") or await _asked_limit(client)
        except BaseException as error:
            if client is not None:
                await client.connection_pool.disconnect(inuse_connections=True)
            if isinstance(error, exc.ResponseError) and self._protocol == 3 and "HELLO" in str(error):  # noqa: PLR2004 - RESP3's own number
                self._protocol = 2
                return await self.look()
            if isinstance(error, exc.RedisError | OSError):
                joined = self.meaning.joined(error)
                if joined is not error:
                    raise joined from error
            raise
        self._client = client
        role: Role = "replica" if info.get("role") in {"slave", "replica"} else "primary"
        version = str(info.get("valkey_version") or info.get("redis_version") or "unknown")
        return Vital(version, role, info.get("connected_clients"), limit)

    async def close(self) -> None:
        """Let go of the connection; twice is fine."""
        client, self._client = self._client, None
        if client is not None:
            await client.connection_pool.disconnect(inuse_connections=True)

    def _make(self) -> driver.Redis:
        pool = driver.ConnectionPool.from_url(self.url, **{**self.keywords(), "max_connections": 1})
        return driver.Redis.from_pool(pool)


async def _asked_limit(client: driver.Redis) -> int | None:
    """The server's limit where INFO does not tell it; None where we may not ask."""
    try:
        answer = await client.config_get("maxclients")
    except exc.ResponseError:
        return None
    limit = answer.get("maxclients")
    return int(limit) if limit else None
