"""A change can be told before its row is to be seen: on a real PostgreSQL, nothing that was read too early is kept.

A standby that is waited for and never answers holds commits back after they are told, for as long as a test likes.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from sqlalchemy import text

from tercet.cache import Cache
from tercet.cache.loading import doubt
from tercet.changes.stream.postgres import postgres_changes
from tercet.clock import SystemClock
from tercet.errors import UsageError
from tercet.settings import Settings
from tercet.telemetry import Telemetry
from tercet.tercet import Tercet
from tercet.witness import Moment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from tercet.cache.follow import Following
    from tercet.changes import Commit, Wants
    from tercet.witness import Seen

# On a machine that does other things too: nothing here is about how fast it is.
PATIENCE_SECONDS = 120.0
DEADLINE = "30s"

# Rows that are told and not to be seen at one time, how often, and how many caches read each of them at once.
HELD, TIMES, READS = 25, 4, 10

MADE = (
    "CREATE TABLE things (id int PRIMARY KEY, owner int NOT NULL, n int NOT NULL)",
    "CREATE UNIQUE INDEX things_identity ON things (owner, id)",
    "ALTER TABLE things REPLICA IDENTITY USING INDEX things_identity",
    f"INSERT INTO things SELECT id, 1, 0 FROM generate_series(1, {HELD * TIMES}) AS id",
    "CREATE PUBLICATION tercet FOR TABLE things",
)


# The servers of tests do not wait for their disk, nor for any standby, unless they are told to.
WAITING = {"synchronous_commit": "on"}


class Telling:
    """Hears what a following hears, and calls back with each row that has changed, at once."""

    def __init__(self, listener: Any, again: Any) -> None:
        self.listener, self.again = listener, again

    @property
    def wants(self) -> Wants:
        wants: Wants = self.listener.wants
        return wants

    async def hear(self, commits: Sequence[Commit]) -> None:
        await self.listener.hear(commits)
        for commit in commits:
            for change in commit.changes:
                if "id" in change.new:
                    self.again(change.new["id"])

    async def resync(self, why: str) -> None:
        await self.listener.resync(why)


class Service:
    """One process of a service: its pool, its feed, its cache."""

    def __init__(self, db: Tercet, cache: Cache, changes: Any) -> None:
        self.db, self.cache, self.changes = db, cache, changes
        self.read = 0
        self.tasks: set[asyncio.Task[Any]] = set()
        self.rows = [
            cache(tags=["thing:{row}"], name=f"things{number}", ttl="1h", type=int)(self.load)
            for number in range(READS)
        ]

    async def load(self, row: int) -> int:
        """What a row says now."""
        async with self.db.postgres.connection() as connection:
            found = await connection.execute(text("SELECT n FROM things WHERE id = :row"), {"row": row})
            return int(found.scalar_one())

    def again(self, row: Any) -> None:
        """Read it again, by all caches of it at once."""
        for load in self.rows:
            task = asyncio.get_running_loop().create_task(load(int(str(row))))
            self.tasks.add(task)
            task.add_done_callback(self.done)

    def done(self, task: asyncio.Task[Any]) -> None:
        """Count it."""
        self.tasks.discard(task)
        task.result()
        self.read += 1

    # ---- what a following asks of a feed ----

    def subscribe(self, listener: Any, *, durable: str | None = None, place: str | None = None) -> Any:
        return self.changes.subscribe(Telling(listener, self.again), durable=durable, place=place)

    async def seen(self) -> Seen | None:
        return await self.db.changes.seen()

    async def covered(self, tables: Mapping[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
        return await self.db.changes.covered(tables)

    async def until(self, reads: int) -> None:
        """Wait until so many reads have ended."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.read < reads:
                await asyncio.sleep(0.002)


