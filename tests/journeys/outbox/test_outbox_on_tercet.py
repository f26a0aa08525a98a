"""The outbox as it hangs on a Tercet: in several processes and services, and when one of them closes."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from tercet import Tercet
from tercet.changes import Wants
from tercet.changes.feeding.place import Place
from tercet.changes.outbox import Event
from tercet.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tercet.changes import Commit

# Both cores may be taken: nothing here is about how fast an event arrives.
PATIENCE_SECONDS = 90.0

SLOTS = "select slot_name from pg_replication_slots where database = current_database()"


class Told(Event, key="n", name_as="on_tercet.Told"):
    """Something was told."""

    n: int


@pytest_asyncio.fixture
async def logged(db: Tercet) -> AsyncIterator[Tercet]:
    """A database whose log is told, and no slot left behind in it."""
    async with db.postgres.autocommit() as connection:
        await connection.exec_driver_sql("create publication tercet")
    await db.outbox.install()
    yield db
    async with asyncio.timeout(PATIENCE_SECONDS), db.postgres.autocommit() as connection:
        while (await connection.exec_driver_sql(SLOTS)).all():
            # A server ends a connection, and lets go of its slot, some time after its client has.
            await connection.exec_driver_sql(
                "select pg_drop_replication_slot(slot_name) from pg_replication_slots "
                "where database = current_database() and not active"
            )
            await asyncio.sleep(0.02)


async def _reading(*processes: Tercet) -> None:
    """One of them reads the log, and what is emitted goes there."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not any(one.state == "reading" for db in processes for one in db.changes.status()):
            await asyncio.sleep(0.02)
        async with processes[0].postgres.autocommit() as connection:
            while not (await connection.exec_driver_sql(f"{SLOTS} and not temporary")).all():
                await asyncio.sleep(0.02)


