"""MongoDB: PyMongo's database as it is, on a client that says who holds its pool and why something failed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from pymongo import AsyncMongoClient, errors

from tercet.errors import SettingInvalid
from tercet.stores.both import both
from tercet.stores.lane import Lane
from tercet.stores.mongo_desk import Desk, meaning
from tercet.stores.port import PoolState, Role, Vital
from tercet.stores.reads.mongo_witness import Watch, source_of

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

    from tercet.clock import Clock
    from tercet.settings import Settings, Url
    from tercet.stores.budget import Budget
    from tercet.telemetry import Telemetry
    from tercet.telemetry.event import Store as StoreName

Document = dict[str, Any]

# A server that does not answer for so long does not take a goodbye either.
_GOODBYE_SECONDS = 1.0


class _Client(AsyncMongoClient[Document]):
    """PyMongo's own client with one addition: its errors are tercet's too."""

    # Set right after it is made; PyMongo makes copies of a client for itself, and those do without.
    _desk: Desk | None = None

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
        self._desk = Desk(self._lane, settings, url.place)
        self._watch = Watch()
        self._probe = MongoProbe(settings)
        self._client: _Client | None = None
        self._database: AsyncDatabase[Document] | None = None

    @property
    def database(self) -> AsyncDatabase[Document]:
        """PyMongo's database itself, the one that the address names."""
        self._lane.gate.check()
        return cast("AsyncDatabase[Document]", self._database)

    @property
    def source(self) -> str | None:
        """Whose count its cluster times are by, as a Moment names it; None where it is no replica set."""
        return self._watch.source

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
        self._watch.source = self._probe.source
        settings = self._settings
        size = self._lane.size(settings, limit=vital.connections_max)
        client = _Client(
            self._url.reveal(),
            event_listeners=[self._desk, self._watch],
            **options(settings, self._url, {"maxPoolSize": size, "timeoutMS": _ms(settings.mongo_timeout)}),
        )
        client._desk = self._desk  # noqa: SLF001 - PyMongo copies a client with its arguments, and this is not for copies
        self._client, self._database = client, client[self._name]
        self._lane.gate.open()
        await self.ping()

    async def close(self) -> None:
        """Wait for callers as long as was set, then end their operations; twice is fine."""
        await self._lane.shut(self._settings.close_wait, self._end)

    async def _end(self) -> None:
        self._desk.end_all()
        client, self._client, self._database = self._client, None, None
        if client is not None:
            await _part(client)
        await self._probe.close()


class MongoProbe:
    """One connection beside the pool that asks the server about itself."""

    store: StoreName = "mongo"

    def __init__(self, settings: Settings) -> None:
        url = settings.url("mongo")
        if url is None:
            raise ValueError("settings without mongo_url")
        self._settings, self._url = settings, url
        # Whose count the cluster times are by, as it was last told.
        self.source: str | None = None
        self._client: AsyncMongoClient[Document] | None = None
        # Clients that are being closed, which takes as long as the server takes to answer.
        self._parting: set[asyncio.Task[None]] = set()

    async def look(self) -> Vital:
        """The server's version, role and connections."""
        client, self._client = self._client, None
        if client is None:
            # Polling spares the second connection that streaming needs.
            small: Document = {"maxPoolSize": 1, "serverMonitoringMode": "poll"}
            client = AsyncMongoClient(self._url.reveal(), **options(self._settings, self._url, small))
        try:
            vital, self.source = await _asked(client)
        except BaseException as error:
            task = asyncio.ensure_future(_part(client))
            self._parting.add(task)
            task.add_done_callback(self._parting.discard)
            if isinstance(error, errors.PyMongoError):
                meant = meaning(error, self._url.place, self._settings.mongo_connect_timeout)
                if meant is not None:
                    raise both(meant, error) from error
            raise
        self._client = client
        return vital

    async def close(self) -> None:
        """Let go of the connection; twice is fine."""
        client, self._client = self._client, None
        if client is not None:
            await _part(client)
        await asyncio.gather(*self._parting, return_exceptions=True)


async def _part(client: AsyncMongoClient[Document]) -> None:
    """Close a client, with a goodbye if the server takes it in time and without one if not."""
    try:
        async with asyncio.timeout(_GOODBYE_SECONDS):
            await client.close()
    except TimeoutError:
        # The sessions it wanted to end are off its list now, so that this time it closes at once.
        await client.close()


async def _asked(client: AsyncMongoClient[Document]) -> tuple[Vital, str | None]:
    hello = await client.admin.command("hello")
    source = source_of(hello.get("setName"), sharded=hello.get("msg") == "isdbgrid")
    role: Role = "primary" if hello.get("isWritablePrimary") else "replica"
    try:
        status = await client.admin.command(
            {"serverStatus": 1, "repl": 0, "metrics": 0, "wiredTiger": 0, "tcmalloc": 0}
        )
    except errors.OperationFailure:
        # Not every login may ask for it, and the store is well without.
        return Vital("unknown", role, None, None), source
    connections = status["connections"]
    current, available = int(connections["current"]), int(connections["available"])
    return Vital(str(status["version"]), role, current, current + available), source


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
