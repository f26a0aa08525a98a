"""Real servers in a folder of their own, started together and stopped together.

    async with Servers(Path(".tercet")) as addresses:
        addresses.postgres      # postgresql://postgres@127.0.0.1:…/postgres

What lies in the folder is described in `folder.py`; how one server is brought up, in `start.py`.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from tercet.errors import SettingInvalid
from tercet.servers import folder as layout
from tercet.servers.address import STORES, Addresses, ServerStatus
from tercet.servers.folder import FolderLock, Site
from tercet.servers.launcher import started_at
from tercet.servers.mongo import MongoServer
from tercet.servers.postgres import PostgresServer
from tercet.servers.process import Road, Spawner
from tercet.servers.redis import RedisServer
from tercet.servers.start import READY_SECONDS, Running, Start, attach, bring_up, clear_leftovers
from tercet.telemetry import ServerChanged, Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from types import TracebackType

    from tercet.servers.port import Server, Source
    from tercet.telemetry.event import Store

# What is on the machine comes first: people expect "their" server, and it has their extensions.
SOURCES: tuple[Source, ...] = ("path", "wheel")

# A look at a server for its status; one that hangs is "failing".
_STATUS_SECONDS = 2.0


class Servers:
    """Starts the wanted servers of a folder at once, and stops at its end those that it has started.

    Each listens on 127.0.0.1, at its last port when that is free. Their data stays in the folder. They die
    with this process, however it ends, unless `detached`: then they go on until `down(folder)`, and whoever
    starts servers in the same folder meanwhile gets the running ones. FolderBusy says which process holds the
    folder.

    `durable=False` is for servers whose data nobody wants afterwards: faster, and a crash of the machine may
    spoil it. `sources` says where programs are looked for, in which order.
    """

    __slots__ = (
        "_addresses",
        "_detached",
        "_durable",
        "_folder",
        "_lock",
        "_on_progress",
        "_ready_seconds",
        "_road",
        "_running",
        "_sources",
        "_spawner",
        "_telemetry",
        "_wanted",
    )

    def __init__(
        self,
        folder: Path | str,
        wanted: Collection[str] = STORES,
        *,
        telemetry: Telemetry | None = None,
        detached: bool = False,
        durable: bool = True,
        sources: Sequence[str] = SOURCES,
        ready_seconds: float = READY_SECONDS,
        on_progress: Callable[[str, str], None] | None = None,
    ) -> None:
        self._folder = _absolute(folder)
        self._wanted = _checked(wanted)
        self._telemetry = telemetry
        self._detached, self._durable, self._sources = detached, durable, _checked_sources(sources)
        self._ready_seconds = ready_seconds
        self._on_progress = on_progress
        # How root runs a server that refuses root; tests say it, everybody else lets it be found out.
        self._road: Road | None = None
        self._lock: FolderLock | None = None
        self._spawner: Spawner | None = None
        self._running: tuple[Running, ...] = ()
        self._addresses: Addresses | None = None

    async def __aenter__(self) -> Addresses:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def folder(self) -> Path:
        """The folder, absolute."""
        return self._folder

    async def start(self) -> Addresses:
        """Start what does not run yet, all at once, and say where everything is.

        When one fails or the caller is cancelled, those that came up meanwhile are stopped again. Calling it
        twice is calling it once.
        """
        if self._addresses is not None:
            return self._addresses
        await asyncio.to_thread(layout.make, self._folder)
        lock = FolderLock(self._folder)
        await lock.take(detached=self._detached)
        self._lock, self._spawner = lock, Spawner(lock.files)
        try:
            self._running = await self._start_all(self._spawner)
        except BaseException:
            await asyncio.shield(self._abandon(self._spawner))
            raise
        self._addresses = Addresses(**{one.server.store: one.server.url(one.port) for one in self._running})
        if self._detached or all(one.attached for one in self._running):
            # Nothing here dies with us: others may attach, and `down` may stop it.
            self._release()
        return self._addresses

    async def stop(self) -> None:
        """Stop what this object has started; what it found running goes on. Twice is fine."""
        owned = [one for one in self._running if not one.attached and not self._detached]
        self._running, self._addresses = (), None
        try:
            await asyncio.gather(*(self._stop_one(one) for one in owned))
        finally:
            self._release()

    async def _start_all(self, spawner: Spawner) -> tuple[Running, ...]:
        start = Start(
            spawner,
            self._detached,
            self._sources,
            road=self._road,
            ready_seconds=self._ready_seconds,
            progress=self._on_progress or (lambda _store, _what: None),
        )
        failed: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._start_one(store, start)) for store in self._wanted]
        except BaseExceptionGroup as several:
            # The first is what happened; the others were cancelled because of it, or are more of the same.
            failed = several.exceptions[0]
        if failed is not None:
            raise failed
        return tuple(task.result() for task in tasks)

    async def _start_one(self, store: Store, start: Start) -> Running:
        server, site = _server(store, durable=self._durable), Site(store, self._folder)
        began = time.perf_counter()
        try:
            running = await attach(server, site) or await bring_up(server, site, start)
        except BaseException:
            self._tell(ServerChanged(store, "failed", time.perf_counter() - began))
            raise
        if not running.attached:
            self._tell(ServerChanged(store, "started", time.perf_counter() - began))
        return running

    async def _stop_one(self, running: Running) -> None:
        began = time.perf_counter()
        await running.process.end()
        self._tell(ServerChanged(running.server.store, "stopped", time.perf_counter() - began))

    async def _abandon(self, spawner: Spawner) -> None:
        """Stop everything that was begun, also what came up while we were being cancelled."""
        begun = await spawner.settle()
        await asyncio.gather(*(process.end() for process in begun))
        self._release()

    def _release(self) -> None:
        if self._spawner is not None:
            self._spawner.close()
            self._spawner = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _tell(self, event: ServerChanged) -> None:
        if self._telemetry is not None:
            self._telemetry.tell(event)


async def status(folder: Path | str) -> tuple[ServerStatus, ...]:
    """How each server of the folder is; it changes nothing."""
    home = _absolute(folder)
    return tuple(await asyncio.gather(*(_status_of(_server(store), Site(store, home)) for store in STORES)))


async def down(folder: Path | str) -> tuple[Store, ...]:
    """Stop the detached servers of the folder and say which did run; FolderBusy when others own them."""
    home = _absolute(folder)
    if not await asyncio.to_thread(home.is_dir):
        return ()
    lock = FolderLock(home)
    await lock.take(detached=False)
    try:
        sites = [Site(store, home) for store in STORES]
        alive = tuple(site.store for site in sites if _alive(site))
        await asyncio.gather(*(clear_leftovers(_server(site.store), site) for site in sites))
    finally:
        lock.release()
    return alive


async def _status_of(server: Server, site: Site) -> ServerStatus:
    record = site.record()
    size = await asyncio.to_thread(site.data_bytes)
    if record is None:
        return ServerStatus(server.store, "absent", data_bytes=size)
    if not _alive(site):
        return ServerStatus(
            server.store,
            "stopped",
            port=record.port,
            version=record.version,
            source=record.source,
            data_bytes=size,
        )
    try:
        async with asyncio.timeout(_STATUS_SECONDS):
            pending = await server.pending(site, record.port, record.pid)
    except TimeoutError:
        pending = "silent"
    return ServerStatus(
        server.store,
        "running" if pending is None else "failing",
        pid=record.pid,
        port=record.port,
        url=server.url(record.port),
        version=record.version,
        source=record.source,
        uptime=max(0.0, time.time() - record.since),
        detached=record.detached,
        data_bytes=size,
        reason="" if pending is None else f"It is {pending}; its log: {site.log}",
    )


def _absolute(folder: Path | str) -> Path:
    """Absolute and without links: it is compared with what processes say of themselves."""
    return Path(folder).expanduser().resolve()


def _alive(site: Site) -> bool:
    record = site.record()
    return record is not None and started_at(record.pid) == record.started


def _server(store: Store, *, durable: bool = True) -> Server:
    match store:
        case "postgres":
            return PostgresServer(durable=durable)
        case "mongo":
            return MongoServer(durable=durable)
        case "redis":
            return RedisServer(durable=durable)
        case _:
            assert_never(store)


def _checked(wanted: Collection[str]) -> tuple[Store, ...]:
    known = tuple(store for store in STORES if store in wanted)
    _refuse("wanted", wanted, len(known), STORES)
    return known


def _checked_sources(sources: Sequence[str]) -> tuple[Source, ...]:
    known = tuple(source for given in sources for source in SOURCES if source == given)
    _refuse("sources", sources, len(known), SOURCES)
    return known


def _refuse(name: str, given: Collection[str], known: int, choices: Sequence[str]) -> None:
    """Refuse what is empty, names something else, or is one text where several are meant."""
    if isinstance(given, str) or not given or known != len(given):
        raise SettingInvalid(
            name,
            where="The start of the servers",
            shown=repr(given),
            wanted=f"a collection of some of: {', '.join(choices)}",
        )
