"""PostgreSQL: SQLAlchemy's engine on asyncpg, with a pool that says who holds it and errors that say why."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import asyncpg
import greenlet
from sqlalchemy import event, exc
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import AsyncAdaptedQueuePool

from tercet.errors import TercetError, UsageError
from tercet.stores.both import both
from tercet.stores.holders import here, site
from tercet.stores.lane import Lane
from tercet.stores.postgres_probe import GRACE_SECONDS, PostgresProbe, connect
from tercet.stores.reads.postgres_witness import Watch
from tercet.units import seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.engine import Connection, ExceptionContext
    from sqlalchemy.orm import Session, SessionTransaction
    from sqlalchemy.pool import ConnectionPoolEntry

    from tercet.clock import Clock
    from tercet.settings import Settings
    from tercet.stores.budget import Budget
    from tercet.stores.port import PoolState
    from tercet.telemetry import Telemetry
    from tercet.telemetry.event import Store as StoreName

Isolation = Literal["read committed", "repeatable read", "serializable"]

# A connection that was used this recently is handed out without a ping: a server that went away since has
# closed it, and that shows without asking.
_PING_AFTER_SECONDS = 1.0


class _Pool(AsyncAdaptedQueuePool):
    """SQLAlchemy's own pool, which says who holds its connections when there is none left."""

    # Set on a subclass made for each store: recreate() makes another pool of the same class.
    lane: Lane[ConnectionPoolEntry]

    def _do_get(self) -> ConnectionPoolEntry:
        with self.lane.wait() as started:
            try:
                return super()._do_get()
            except exc.TimeoutError as error:
                raise both(self.lane.exhausted(self.lane.since(started)), error) from error


