"""The outbox: events that commit with the rows they tell of, and consumers who handle each in order."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from tercet.changes.outbox.consumer import Consumer, consumer
from tercet.changes.outbox.delivery import ATTEMPTS
from tercet.changes.outbox.event import Catalogue, Event, EventType, Format, Upcast, wrap
from tercet.changes.outbox.lanes import Runner
from tercet.changes.outbox.port import said
from tercet.changes.outbox.relay import ENROL_SECONDS, LEASE_SECONDS, Relay
from tercet.clock import Clock, SystemClock
from tercet.errors import NotOpen, SettingInvalid, StoreMissing, UsageError
from tercet.telemetry import Telemetry
from tercet.units import seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

    from tercet.changes.outbox.port import Book, Database, Feed, Inbox, Late, Once, Subscription, Transaction
    from tercet.changes.outbox.postgres import Durable

H = TypeVar("H", bound="Callable[..., Awaitable[object]]")

# Handlers at once: half of what a pool usually has, for each of those with once="postgres" holds a connection.
PARALLEL = 8
PARALLEL_MAX = 1_000
# An attempt that takes longer is cut off and counts as failed.
WITHIN_SECONDS = 30.0

# The table and what is parked are asked for at this pace while nothing comes: as long as an event may wait there.
POLL_SECONDS = 0.1
# After an error, which is mostly a server that is away.
AFTER_ERROR_SECONDS = 1.0
# Renewals come so many times as often as leases end.
RENEWALS = 3
PRUNE_SECONDS = 60.0

# How long handlers that run may go on when the outbox is closed.
CLOSE_SECONDS = 5.0

# How long the marks of effects are kept: an event that is delivered again later than that happens twice.
MARK_SECONDS = 7 * 86_400.0

# Events of one emit: they are one statement, and one transaction's.
EVENTS_MAX = 10_000

_log = logging.getLogger("tercet.outbox")


class Outbox:
    """Says events in a transaction, and hands them to their consumers at least once, in order for each key.

    `slot` is the replication slot whose reader hears this outbox, and `feed` what reads it, from the place `place` of
    `service`, which is the same for all that share the outbox: two slots would tell every event twice. Names that
    nobody knows yet are functions, asked once the database is open.
    `durable` says where events go: "slot" only into the log, "table" only into the table, "auto" into the log while
    the slot is there. `lease` is for how long what a process works on is its own once it is dead. `keep` lets events
    be replayed for so long after they were handled.
    """

    def __init__(
        self,
        database: Database,
        *,
        name: str = "tercet",
        slot: Late | None = None,
        durable: Durable = "auto",
        feed: Feed | None = None,
        place: str | None = None,
        service: Late | None = None,
        mongo: Any = None,
        redis: Any = None,
        keep: str | float | None = None,
        marks: str | float = MARK_SECONDS,
        parallel: int = PARALLEL,
        poll: str | float = POLL_SECONDS,
        lease: str | float = LEASE_SECONDS,
        form: Format = "msgpack",
        trace: Callable[[], str | None] | None = None,
        telemetry: Telemetry | None = None,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
        book: Book | None = None,
    ) -> None:
        # Here, so that a program without an outbox loads no driver.
        from tercet.changes.outbox.postgres import PREFIX, PostgresBook, checked  # noqa: PLC0415 - see above

        _check(durable, slot, parallel)
        self.name = checked(name)
        self._database, self._feed, self._slot = database, feed, slot
        self._place, self._service = place, service
        self._book = book or PostgresBook(database, outbox=name, slot=slot, durable=durable)
        self._tables = durable != "slot"
        self._stores = {"postgres": database, "mongo": mongo, "redis": redis}
        self._kept = None if keep is None else seconds(keep)
        self._marks, self._poll, self._lease = seconds(marks), seconds(poll), seconds(lease)
        self._form, self._trace, self._clock = form, trace, clock or SystemClock()
        self._catalogue = Catalogue()
        self._consumers: dict[str, Consumer] = {}
        self._inboxes: dict[Once, Inbox] = {}
        self._prepared: set[Once] = set()
        heard: dict[str, Any] = {"clock": self._clock, "telemetry": telemetry or Telemetry(), "chance": chance}
        runner = Runner(self._catalogue, self._consumers, self._inboxes, parallel=parallel, **heard)
        kept: dict[str, Any] = {"prefix": PREFIX + name, "keep": self._kept is not None, "lease": self._lease}
        self.relay = Relay(self._book, runner, self._catalogue, self._consumers, **kept)
        self._subscription: Subscription | None = None
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._closing: asyncio.Event | None = None

    # ---- what events there are, and who consumes them

    def declare(self, *types: type[Event]) -> None:
        """Know these types; SchemaInvalid where two go by one name."""
        for kind in types:
            if kind is Event or not isinstance(kind, EventType):
                raise UsageError(f"{kind!r} is no type of events.", "Declare it: class OrderPlaced(Event, key=…): …")
            self._catalogue.declare(kind)

    @overload
    def upcast(self, kind: type[Event], version: int) -> Callable[[Upcast], Upcast]: ...
    @overload
    def upcast(self, kind: type[Event], version: int, step: Upcast) -> Upcast: ...
    def upcast(
        self, kind: type[Event], version: int, step: Upcast | None = None
    ) -> Upcast | Callable[[Upcast], Upcast]:
        """Let a function make a document of `version` into one of the next: `@outbox.upcast(OrderPlaced, 1)`."""
        if step is not None:
            self._catalogue.upcast(kind, version, step)
            return step

        def declared(function: Upcast) -> Upcast:
            self._catalogue.upcast(kind, version, function)
            return function

        return declared

    def on(
        self,
        *types: type[Event],
        once: Once | None = None,
        name: str | None = None,
        within: str | float = WITHIN_SECONDS,
        attempts: int = ATTEMPTS,
    ) -> Callable[[H], H]:
        """Let the function below handle these events: `@outbox.on(OrderPlaced)`.

        It is called as handler(event) or handler(event, delivery). With `once` its effect in that store happens
        once: handler(event, tx), where tx is a connection of PostgreSQL in a transaction, a session of MongoDB in
        one, or a pipeline of Redis that is run when the handler returns. `name` is the consumer's own, by which
        what it has not handled is found again; it is the function's module and name unless given.
        """
        self.declare(*types)
        if not types:
            raise UsageError("A handler of no event was declared.", "Name the types: @outbox.on(OrderPlaced).")
        limit = seconds(within)
        if not limit or attempts < 1:
            raise SettingInvalid(
                "within or attempts", where="A handler", shown=f"{within!r}, {attempts!r}", wanted="more than nothing"
            )

        def declared(function: H) -> H:
            one = consumer(function, types, name=name, once=once, within=limit, attempts=attempts)
            if one.name in self._consumers:
                raise UsageError(
                    f"There are two handlers named {one.name!r}.", "Give one of them another: @outbox.on(…, name=…)."
                )
            if once is not None:
                self._inbox(once)
            self._consumers[one.name] = one
            return function

        return declared

    def _inbox(self, once: Once) -> None:
        """The inbox of this store, made when the first handler asks for it."""
        if once not in self._stores:
            raise SettingInvalid(
                "once", where="A handler", shown=repr(once), wanted="'postgres', 'mongo' or 'redis', or not given"
            )
        if self._stores[once] is None:
            raise StoreMissing(once, feature=f'A handler with once="{once}"')
        if once not in self._inboxes:
            self._inboxes[once] = _inbox(once, self._stores[once], namespace=self.name, marks=self._marks)

    # ---- emitting

    async def emit(self, connection: Transaction, events: Sequence[object]) -> None:
        """Say these events in this transaction: they are handed on if it commits, and only then.

        One statement, whatever their number. Say them after the rows they tell of are written: then the order of
        two transactions on one row is the order of their events. Raises SchemaInvalid for one that cannot travel.
        """
        if not events:
            return
        if len(events) > EVENTS_MAX:
            raise UsageError(f"{len(events):,} events were emitted at once.", f"{EVENTS_MAX:,} are the most.")
        wrapped = []
        trace = self._trace() if self._trace is not None else None
        for event in events:
            if not isinstance(event, Event):
                raise UsageError(
                    f"A {type(event).__name__} was emitted, which is no event.",
                    "Declare it: class OrderPlaced(Event, key=…): …",
                )
            self._catalogue.declare(type(event))
            wrapped.append(wrap(event, clock=self._clock, form=self._form, trace=trace))
        await self._book.emit(connection, wrapped)

    async def install(self) -> None:
        """Make the schema `tercet` and the outbox's tables in it, where they are missing; a step of a migration."""
        from tercet.changes.outbox.postgres import install  # noqa: PLC0415 - as above

        await install(self._database)

    # ---- relaying

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def is_open(self) -> bool:
        """Whether it hands events on."""
        return bool(self._tasks)

    async def open(self) -> None:
        """Begin to hand events on, if there are handlers; a program that only emits need not open it."""
        if self._tasks or not self._consumers:
            return
        self.relay.opened()
        self._closing = asyncio.Event()
        await self._enrol()
        self._tasks = tuple(asyncio.create_task(one) for one in self._loops(self._closing))
        if self._feed is not None:
            place = self._place or said(self._slot)
            if place is None:
                raise NotOpen("The outbox's place in the feed", closed=False)
            self._subscription = self._feed.subscribe(self.relay, durable=place, service=said(self._service))

    async def close(self) -> None:
        """Begin nothing more, and let handlers that run end soon; others go on with the rest. Twice is fine."""
        tasks, self._tasks = self._tasks, ()
        subscription, self._subscription = self._subscription, None
        if self._closing is not None:
            self._closing.set()
        self.relay.stop()
        try:
            # What the feed has told is worked on in a task of the feed's.
            if under_way := (*tasks, *self.relay.taking):
                await asyncio.wait(under_way, timeout=CLOSE_SECONDS)
            if subscription is not None:
                await subscription.close()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.relay.close(CLOSE_SECONDS)

    def _loops(self, closing: asyncio.Event) -> Sequence[Any]:
        loops = [
            self._loop(closing, self.relay.retry, self._poll),
            self._loop(closing, self.relay.renew, self._lease / RENEWALS),
            self._loop(closing, self._enrol, ENROL_SECONDS),
            self._loop(closing, self._prune, PRUNE_SECONDS),
        ]
        if self._tables:
            loops.append(self._loop(closing, self.relay.drain, self._poll))
        return loops

    async def _enrol(self) -> None:
        """Say who consumes here, and make what effects need, also of handlers that were declared later."""
        await self.relay.enrol()
        for once, inbox in tuple(self._inboxes.items()):
            if once not in self._prepared:
                await inbox.prepare()
                self._prepared.add(once)

    async def _prune(self) -> None:
        await self._book.prune(kept=self._kept, inbox=self._marks)

    async def _loop(self, closing: asyncio.Event, step: Callable[[], Awaitable[int | None]], pace: float) -> None:
        """Do this again and again; at once while there is something, at its pace otherwise."""
        well = True
        while not closing.is_set():
            try:
                found = await step()
            except Exception as error:  # noqa: BLE001 - see below
                # A server that is away comes back, and whatever else it is must not end the others' events.
                # One whose Tercet is being closed is closed in a moment too.
                if well and not isinstance(error, NotOpen):
                    _log.warning("The outbox %s waits: %s", self.name, error)
                well = False
                await _nap(closing, AFTER_ERROR_SECONDS)
                continue
            well = True
            if not found:
                await _nap(closing, pace)


