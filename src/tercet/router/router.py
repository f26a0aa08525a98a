"""The router: entities out of several stores, asked at once, each with one query, within one deadline."""

from __future__ import annotations

import asyncio
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, TypeVar, cast

from tercet.errors import DeadlinePassed, SettingInvalid, StoreMissing, UsageError
from tercet.router.activity.activity import Activities
from tercet.router.edit import Edit
from tercet.router.entity import Entity, Maker, plan_of, whole
from tercet.router.key import possible
from tercet.router.outcome import Missing, Outcomes, settled
from tercet.router.reading.answer import Answer, assembled
from tercet.router.reading.known import LastKnown
from tercet.router.source import in_table
from tercet.router.writing.applying import Applier
from tercet.router.writing.projection import Projection, columns_of
from tercet.router.writing.saved import EntitySaved, again, checked, told
from tercet.units import seconds

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping, Sequence
    from typing import Any

    from tercet.clock import Clock
    from tercet.router.activity.activity import Recorded
    from tercet.router.checking.finding import Finding
    from tercet.router.key import Key
    from tercet.router.plan import Plan, Source
    from tercet.router.port import EntityTransaction, Found, Mongo, Postgres, Reader, RedisLine
    from tercet.router.writing.port import Writer
    from tercet.telemetry import Telemetry
    from tercet.telemetry.event import Store

E = TypeVar("E", bound=Entity)

# A page is not worth more waiting than this; a healthy server answers within some milliseconds.
DEADLINE_SECONDS = 2.0

# So many keys are asked for at once: an array of some 40 kB, an answer of some megabytes. More go one after the other.
CHUNK_KEYS = 5_000


