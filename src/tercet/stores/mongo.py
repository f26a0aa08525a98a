"""MongoDB: PyMongo's database as it is, on a client that says who holds its pool and why something failed."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from pymongo import AsyncMongoClient, errors, monitoring

from tercet.errors import (
    DeadlinePassed,
    LoginRefused,
    NotOpen,
    PoolExhausted,
    SettingInvalid,
    StoreError,
    StoreUnreachable,
    TercetError,
)
from tercet.stores.both import both, why
from tercet.stores.budget import Budget, plan
from tercet.stores.holders import here
from tercet.stores.lane import Lane
from tercet.stores.port import PoolState, Role, Vital

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

    from tercet.clock import Clock
    from tercet.settings import Settings, Url
    from tercet.telemetry import Telemetry
    from tercet.telemetry.event import Outcome
    from tercet.telemetry.event import Store as StoreName

Document = dict[str, Any]
Task = asyncio.Task[Any]

# MongoDB's own numbers for: not authorized, authentication failed, bad credentials of a cloud service.
_LOGIN_CODES = frozenset({13, 18, 8000})


class _Operation:
    """One operation under way: who runs it, what can end it from outside, and why it did."""

    __slots__ = ("because", "limit", "outer", "taken", "task", "timer", "waiting_since")

    def __init__(self, task: Task, limit: asyncio.Timeout, outer: _Operation | None) -> None:
        self.task, self.limit, self.outer = task, limit, outer
        self.because: TercetError | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.waiting_since: float | None = None
        self.taken: list[tuple[object, int]] = []

    def end(self, because: TercetError) -> None:
        """Stop waiting now; the caller gets `because`."""
        if self.because is None:
            self.because = because
            self.limit.reschedule(asyncio.get_running_loop().time())


class _Desk(monitoring.ConnectionPoolListener):
    """Watches one client's pool and operations."""

    def __init__(self, lane: Lane[tuple[object, int]], settings: Settings, address: str) -> None:
        self.lane, self._settings, self._address = lane, settings, address
        # The operations under way, by the task that runs them: PyMongo tells its pool's events in that task.
        self._under_way: dict[Task, _Operation] = {}
        self.made = 0

    def begin(self, limit: asyncio.Timeout) -> _Operation:
        """Note an operation of this task; operations nest."""
        self.lane.check()
        task = cast("Task", asyncio.current_task())
        operation = _Operation(task, limit, self._under_way.get(task))
        self._under_way[task] = operation
        return operation

    def finish(self, operation: _Operation) -> None:
        """Note that an operation has ended."""
        # PyMongo tells nothing of a wait that is cancelled.
        outcome: Outcome = "timeout" if isinstance(operation.because, PoolExhausted) else "cancelled"
        self._waited(operation, outcome)
        if operation.outer is not None:
            self._under_way[operation.task] = operation.outer
        else:
            del self._under_way[operation.task]

    def abandon(self, operation: _Operation) -> None:
        """Note that an operation was cancelled: PyMongo takes its connection back without always telling."""
        for connection in operation.taken:
            self.lane.holders.give(connection)

    def end_all(self) -> None:
        """End every operation that is still under way: the store is being closed."""
        for operation in tuple(self._under_way.values()):
            operation.end(NotOpen("This Tercet", closed=True))

    def joined(self, operation: _Operation, error: Exception) -> Exception:
        """Both errors in one, or the driver's own where that says it best."""
        if isinstance(error, errors.PyMongoError):
            meant = operation.because or (None if isinstance(error, TercetError) else self._meaning(error))
            return both(meant, error) if meant else error
        if operation.because is None:
            return error
        return both(operation.because, errors.WaitQueueTimeoutError(operation.because.says))

    def connection_check_out_started(
        self,
        event: monitoring.ConnectionCheckOutStartedEvent,  # noqa: ARG002 - PyMongo's signature
    ) -> None:
        """A caller begins to wait for a connection."""
        operation = self._current()
        if operation is not None:
            loop = asyncio.get_running_loop()
            operation.waiting_since = loop.time()
            operation.timer = loop.call_later(self._settings.mongo_pool_wait, self._waited_long, operation)
            self.lane.waiting += 1

    def _waited_long(self, operation: _Operation) -> None:
        # With a limit for the whole operation PyMongo waits for its pool as long as that, which is too long.
        if len(self.lane.holders) >= self.lane.budget.size:
            operation.end(self.lane.exhausted(self._settings.mongo_pool_wait))

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        """A caller has got a connection."""
        operation, connection = self._current(), (event.address, event.connection_id)
        self._waited(operation, "ok")
        self.lane.holders.take(connection, here())
        if operation is not None:
            operation.taken.append(connection)

    def connection_check_out_failed(self, event: monitoring.ConnectionCheckOutFailedEvent) -> None:
        """A caller has not got a connection."""
        timeout = event.reason == monitoring.ConnectionCheckOutFailedReason.TIMEOUT
        self._waited(self._current(), "timeout" if timeout else "failed")

    def _waited(self, operation: _Operation | None, outcome: Outcome) -> None:
        if operation is None or operation.waiting_since is None or operation.timer is None:
            return
        operation.timer.cancel()
        waited = asyncio.get_running_loop().time() - operation.waiting_since
        operation.waiting_since = None
        self.lane.waiting -= 1
        self.lane.told(waited, outcome)

    def _current(self) -> _Operation | None:
        task = asyncio.current_task()
        return self._under_way.get(task) if task else None

    def connection_checked_in(self, event: monitoring.ConnectionCheckedInEvent) -> None:
        """A connection is back."""
        self.lane.holders.give((event.address, event.connection_id))

    def connection_created(self, event: monitoring.ConnectionCreatedEvent) -> None:  # noqa: ARG002 - as above
        """There is one connection more."""
        self.made += 1

    def connection_closed(self, event: monitoring.ConnectionClosedEvent) -> None:  # noqa: ARG002 - as above
        """There is one connection less."""
        self.made -= 1

    def connection_ready(self, event: monitoring.ConnectionReadyEvent) -> None:
        """Nothing depends on it."""

    def pool_created(self, event: monitoring.PoolCreatedEvent) -> None:
        """Nothing depends on it."""

    def pool_ready(self, event: monitoring.PoolReadyEvent) -> None:
        """Nothing depends on it."""

    def pool_cleared(self, event: monitoring.PoolClearedEvent) -> None:
        """Nothing depends on it."""

    def pool_closed(self, event: monitoring.PoolClosedEvent) -> None:
        """Nothing depends on it."""

    def _meaning(self, error: errors.PyMongoError) -> StoreError | None:
        if isinstance(error, errors.WaitQueueTimeoutError):
            return self.lane.exhausted(self._settings.mongo_pool_wait)
        return meaning(error, self._address, self._settings.mongo_timeout)