class Postgres:
    """PostgreSQL for the program: sessions, connections, transactions, and SQLAlchemy's engine as it is."""

    name: StoreName = "postgres"

    def __init__(self, settings: Settings, *, clock: Clock, telemetry: Telemetry) -> None:
        url = settings.url("postgres")
        if url is None:
            raise ValueError("settings without postgres_url")
        self._settings, self._monotonic = settings, clock.monotonic
        self._url = url
        self._lane: Lane[ConnectionPoolEntry] = Lane("postgres", clock=clock, telemetry=telemetry)
        self._probe = PostgresProbe(settings)
        self._watch = Watch()
        self._engine: AsyncEngine | None = None
        self._sessions: async_sessionmaker[AsyncSession] | None = None

    @property
    def engine(self) -> AsyncEngine:
        """SQLAlchemy's AsyncEngine itself."""
        self._lane.gate.check()
        return cast("AsyncEngine", self._engine)

    def session(
        self, *, within: str | float | None = None, isolation: Isolation | None = None, read_only: bool = False
    ) -> AsyncSession:
        """A session of its own for one unit of work: `async with db.postgres.session() as session`.

        Objects stay readable after the commit. `within` replaces the limit of each statement in it ("10m"),
        `isolation` the server's usual level; `read_only` makes the server refuse writes.
        """
        engine, options = self.engine, _transaction_options(isolation, read_only=read_only)
        made = cast("async_sessionmaker[AsyncSession]", self._sessions)
        session = made(bind=engine.execution_options(**options)) if options else made()
        if within is not None:
            limit = seconds(within)

            def limited(_session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
                _allow(_driver(connection), limit)
                connection.exec_driver_sql(_set_local(limit))

            event.listen(session.sync_session, "after_begin", limited)
        return session

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection out of the pool; a transaction begins by itself and commits only when told to."""
        async with self.engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self, *, within: str | float | None = None) -> AsyncIterator[AsyncConnection]:
        """A connection inside BEGIN, committed at the end of the block and rolled back if it raises.

        `within` replaces the limit of each statement in it ("10m"; 0 is no limit).
        """
        async with self.engine.begin() as connection:
            if within is not None:
                limit = seconds(within)
                _allow(_driver(connection.sync_connection), limit)
                await connection.exec_driver_sql(_set_local(limit))
            yield connection

    @asynccontextmanager
    async def autocommit(self, *, within: str | float | None = None) -> AsyncIterator[AsyncConnection]:
        """A connection without a transaction, for what PostgreSQL allows only so: CREATE INDEX CONCURRENTLY.

        Without `within` a statement has no limit: a build that is cut off leaves an invalid index.
        """
        limit = 0.0 if within is None else seconds(within)
        async with self.engine.connect() as plain:
            connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
            _allow(_driver(connection.sync_connection), limit)
            if self._settings.postgres_pooler:
                yield connection
                return
            await connection.exec_driver_sql(f"SET statement_timeout = {round(limit * 1000)}")
            try:
                yield connection
            finally:
                await self._reset(connection)

    async def _reset(self, connection: AsyncConnection) -> None:
        if connection.invalidated or connection.closed:
            return
        try:
            await connection.exec_driver_sql("RESET statement_timeout")
        except BaseException:
            # It must not go back into the pool without its limit.
            await connection.invalidate()
            raise

    async def ping(self) -> None:
        """One round trip through the pool."""
        async with self.connection() as connection:
            await connection.exec_driver_sql("SELECT 1")

    @property
    def source(self) -> str | None:
        """Whose count its transactions are by, as a Moment names it; None where the server does not say."""
        return self._watch.source

    @property
    def probe(self) -> PostgresProbe:
        """Its own connection for questions about the server."""
        return self._probe

    @property
    def budget(self) -> Budget:
        """How the pool's size came about."""
        return self._lane.budget

    def pool(self) -> PoolState:
        """How the pool stands right now."""
        pool = cast("_Pool", self._engine.pool) if self._engine else None
        used = len(self._lane.holders)
        return self._lane.state(
            in_use=max(pool.checkedout(), used) if pool else used, idle=pool.checkedin() if pool else 0
        )

    async def open(self) -> None:
        """Ask the server for its limits, size the pool, and make its first connection."""
        vital = await self._probe.look()
        self._watch.source = await self._probe.source()
        settings = self._settings
        # Behind PgBouncer the server's limit is the pooler's affair, not ours.
        limit = None if settings.postgres_pooler else vital.connections_max
        size = self._lane.size(settings, limit=limit, reserved=vital.connections_reserved)
        self._engine = self._make_engine(size)
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        self._lane.gate.open()
        await self.ping()

    async def close(self) -> None:
        """Wait for callers as long as was set, then end their connections; twice is fine."""
        await self._lane.shut(self._settings.close_wait, self._end)

    async def _end(self) -> None:
        for record in self._lane.holders.things():
            if record.driver_connection is not None:
                record.driver_connection.terminate()
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()
        await self._probe.close()

    def _make_engine(self, size: int) -> AsyncEngine:
        settings = self._settings
        arguments: dict[str, Any] = {"async_creator_fn": self._connect}
        if settings.postgres_pooler:
            # The next transaction may run on another server connection, where a name means another statement.
            arguments |= {
                "prepared_statement_cache_size": 0,
                "prepared_statement_name_func": lambda: f"tercet_{uuid.uuid4().hex}",
            }
        engine = create_async_engine(
            _engine_url(self._url.reveal()),
            connect_args=arguments,
            poolclass=type("TercetPool", (_Pool,), {"lane": self._lane}),
            pool_size=size,
            max_overflow=0,
            pool_timeout=settings.postgres_pool_wait,
            pool_recycle=settings.postgres_recycle,
            pool_use_lifo=True,
        )
        self._watch.listen(engine)
        event.listen(engine.sync_engine, "handle_error", self._translate)
        event.listen(engine.sync_engine, "checkout", self._checked_out)
        event.listen(engine.sync_engine, "checkin", self._checked_in)
        event.listen(engine.sync_engine, "detach", self._checked_in)
        return engine

    async def _connect(self, *_arguments: object, **_keywords: object) -> asyncpg.Connection:
        # The engine outlives close() in the hands of whoever kept it; it gets no new connection then.
        self._lane.check()
        try:
            return await connect(self._settings, self._probe.dsn)
        except OSError as error:
            # Only these pass SQLAlchemy's error event by; a TimeoutError is one of them.
            meant = self._probe.meaning.of(error, connecting=True, limit=0.0)
            if meant is None:
                raise
            raise both(meant, error) from error

    def _checked_out(self, connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        driver = connection.driver_connection
        used = record.info.get("tercet_used")
        if driver.is_closed():
            raise exc.DisconnectionError("the server has closed this connection")
        if used is not None and self._monotonic() - used > _PING_AFTER_SECONDS:
            try:
                # The simple protocol: one round trip, and no prepared statement for a pooler to trip over.
                connection.run_async(
                    lambda raw: raw.execute("select 1", timeout=self._settings.postgres_connect_timeout)
                )
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                driver.terminate()
                raise exc.DisconnectionError("the server does not answer on this connection") from error
        self._lane.holders.take(record, _place())

    def _checked_in(self, connection: Any, record: ConnectionPoolEntry) -> None:
        self._lane.holders.give(record)
        if connection is not None:
            record.info["tercet_used"] = self._monotonic()
            _allow(connection.driver_connection, self._settings.postgres_statement_timeout)

    def _translate(self, context: ExceptionContext) -> BaseException | None:
        error = context.original_exception
        if isinstance(error, TercetError) or not isinstance(error, Exception):
            return None
        connecting = context.connection is None
        limit = 0.0 if connecting else _allowed(_driver(context.connection))
        meant = self._probe.meaning.of(error, connecting=connecting, limit=limit)
        if meant is None:
            return None
        if isinstance(error, TimeoutError) and not connecting:
            # The server may not have answered the cancel either: a rollback on this connection could hang.
            _driver(context.connection).terminate()
            context.is_disconnect = True
            context.invalidate_pool_on_disconnect = False
        return both(meant, context.sqlalchemy_exception or error)


def _place() -> tuple[str, int]:
    """The place in the program that wanted a connection; SQLAlchemy runs us on a stack beside it."""
    parent = greenlet.getcurrent().parent
    return site(parent.gr_frame) if parent is not None and parent.gr_frame is not None else here()


def _driver(connection: Connection | None) -> asyncpg.Connection:
    return cast("Any", connection).connection.driver_connection


def _allow(driver: asyncpg.Connection | None, limit: float) -> None:
    """Give the client's side of this connection the time that the server's side has; 0 is no limit."""
    if driver is not None:
        timeout = limit + GRACE_SECONDS if limit else None
        config = driver._config  # noqa: SLF001 - asyncpg has no public way to change it; a test watches the name
        if config.command_timeout != timeout:
            driver._config = config._replace(command_timeout=timeout)  # noqa: SLF001 - as above


def _allowed(driver: asyncpg.Connection) -> float:
    timeout = driver._config.command_timeout  # noqa: SLF001 - as above
    return timeout - GRACE_SECONDS if timeout else 0.0


def _transaction_options(isolation: Isolation | None, *, read_only: bool) -> dict[str, Any]:
    """What SQLAlchemy calls this; it becomes part of BEGIN, and costs no round trip."""
    options: dict[str, Any] = {}
    if isolation is not None:
        if isolation not in get_args(Isolation):
            raise UsageError(
                f"{isolation!r} is no isolation level.", f"Use one of: {', '.join(map(repr, get_args(Isolation)))}."
            )
        options["isolation_level"] = isolation.upper()
    if read_only:
        options["postgresql_readonly"] = True
    return options


def _set_local(limit: float) -> str:
    return f"SET LOCAL statement_timeout = {round(limit * 1000)}"


def _engine_url(text: str) -> Any:
    """The engine's own address, for those who look at it; the connections are made by `connect`."""
    try:
        return make_url(text).set(drivername="postgresql+asyncpg", query={})
    except (exc.ArgumentError, ValueError):
        return make_url("postgresql+asyncpg://")
