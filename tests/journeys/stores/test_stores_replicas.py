"""Reading on a real standby that streams: tokens, a replay that stands still, a standby that goes and comes back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import pytest
import pytest_asyncio
import sqlalchemy.exc
from sqlalchemy import text

from tercet.changes.transaction import Transaction, Transactions
from tercet.errors import StoreUnreachable, UsageError
from tercet.stores import HealthCheck
from tercet.stores.reads.postgres_replicas import Replicas
from tercet.stores.reads.token import ReadToken
from tercet.tercet import Tercet
from tercet.witness import Moment, Witness, watched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncSession

# Longer than any standby here is behind, however busy the machine.
LONG = "120s"
SHORT = "50ms"


class Standby(Protocol):
    """The standby, as conftest.py makes it."""

    def url(self, of: str) -> str:
        """Its address for a database."""
        ...

    def start(self) -> None:
        """Bring it up."""
        ...

    def stop(self) -> None:
        """Take it down."""
        ...

    def send(self, number: signal.Signals) -> None:
        """Send this to all its processes."""
        ...


async def until(what: Callable[[], bool]) -> None:
    """Wait until this is so."""
    async with asyncio.timeout(60):
        while not what():
            await asyncio.sleep(0.005)


@pytest_asyncio.fixture
async def db(postgres_url: str, standby: Standby) -> AsyncIterator[Tercet]:
    """A fresh database, which the standby has too."""
    async with Tercet(postgres=postgres_url, postgres_replica_url=standby.url(postgres_url), close_wait=0) as made:
        async with made.postgres.transaction() as connection:
            await connection.exec_driver_sql("CREATE TABLE thing (id serial PRIMARY KEY)")
        yield made


@asynccontextmanager
async def opened(db: Tercet, look: str = LONG) -> AsyncIterator[Replicas]:
    """Its replicas."""
    made = Replicas(db.postgres, db.settings, clock=db.clock, telemetry=db.telemetry, look=look)
    made.open()
    try:
        yield made
    finally:
        await made.close()


@pytest_asyncio.fixture
async def replicas(db: Tercet) -> AsyncIterator[Replicas]:
    """The standby as a replica that has all there is."""
    async with opened(db) as made:
        await until(lambda: made.probes[0].is_up)
        token = await (await write(db)).token()
        assert await made.probes[0].reaches(token.at, 120)
        yield made


async def write(db: Tercet) -> Transaction:
    """One row more."""
    async with Transactions(db.postgres, clock=db.clock, telemetry=db.telemetry).begin() as tx:
        await tx.session.execute(text("INSERT INTO thing DEFAULT VALUES"))
    return tx


async def count(session: AsyncSession) -> int:
    """How many rows there are."""
    rows: int = (await session.execute(text("SELECT count(*) FROM thing"))).scalar_one()
    return rows


async def on_standby(session: AsyncSession) -> bool:
    """Whether a standby answers."""
    yes: bool = (await session.execute(text("SELECT pg_is_in_recovery()"))).scalar_one()
    return yes


async def seen_there(replicas: Replicas, token: ReadToken, moment: Moment) -> None:
    """A load on the standby sees this; the server's own work may keep it from being sure for a moment."""
    async with asyncio.timeout(60):
        while True:
            with watched(Witness()) as witness:
                async with replicas.reading(token, within=LONG) as session:
                    assert await on_standby(session)
            if witness.sees(moment):
                return
            await asyncio.sleep(0.05)


@asynccontextmanager
async def standing_still(db: Tercet, standby: Standby) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """The standby gets the log and does not replay it, until it is told to or the block ends."""
    address = standby.url(db.settings.url("postgres").reveal())  # type: ignore[union-attr] # it has one
    async with Tercet(postgres=address) as direct, direct.postgres.autocommit() as connection:
        await connection.exec_driver_sql("SELECT pg_wal_replay_pause()")
        state = "SELECT pg_get_wal_replay_pause_state()"
        async with asyncio.timeout(60):
            while (await connection.exec_driver_sql(state)).scalar_one() != "paused":
                await asyncio.sleep(0.005)

        async def resume() -> None:
            await connection.exec_driver_sql("SELECT pg_wal_replay_resume()")

        try:
            yield resume
        finally:
            await resume()


async def test_a_reader_with_a_token_finds_what_was_written_on_the_replica(db: Tercet, replicas: Replicas) -> None:
    """As the value, as its text, and for many readers at once; without waiting there is the primary."""
    for written in range(2, 12):
        token = await (await write(db)).token()
        async with replicas.reading(token if written % 2 else str(token), within=LONG) as session:
            assert (await on_standby(session), await count(session)) == (True, written)

    async def read(token: ReadToken) -> tuple[bool, bool]:
        async with replicas.reading(token, within=LONG) as session:
            return await on_standby(session), await count(session) >= 12

    token = await (await write(db)).token()
    assert await asyncio.gather(*(read(token) for _ in range(20))) == [(True, True)] * 20