class _Client(AsyncMongoClient[Document]):
    """PyMongo's own client with one addition: its errors are tercet's too."""

    # Set right after it is made; PyMongo makes copies of a client for itself, and those do without.
    _desk: _Desk | None = None

    async def _retry_internal(self, *arguments: Any, **keywords: Any) -> Any:
        """Every operation and every batch of a cursor passes here; a test watches that it stays so."""
        desk = self._desk
        if desk is None:
            return await super()._retry_internal(*arguments, **keywords)
        limit = asyncio.timeout(None)
        operation = desk.begin(limit)
        try:
            async with limit:
                return await super()._retry_internal(*arguments, **keywords)
        except (TimeoutError, errors.PyMongoError) as error:
            joined = desk.joined(operation, error)
            if joined is error:
                raise
            raise joined from error
        except asyncio.CancelledError:
            desk.abandon(operation)
            raise
        finally:
            desk.finish(operation)


class Mongo:
    """MongoDB: opens, sizes and closes what `db.mongo` is."""

    name: StoreName = "mongo"

    def __init__(self, settings: Settings, *, clock: Clock, telemetry: Telemetry) -> None:
        url = settings.url("mongo")
        if url is None:
            raise ValueError("settings without mongo_url")
        self._settings, self._url = settings, url
        self._name = _database(url)
        self._lane: Lane[tuple[object, int]] = Lane("mongo", clock=clock, telemetry=telemetry)
        self._desk = _Desk(self._lane, settings, url.place)
        self._probe = MongoProbe(settings)
        self._client: _Client | None = None
        self._database: AsyncDatabase[Document] | None = None

    @property
    def database(self) -> AsyncDatabase[Document]:
        """PyMongo's database itself, the one that the address names."""
        self._lane.gate.check()
        return cast("AsyncDatabase[Document]", self._database)

    @property
    def probe(self) -> MongoProbe:
        """Its own connection for questions about the server."""
        return self._probe

    @property
    def budget(self) -> Budget:
        """How the pool's size came about."""
        return self._lane.budget

    def pool(self) -> PoolState:
        """How the pool stands right now."""
        used = len(self._lane.holders)
        return self._lane.state(in_use=used, idle=max(0, self._desk.made - used))

    async def ping(self) -> None:
        """One round trip through the pool."""
        await self.database.command("ping")

    async def open(self) -> None:
        """Ask the server for its limits, size the pool, and make its first connection."""
        vital = await self._probe.look()
        settings, explicit = self._settings, self._settings.pool_size("mongo")
        budget = plan(
            "mongo", limit=vital.connections_max, reserved=0, instances=settings.instances, explicit=explicit
        )
        self._lane.sized(budget)
        client = _Client(
            self._url.reveal(),
            event_listeners=[self._desk],
            **options(
                settings, self._url, {"maxPoolSize": budget.size, "timeoutMS": _ms(settings.mongo_timeout)}
            ),
        )
        client._desk = self._desk  # noqa: SLF001 - PyMongo copies a client with its arguments, and this is not for copies
        self._client, self._database = client, client[self._name]
        self._lane.gate.open()
        await self.ping()

    async def close(self) -> None:
        """Wait for callers as long as was set, then end their operations; twice is fine."""
        was_open = self._lane.gate.is_open
        self._lane.gate.close()
        if self._lane.gate.is_abroad:
            return
        try:
            if was_open:
                await self._lane.settle(self._settings.close_wait)
        finally:
            self._desk.end_all()
            client, self._client, self._database = self._client, None, None
            if client is not None:
                await client.close()
            await self._probe.close()


