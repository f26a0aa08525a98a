"""redis-py opens the wire's connections, with whatever its client was told; hiredis packs and reads."""

from __future__ import annotations

import asyncio
from socket import gaierror
from typing import TYPE_CHECKING, Any, cast

from tercet.errors import (
    CommandInvalid,
    CommandRefused,
    ExtraMissing,
    LoginRefused,
    SettingInvalid,
    StoreError,
    StoreUnreachable,
)
from tercet.wire.port import Opened, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tercet.wire.port import Place, Reader, Word

try:
    import hiredis
    import redis.asyncio as driver
    from redis import exceptions as exc
    from redis.asyncio.retry import Retry
    from redis.asyncio.sentinel import MasterNotFoundError
    from redis.backoff import NoBackoff
    from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS
    from redis.crc import key_slot
except ImportError as error:
    raise ExtraMissing("The wire to Redis", module=error.name or "redis", extra="redis") from error

# What a pool keeps for its own connections, and what would decode or repeat behind our back.
_NOT_OURS = (
    "connection_pool_class", "health_check_interval", "himport_registry", "maint_notifications_config",
    "maint_notifications_pool_handler", "oss_cluster_maint_notifications_handler", "orig_host_address",
    "orig_socket_connect_timeout", "orig_socket_timeout", "retry_on_error", "retry_on_timeout",
)  # fmt: skip

# Commands that change the connection itself, which everybody shares.
_NOT_SHARED = frozenset(
    {
        "AUTH", "BLMOVE", "BLMPOP", "BLPOP", "BRPOP", "BRPOPLPUSH", "BZMPOP", "BZPOPMAX", "BZPOPMIN", "DISCARD", "EXEC",
        "HELLO", "MONITOR", "MULTI", "PSUBSCRIBE", "PSYNC", "PUNSUBSCRIBE", "QUIT", "READONLY", "READWRITE", "RESET",
        "SELECT", "SSUBSCRIBE", "SUBSCRIBE", "SUNSUBSCRIBE", "SYNC", "UNSUBSCRIBE", "UNWATCH", "WATCH",
    }
)  # fmt: skip

# Causes can go round in circles; nobody nests them deeper than this.
_CAUSES_MAX = 20

_NOTHING = object()

_HOME = "home"

_WORDS: tuple[type, ...] = (bytes, str, int, float, memoryview)
# hiredis' own stub knows tuples of one word only.
_pack: Any = hiredis.pack_command


