"""The log of PostgreSQL, polled by SQL over ordinary connections: where no replication connection is to be had."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from tercet.changes.fallback.pace import Pace
from tercet.changes.feeding.place import NO_SLOT
from tercet.changes.pgoutput import Decoder, lsn_text
from tercet.changes.setup.findings import PUBLICATION
from tercet.changes.setup.sqlstate import sqlstate
from tercet.changes.setup.written import written
from tercet.errors import FeedRefused, PositionLost, StoreError
from tercet.sql import identifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tercet.changes.change import Commit, Position, Wants
    from tercet.changes.feeding.place import Place
    from tercet.sql.port import Connection, Database, Rows

# One answer ends with the transaction that reaches so many messages of the log; each transaction comes whole.
UPTO_CHANGES = 10_000
# Rows that are fetched at once; of most answers it is the only time.
FETCH_ROWS = 2_000
# While nothing comes that is wanted, the slot is moved on when it holds back so much log for nothing. Moving it costs
# the server another look at that log.
IDLE_BYTES = 1 << 20

_SQL = "fallback/poll.sql"

# What PostgreSQL answers to a question about a slot that is gone, cut off, or read by another connection.
_GONE = "42704"
_CUT_OFF = "55000"
_IN_USE = "55006"
# What it answers where no slot can be made: all are taken, the log tells no changes, the login may not.
_NO_SLOT = frozenset({"53400", "55000", "42501"})


class PostgresPoll:
    """Reads the changes of one publication through a logical slot, by asking every now and then.

    A slot with a name is kept when the reading ends, and the next one goes on where it was; without a name it is
    temporary, and one connection is kept for it, as long as the reading lasts. At least once: what was not confirmed
    comes again. One that is begun anew is temporary until `commits` is asked for: should this process die before its
    listener has begun anew, the next one finds no slot, and knows that it has to.
    """

    def __init__(
        self,
        database: Database,
        *,
        slot: str | None = None,
        anew: bool = False,
        publication: str = PUBLICATION,
        pace: Pace | None = None,
    ) -> None:
        self._database, self._publication = database, publication
        self._named, self._anew = slot, anew
        # The one that is read: that which has the name, or a passing one.
        self._slot = slot if slot is not None and not anew else f"tercet_{token_hex(8)}"
        self._pace = pace or Pace()
        self._reading = AsyncExitStack()
        self._connection: Connection | None = None
        self._stack = AsyncExitStack()
        self._kept: Connection | None = None
        self._decoder: Decoder | None = None
        self._messages = "false"
        # Up to where the slot was moved, everything was taken care of, and it was handed on.
        self._moved = self._confirmed = self._told = 0
        # How far the log went at the last look, and at the last one after which nothing more was in it for us.
        self._log_end = self._silent = 0

    @classmethod
    def of(cls, database: Database, place: Place, *, publication: str = PUBLICATION) -> PostgresPoll:
        """What reads a feed's place once."""
        slot = place.slot if place.durable else None
        return cls(database, slot=slot, anew=place.anew, publication=publication)

    async def open(self, wants: Wants, since: Position | None) -> int:  # noqa: ARG002 - the slot itself knows
        """Begin to read where the slot stands, or now; the position from which nothing is missing.

        Raises PositionLost where there is no slot of that name, or the server has cut it off.
        """
        async with self._database.autocommit() as connection:
            rows = await _ask(connection, "published", self._publication)
            if not rows[0][0]:
                mend = "Set it up: tercet doctor --setup TABLE:COLUMN,… --apply"
                raise FeedRefused("postgres", reason=f"there is no publication {self._publication}", mend=mend)
            system, near = (await _ask(connection, "present"))[0]
            position = None
            if self._slot == self._named:
                position = self._standing(await _ask(connection, "slot", self._slot))
            elif self._named is not None:
                await self._asked(connection, "drop", self._named)
        if position is None:
            position = await self._keep()
        self._moved = self._confirmed = self._told = position
        self._messages = "true" if wants.prefixes else "false"
        self._decoder = Decoder(wants, source=f"pg:{system}", near=near)
        return position

    def _standing(self, rows: Sequence[Any]) -> int:
        """Where the slot stands."""
        if not rows:
            raise self._lost(NO_SLOT)
        plugin, active, _, status, here, confirmed, why = rows[0]
        if status == "lost" or why is not None:
            raise self._lost(f"its slot was cut off ({why or 'max_slot_wal_keep_size'})")
        if plugin != "pgoutput" or not here:
            of = "another database" if plugin == "pgoutput" else f"the plugin {plugin}"
            raise FeedRefused("postgres", reason=f"the slot {self._slot} is of {of}", mend="Name another slot.")
        if active:
            raise self._in_use()
        return int(confirmed)

    async def _keep(self) -> int:
        """A connection of its own, and the temporary slot that lives as long as it."""
        self._kept = await self._stack.enter_async_context(self._database.autocommit())
        try:
            return int((await self._asked(self._kept, "create", self._slot)).all()[0][0])
        except BaseException:
            self._kept = None
            await self._stack.aclose()
            raise

    async def _stay(self) -> None:
        """Make the passing slot one that stays, under the name that it is to have."""
        if self._kept is None or self._named is None:
            return
        kept, passing = self._kept, self._slot
        await self._asked(kept, "stay", passing, self._named)
        await self._asked(kept, "give_up", passing)
        self._slot, self._kept = self._named, None
        await self._stack.aclose()

    async def commits(self) -> AsyncIterator[Sequence[Commit]]:
        """What was committed, as it comes; ends by a StoreError only."""
        limit = UPTO_CHANGES
        try:
            await self._stay()
            while True:
                await self._move()
                batch, found, rows = await self._peek(limit), 0, 0
                while batch:
                    rows += len(batch)
                    commits = [commit for data in batch for commit in self._decoded(data)]
                    if len(batch) < FETCH_ROWS:
                        # Nobody's snapshot is held while what has come is taken care of.
                        await self._end()
                    if commits:
                        found += len(commits)
                        yield commits
                    batch = await self._fetch() if len(batch) == FETCH_ROWS else []
                await self._end()
                if rows < limit:
                    self._silent = self._log_end
                if found:
                    self._pace.found()
                    limit = UPTO_CHANGES
                elif rows >= limit:
                    # All of it was told and not yet confirmed: look behind it.
                    limit *= 2
                else:
                    self._pass_over()
                    await asyncio.sleep(self._pace.pause())
        finally:
            with suppress(Exception):
                await self._end()

    def _decoded(self, data: bytes) -> list[Commit]:
        """What this message completes, without what was told before."""
        assert self._decoder is not None  # noqa: S101 - commits() comes after open()
        fresh = []
        for commit in self._decoder.feed(data):
            assert isinstance(commit.position, int)  # noqa: S101 - the decoder's own are
            if commit.last:
                if commit.position > self._told:
                    self._told = commit.position
                    fresh.append(commit)
            elif commit.position >= self._told:
                fresh.append(commit)
        return fresh

    async def _peek(self, limit: int) -> list[bytes]:
        """The first of what the slot has; nothing without a look where the log has not grown."""
        if self._kept is None:
            connection = await self._reading.enter_async_context(self._database.transaction(within=0))
        else:
            connection = await self._reading.enter_async_context(_block(self._kept))
        self._connection = connection
        self._log_end = (await _ask(connection, "begin"))[0][-1]
        if self._log_end == self._silent:
            return []
        await self._asked(connection, "peek", self._slot, None, limit, identifier(self._publication), self._messages)
        return await self._fetch()

    async def _fetch(self) -> list[bytes]:
        assert self._connection is not None  # noqa: S101 - a peek is under way
        rows = (await self._run(self._connection, f"fetch {FETCH_ROWS} from tercet_poll")).all()
        return [row[0] for row in rows]

    async def _end(self) -> None:
        """Let go of the peek's transaction, if it is under way."""
        reading, self._reading, self._connection = self._reading, AsyncExitStack(), None
        await reading.aclose()

    def _pass_over(self) -> None:
        """All of the log was read, and all that was wanted of it taken care of: it need not be kept for us."""
        if self._confirmed >= self._told and self._log_end - self._moved >= IDLE_BYTES:
            self._told = self._confirmed = self._log_end

    async def confirm(self, position: Position) -> None:
        """All up to here was taken care of; the slot is moved with the next question, or when this is closed."""
        if isinstance(position, int):
            self._confirmed = max(self._confirmed, position)

    async def _move(self) -> None:
        if self._confirmed <= self._moved:
            return
        target = self._confirmed
        if self._kept is not None:
            await self._asked(self._kept, "advance", self._slot, lsn_text(target))
        else:
            async with self._database.autocommit() as connection:
                await self._asked(connection, "advance", self._slot, lsn_text(target))
        self._moved = target

    async def _asked(self, connection: Connection, name: str, *values: Any) -> Rows:
        """The answer to a question about the slot, or what is wrong with it."""
        return await self._run(connection, written(_SQL)[name], values, making=name == "create")

    async def _run(
        self, connection: Connection, statement: str, values: tuple[Any, ...] = (), *, making: bool = False
    ) -> Rows:
        try:
            return await connection.exec_driver_sql(statement, values)
        except Exception as error:
            if (meant := self._meant(sqlstate(error), error, making=making)) is None:
                raise
            raise meant from error

    def _meant(self, state: str | None, error: Exception, *, making: bool) -> StoreError | None:
        if state == _IN_USE:
            return self._in_use()
        if making and state in _NO_SLOT:
            mend = "See what the server lacks: tercet doctor"
            return FeedRefused("postgres", reason=f"no slot can be made ({_said(error)})", mend=mend)
        if not making and state in {_GONE, _CUT_OFF}:
            return self._lost("its slot is gone" if state == _GONE else "its slot was cut off")
        return None

    def _lost(self, reason: str) -> PositionLost:
        return PositionLost("postgres", place=self._named or self._slot, reason=reason)

    def _in_use(self) -> FeedRefused:
        reason = f"the slot {self._named or self._slot} is being read by another connection"
        return FeedRefused("postgres", reason=reason, mend="It is free when that one ends; one reader a slot.")

    async def close(self) -> None:
        """Move the slot to what was confirmed, and let go; a temporary slot is gone then. Twice is fine."""
        kept, self._kept = self._kept, None
        decoder, self._decoder = self._decoder, None
        if decoder is None:
            return
        decoder.close()
        # A connection that is gone has taken its transaction and its temporary slot along.
        with suppress(Exception):
            await self._end()
            if kept is None:
                await self._move()
        if kept is not None:
            with suppress(Exception):
                # Its connection goes back into the pool, and would keep the slot.
                await asyncio.shield(kept.exec_driver_sql(written(_SQL)["give_up"], (self._slot,)))
            with suppress(Exception):
                await self._stack.aclose()


def _said(error: BaseException) -> str:
    return str(getattr(error, "orig", error)).partition("\n")[0].rpartition(": ")[2].rstrip(".")


async def _ask(connection: Connection, name: str, *values: Any) -> Sequence[Any]:
    return (await connection.exec_driver_sql(written(_SQL)[name], values)).all()


@asynccontextmanager
async def _block(connection: Connection) -> AsyncIterator[Connection]:
    """A transaction on a connection whose statements otherwise stand alone."""
    await connection.exec_driver_sql("begin")
    try:
        yield connection
    finally:
        # Nothing is written in it; a connection that is gone has taken it along.
        with suppress(Exception):
            await asyncio.shield(connection.exec_driver_sql("rollback"))