class Router:
    """Loads entities. It opens nothing, and needs only the stores that its entities name."""

    def __init__(
        self,
        *,
        postgres: Postgres | None = None,
        mongo: Mongo | None = None,
        wire: RedisLine | None = None,
        deadline: str | float = DEADLINE_SECONDS,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._stores: dict[str, object] = {
            name: one for name, one in (("postgres", postgres), ("mongo", mongo), ("redis", wire)) if one is not None
        }
        self._deadline = _limit(deadline)
        self._clock, self._telemetry = clock, telemetry
        self._readers: dict[str, Reader] = {}
        self._known = LastKnown(clock)
        self._writers: dict[str, Writer] = {}
        self._applier = Applier(self._writer)
        self._plans: dict[str, Plan] = {}
        # Queries that were given up, until their connections are back.
        self._leaving: set[asyncio.Task[Any]] = set()

    async def load(self, entity: type[E], key: object, *, deadline: str | float | None = None) -> E:
        """The entity under this key; raises EntityMissing, or the error of a source that it cannot do without.

        All sources are asked at once. One that may degrade and does not answer by the deadline leaves its fields
        None, and `meta` says so; one that may not is a DeadlinePassed.
        """
        outcomes = await self.load_many(entity, (key,), deadline=deadline)
        (outcome,) = outcomes
        return settled(entity.__name__, outcome)

    async def find(self, entity: type[E], key: object, *, deadline: str | float | None = None) -> E | None:
        """The entity under this key, or None where there is none; for the rest as `load`."""
        (outcome,) = await self.load_many(entity, (key,), deadline=deadline)
        return None if isinstance(outcome, Missing) else settled(entity.__name__, outcome)

    async def load_many(
        self, entity: type[E], keys: Iterable[object], *, deadline: str | float | None = None
    ) -> Outcomes[E]:
        """What lies under each of these keys, in their order: Loaded, Missing or Failed, and no error for one of them.

        One query a source, whatever the number of keys (and another one for each further 5,000).
        """
        plan = plan_of(entity)
        if isinstance(keys, str | bytes):
            raise UsageError("load_many was given one text for many keys.", "Give it a list of keys.")
        wanted = [plan.key.of(key) for key in keys]
        asked = [key for key in dict.fromkeys(wanted) if possible(key)]
        for source in plan.sources:
            self._reader(source, plan)
        limit = self._deadline if deadline is None else _limit(deadline)
        answers = await self._ask(plan, asked, limit) if asked else [Answer(one) for one in plan.sources]
        made = Maker(entity).made
        outcomes = {key: assembled(key, answers, self._known, made) for key in dict.fromkeys(wanted)}
        return Outcomes(plan.entity, wanted, outcomes)

    def register(self, *entities: type[Entity]) -> None:
        """Know these: `check` looks at them, and what others have saved of them can be applied here."""
        for entity in entities:
            self._plans[plan_of(entity).entity] = plan_of(entity)

    async def save(self, what: Entity | Edit, *, tx: EntityTransaction) -> None:
        """Write the row in this transaction; what lives in MongoDB and Redis follows once it has committed.

        An edit changes its fields and no others, and a row that is not there is EntityMissing. A whole entity writes
        all of its fields, but for counters and sets, and inserts the row where there is none.
        """
        from tercet.router.writing.postgres_save import save_rows  # noqa: PLC0415 - loads a driver

        edit = what if isinstance(what, Edit) else whole(what)
        checked(edit)
        version = await save_rows(tx.session, edit, whole=not isinstance(what, Edit))
        event = told(edit, version)
        if event is not None:
            tx.emit(event)

    async def apply(self, event: EntitySaved) -> None:
        """Write what a save has left for MongoDB and Redis: the outbox's handler of EntitySaved.

        It may come twice, and late: each value is written once, and an older one never over a newer one.
        """
        plan = self._plans.get(event.entity)
        if plan is None:
            raise UsageError(
                f"A {event.entity} was saved, and this process does not know such an entity.",
                f"Register it before events are handled: register({event.entity}).",
            )
        key, values = again(plan, event)
        await self._applier.apply(plan, key, values, event.version)

    async def check(self, *entities: type[Entity]) -> tuple[Finding, ...]:
        """What these entities declare and their stores do not have; without any, all that are registered.

        It reads catalogs and indexes, and a sample of documents and keys: tens of them, never a whole store.
        """
        plans = [plan_of(entity) for entity in entities] or list(self._plans.values())
        findings: list[Finding] = []
        for plan in plans:
            for source in plan.sources:
                findings += await _checked(source, self._store(source.store, source.fields[0].label))
        return tuple(findings)

    async def save_activity(
        self,
        user_id: object,
        kind: str,
        data: Mapping[str, Any],
        *,
        id: str | None = None,  # noqa: A002 - it is called so everywhere
    ) -> Recorded:
        """Keep what a user has done in MongoDB, and count it in Redis by user and kind; see Activities.save."""
        return await self.activities.save(user_id, kind, data, id=id)

    @cached_property
    def activities(self) -> Activities:
        """What users have done: `save`, `total`, and `recount` for what a crash has left."""
        from tercet.router.activity.mongo_journal import MongoJournal  # noqa: PLC0415 - loads a driver

        journal = MongoJournal(cast("Mongo", self._store("mongo", "save_activity")))
        return Activities(journal, cast("RedisLine", self._store("redis", "save_activity")), clock=self._clock)

    def projection(self, entity: type[Entity], **columns: object) -> Projection:
        """A listener for the changes of PostgreSQL that keeps columns as fields elsewhere: `status=User.status`."""
        from tercet.router.writing.postgres_rebuild import PostgresRebuild  # noqa: PLC0415 - loads a driver

        plan = plan_of(entity)
        found = columns_of(plan, {name: in_table(f"{plan.entity}.{name}", one) for name, one in columns.items()})
        database = cast("Postgres", self._store("postgres", f"A projection of {plan.entity}"))
        return Projection(plan, found, rebuild=PostgresRebuild(database, list(found.values())), applier=self._applier)

    async def close(self) -> None:
        """Wait until the queries that were given up have ended; twice is fine."""
        loop = asyncio.get_running_loop()
        # Those of a loop that has ended never come back.
        while ours := [task for task in self._leaving if task.get_loop() is loop]:
            await asyncio.wait(ours)

    async def _ask(self, plan: Plan, keys: Sequence[Key], limit: float) -> list[Answer]:
        """Every source's answer, or that it has none yet at the deadline, or since another one has failed."""
        began = self._clock.monotonic()
        # Before anything is asked, so that a conversion that fails leaves nothing behind.
        asked = [(source, _converted(source, keys)) for source in plan.sources]
        tasks = {self._begin(self._read(source, own)): source for source, own in asked}
        try:
            pending = set(tasks)
            until = asyncio.get_running_loop().time() + limit
            while pending:
                left = until - asyncio.get_running_loop().time()
                done, pending = await asyncio.wait(pending, timeout=max(0.0, left), return_when="FIRST_COMPLETED")
                if not done or any(_ends_all(tasks[one], one) for one in done):
                    break
            waited = self._clock.monotonic() - began
            return [self._answer(task, source, limit, waited, len(keys)) for task, source in tasks.items()]
        finally:
            for task in tasks:
                task.cancel()

    def _begin(self, work: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer]:
        """A task that is held until it has ended: one that was given up brings its connection back first."""
        task = asyncio.get_running_loop().create_task(work)
        self._leaving.add(task)
        task.add_done_callback(self._left)
        return task

    def _left(self, task: asyncio.Task[Any]) -> None:
        self._leaving.discard(task)
        if not task.cancelled():
            # Whoever wanted to know has asked before; nobody else has to hear of it.
            task.exception()

    async def _read(self, source: Source, keys: Mapping[Key, Key]) -> Answer:
        """What the source has; an error of its store is part of the answer."""
        reader = self._readers[source.store]
        began = self._clock.monotonic()
        found: dict[Key, Found] = {}
        try:
            with self._telemetry.operation("router", "read", store=source.store):
                pairs = iter(keys.items())
                while chunk := dict(islice(pairs, CHUNK_KEYS)):
                    found.update(await reader.read(source, chunk))
        except reader.faults as error:
            return Answer(source, error=error, state="failed", seconds=self._clock.monotonic() - began, count=len(keys))
        return Answer(source, found, seconds=self._clock.monotonic() - began, count=len(keys))

    def _answer(self, task: asyncio.Task[Answer], source: Source, limit: float, waited: float, count: int) -> Answer:
        if task.done():
            # What is no fault of the store's is raised here.
            return task.result()
        error = DeadlinePassed(source.store, what=f"reading {source.name}", deadline=limit)
        return Answer(source, error=error, state="late", seconds=waited, count=count)

    def _reader(self, source: Source, plan: Plan) -> Reader:
        found = self._readers.get(source.store)
        if found is None:
            store = self._store(source.store, f"{plan.entity}.{source.fields[0].name}")
            found = self._readers[source.store] = _reader(source.store, store)
        return found

    def _writer(self, source: Source) -> Writer:
        found = self._writers.get(source.store)
        if found is None:
            store = self._store(source.store, source.fields[0].label)
            found = self._writers[source.store] = _writer(source.store, store)
        return found

    def _store(self, name: Store, feature: str) -> object:
        store = self._stores.get(name)
        if store is None:
            raise StoreMissing(name, feature=feature)
        return store


def _reader(name: str, store: object) -> Reader:
    """The reader of a store; its driver is loaded by who uses it."""
    match name:
        case "postgres":
            from tercet.router.reading.postgres_rows import PostgresRows  # noqa: PLC0415 - see above

            return PostgresRows(cast("Postgres", store))
        case "mongo":
            from tercet.router.reading.mongo_documents import MongoDocuments  # noqa: PLC0415 - see above

            return MongoDocuments(cast("Mongo", store))
        case _:
            from tercet.router.reading.redis_keys import RedisKeys  # noqa: PLC0415 - see above

            return RedisKeys(cast("RedisLine", store))


def _writer(name: str, store: object) -> Writer:
    """The writer of a store, as above."""
    if name == "mongo":
        from tercet.router.writing.mongo_writer import MongoWriter  # noqa: PLC0415 - see above

        return MongoWriter(cast("Mongo", store))
    from tercet.router.writing.redis_writer import RedisWriter  # noqa: PLC0415 - see above

    return RedisWriter(cast("RedisLine", store))


async def _checked(source: Source, store: object) -> list[Finding]:
    """The findings on one source, by its store's edge."""
    match source.store:
        case "postgres":
            from tercet.router.checking.postgres_schema import check_table  # noqa: PLC0415 - see above

            return await check_table(cast("Postgres", store), source)
        case "mongo":
            from tercet.router.checking.mongo_schema import check_collection  # noqa: PLC0415 - see above

            return await check_collection(cast("Mongo", store), source)
        case _:
            from tercet.router.checking.redis_schema import check_keys  # noqa: PLC0415 - see above

            return await check_keys(cast("RedisLine", store), source)


def _converted(source: Source, keys: Sequence[Key]) -> dict[Key, Key]:
    if source.conversion is None:
        return dict(zip(keys, keys, strict=True))
    return {key: source.key_of(key) for key in keys}


def _ends_all(source: Source, task: asyncio.Task[Answer]) -> bool:
    """Whether nothing can come of the load any more."""
    if not source.required or source.stale is not None:
        return False
    return task.cancelled() or task.exception() is not None or task.result().state == "failed"


def _limit(deadline: str | float) -> float:
    try:
        limit = seconds(deadline)
    except ValueError:
        limit = 0.0
    if not limit:
        raise SettingInvalid("deadline", where="A load", shown=repr(deadline), wanted="a duration such as '50ms'")
    return limit