class RedisEdge:
    """What a redis-py client knows of its servers, without its pool."""

    pushed = hiredis.PushNotification
    nothing = _NOTHING

    def __init__(self, client: object) -> None:
        # Kept, because Sentinel's connections know their pool only weakly.
        self._client: Any = client
        self._discovered = False
        self.clustered = isinstance(client, driver.RedisCluster)
        if not self.clustered and not isinstance(client, driver.Redis):
            raise SettingInvalid(
                "the Redis client",
                where="The wire",
                shown=f"a {type(client).__name__}",
                wanted="a redis.asyncio.Redis, one made by a Sentinel, or a redis.asyncio.RedisCluster",
            )

    # ---- commands

    def pack(self, words: Sequence[Word]) -> bytes:
        """One command as bytes."""
        try:
            return cast("bytes", _pack(tuple(words)))
        except (TypeError, ValueError) as error:
            strange = [type(word).__name__ for word in words if not isinstance(word, _WORDS)]
            reason = f"it has a {strange[0]} in it" if strange else "it has a text that is not Unicode in it"
            raise CommandInvalid(str(words[0]), reason=reason) from error

    def shares(self, words: Sequence[Word]) -> bool:
        """Whether a command may go on a connection that others use too."""
        name = _upper(words[0])
        if name in _NOT_SHARED:
            return False
        if name == "CLIENT":
            return len(words) == 1 or _upper(words[1]) != "REPLY"
        return not name.startswith("XREAD") or "BLOCK" not in map(_upper, words)

    def reader(self) -> Reader:
        """A reader for one connection."""
        return cast("Reader", hiredis.Reader(replyError=Refusal, notEnoughData=_NOTHING))

    # ---- a cluster

    async def discover(self, seconds: float) -> list[Place]:
        """The primary of each slot, as redis-py finds them."""
        known = self._client.nodes_manager
        try:
            async with asyncio.timeout(seconds):
                if self._discovered:
                    await known.initialize()
                else:
                    await self._client.initialize()
        except Exception as error:
            raise self._meaning(error, "the cluster") from error
        self._discovered = True
        try:
            return [known.slots_cache[slot][0].name for slot in range(SLOTS)]
        except (KeyError, IndexError) as error:
            reason = "not all slots of the cluster have a server"
            raise StoreUnreachable("redis", reason=reason, address="the cluster") from error

    def slot_of(self, key: bytes) -> int:
        """The slot in which a key lies."""
        return int(key_slot(key))

    def place_at(self, address: str, *, seen_from: Place) -> Place:
        """The server that a redirect names."""
        host, _, port = address.rpartition(":")
        return f"{host or str(seen_from).rpartition(':')[0]}:{port}"

    def _member(self, place: Place) -> Any:
        """What redis-py knows of a server of the cluster; of one that is new, what it knows of any."""
        found = self._client.get_node(node_name=str(place))
        return found or self._client.get_default_node()

    # ---- connections

    def home(self) -> Place:
        """The one server of a client that is no cluster."""
        return _HOME

    def address(self, place: Place) -> str:
        """Where this place is, for people."""
        if place != _HOME:
            return str(place)
        kwargs = self._client.connection_pool.connection_kwargs
        if "path" in kwargs:
            return str(kwargs["path"])
        service = getattr(self._client.connection_pool, "service_name", None)
        return f"{service} (Sentinel)" if service else f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}"

    async def open(self, place: Place, protocol: asyncio.BufferedProtocol, seconds: float) -> Opened:
        """Connect as the client would, and take the transport over."""
        connection = self._connection(place, seconds)
        try:
            await connection.connect()
            # redis-py has no public way to a connection's transport; a test watches these names.
            writer, reader = connection._writer, connection._reader  # noqa: SLF001 - see above
            if reader.at_eof():
                raise EOFError  # noqa: TRY301 - the same way out as every other failure
        except BaseException as error:
            await _let_go(connection)
            if isinstance(error, Exception):
                raise self._meaning(error, place) from error
            raise
        writer.transport.set_protocol(protocol)
        # Neither may end the transport when it is collected: the writer is kept, the connection lets go of it.
        connection._writer = connection._reader = None  # noqa: SLF001 - as above
        return Opened(writer.transport, (connection, writer))

    def suits(self, hello: dict[bytes, Any]) -> bool:
        """A Sentinel's client that wants the primary is not served by a replica."""
        wants_primary = not self.clustered and getattr(self._client.connection_pool, "is_master", False)
        return not wants_primary or hello.get(b"role") == b"master"

    def _connection(self, place: Place, seconds: float) -> Any:
        pool = self._client.connection_pool if not self.clustered else self._member(place)
        kwargs = {key: value for key, value in pool.connection_kwargs.items() if key not in _NOT_OURS}
        if self.clustered:
            # It would make a primary's connection one for reading only, which ours are not.
            kwargs.pop("redis_connect_func", None)
            kwargs["host"], _, port = str(place).rpartition(":")
            kwargs["port"] = int(port)
        kwargs |= {
            "decode_responses": False,
            "protocol": 3,
            "retry": Retry(NoBackoff(), 0),
            "socket_connect_timeout": seconds,
            "socket_timeout": seconds,
        }
        return pool.connection_class(**kwargs)

    def _meaning(self, error: BaseException, place: Place) -> StoreError:
        """Why no connection was made, in words of ours: a driver's own may carry addresses."""
        address = self.address(place)
        for one in _causes(error):
            text = str(one)
            if verify := getattr(one, "verify_message", ""):
                return LoginRefused("redis", reason=f"its certificate is not trusted, {verify}", address=address)
            if "unknown command" in text or "NOPROTO" in text:
                return CommandRefused("redis", code="NOPROTO", reason="it does not speak RESP3")
            for kind, reason in _LOGINS:
                if isinstance(one, kind):
                    return LoginRefused("redis", reason=reason, address=address)
        return StoreUnreachable("redis", reason=_why(error), address=address)


_LOGINS: tuple[tuple[type[Exception], str], ...] = (
    (exc.AuthenticationError, "it does not accept this login"),
    (exc.AuthorizationError, "it does not accept this login"),
    (exc.NoPermissionError, "this login may not do what a connection begins with"),
)

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (exc.BusyLoadingError, "it is still loading its data"),
    (MasterNotFoundError, "no Sentinel knows a primary of this name"),
    (ConnectionRefusedError, "the connection is refused"),
    (FileNotFoundError, "its socket does not exist"),
    (PermissionError, "its socket may not be used"),
    (gaierror, "its host name is not known"),
    (TimeoutError, "no connection was made in time"),
    (exc.TimeoutError, "no connection was made in time"),
)


def _why(error: BaseException) -> str:
    found = (words for one in _causes(error) for kind, words in _REASONS if isinstance(one, kind))
    lost = isinstance(error, exc.RedisError | OSError | EOFError)
    # A program's own credential provider may raise anything, and its text may be secret.
    return next(found, "the connection was lost" if lost else f"connecting raised {type(error).__name__}")


async def _let_go(connection: Any) -> None:
    """End a connection that was begun, without waiting for the other side."""
    writer = connection._writer  # noqa: SLF001 - as in open
    if writer is not None:
        connection._writer = connection._reader = None  # noqa: SLF001 - as in open
        writer.transport.abort()
        # The transport lets go of its socket in the next turn of the loop.
        await asyncio.sleep(0)


def _causes(error: BaseException) -> Iterator[BaseException]:
    at: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if at is None:
            return
        yield at
        at = at.__cause__ or at.__context__


def _upper(word: Word) -> str:
    return (word.decode("ascii", "replace") if isinstance(word, bytes) else str(word)).upper()


def client_at(url: str) -> object:
    """A redis-py client for this URL; nothing is opened."""
    try:
        return driver.Redis.from_url(url)
    except (ValueError, TypeError) as error:
        raise SettingInvalid(
            "the Redis URL",
            where="The wire",
            shown=f"'{url.partition(':')[0]}:…'",
            wanted="redis://host:6379/0, rediss://… or unix://…",
        ) from error
