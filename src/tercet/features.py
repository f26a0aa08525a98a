"""What hangs on a Tercet: each room is made when it is first used, and loaded by whoever uses it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tercet.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager

    from pymongo.asynchronous.database import AsyncDatabase
    from redis.asyncio import Redis
    from sqlalchemy.ext.asyncio import AsyncSession

    import tercet.changes.outbox
    from tercet.changes import Changes, Hearing
    from tercet.changes.outbox import Outbox
    from tercet.changes.outbox.port import Feed, Once
    from tercet.changes.postgres import PostgresChanges
    from tercet.changes.transaction import Transaction, Transactions
    from tercet.clock import Clock
    from tercet.limits import Limit, Limits, Rate
    from tercet.limits.limits import WhenAway
    from tercet.locks import Lock, Locks
    from tercet.rollups import Keeper, Rollup
    from tercet.router import Edit, Entity, Finding, Outcomes, Recorded, Router
    from tercet.router.port import EntityTransaction
    from tercet.sessions import Sessions
    from tercet.settings import Settings
    from tercet.sql import View
    from tercet.stores import Gate, Store
    from tercet.stores.mongo import Document, Mongo
    from tercet.stores.postgres import Isolation, Postgres
    from tercet.stores.reads.postgres_replicas import Replicas
    from tercet.stores.reads.token import ReadToken
    from tercet.telemetry import Telemetry
    from tercet.wire import Wire

H = TypeVar("H", bound="Callable[..., Awaitable[object]]")
E = TypeVar("E", bound="Entity")

# The outbox's name. All services of a database share it, whatever they are called: who emits and who handles are often
# two of them.
OUTBOX = "tercet"
# The place in the changes from which it is read.
OUTBOX_PLACE = "outbox"


class Features:
    """The rooms of a Tercet, and their words; what a room needs of a store is asked when it is used."""

    # The Tercet's own.
    _settings: Settings
    _telemetry: Telemetry
    _clock: Clock
    _replicas: Replicas | None
    _gate: Gate
    # Whether somebody handles what is saved of entities.
    _saves: bool = False

    if TYPE_CHECKING:

        @property
        def postgres(self) -> Postgres: ...
        @property
        def mongo(self) -> AsyncDatabase[Document]: ...
        @property
        def redis(self) -> Redis: ...
        def has(self, name: str) -> bool: ...
        def need(self, name: str, *, feature: str) -> None: ...
        def _store(self, name: str, feature: str) -> Store: ...

    # ---- on Redis ----

    @cached_property
    def wire(self) -> Wire:
        """The connection to Redis that cache, locks, limits and sessions share; it opens when it is first used."""
        from tercet.wire import Wire  # noqa: PLC0415 - see above

        return Wire(lambda: self.redis, clock=self._clock, telemetry=self._telemetry)

    @cached_property
    def locks(self) -> Locks:
        """Locks of every kind: `lock`, `read_write`, `semaphore`."""
        from tercet.locks import Locks  # noqa: PLC0415 - see above

        self.need("redis", feature="Tercet.lock")
        return Locks(self.wire, clock=self._clock, telemetry=self._telemetry)

    @cached_property
    def limits(self) -> Limits:
        """Rate limits; those of the same rates share their state."""
        from tercet.limits import Limits  # noqa: PLC0415 - see above

        self.need("redis", feature="Tercet.limit")
        return Limits(self.wire, clock=self._clock, telemetry=self._telemetry)

    @cached_property
    def sessions(self) -> Sessions[dict[str, Any]]:
        """Logins whose data is a dict; `Sessions(db.wire, type=…)` keeps others, or for another time."""
        from tercet.sessions import Sessions  # noqa: PLC0415 - see above

        self.need("redis", feature="Tercet.sessions")
        return Sessions(self.wire, telemetry=self._telemetry)

    def lock(
        self,
        name: str,
        *,
        ttl: str | float = "10s",
        wait: str | float = "5s",
        reentrant: bool = False,
        replicas: int = 0,
    ) -> Lock:
        """One holder at a time among all processes: `async with db.lock("settle:42") as held`; see Locks.lock."""
        return self.locks.lock(name, ttl=ttl, wait=wait, reentrant=reentrant, replicas=replicas)

    def limit(
        self,
        *rates: str | Rate,
        burst: int | None = None,
        when_away: WhenAway = "allow",
        local: int = 0,
        name: str | None = None,
    ) -> Limit:
        """A rate limit: `await db.limit("100/minute").check(f"user:{user_id}")`; see Limits.limit."""
        return self.limits.limit(*rates, burst=burst, when_away=when_away, local=local, name=name)

    # ---- on changes ----

    @cached_property
    def changes(self) -> PostgresChanges:
        """What is committed in PostgreSQL, told in order to whoever subscribes; `changes.mongo` is MongoDB's."""
        from tercet.changes.postgres import PostgresChanges  # noqa: PLC0415 - see above

        return PostgresChanges(
            cast("Postgres", Later(lambda: self.postgres)),
            lambda: self._settings,
            mongo=lambda: self._mongo_changes,
            followed=self._followed,
            clock=self._clock,
            telemetry=self._telemetry,
            is_open=lambda: self._gate.is_open,
        )

    def _followed(self, hearing: Hearing) -> Callable[[], None]:
        return self.transactions.followed_by(hearing)

    @cached_property
    def _mongo_changes(self) -> Changes:
        from tercet.changes.mongo.mongo_changes import MongoChanges  # noqa: PLC0415 - see above

        self.need("mongo", feature="Tercet.changes.mongo")
        return MongoChanges(
            cast("AsyncDatabase[Document]", Later(lambda: self.mongo)),
            source=lambda: cast("Mongo", self._store("mongo", "Tercet.changes.mongo")).source,
            service=self._settings.application_name,
            clock=self._clock,
            telemetry=self._telemetry,
            is_open=lambda: self._gate.is_open,
        )

    @cached_property
    def transactions(self) -> Transactions:
        """Transactions that emit events; `transactions.run` repeats one that another was in the way of."""
        from tercet.changes.transaction import Transactions  # noqa: PLC0415 - see above

        self.need("postgres", feature="Tercet.transaction")
        postgres = cast("Postgres", Later(lambda: self.postgres))
        return Transactions(postgres, clock=self._clock, telemetry=self._telemetry, outbox=lambda: self.outbox)

    def transaction(
        self,
        *,
        within: str | float | None = None,
        isolation: Isolation | None = None,
        hear: str | float | None = None,
    ) -> AbstractAsyncContextManager[Transaction]:
        """A transaction with a session and events that commit with its rows; see Transactions.begin."""
        return self.transactions.begin(within=within, isolation=isolation, hear=hear)

    def reading(
        self, token: ReadToken | str | None = None, *, within: str | float = "100ms"
    ) -> AbstractAsyncContextManager[AsyncSession]:
        """A session that only reads: on a replica that has what `token` names within so long, or on the primary."""
        self.need("postgres", feature="Tercet.reading")
        # Which says so where this Tercet is not open.
        _ = self.postgres
        return cast("Replicas", self._replicas).reading(token, within=within)

    @cached_property
    def outbox(self) -> Outbox:
        """Events that commit with their rows; it hands them on from the opening of this Tercet, if `on` was used."""
        from tercet.changes.feeding.place import Place  # noqa: PLC0415 - see above
        from tercet.changes.outbox import Outbox  # noqa: PLC0415 - see above

        self.need("postgres", feature="Tercet.outbox")
        return Outbox(
            cast("Postgres", Later(lambda: self.postgres)),
            slot=lambda: Place(self._outbox_service(), OUTBOX_PLACE, durable=True).slot,
            name=OUTBOX,
            feed=cast("Feed", Later(lambda: self.changes)),
            place=OUTBOX_PLACE,
            service=self._outbox_service,
            mongo=Later(lambda: self.mongo) if self.has("mongo") else None,
            redis=Later(lambda: self.redis) if self.has("redis") else None,
            telemetry=self._telemetry,
            clock=self._clock,
        )

    def _outbox_service(self) -> str:
        """What all share that use the outbox of this database; a server has one list of slots for all databases."""
        url = self._settings.url("postgres")
        return OUTBOX if url is None else f"{OUTBOX}_{url.database}"

    def on(
        self,
        *types: type[tercet.changes.outbox.Event],
        once: Once | None = None,
        name: str | None = None,
        within: str | float = "30s",
        attempts: int | None = None,
    ) -> Callable[[H], H]:
        """Let the function below handle these events, from the opening of this Tercet on; see Outbox.on.

        One that is open takes more handlers if it had one when it was opened: then its outbox hands events on.
        """
        words: dict[str, Any] = {} if attempts is None else {"attempts": attempts}
        if self._gate.is_open and not self.outbox.is_open:
            raise UsageError(
                "A handler was declared on a Tercet that is open and has no others, so nothing would be handed to it.",
                "Declare it before the Tercet is opened; or say db.outbox.on(…), and then await db.outbox.open().",
            )
        return self.outbox.on(*types, once=once, name=name, within=within, **words)

    # ---- kept views ----

    @cached_property
    def keeper(self) -> Keeper:
        """Refreshes views and merges rollups on schedule, from the opening of this Tercet on."""
        from tercet.rollups import Keeper  # noqa: PLC0415 - see above

        self.need("postgres", feature="Tercet.keep")
        keeper = Keeper(Later(lambda: self.postgres), clock=self._clock, telemetry=self._telemetry)
        if self._gate.is_open:
            keeper.open()
        return keeper

    def keep(self, what: View | Rollup, *, every: str | float, concurrently: bool | None = None) -> None:
        """Keep a materialized view or a rollup's groups about as fresh as `every`; see Keeper.keep.

        Whichever process of the service finds that it is due does it; two never do it at once.
        """
        self.keeper.keep(what, every=every, concurrently=concurrently)

    # ---- over all stores ----

    @cached_property
    def router(self) -> Router:
        """Entities out of several stores."""
        from tercet.router import Router  # noqa: PLC0415 - see above

        return Router(
            postgres=cast("Any", Later(lambda: self.postgres)) if self.has("postgres") else None,
            mongo=cast("Any", Later(lambda: self.mongo)) if self.has("mongo") else None,
            wire=self.wire if self.has("redis") else None,
            clock=self._clock,
            telemetry=self._telemetry,
        )

    def entities(self, *entities: type[Entity]) -> None:
        """Let these be saved and checked: what `save` says in its transaction is written to the other stores here."""
        from tercet.router import EntitySaved  # noqa: PLC0415 - see above

        self.router.register(*entities)
        if not self._saves:
            self.on(EntitySaved, name="tercet.entities")(self.router.apply)
            self._saves = True

    async def load(self, entity: type[E], key: object, *, deadline: str | float | None = None) -> E:
        """The entity under this key, its stores asked at once; see Router.load."""
        return await self.router.load(entity, key, deadline=deadline)

    async def find(self, entity: type[E], key: object, *, deadline: str | float | None = None) -> E | None:
        """The entity under this key, or None where there is none; for the rest as `load`."""
        return await self.router.find(entity, key, deadline=deadline)

    async def load_many(
        self, entity: type[E], keys: Iterable[object], *, deadline: str | float | None = None
    ) -> Outcomes[E]:
        """What lies under each of these keys, one query a store; see Router.load_many."""
        return await self.router.load_many(entity, keys, deadline=deadline)

    async def save(self, what: Entity | Edit, *, tx: EntityTransaction) -> None:
        """Write PostgreSQL's part in this transaction, and the others' by its commit; see Router.save."""
        await self.router.save(what, tx=tx)

    async def save_activity(
        self,
        user_id: object,
        kind: str,
        data: Mapping[str, Any],
        *,
        id: str | None = None,  # noqa: A002 - it is called so everywhere
    ) -> Recorded:
        """Keep what a user has done in MongoDB, and count it in Redis, once; see Activities.save."""
        return await self.router.save_activity(user_id, kind, data, id=id)

    async def check(self, *entities: type[Entity]) -> tuple[Finding, ...]:
        """Where these declarations, or all that are registered, do not fit what the stores hold; see Router.check."""
        return await self.router.check(*entities)

    # ---- life ----

    async def _begin(self) -> None:
        """Begin what was declared before anything was open."""
        if "outbox" in self.__dict__:
            await self.outbox.open()
        if "keeper" in self.__dict__:
            self.keeper.open()
        for room in ("changes", "_mongo_changes"):
            if room in self.__dict__:
                getattr(self, room).start()

    async def _end(self) -> None:
        """End all rooms, those first that stand on others; what was never used was never made."""
        async with AsyncExitStack() as rooms:
            # The last that is handed to it comes first, and each is closed also where another one fails.
            for room in ("wire", "locks", "router", "_mongo_changes", "changes", "outbox", "keeper"):
                if room in self.__dict__:
                    rooms.push_async_callback(getattr(self, room).close)


class Later:
    """A store of a Tercet as it is once that is open: decorators stand before anything is."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self.__find = find

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__find(), name)

    def __getitem__(self, name: str) -> Any:
        return self.__find()[name]
