"""The router: entities out of several stores, asked at once, each with one query, within one deadline."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, TypeVar, cast

from tercet.errors import DeadlinePassed, SettingInvalid, StoreMissing, UsageError
from tercet.router.answer import Answer, assembled
from tercet.router.entity import Entity, Maker, plan_of
from tercet.router.key import possible
from tercet.router.known import LastKnown
from tercet.router.outcome import Missing, Outcomes, settled
from tercet.units import seconds

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping, Sequence
    from typing import Any

    from tercet.clock import Clock
    from tercet.router.key import Key
    from tercet.router.plan import Plan, Source
    from tercet.router.port import Found, Line, Mongo, Postgres, Reader
    from tercet.telemetry import Telemetry

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
        wire: Line | None = None,
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

    async def close(self) -> None:
        """Wait until the queries that were given up have ended; twice is fine."""
        while self._leaving:
            await asyncio.wait(tuple(self._leaving))

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
                if not done or any(tasks[one].required and _failed(one) for one in done):
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
            store = self._stores.get(source.store)
            if store is None:
                raise StoreMissing(source.store, feature=f"{plan.entity}.{source.fields[0].name}")
            found = self._readers[source.store] = _edge(source.store, store)
        return found


def _edge(name: str, store: object) -> Reader:
    """The reader of a store; its driver is loaded by who uses it."""
    match name:
        case "postgres":
            from tercet.router.postgres_rows import PostgresRows  # noqa: PLC0415 - see above

            return PostgresRows(cast("Postgres", store))
        case "mongo":
            from tercet.router.mongo_documents import MongoDocuments  # noqa: PLC0415 - see above

            return MongoDocuments(cast("Mongo", store))
        case _:
            from tercet.router.redis_keys import RedisKeys  # noqa: PLC0415 - see above

            return RedisKeys(cast("Line", store))


def _converted(source: Source, keys: Sequence[Key]) -> dict[Key, Key]:
    if source.conversion is None:
        return dict(zip(keys, keys, strict=True))
    return {key: source.key_of(key) for key in keys}


def _failed(task: asyncio.Task[Answer]) -> bool:
    return task.cancelled() or task.exception() is not None or task.result().state == "failed"


def _limit(deadline: str | float) -> float:
    try:
        limit = seconds(deadline)
    except ValueError:
        limit = 0.0
    if not limit:
        raise SettingInvalid("deadline", where="A load", shown=repr(deadline), wanted="a duration such as '50ms'")
    return limit
