"""The changes of PostgreSQL: read in the best way that the server gives, and what a follower asks of the server."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tercet.changes.change import Wants
from tercet.changes.changes import Changes
from tercet.changes.fallback.postgres_poll import PostgresPoll
from tercet.changes.fallback.postgres_triggers import PostgresTriggers
from tercet.changes.postgres_old_rows import covered_of
from tercet.changes.setup.apply import apply
from tercet.changes.setup.choose import choose
from tercet.changes.setup.look import look
from tercet.changes.setup.plan import plan
from tercet.changes.setup.publication import untold
from tercet.changes.stream.postgres import PostgresEdge
from tercet.errors import FeedRefused, LoginRefused, StoreMissing
from tercet.witness import Snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

    from tercet.changes.change import Commit, Position
    from tercet.changes.feeding.place import Place
    from tercet.changes.feeding.port import Lag
    from tercet.changes.port import Hearing, Source
    from tercet.changes.setup.choose import Kind
    from tercet.changes.setup.step import Step
    from tercet.changes.stream.postgres_leader import PostgresLeader
    from tercet.clock import Clock
    from tercet.settings import Settings
    from tercet.stores.postgres import Postgres
    from tercet.telemetry import Telemetry
    from tercet.witness import Seen

_SNAPSHOT = "SELECT pg_current_snapshot()::text"
_MEND = "'tercet doctor' says what each way to read changes needs."

_log = logging.getLogger("tercet.changes")


class PostgresChanges(Changes):
    """What is committed in PostgreSQL; `mongo` is the same of MongoDB.

    Each reading looks at the server first: its log as a stream, its log by polling, or triggers, in this order.
    `postgres` may not be open before somebody subscribes and the loop runs.
    """

    def __init__(
        self,
        postgres: Postgres,
        settings: Callable[[], Settings],
        *,
        mongo: Callable[[], Changes],
        followed: Callable[[Hearing], Callable[[], None]],
        clock: Clock,
        telemetry: Telemetry,
        is_open: Callable[[], bool] = lambda: True,
    ) -> None:
        self._postgres, self._settings, self._mongo, self._followed = postgres, settings, mongo, followed
        self._edge: PostgresEdge | None = None
        service = settings().application_name
        super().__init__(self._source, self._leader, service=service, clock=clock, telemetry=telemetry, is_open=is_open)

    @property
    def mongo(self) -> Changes:
        """What is committed in MongoDB."""
        return self._mongo()

    async def seen(self) -> Seen | None:
        """What a read of the primary sees now; None where the server does not say whose count that is by."""
        source = self._postgres.source
        if source is None:
            return None
        async with self._postgres.autocommit() as connection:
            ((text,),) = (await connection.exec_driver_sql(_SNAPSHOT)).all()
        return Snapshot.read(source, text)

    async def covered(self, tables: Mapping[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
        """Of each of these tables, the columns whose old values are told where they have changed."""
        return await covered_of(self._postgres, tables)

    async def set_up(self, wants: Wants | None = None, *, full: Collection[str] = ()) -> tuple[Step, ...]:
        """Take the steps after which these changes can be told, with the old values of the columns named; those taken.

        It is `plan` and `apply` of `tercet.changes.setup` in one, and nothing where all is there; a migration has the
        same as SQL (`tercet doctor --setup`). Without wants it is what messages need, and the outbox no more. Tables
        named in `full` tell the whole old row. Raises PublicationUnsafe for what would break the program's own writes.
        """
        wanted = wants or Wants()
        found = await look(self._postgres, wanted, pooled=self._settings().postgres_pooler)
        return await apply(self._postgres, plan(found, wanted, full=full))

    def followed_by(self, hearing: Hearing) -> Callable[[], None]:
        """From now on a commit of this process returns once this has heard of it; what is returned ends that."""
        return self._followed(hearing)

    def _there(self) -> PostgresEdge:
        settings = self._settings()
        if settings.url("postgres") is None:
            raise StoreMissing("postgres", feature="Tercet.changes")
        if self._edge is None:
            self._edge = PostgresEdge(settings)
        return self._edge

    def _source(self, place: Place) -> Source:
        return _Best(self._postgres, self._there(), place)

    def _leader(self, place: Place) -> _Leader:
        return _Leader(lambda: self._there().leader(place))


class _Leader:
    """The leader of a place, made when there is a server to lead on; fulfils Leader."""

    def __init__(self, make: Callable[[], PostgresLeader]) -> None:
        self._make = make
        self._made: PostgresLeader | None = None

    async def lead(self, follows: Callable[[], None]) -> None:
        """Return once this process leads."""
        self._made = self._made or self._make()
        await self._made.lead(follows)

    async def led(self, note: Callable[[Lag], None]) -> None:
        """Return when this process leads no more."""
        if self._made is not None:
            await self._made.led(note)

    async def close(self) -> None:
        """Lead no more; twice is fine."""
        if self._made is not None:
            await self._made.close()


class _Best:
    """One reading in the best way that the server gives; fulfils Source."""

    def __init__(self, postgres: Postgres, edge: PostgresEdge, place: Place) -> None:
        self._postgres, self._edge, self._place = postgres, edge, place
        self._source: Source | None = None

    async def open(self, wants: Wants, since: Position | None) -> Position:
        """Begin to read where the place stands, or now."""
        findings = await look(self._postgres, wants)
        choice = choose(findings, slot=self._place.slot if self._place.durable else None)
        if choice.kind is None:
            raise FeedRefused("postgres", reason=choice.why.rstrip("."), mend=_MEND)
        if choice.kind != "triggers" and (refused := untold(findings, wants)) is not None:
            raise refused
        if choice.kind != "stream":
            _log.info("the changes of %s: %s", self._place.name, choice)
        self._source = self._made(choice.kind)
        try:
            return await self._source.open(wants, since)
        except LoginRefused as error:
            # It may log in, or nobody would be here: it is the replication connection that is not let in.
            if choice.kind != "stream":
                raise
            await self._source.close()
            _log.warning("the changes of %s are polled: %s", self._place.name, error)
            self._source = self._made("poll")
            return await self._source.open(wants, since)

    def _made(self, kind: Kind) -> Source:
        place = self._place
        match kind:
            case "stream":
                return self._edge.source(place)
            case "poll":
                return PostgresPoll.of(self._postgres, place)
            case "triggers":
                return PostgresTriggers.of(self._postgres, place)

    def commits(self) -> AsyncIterator[Sequence[Commit]]:
        """What was committed."""
        return self._opened.commits()

    async def confirm(self, position: Position) -> None:
        """All up to here was taken care of."""
        await self._opened.confirm(position)

    async def close(self) -> None:
        """Let go of the connection; twice is fine."""
        if self._source is not None:
            await self._source.close()

    @property
    def _opened(self) -> Source:
        if self._source is None:
            raise RuntimeError("a source is read after it was opened")
        return self._source