async def _told(seen: list[Any], many: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(seen) < many:
            await asyncio.sleep(0.02)


async def test_services_that_share_an_outbox_are_told_of_an_event_once(logged: Tercet, postgres_url: str) -> None:
    """Two services with handlers of their own read one slot, or each would be told what the other parks for it."""
    seen: list[tuple[str, int]] = []
    web = Tercet(postgres=postgres_url, application_name="web")
    work = Tercet(postgres=postgres_url, application_name="work")

    @web.on(Told, name="web")
    async def first(event: Told) -> None:
        seen.append(("web", event.n))

    @work.on(Told, name="work")
    async def second(event: Told) -> None:
        seen.append(("work", event.n))

    async with web, work:
        await _reading(web, work)
        for n in (1, 2, 3):
            async with web.transaction() as tx:
                # Of one key: when the last has come, the others have.
                tx.emit(Told(n=n))
            await _told(seen, 2 * n)
        async with logged.postgres.autocommit() as connection:
            assert len((await connection.exec_driver_sql(SLOTS)).all()) == 1
    assert sorted(seen) == [(who, n) for who in ("web", "work") for n in (1, 2, 3)]


async def test_a_consumer_is_told_of_all_that_is_emitted_once_it_is_open(logged: Tercet, postgres_url: str) -> None:
    """Also when the process that reads the log has not heard of it yet."""
    seen: list[tuple[str, int]] = []
    old, new = Tercet(postgres=postgres_url), Tercet(postgres=postgres_url)

    @old.on(Told, name="old")
    async def first(event: Told) -> None:
        seen.append(("old", event.n))

    @new.on(Told, name="new")
    async def second(event: Told) -> None:
        seen.append(("new", event.n))

    async with old:
        await _reading(old)
        async with new:
            async with old.transaction() as tx:
                tx.emit(Told(n=1))
            await _told(seen, 2)
    assert sorted(seen) == [("new", 1), ("old", 1)]


async def test_a_handler_that_runs_while_it_is_closed_has_its_stores(db: Tercet, postgres_url: str) -> None:
    """It ends, and that it has ended is written down: nobody is given the event again."""
    await db.outbox.install()
    began, seen = asyncio.Event(), list[int]()
    other = Tercet(postgres=postgres_url)

    @other.on(Told, name="slow")
    async def handle(event: Told) -> None:
        began.set()
        while not other.outbox.relay.is_closing:
            await asyncio.sleep(0.01)
        async with other.postgres.connection() as connection:
            await connection.exec_driver_sql("select 1")
        seen.append(event.n)

    async with asyncio.timeout(PATIENCE_SECONDS), other:
        async with other.transaction() as tx:
            tx.emit(Told(n=1))
        await began.wait()
    assert seen == [1]
    async with db.postgres.connection() as connection:
        left = await connection.exec_driver_sql("select id from tercet.outbox union all select id from tercet.parked")
        assert left.all() == []


async def test_a_handler_that_is_declared_too_late_is_refused_or_works(db: Tercet, postgres_url: str) -> None:
    """On a Tercet that hands nothing on it says so; on one that does, it is told what is emitted from then on."""
    await db.outbox.install()
    seen: list[int] = []

    async def handle(event: Told) -> None:
        seen.append(event.n)

    async with Tercet(postgres=postgres_url) as other:
        with pytest.raises(UsageError, match="open"):
            other.on(Told, name="late")(handle)
    other = Tercet(postgres=postgres_url)

    @other.on(Told, name="early")
    async def early(event: Told) -> None:
        seen.append(-event.n)

    async with other:
        other.on(Told, name="late")(handle)
        async with other.transaction() as tx:
            tx.emit(Told(n=1))
        await _told(seen, 2)
    assert sorted(seen) == [-1, 1]


async def test_what_is_subscribed_before_the_opening_begins_with_it(logged: Tercet, postgres_url: str) -> None:
    """Also where the loop runs already: nothing is asked of a store that is not open, and nothing has failed."""
    assert logged.has("postgres")
    other = Tercet(postgres=postgres_url)
    subscription = other.changes.subscribe(_Deaf())
    # Whatever it would begin by itself has its turn here.
    await asyncio.sleep(0.3)
    assert subscription.status().error is None
    async with asyncio.timeout(PATIENCE_SECONDS), other:
        await subscription.ready()
    assert subscription.status().state == "closed"


class _Deaf:
    """A listener who wants nothing."""

    wants = Wants()

    async def hear(self, commits: Sequence[Commit]) -> None:
        """Nothing comes."""

    async def resync(self, why: str) -> None:
        """Nothing was missed."""


_WITHOUT_PSYCOPG = """
import asyncio, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "psycopg":
            raise ImportError(name)

sys.meta_path.insert(0, Missing())
from tercet import Tercet

async def main():
    async with Tercet(postgres=sys.argv[1]) as db, db.transaction() as tx:
        print((await tx.session.connection()).closed)

asyncio.run(main())
"""


async def test_a_transaction_needs_no_driver_of_the_feed(postgres_url: str) -> None:
    """Whoever follows nothing has not installed the extra that brings psycopg."""
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WITHOUT_PSYCOPG, postgres_url, stdout=PIPE, stderr=PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    out, errors = await run.communicate()
    assert (out, run.returncode) == (b"False\n", 0), errors.decode()


async def test_an_event_of_another_key_does_not_queue_behind_the_table(logged: Tercet, postgres_url: str) -> None:
    """Earlier events of its key may be in the log: emitted together with one that waits, it follows them there."""
    slot = Place(f"tercet_{urlsplit(postgres_url).path[1:]}", "outbox", durable=True).slot
    async with logged.postgres.autocommit() as connection:
        # As an old transaction keeps it: nobody hands it on before that is over.
        await connection.exec_driver_sql(
            "insert into tercet.outbox (id, outbox, type, key, content) "
            "values (gen_random_uuid(), 'tercet', 'on_tercet.Told', '1', '')"
        )
        await connection.exec_driver_sql("select pg_create_logical_replication_slot($1, 'pgoutput')", (slot,))
    async with Tercet(postgres=postgres_url) as writer, writer.transaction() as tx:
        tx.emit(Told(n=1), Told(n=2))
    async with logged.postgres.connection() as connection:
        rows = await connection.exec_driver_sql("select key from tercet.outbox order by seq")
        assert [key for (key,) in rows.all()] == ["1", "1"]