async def _nap(closing: asyncio.Event, pace: float) -> None:
    """Wait so long, or until it is closed."""
    try:
        async with asyncio.timeout(pace):
            await closing.wait()
    except TimeoutError:
        return


def _check(durable: str, slot: Late | None, parallel: int) -> None:
    if durable not in {"auto", "slot", "table"} or (durable == "slot" and slot is None):
        raise SettingInvalid(
            "durable", where="An outbox", shown=repr(durable), wanted="'auto', 'table', or 'slot' with slot=…"
        )
    if not 1 <= parallel <= PARALLEL_MAX:
        raise SettingInvalid("parallel", where="An outbox", shown=repr(parallel), wanted=f"1 to {PARALLEL_MAX}")


def _inbox(once: Once, store: Any, *, namespace: str, marks: float) -> Inbox:
    # Each here, so that only the driver of the store that is asked for is loaded.
    if once == "mongo":
        from tercet.changes.outbox.mongo import MongoInbox  # noqa: PLC0415 - see above

        return MongoInbox(store, seconds=marks)
    if once == "redis":
        from tercet.changes.outbox.redis import RedisInbox  # noqa: PLC0415 - see above

        return RedisInbox(store, namespace=namespace, seconds=marks)
    from tercet.changes.outbox.postgres import PostgresInbox  # noqa: PLC0415 - see above

    return PostgresInbox(store)