async def test_a_replica_that_stands_still_is_waited_for_and_then_passed_by(
    db: Tercet, replicas: Replicas, standby: Standby
) -> None:
    """The primary answers who cannot wait; who can gets the replica as soon as it has come so far."""
    async with standing_still(db, standby) as resume:
        tx = await write(db)
        token = await tx.token()
        async with replicas.reading(token, within=SHORT) as session:
            assert (await on_standby(session), await count(session)) == (False, 2)
        async with replicas.reading(token, within=0) as session:
            assert not await on_standby(session)
        with watched(Witness()) as witness:
            async with replicas.reading(within=LONG) as session:
                assert (await on_standby(session), await count(session)) == (True, 1)
        assert tx.moment is not None
        assert witness.sees(tx.moment) is False, "a load from there is not to be kept"

        async def read() -> tuple[bool, int]:
            async with replicas.reading(token, within=LONG) as session:
                return await on_standby(session), await count(session)

        reader = asyncio.create_task(read())
        await until(lambda: bool(replicas.probes[0]._waiting))
        assert not reader.done()
        await resume()
        assert await reader == (True, 2)
        await seen_there(replicas, token, tx.moment)
        assert replicas.probes[0]._waiting == {}


async def test_a_standby_proves_nothing_of_what_began_before_a_transaction_that_runs(
    db: Tercet, replicas: Replicas
) -> None:
    """Its snapshot does not name the transactions that run on the primary, so it must not be taken at its word."""
    assert db.postgres.source is not None
    async with db.postgres.connection() as running:
        await running.execute(text("INSERT INTO thing DEFAULT VALUES"))
        xid = (await running.execute(text("SELECT pg_current_xact_id()::text"))).scalar_one()
        later = await write(db)
        with watched(Witness()) as witness:
            async with replicas.reading(await later.token(), within=LONG) as session:
                told = (await session.execute(text("SELECT pg_current_snapshot()::text"))).scalar_one()
                assert (await on_standby(session), await count(session)) == (True, 2)
        xmin, xmax, named = told.split(":")
        assert int(xmin) <= int(xid) < int(xmax), "it is open on the standby too"
        assert named == "", "and is not named; where it is one day, this can be told more exactly"
        assert witness.sees(Moment(db.postgres.source, int(xid))) is False
        await running.commit()
    token = await (await write(db)).token()
    async with replicas.reading(token, within=LONG) as session:
        assert (await on_standby(session), await count(session)) == (True, 4)
    await seen_there(replicas, token, Moment(db.postgres.source, int(xid)))


async def test_writes_are_refused_alike_wherever_the_session_runs(db: Tercet, replicas: Replicas) -> None:
    """So that nobody's program works only because the replica was away."""
    forever = ReadToken(str(db.postgres.source), 2**63)
    states = []
    for token in (None, forever):
        async with replicas.reading(token, within=LONG if token is None else SHORT) as session:
            states.append(await on_standby(session))
            with pytest.raises(sqlalchemy.exc.DBAPIError) as caught:
                await session.execute(text("INSERT INTO thing DEFAULT VALUES"))
            states.append(caught.value.orig.sqlstate)  # type: ignore[union-attr] # the driver's own error
    assert states == [True, "25006", False, "25006"]


async def test_a_replica_that_goes_is_passed_by_until_it_is_back(
    db: Tercet, replicas: Replicas, standby: Standby
) -> None:
    """Who is on it gets an error, the next ones the primary; health and pools show it all the time."""

    async def reading_when_it_stops() -> None:
        async with replicas.reading(within=LONG) as session:
            await session.execute(text("SELECT 1"))
            await asyncio.to_thread(standby.stop)
            await session.execute(text("SELECT 1"))

    check = HealthCheck(
        [db.postgres.probe],
        clock=db.clock,
        telemetry=db.telemetry,
        replicas=replicas.probes,
        pools=lambda: (*db.pools(), *replicas.pools()),
    )
    place = replicas.probes[0].replica
    assert [one.replica for one in replicas.pools()] == [place]
    shown = (await check.look()).stores[1]
    assert (shown.status, shown.replica, shown.role) == ("pass", place, "replica")
    assert shown.pool is not None
    try:
        with pytest.raises(StoreUnreachable):
            await reading_when_it_stops()
        for _ in range(3):
            async with replicas.reading(within=LONG) as session:
                assert not await on_standby(session)
        fresh = HealthCheck([db.postgres.probe], clock=db.clock, telemetry=db.telemetry, replicas=replicas.probes)
        health = await fresh.look()
        assert (health.status, [one.status for one in health.stores]) == ("warn", ["pass", "fail"])
    finally:
        await asyncio.to_thread(standby.start)
    token = await (await write(db)).token()
    await until(lambda: replicas.probes[0].is_up)
    async with replicas.reading(token, within=LONG) as session:
        assert (await on_standby(session), await count(session)) == (True, 2)


