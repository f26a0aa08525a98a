"""A database with a table, a publication and whoever follows it; no slot and no connection is left at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import asyncpg
import pytest

from tercet.changes import Changes, Commit, Position, Subscription, Wants
from tercet.changes.stream.postgres import postgres_changes
from tercet.clock import SystemClock
from tercet.settings import Settings
from tercet.telemetry import Event, Telemetry

# Both cores may be taken: nothing here is about how fast PostgreSQL answers.
PATIENCE_SECONDS = 90.0


class Heard:
    """A listener that remembers what it was told."""

    def __init__(self, *tables: str, prefixes: tuple[str, ...] = ()) -> None:
        self.wants = Wants(dict.fromkeys(tables), prefixes)
        self.commits: list[Commit] = []
        self.why: list[str] = []
        # Closed: it takes as long as the test likes.
        self.gate = asyncio.Event()
        self.gate.set()

    async def hear(self, commits: Sequence[Commit]) -> None:
        """Remember them, once the gate is open."""
        await self.gate.wait()
        self.commits += commits

    async def resync(self, why: str) -> None:
        """Remember why."""
        self.why.append(why)

    @property
    def ids(self) -> list[object]:
        """The ids of the rows that were told, in their order."""
        return [change.new.get("id", change.old.get("id")) for commit in self.commits for change in commit.changes]

    @property
    def said(self) -> list[bytes]:
        """The messages that were told."""
        return [message.content for commit in self.commits for message in commit.messages]

    @property
    def positions(self) -> list[Position]:
        """Where each of them ends."""
        return [commit.position for commit in self.commits]


class Shop:
    """The database, a connection to it, and the feeds that the test makes."""

    def __init__(self, url: str, sql: asyncpg.Connection) -> None:
        self.url, self.sql = url, sql
        self.told: list[Event] = []
        self._made: list[Changes] = []

    def changes(self, service: str = "shop", *, publication: str = "tercet", words: str = "", **more: bool) -> Changes:
        """As one process of the service has it; `words` are added to the address."""
        settings = Settings.read({"postgres": self.url + words}, environ={})
        telemetry = Telemetry()
        telemetry.listen(self.told.append)
        made = postgres_changes(
            settings, clock=SystemClock(), telemetry=telemetry, publication=publication, service=service, **more
        )
        self._made.append(made)
        return made

    async def follow(self, heard: Heard, *, durable: str | None = None, service: str = "shop") -> Subscription:
        """A subscription that is heard."""
        subscription = self.changes(service).subscribe(heard, durable=durable)
        await subscription.ready()
        return subscription

    async def slots(self) -> list[str]:
        """The slots of this database."""
        rows = await self.sql.fetch(
            "select slot_name from pg_replication_slots where database = current_database() order by 1"
        )
        return [row[0] for row in rows]

    async def others(self) -> int:
        """How many connections of others there are to this database, walsenders too."""
        return int(
            await self.sql.fetchval(
                "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
            )
        )

    async def close_feeds(self) -> None:
        """End every feed that was made."""
        await asyncio.gather(*(one.close() for one in self._made))

    async def close(self) -> None:
        """End the feeds, and drop the slots that are kept: a database with a slot cannot be dropped."""
        await self.close_feeds()
        # A server ends a connection some time after its client has.
        await until(self._dropped)
        await self.sql.close()

    async def _dropped(self) -> bool:
        await self.sql.execute(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots "
            "where database = current_database() and not active"
        )
        return not await self.slots()


@pytest.fixture
async def shop(postgres_url: str) -> AsyncIterator[Shop]:
    """A database of its own with a table `t` that is published."""
    sql = await asyncpg.connect(postgres_url)
    await sql.execute("create table t (id int primary key, word text); create publication tercet for table t")
    made = Shop(postgres_url, sql)
    try:
        yield made
    finally:
        await made.close()


async def until(holds: Callable[[], object]) -> None:
    """Wait until this is so; what it answers may have to be waited for."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            answer = holds()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return
            await asyncio.sleep(0.01)


@pytest.fixture
def heard() -> Callable[..., Heard]:
    """Makes listeners."""
    return Heard


@pytest.fixture(name="until")
def _until() -> Callable[[Callable[[], object]], object]:
    """Waits for a condition."""
    return until