class MongoProbe:
    """One connection beside the pool that asks the server about itself."""

    store: StoreName = "mongo"

    def __init__(self, settings: Settings) -> None:
        url = settings.url("mongo")
        if url is None:
            raise ValueError("settings without mongo_url")
        self._settings, self._url = settings, url
        self._client: AsyncMongoClient[Document] | None = None

    async def look(self) -> Vital:
        """The server's version, role and connections."""
        client, self._client = self._client, None
        if client is None:
            # Polling spares the second connection that streaming needs.
            small: Document = {"maxPoolSize": 1, "serverMonitoringMode": "poll"}
            client = AsyncMongoClient(self._url.reveal(), **options(self._settings, self._url, small))
        try:
            vital = await _asked(client)
        except BaseException as error:
            await client.close()
            if isinstance(error, errors.PyMongoError):
                meant = meaning(error, self._url.place, self._settings.mongo_connect_timeout)
                raise (both(meant, error) if meant else error) from error
            raise
        self._client = client
        return vital

    async def close(self) -> None:
        """Let go of the connection; twice is fine."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()


async def _asked(client: AsyncMongoClient[Document]) -> Vital:
    hello = await client.admin.command("hello")
    role: Role = "primary" if hello.get("isWritablePrimary") else "replica"
    try:
        status = await client.admin.command(
            {"serverStatus": 1, "repl": 0, "metrics": 0, "wiredTiger": 0, "tcmalloc": 0}
        )
    except errors.OperationFailure:
        # Not every login may ask for it, and the store is well without.
        return Vital("unknown", role, None, None)
    connections = status["connections"]
    current, available = int(connections["current"]), int(connections["available"])
    return Vital(str(status["version"]), role, current, current + available)


def options(settings: Settings, url: Url, own: Document) -> Document:
    """PyMongo's options; whatever the address sets itself wins."""
    connect = _ms(settings.mongo_connect_timeout)
    wanted: Document = {
        "appname": settings.application_name,
        "connectTimeoutMS": connect,
        "serverSelectionTimeoutMS": connect,
        "tz_aware": True,
        "uuidRepresentation": "standard",
        **own,
    }
    if settings.mongo_tls_ca:
        wanted |= {"tls": True, "tlsCAFile": settings.mongo_tls_ca}
    said = {name.lower() for name, _ in parse_qsl(urlsplit(url.reveal()).query)}
    return {name: value for name, value in wanted.items() if name.lower() not in said}


def meaning(error: errors.PyMongoError, address: str, limit: float) -> StoreError | None:
    """What a driver's error means for the caller, or None where the driver's own says it best."""
    match error:
        case errors.NetworkTimeout() | errors.ExecutionTimeout():
            return DeadlinePassed("mongo", what="an operation", deadline=limit)
        case errors.OperationFailure() if error.code in _LOGIN_CODES:
            return LoginRefused("mongo", reason="it does not accept this login", address=address)
        case errors.ConnectionFailure():
            return StoreUnreachable("mongo", reason=_reason(error), address=address)
    return None


def _reason(error: errors.ConnectionFailure) -> str:
    if isinstance(error, errors.NotPrimaryError):
        return "there is no primary right now"
    if "Authentication" in str(error):
        return "it does not accept this login"
    # PyMongo makes texts of what happened on the way to each server; only the kind is told on.
    text = str(error)
    if "refused" in text or f"[Errno {errno.ECONNREFUSED}]" in text:
        return "the connection is refused"
    return (
        "no server was found in time" if isinstance(error, errors.ServerSelectionTimeoutError) else why(error)
    )


def _database(url: Url) -> str:
    name = unquote(urlsplit(url.reveal()).path.lstrip("/"))
    if not name:
        raise SettingInvalid(
            "mongo_url",
            where="This Tercet",
            shown=str(url),
            wanted="an address with a database: mongodb://host/shop",
        )
    return name


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