async def test_a_replica_that_freezes_is_passed_by_until_it_thaws(db: Tercet, standby: Standby) -> None:
    """It keeps its connections and says nothing, so it is asked now and then whether it is still there."""
    async with opened(db, look="500ms") as replicas:
        await until(lambda: replicas.probes[0].is_up)
        await asyncio.to_thread(standby.send, signal.SIGSTOP)
        try:
            await until(lambda: not replicas.probes[0].is_up)
            token = await (await write(db)).token()
            async with replicas.reading(token, within=LONG) as session:
                assert (await on_standby(session), await count(session)) == (False, 1)
        finally:
            await asyncio.to_thread(standby.send, signal.SIGCONT)
        await until(lambda: replicas.probes[0].is_up)
        assert (await replicas.probes[0].look()).role == "replica"


async def test_of_two_replicas_the_one_that_is_there_answers(db: Tercet, postgres_url: str, standby: Standby) -> None:
    """One that was never there costs nobody anything, and closing does not wait for it."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        gone = f"postgresql://postgres@127.0.0.1:{nobody.getsockname()[1]}/none"
        settings = type(db.settings).read(
            {"postgres": postgres_url, "postgres_replica_url": [gone, standby.url(postgres_url)]}
        )
        made = Replicas(db.postgres, settings, clock=db.clock, telemetry=db.telemetry, look=LONG)
        made.open()
        try:
            await until(lambda: made.probes[1].is_up and made.probes[0]._tried.is_set())
            token = await (await write(db)).token()
            for _ in range(4):
                async with made.reading(token, within=LONG) as session:
                    assert await on_standby(session)
            assert (made.probes[0].is_up, len(made.pools())) == (False, 1)
            with pytest.raises(StoreUnreachable):
                await made.probes[0].look()
        finally:
            await made.close()
            await made.close()


async def test_without_a_replica_the_primary_answers(db: Tercet, postgres_url: str) -> None:
    """Also a token that no replica can know; one of another store is a mistake."""
    none = Replicas(
        db.postgres, type(db.settings).read({"postgres": postgres_url}), clock=db.clock, telemetry=db.telemetry
    )
    none.open()
    async with none.reading(await (await write(db)).token()) as session:
        assert (await on_standby(session), await count(session)) == (False, 1)
    with pytest.raises(UsageError, match="another store"):
        async with none.reading("mongo:rs0@5F00"):
            pass
    with pytest.raises(UsageError, match="no read token"):
        async with none.reading("16/B374D848"):
            pass
    await none.close()


async def test_a_token_of_another_server_is_not_waited_for(db: Tercet, replicas: Replicas) -> None:
    """Its positions mean nothing here, so the primary answers."""
    async with replicas.reading(ReadToken("pg:1", 1), within=LONG) as session:
        assert not await on_standby(session)


async def test_a_reader_that_gives_up_leaves_nothing_behind(db: Tercet, replicas: Replicas, standby: Standby) -> None:
    """No connection stays out, and nobody asks for the position any more."""
    async with standing_still(db, standby):
        token = await (await write(db)).token()

        async def read() -> None:
            async with replicas.reading(token, within=LONG) as session:
                await count(session)

        reader = asyncio.create_task(read())
        await until(lambda: bool(replicas.probes[0]._waiting))
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await until(lambda: replicas.probes[0]._poller is None)
        assert (replicas.probes[0]._waiting, replicas.pools()[0].in_use) == ({}, 0)


def test_the_command_shows_the_replica_too(postgres_url: str, standby: Standby, tmp_path: Path) -> None:
    """`tercet health` has a line for it, and is content while it follows."""
    replica = standby.url("postgresql://h/postgres")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TERCET_")}
    ours = {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "TERCET_POSTGRES_URL": postgres_url,
        "TERCET_POSTGRES_REPLICA_URL": replica,
    }
    words = [sys.executable, "-c", "import sys; from tercet.cli.main import main; sys.exit(main())", "health", "--json"]
    found = subprocess.run(words, env=clean | ours, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    roles = [one["role"] for one in json.loads(found.stdout)["checks"]["postgres:responseTime"]]
    assert roles == ["primary", "replica"]
