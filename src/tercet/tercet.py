"""Tercet: the one place where all is wired."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self, Unpack, cast

from tercet.clock import Clock, SystemClock
from tercet.errors import NotOpen, StoreMissing, UsageError
from tercet.features import Features
from tercet.settings import Settings, SettingWords
from tercet.stores import Budget, Gate, Health, HealthCheck, Liveness, PoolState, Readiness, Store, store
from tercet.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from pymongo.asynchronous.database import AsyncDatabase
    from redis.asyncio import Redis

    from tercet.servers import Servers
    from tercet.stores.mongo import Document, Mongo
    from tercet.stores.postgres import Postgres
    from tercet.stores.reads.postgres_replicas import Replicas
    from tercet.stores.redis import Redis as RedisStore
    from tercet.telemetry.event import Store as StoreName

LOCAL_FOLDER = ".tercet"
ALL_STORES: tuple[StoreName, ...] = ("postgres", "mongo", "redis")


@dataclass(frozen=True, slots=True)
class _Local:
    """Servers of its own: where, which, and who is told how far they are."""

    folder: Path
    wanted: tuple[StoreName, ...]
    on_progress: Callable[[str, str], None] | None


class Tercet(Features):
    """The three stores of a service, or as many of them as it uses: `async with Tercet(postgres=…) as db`.

    Settings come from the arguments, the environment and tercet.toml, in that order. It belongs to the event
    loop and the process that open it, lives once, and holds all it has opened: close it, and nothing is left.
    """

    def __init__(
        self,
        *,
        postgres: str | None = None,
        mongo: str | None = None,
        redis: str | None = None,
        telemetry: Telemetry | None = None,
        clock: Clock | None = None,
        **settings: Unpack[SettingWords],
    ) -> None:
        words = {"postgres": postgres, "mongo": mongo, "redis": redis, **settings}
        self._set(Settings.read(words), telemetry, clock)

    @classmethod
    def of(cls, settings: Settings, *, telemetry: Telemetry | None = None, clock: Clock | None = None) -> Self:
        """A Tercet with settings that have been read already."""
        made = cls.__new__(cls)
        cls._set(made, settings, telemetry, clock)
        return made

    @classmethod
    def local(
        cls,
        folder: str | Path = LOCAL_FOLDER,
        stores: Iterable[StoreName] = ALL_STORES,
        *,
        telemetry: Telemetry | None = None,
        clock: Clock | None = None,
        on_progress: Callable[[str, str], None] | None = None,
        **settings: Unpack[SettingWords],
    ) -> Self:
        """A Tercet with real servers of its own in `folder`: started when it opens, stopped when it closes.

        A store whose address the settings give is not started: that one is used.
        """
        read = Settings.read(dict(settings))
        wanted: tuple[StoreName, ...] = tuple(one for one in stores if read.url(one) is None)
        made = cls.__new__(cls)
        cls._set(made, read, telemetry, clock, _Local(Path(folder), wanted, on_progress))
        return made

    def _set(
        self,
        settings: Settings,
        telemetry: Telemetry | None,
        clock: Clock | None,
        local: _Local | None = None,
    ) -> None:
        self._settings = settings
        self._telemetry = telemetry or Telemetry()
        self._clock = clock or SystemClock()
        self._gate = Gate("This Tercet")
        self._opening = False
        # Whoever closes it second waits for the first.
        self._closing: asyncio.Future[None] | None = None
        self._stores: dict[str, Store] = {}
        self._health: HealthCheck | None = None
        self._replicas: Replicas | None = None
        self._local = local
        self._servers: Servers | None = None

    # ---- life ----

    async def open(self) -> Self:
        """Open every store at once; when one fails, the others are closed and its error is raised."""
        if self._opening or self._gate.is_open or self._gate.is_closed:
            self._refuse_to_open()
        self._opening = True
        try:
            with self._telemetry.operation("stores", "open"):
                await self._start_servers()
                await self._open_stores()
            self._gate.open()
            await self._begin()
        except BaseException:
            await self.close()
            raise
        finally:
            self._opening = False
        return self

    async def close(self) -> None:
        """Close everything; callers get `close_wait` to finish. Twice is fine, also after a failed open."""
        if self._gate.is_abroad:
            # What a forked child has is the parent's, and the parent closes it.
            return
        if self._gate.is_open:
            self._gate.check()
        with self._telemetry.operation("stores", "close"):
            # Finished even when whoever closes is cancelled: half a close would leave connections behind.
            self._closing = self._closing or asyncio.ensure_future(self._close_all())
            await _to_its_end(self._closing)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _refuse_to_open(self) -> NoReturn:
        if self._gate.is_closed:
            raise NotOpen("This Tercet", closed=True)
        raise UsageError("This Tercet is open already.", "Open it once, or make another one.")

    async def _start_servers(self) -> None:
        local = self._local
        if local is None or not local.wanted:
            return
        # Only who starts servers needs the room that can.
        from tercet.servers import Servers  # noqa: PLC0415

        self._servers = Servers(local.folder, local.wanted, telemetry=self._telemetry, on_progress=local.on_progress)
        addresses = await self._servers.start()
        found: dict[StoreName, str | None] = {name: getattr(addresses, name) for name in local.wanted}
        given: dict[StoreName, str] = {name: text for name, text in found.items() if text is not None}
        self._settings = self._settings.at(given)

    async def _open_stores(self) -> None:
        settings = self._settings
        if not settings.stores:
            raise UsageError("This Tercet was given no store.", "Pass postgres=…, mongo=… or redis=… to it.")
        for name in settings.stores:
            self._stores[name] = store(name, settings, clock=self._clock, telemetry=self._telemetry)
        results = await asyncio.gather(*map(self._open_one, self._stores.values()), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        if "postgres" in self._stores:
            # Only who has PostgreSQL loads its driver.
            from tercet.stores.reads.postgres_replicas import Replicas  # noqa: PLC0415

            postgres = cast("Postgres", self._stores["postgres"])
            self._replicas = Replicas(postgres, settings, clock=self._clock, telemetry=self._telemetry)
            self._replicas.open()
        self._health = HealthCheck(
            [one.probe for one in self._stores.values()],
            replicas=self._replicas.probes if self._replicas is not None else (),
            clock=self._clock,
            telemetry=self._telemetry,
            pools=self.pools,
            critical={name: settings.critical(name) for name in self._stores},
            failures=settings.readiness_failures,
            successes=settings.readiness_successes,
        )

    async def _open_one(self, one: Store) -> None:
        with self._telemetry.operation("stores", "open", store=one.name):
            await one.open()

    async def _close_all(self) -> None:
        try:
            # Handlers end in order, and what became of them is written down: for that they still need the stores.
            await self._end()
        finally:
            self._gate.close()
            await self._close_stores()

    async def _close_stores(self) -> None:
        health, self._health = self._health, None
        if health is not None:
            await health.close()
        if self._replicas is not None:
            await self._replicas.close()
        closing = [one.close() for one in self._stores.values()]
        results = await asyncio.gather(*closing, return_exceptions=True)
        servers, self._servers = self._servers, None
        if servers is not None:
            await servers.stop()
        for result in results:
            if isinstance(result, BaseException):
                raise result

    # ---- stores ----

    @property
    def postgres(self) -> Postgres:
        """PostgreSQL: sessions, connections, transactions, and SQLAlchemy's engine."""
        self._gate.check()
        return cast("Postgres", self._store("postgres", "Tercet.postgres"))

    @property
    def mongo(self) -> AsyncDatabase[Document]:
        """MongoDB: PyMongo's AsyncDatabase as it is."""
        self._gate.check()
        return cast("Mongo", self._store("mongo", "Tercet.mongo")).database

    @property
    def redis(self) -> Redis:
        """Redis: redis-py's asyncio client as it is."""
        self._gate.check()
        return cast("RedisStore", self._store("redis", "Tercet.redis")).client

    def has(self, name: str) -> bool:
        """Whether this Tercet has this store."""
        to_start = self._local is not None and name in self._local.wanted
        return to_start or name in self._stores or self._settings.url(name) is not None

    def need(self, name: str, *, feature: str) -> None:
        """Pass if this Tercet has the store that `feature` needs, or raise StoreMissing."""
        if not self.has(name):
            raise StoreMissing(name, feature=feature)

    def _store(self, name: str, feature: str) -> Store:
        found = self._stores.get(name)
        if found is None:
            raise StoreMissing(name, feature=feature)
        return found

    # ---- state ----

    @property
    def settings(self) -> Settings:
        """What it was told; the addresses of servers of its own are in it once it is open."""
        return self._settings

    @property
    def telemetry(self) -> Telemetry:
        """Where it tells what happens."""
        return self._telemetry

    @property
    def clock(self) -> Clock:
        """Where it takes the time from."""
        return self._clock

    def pools(self) -> tuple[PoolState, ...]:
        """How each pool stands right now; costs no round trip."""
        replicas = self._replicas.pools() if self._replicas is not None else ()
        return (*(one.pool() for one in self._stores.values()), *replicas)

    def budgets(self) -> tuple[Budget, ...]:
        """How each pool's size came about."""
        return tuple(one.budget for one in self._stores.values())

    async def health(self) -> Health:
        """How all stores are, on connections of their own, not older than a second."""
        self._gate.check()
        return await cast("HealthCheck", self._health).look()

    async def readiness(self) -> Readiness:
        """Whether to send work here; one bad answer does not change it, nor one good one."""
        self._gate.check()
        return await cast("HealthCheck", self._health).readiness()

    def liveness(self) -> Liveness:
        """That the process lives; asks no store, so that their trouble does not end the process."""
        return Liveness("pass", self._gate.is_open, self._clock.now())


async def _to_its_end(task: asyncio.Future[None]) -> None:
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