class Server:
    """The server as its owner sees it."""

    def __init__(self, pool: asyncpg.Pool, url: str) -> None:
        self.pool, self.url = pool, url

    async def hold(self) -> None:
        """Let commits wait from now on."""
        await self._set("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "nobody")
        # Another process of the server has to see it too; until then a commit does not wait.
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self._waits():
                pass

    async def release(self) -> None:
        """Let those go that wait."""
        await self._set("ALTER SYSTEM RESET synchronous_standby_names", "")

    async def change(self, *rows: int) -> list[asyncio.Task[Any]]:
        """Change each row in a transaction of its own."""
        return [
            asyncio.ensure_future(self.pool.execute("UPDATE things SET n = n + 1 WHERE id = $1", row)) for row in rows
        ]

    async def _waits(self) -> bool:
        """Whether a commit waits for the standby; the one that is tried is given up."""
        probe = asyncio.ensure_future(self.pool.execute("SELECT pg_logical_emit_message(true, 'probe', '')"))
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'SyncRep'"
        try:
            while not probe.done():
                if await self.pool.fetchval(waiting):
                    return True
                await asyncio.sleep(0.002)
            await probe
            return False
        finally:
            probe.cancel()
            await asyncio.wait([probe])

    async def _set(self, statement: str, until: str) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(statement)
            await connection.execute("SELECT pg_reload_conf()")
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await connection.fetchval("SHOW synchronous_standby_names") != until:
                    await asyncio.sleep(0.002)
        finally:
            await connection.close()


@asynccontextmanager
async def service(postgres: str, redis: str | None) -> AsyncIterator[Service]:
    """A process that follows."""
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(Tercet(postgres=postgres, postgres_pool_size=6))
        settings = Settings.read({"postgres": postgres}, environ={})
        changes = postgres_changes(settings, clock=SystemClock(), telemetry=Telemetry(), service="race")
        stack.push_async_callback(changes.close)
        cache = await stack.enter_async_context(Cache(redis, ttl="1h", deadline=DEADLINE if redis else None))
        made = Service(db, cache, changes)
        try:
            yield made
        finally:
            for task in [*made.tasks]:
                task.cancel()
            await asyncio.gather(*made.tasks, return_exceptions=True)


@pytest.fixture
async def server(postgres_url: str) -> AsyncIterator[Server]:
    """A table that is published, on a server whose commits can be held back."""
    async with asyncpg.create_pool(postgres_url, min_size=HELD, max_size=HELD, server_settings=WAITING) as pool:
        made = Server(pool, postgres_url)
        for statement in MADE:
            await pool.execute(statement)
        try:
            yield made
        finally:
            await made.release()


def follow(one: Service) -> Following:
    """As a user does."""
    return one.cache.follow(one, {"things": ["thing:{id}", "owner:{owner}"]})


async def raced(one: Service, server: Server) -> int:
    """Change every row once, read each at once while it is not to be seen; what is old in the end."""
    following = follow(one)
    await following.ready()
    for time in range(TIMES):
        rows = range(time * HELD + 1, (time + 1) * HELD + 1)
        await server.hold()
        writing = await server.change(*rows)
        await one.until((time + 1) * HELD * READS)
        await server.release()
        await asyncio.gather(*writing)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while following.status().unsettled:
            await asyncio.sleep(0.02)
    old = 0
    for row in range(1, HELD * TIMES + 1):
        for load in one.rows:
            old += await load(row) != 1
    return old


@pytest.mark.parametrize("tier", ["redis", "memory"])
async def test_nothing_old_is_kept_of_a_thousand_reads_that_came_too_early(
    postgres_url: str, redis_url: str, server: Server, tier: str
) -> None:
    """Each was handed out and kept nowhere; what is read afterwards is kept as ever."""
    async with service(postgres_url, redis_url if tier == "redis" else None) as one:
        assert await raced(one, server) == 0
        stats = one.cache.stats()
        assert one.read == HELD * TIMES * READS
        assert stats.late_fills_refused > 0
        for row in (1, HELD * TIMES):
            assert await one.rows[0](row) == 1
        assert one.cache.stats().loads == stats.loads


async def test_without_the_rule_what_is_old_stays(
    postgres_url: str, redis_url: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is the rule that is tested above, and not luck."""
    monkeypatch.setattr(doubt, "may_keep", lambda _records, _witness: True)
    async with service(postgres_url, redis_url) as one:
        assert await raced(one, server) > 0


async def test_two_processes_share_one_relay_and_a_writer_hears_itself(
    postgres_url: str, redis_url: str, server: Server
) -> None:
    """The moment of a commit is heard in each, and what it has made old is gone there."""
    async with service(postgres_url, redis_url) as here, service(postgres_url, redis_url) as there:
        both = [follow(here), follow(there)]
        for one in both:
            await one.ready()
        assert sorted(one.status().relaying for one in both) == [False, True]
        assert [await one.rows[0](1) for one in (here, there)] == [0, 0]
        async with server.pool.acquire() as connection, connection.transaction():
            await connection.execute("UPDATE things SET n = 7 WHERE id = 1")
            xid = int(await connection.fetchval("SELECT pg_current_xact_id()::text"))
            assert here.db.postgres.source is not None
            moment = Moment(here.db.postgres.source, xid)
            assert not await both[0].heard(moment, 0)
        for one in both:
            assert await one.heard(moment, PATIENCE_SECONDS)
        assert [await one.rows[0](1) for one in (here, there)] == [7, 7]
        # A transaction that touches nothing that is followed says so by its mark.
        async with server.pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_logical_emit_message(true, 'tercet:mark', '')")
            xid = int(await connection.fetchval("SELECT pg_current_xact_id()::text"))
        for one in both:
            assert await one.heard(Moment(moment.source, xid), PATIENCE_SECONDS)


async def test_a_row_that_moves_drops_both_its_owners(postgres_url: str, redis_url: str, server: Server) -> None:
    """As a TRUNCATE drops everything, and a delete its own."""
    async with service(postgres_url, redis_url) as one:
        following = follow(one)
        counted = []

        @one.cache(tags=["owner:{owner}"], ttl="1h")
        async def things(owner: int) -> int:
            counted.append(owner)
            async with one.db.postgres.connection() as connection:
                asked = text("SELECT count(*) FROM things WHERE owner = :owner")
                return int((await connection.execute(asked, {"owner": owner})).scalar_one())

        await following.ready()

        async def are(first: int, second: int) -> None:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while [await things(1), await things(2)] != [first, second]:
                    await asyncio.sleep(0.01)

        whole = HELD * TIMES
        await are(whole, 0)
        await server.pool.execute("UPDATE things SET owner = 2 WHERE id = 1")
        await are(whole - 1, 1)
        await server.pool.execute("DELETE FROM things WHERE id = 1")
        await are(whole - 1, 0)
        assert following.status().wide == 0
        await server.pool.execute("TRUNCATE things")
        await are(0, 0)
        assert following.status().wide == 1


async def test_shapes_that_the_tables_cannot_tell_are_refused_before_anything_is_stale(
    postgres_url: str, redis_url: str, server: Server
) -> None:
    """Each says what to mend: a table, a column, an identity."""
    await server.pool.execute("CREATE TABLE plain (id int PRIMARY KEY, owner int)")
    async with service(postgres_url, redis_url) as one:
        for shapes, says in (
            ({"thing": "thing:{id}"}, "'thing': it is not there"),
            ({"things": "thing:{ownr}"}, "Do you mean 'owner'"),
            ({"plain": "owner:{owner}"}, "replica identity that has owner"),
        ):
            with pytest.raises(UsageError, match=says):
                await one.cache.follow(one.db.changes, shapes).ready()
        assert await one.db.changes.covered({"plain": frozenset({"id"})}) == {"plain": frozenset({"id"})}
        seen = await one.db.changes.seen()
        assert seen is not None
        assert seen.source == one.db.postgres.source
