"""The stores of a test, opened, and a reader of a slot by plain SQL."""

from __future__ import annotations

import asyncio
import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from tercet import Tercet
from tercet.changes import Commit, Message
from tercet.witness import Moment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tercet.changes import Listener

# A machine that does ten things at once still comes to it.
PATIENCE_SECONDS = 60.0

_PEEK = """
select lsn::text, data from pg_logical_slot_peek_binary_changes(
    :slot, null, null, 'proto_version', '1', 'publication_names', 'nothing', 'messages', 'true')
"""


class SqlFeed:
    """Reads a slot again and again by SQL, and confirms what was heard: a feed of the simplest kind."""

    def __init__(self, db: Tercet, slot: str) -> None:
        self._db, self.slot = db, slot
        self._task: asyncio.Task[None] | None = None

    async def make(self) -> None:
        """The slot, and a publication of nothing, since messages need none."""
        async with self._db.postgres.autocommit() as connection:
            await connection.exec_driver_sql("create publication nothing")
            await connection.execute(
                text("select pg_create_logical_replication_slot(:slot, 'pgoutput')"), {"slot": self.slot}
            )

    async def drop(self) -> None:
        """The slot is gone, if it was there."""
        await _drop_slots(self._db, self.slot)

    async def peek(self) -> list[Commit]:
        """What was committed with messages of an outbox and not confirmed."""
        # The servers of tests write their log to disk a moment after the commit, and a slot shows what is on disk.
        async with self._db.postgres.transaction() as connection:
            await connection.exec_driver_sql("set local synchronous_commit = on")
            await connection.exec_driver_sql("select pg_logical_emit_message(true, 'flushed', '')")
        async with self._db.postgres.transaction() as connection:
            rows = (await connection.execute(text(_PEEK), {"slot": self.slot})).all()
        found: list[Commit] = []
        messages: list[Message] = []
        xid = 0
        for _, data in rows:
            match data[:1]:
                case b"B":
                    (xid,), messages = struct.unpack_from(">I", data, 17), []
                case b"M":
                    end = data.index(b"\0", 10)
                    if data[10:end].startswith(b"tercet:"):
                        messages.append(Message(data[10:end].decode(), data[end + 5 :]))
                case b"C":
                    (position,) = struct.unpack_from(">Q", data, 10)
                    if messages:
                        found.append(Commit(Moment("pg:test", xid), position, datetime.now(UTC), (), tuple(messages)))
        return found

    async def confirm(self, commit: Commit) -> None:
        """Go on from behind this one."""
        assert isinstance(commit.position, int)
        place = f"{commit.position >> 32:X}/{commit.position & 0xFFFFFFFF:X}"
        async with self._db.postgres.autocommit() as connection:
            await connection.execute(
                text("select pg_replication_slot_advance(:slot, cast(cast(:place as text) as pg_lsn))"),
                {"slot": self.slot, "place": place},
            )

    async def step(self, listener: Listener) -> int:
        """Hand on what there is, and confirm it."""
        commits = await self.peek()
        if commits:
            await listener.hear(commits)
            await self.confirm(commits[-1])
        return len(commits)

    def subscribe(self, listener: Listener, *, durable: str | None = None, service: str | None = None) -> SqlFeed:
        """Do so until it is closed."""
        assert durable is not None
        self._task = asyncio.create_task(self._read(listener))
        return self

    async def _read(self, listener: Listener) -> None:
        while True:
            if not await self.step(listener):
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Read no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


async def _drop_slots(db: Tercet, like: str) -> None:
    """Drop the slots of these names; whoever was told to read no more may hold his for a moment."""
    mine = "from pg_replication_slots where database = current_database() and slot_name like :like"
    async with asyncio.timeout(PATIENCE_SECONDS), db.postgres.autocommit() as connection:
        while True:
            drop = text(f"select pg_drop_replication_slot(slot_name) {mine} and not active")
            await connection.execute(drop, {"like": like})
            if not (await connection.execute(text(f"select count(*) {mine}"), {"like": like})).scalar_one():
                return
            await asyncio.sleep(0.01)


@pytest.fixture
async def db(postgres_url: str, mongo_url: str, redis_url: str) -> AsyncIterator[Tercet]:
    """All three stores, open; slots that a test leaves are gone, so that its database can go too."""
    async with Tercet(postgres=postgres_url, mongo=mongo_url, redis=redis_url) as opened:
        yield opened
        await _drop_slots(opened, "%")


@pytest.fixture
async def feed(db: Tercet) -> AsyncIterator[SqlFeed]:
    """A reader with its slot."""
    one = SqlFeed(db, f"outbox_{(await _name(db))}")
    await one.make()
    yield one
    await one.close()
    await one.drop()


async def _name(db: Tercet) -> Any:
    async with db.postgres.transaction() as connection:
        return (await connection.execute(text("select current_database()"))).scalar()


@pytest.fixture
def until() -> Callable[..., Any]:
    """Waits for a condition, with patience."""

    async def wait(holds: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                found = holds()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return
                await asyncio.sleep(0.01)

    return wait
