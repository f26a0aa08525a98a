"""The table of changes that triggers write, read by snapshots: for servers whose log tells nothing."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from tercet.changes.change import Change, Commit
from tercet.changes.fallback.pace import Pace
from tercet.changes.fallback.places import Place
from tercet.changes.fallback.typed import document_of, row_of
from tercet.changes.pgoutput import PART_CHANGES
from tercet.changes.pgoutput.wanted import Wanted
from tercet.changes.setup.sqlstate import sqlstate
from tercet.changes.setup.written import written
from tercet.errors import FeedRefused, PositionLost, StoreError
from tercet.units import duration, seconds
from tercet.witness import Moment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tercet.changes.change import Kind as ChangeKind
    from tercet.changes.change import Position, Wants
    from tercet.changes.fallback.typed import Kind
    from tercet.changes.feeding.place import Place as FeedPlace
    from tercet.sql.port import Connection, Database

_SQL = "fallback/triggers.sql"

# Rows that are fetched at once.
FETCH_ROWS = 2_000
# Rows that are deleted at once: a statement that is soon over.
CLEAR_ROWS = 5_000
# How long the changes are kept for a reader who has gone; after that the table would grow for nobody.
KEEP = "1d"
# A reader without a name comes back under another one: its place is kept as long as it may be slow.
KEEP_UNNAMED = "5m"
# How often a reader says that it is still there, and what of it was confirmed while there is much to read.
_RENEW_SECONDS = 10.0
_SETTLE_SECONDS = 1.0
# The triggers go on writing for so long after the last reader is given up, so that the two are never the other way.
_SLACK_SECONDS = 60.0

# Before anything.
_NOWHERE = "1:1:"

# What PostgreSQL answers where the table is not there.
_NO_TABLE = frozenset({"42P01", "3F000"})


@dataclass(frozen=True, slots=True)
class Standing:
    """How the table of changes is, seen from one reader."""

    rows: int
    size_bytes: int
    # How old the oldest change is that the reader has not had; None without one.
    behind_seconds: float | None
    # How long the oldest transaction that writes has been running: what it has written comes when it commits, and the
    # room of what was deleted since it began is not used again before.
    oldest_writer_seconds: float | None
    readers: int


class PostgresTriggers:
    """Reads the table of changes, each reader at its own pace; a name keeps the reader's place when the reading ends.

    What was confirmed is deleted, once every reader is past it. A reader that stays away for longer than `keep` is
    given up, and finds PositionLost. At least once: what was not confirmed comes again. `Commit.at` is the time of a
    transaction's last change, for nobody notes the commit's own. Messages (emit) are not told here.

    One that is begun anew has its name from when `commits` is asked for: should this process die before its listener
    has begun anew, the next one finds no place, and knows that it has to.
    """

    def __init__(
        self,
        database: Database,
        *,
        place: str | None = None,
        anew: bool = False,
        keep: str | float | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._database = database
        self._named = place
        # The one that is kept in the database: that which has the name, or a passing one.
        self._name = place if place is not None and not anew else f"passing {token_hex(8)}"
        self._keep = seconds(keep if keep is not None else KEEP if place is not None else KEEP_UNNAMED)
        self._pace = pace or Pace()
        self._source = ""
        self._wanted: Wanted | None = None
        # How far was read, what of it was confirmed, and what of that is kept in the database.
        self._place = self._confirmed = self._settled = Place(_NOWHERE)
        # The position of what was handed on last, and that which was confirmed last.
        self._told = self._done = ""
        self._settled_at = self._renewed_at = 0.0
        self._clearing, self._closed = False, True
        # Of a transaction that is not read to its end: what was not handed on, and whether anything was.
        self._changes: list[Change] = []
        self._parted = False
        self._kinds: dict[tuple[str, str], dict[str, Kind | None]] = {}
        self._reading = AsyncExitStack()

    @classmethod
    def of(cls, database: Database, place: FeedPlace) -> PostgresTriggers:
        """What reads a feed's place once."""
        return cls(database, place=place.slot if place.durable else None, anew=place.anew)

    async def open(self, wants: Wants, since: Position | None) -> str:  # noqa: ARG002 - the place itself knows
        """Begin to read where the place is, or now; the position from which nothing is missing.

        The first reader after a while waits for the transactions that run, for they may have written without being
        told of; a later one begins at once.
        """
        self._wanted = Wanted(wants)
        async with self._database.autocommit() as connection:
            self._source = f"pg:{(await _ask(connection, 'system'))[0][0]}"
            kept = await self._kept(connection)
            if self._name == self._named:
                if not kept:
                    raise self._lost("it has no place yet, or its reader was away for too long")
                past, within, last = kept[0]
                place = Place(past, within, last or 0)
            else:
                place = Place(await self._begin(connection))
            await self._renew(connection)
            await _ask(connection, "settle", self._name, place.past, place.within, place.last, self._keep)
        self._place = self._confirmed = self._settled = place
        self._told = self._done = str(place)
        # What lies there from readers of before is cleared as soon as we go on.
        self._clearing, self._closed = True, False
        return str(place)

    async def _kept(self, connection: Connection) -> Sequence[Any]:
        try:
            await _ask(connection, "evict")
            return await _ask(connection, "place", self._name)
        except Exception as error:
            if sqlstate(error) in _NO_TABLE:
                mend = "Set it up: tercet doctor --setup TABLE:COLUMN,… --apply"
                raise FeedRefused("postgres", reason="there is no table of changes", mend=mend) from error
            raise

    async def _begin(self, connection: Connection) -> str:
        """A snapshot after which every change is written down."""
        wanted = (await _ask(connection, "wanted"))[0][0]
        await self._renew(connection)
        snapshot: str = (await _ask(connection, "snapshot"))[0][0]
        if wanted:
            return snapshot
        # Whoever has written before the gate was opened was not noted, and has not committed before that is over.
        pace = Pace()
        while True:
            over, now = (await _ask(connection, "over", snapshot))[0]
            if over:
                return str(now)
            await asyncio.sleep(pace.pause())

    async def commits(self) -> AsyncIterator[Sequence[Commit]]:
        """What was committed, as it comes; ends by a StoreError only."""
        try:
            await self._stay()
            while True:
                await self._settle()
                within = await self._window()
                if within is None:
                    await asyncio.sleep(self._pace.pause())
                    continue
                self._pace.found()
                async for commits in self._read(within):
                    yield commits
                    await self._settle(every=_SETTLE_SECONDS)
        finally:
            with suppress(Exception):
                await self._end()

    async def _stay(self) -> None:
        """Give our place the name that it is to have."""
        if self._named is None or self._name == self._named:
            return
        async with self._database.transaction() as connection:
            await _ask(connection, "leave", self._named)
            await _ask(connection, "rename", self._name, self._named)
        self._name = self._named

    async def _window(self) -> str | None:
        """The snapshot up to which is to be read now; None where nothing has come since the last one."""
        if self._place.within is not None:
            return self._place.within
        async with self._database.transaction() as connection:
            snapshot, fresh = (await _ask(connection, "fresh", self._place.past))[0]
        return snapshot if fresh else None

    async def _read(self, within: str) -> AsyncIterator[Sequence[Commit]]:
        """The transactions that `within` sees and our past does not, those that were told before left out."""
        connection = await self._reading.enter_async_context(self._database.transaction(within=0))
        await _ask(connection, "patient")
        values = (self._place.past, within, self._place.last)
        await connection.exec_driver_sql(written(_SQL)["read"], values)
        more = True
        while more:
            rows = (await connection.exec_driver_sql(f"fetch {FETCH_ROWS} from tercet_changes")).all()
            read = [(*row[:6], document_of(row[6]), document_of(row[7]), row[8]) for row in rows]
            await self._learn(connection, read)
            more = len(rows) == FETCH_ROWS
            if not more:
                # Nobody's snapshot is held while what has come is taken care of.
                await self._end()
            commits = self._made(read, within)
            if not more:
                # There is nothing behind them: with the last of them, the whole window is done.
                self._place = Place(within)
            if commits:
                yield commits

    def _made(self, rows: Sequence[Any], within: str) -> list[Commit]:
        """The commits that these rows complete, and parts of a large one; what is left over waits for the next."""
        commits = []
        for number, xid, at, schema, table, kind, new, old, last in rows:
            if (change := self._change(schema, table, kind, new, old)) is not None:
                self._changes.append(change)
            # In this order, a transaction ends with its last change.
            whole = number == last
            if whole:
                self._place = Place(self._place.past, within, last)
            if len(self._changes) >= PART_CHANGES or (whole and (self._changes or self._parted)):
                self._told = str(self._place)
                moment = Moment(self._source, xid)
                commits.append(Commit(moment, self._told, at, tuple(self._changes), last=whole))
                self._changes, self._parted = [], not whole
        return commits

    def _change(
        self, schema: str, table: str, kind: ChangeKind, new: dict[str, object], old: dict[str, object]
    ) -> Change | None:
        kinds = self._kinds.get((schema, table), {})
        assert self._wanted is not None  # noqa: S101 - commits() comes after open()
        wanted = self._wanted.columns(schema, table, {*kinds, *new, *old})
        if wanted is None:
            return None
        return Change(kind, schema, table, row_of(new, kinds, wanted), row_of(old, kinds, wanted))

    async def _learn(self, connection: Connection, rows: Sequence[Any]) -> None:
        """Ask for the types of columns that were not seen before; one that is gone by now has none."""
        unknown: dict[tuple[str, str], set[str]] = {}
        for _, _, _, schema, table, _, new, old, _ in rows:
            if strange := (new.keys() | old.keys()) - self._kinds.get((schema, table), {}).keys():
                unknown.setdefault((schema, table), set()).update(strange)
        if not unknown:
            return
        for place, names in unknown.items():
            self._kinds.setdefault(place, {}).update(dict.fromkeys(names))
        named = ([schema for schema, _ in unknown], [table for _, table in unknown])
        for schema, table, name, number, element in await _ask(connection, "types", *named):
            self._kinds[schema, table][name] = (number, element)

    async def confirm(self, position: Position) -> None:
        """All up to here was taken care of; kept with the next question, within a second, or when this is closed."""
        if isinstance(position, str):
            self._done, self._confirmed = position, Place.read(position)

    async def _settle(self, *, every: float = 0.0) -> None:
        """Keep how far we are, delete what nobody needs any more, and say that we are still there."""
        now = time.monotonic()
        # All that was handed on is taken care of, and so is what nobody wanted behind it.
        confirmed = self._place if self._done == self._told else self._confirmed
        moved, due = confirmed != self._settled, now - self._renewed_at >= _RENEW_SECONDS
        if not (moved or due or self._clearing) or now - self._settled_at < every:
            return
        self._settled_at = now
        async with self._database.autocommit() as connection:
            if due:
                await self._renew(connection)
                await _ask(connection, "evict")
            values = (self._name, confirmed.past, confirmed.within, confirmed.last, self._keep)
            if not await _ask(connection, "move", *values):
                raise self._lost(f"its reader was away for longer than {duration(self._keep)}")
            self._settled = confirmed
            cleared = await _ask(connection, "clear", CLEAR_ROWS)
            self._clearing = cleared[0][0] == CLEAR_ROWS

    async def _renew(self, connection: Connection) -> None:
        """Let the triggers write for as long as our place is kept, and a little longer."""
        await _ask(connection, "open_gate", int(self._keep + _SLACK_SECONDS))
        self._renewed_at = time.monotonic()

    async def standing(self) -> Standing:
        """How the table of changes is, and how far behind we are."""
        async with self._database.transaction() as connection:
            return Standing(*(await _ask(connection, "stands", self._name))[0])

    async def _end(self) -> None:
        """Let go of the cursor's transaction, if it is under way."""
        reading, self._reading = self._reading, AsyncExitStack()
        await reading.aclose()

    def _lost(self, reason: str) -> PositionLost:
        return PositionLost("postgres", place=self._named or self._name, reason=reason)

    async def close(self) -> None:
        """Keep how far we are, and let go; a reader without a name leaves nothing behind. Twice is fine."""
        if self._closed:
            return
        self._closed = True
        with suppress(StoreError):
            await self._end()
            if self._name == self._named:
                await self._settle()
            else:
                async with self._database.autocommit() as connection:
                    await _ask(connection, "leave", self._name)


async def _ask(connection: Connection, name: str, *values: Any) -> Sequence[Any]:
    return (await connection.exec_driver_sql(written(_SQL)[name], values)).all()
