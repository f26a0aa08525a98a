"""Transactions on a real server: events with their rows, savepoints, the moment, the token, the wait for the echo."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import sqlalchemy.exc
from sqlalchemy import text

from tercet.changes import MARK
from tercet.changes.transaction import Transaction, Transactions
from tercet.errors import UsageError
from tercet.stores.reads.token import ReadToken, lsn_number
from tercet.telemetry import Telemetry
from tercet.telemetry.event import Operation
from tercet.tercet import Tercet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tercet.changes import Connection
    from tercet.telemetry.event import Event
    from tercet.witness import Moment


class Outbox:
    """Writes events into a table, as an outbox would."""

    async def emit(self, connection: Connection, events: Sequence[object]) -> None:
        """One row each, in order."""
        for one in events:
            await connection.exec_driver_sql("INSERT INTO emitted (what) VALUES ($1)", (str(one),))


class Ear:
    """Follows, and hears when the test lets it."""

    def __init__(self, *, hears: bool | BaseException = True) -> None:
        self.listening = True
        self.hears = hears
        self.asked: list[Moment] = []

    async def heard(self, moment: Moment, within: float) -> bool:
        """As was told."""
        self.asked.append(moment)
        assert within > 0
        if isinstance(self.hears, BaseException):
            raise self.hears
        if not self.hears:
            await asyncio.Event().wait()
        return True


@pytest_asyncio.fixture
async def db(postgres_url: str) -> AsyncIterator[Tercet]:
    """A database with two tables."""
    async with Tercet(postgres=postgres_url, postgres_pool_size=4) as made:
        async with made.postgres.transaction() as connection:
            await connection.exec_driver_sql("CREATE TABLE thing (id int PRIMARY KEY, n int NOT NULL DEFAULT 0)")
            await connection.exec_driver_sql("CREATE TABLE emitted (at serial PRIMARY KEY, what text NOT NULL)")
        yield made


def transactions(db: Tercet, *, telemetry: Telemetry | None = None, **words: Any) -> Transactions:
    """Transactions with an outbox."""
    told = telemetry or db.telemetry
    return Transactions(db.postgres, clock=db.clock, telemetry=told, outbox=Outbox, **words)


async def emitted(db: Tercet) -> list[str]:
    """What the outbox has, in order."""
    async with db.postgres.session() as session:
        return list((await session.execute(text("SELECT what FROM emitted ORDER BY at"))).scalars())


async def things(db: Tercet) -> list[int]:
    """What the table has."""
    async with db.postgres.session() as session:
        return list((await session.execute(text("SELECT id FROM thing ORDER BY id"))).scalars())


async def put(tx: Transaction, number: int) -> None:
    """Write one row."""
    await tx.session.execute(text("INSERT INTO thing VALUES (:n)"), {"n": number})


async def commit_early(tx: Transaction) -> None:
    """What a transaction does not let its block do."""
    await put(tx, 2)
    await tx.session.commit()


async def test_events_commit_with_their_rows_in_order(db: Tercet) -> None:
    """They are in the outbox when the block has ended, and not before."""
    async with transactions(db).begin() as tx:
        tx.emit("first")
        await put(tx, 1)
        tx.emit("second", "third")
        assert tx.events == ("first", "second", "third")
        assert await emitted(db) == []
    assert (await emitted(db), await things(db)) == (["first", "second", "third"], [1])


async def test_nothing_of_a_transaction_that_raises_is_left(db: Tercet) -> None:
    """Neither rows nor events, and the error is the block's own."""
    tx = None
    with contextlib.suppress(ZeroDivisionError):
        async with transactions(db).begin() as tx:
            await put(tx, 1)
            tx.emit("never")
            raise ZeroDivisionError
    assert tx is not None
    assert (await emitted(db), await things(db), tx.moment) == ([], [], None)
    with pytest.raises(UsageError, match="not committed"):
        await tx.token()


async def test_events_without_rows_are_a_transaction_too(db: Tercet) -> None:
    """It writes through the outbox, so it has a moment."""
    async with transactions(db).begin() as tx:
        tx.emit("alone")
    assert await emitted(db) == ["alone"]
    assert tx.moment is not None


@pytest.mark.parametrize("own", [True, False], ids=["tx.savepoint", "session.begin_nested"])
async def test_what_was_emitted_in_a_savepoint_that_is_undone_is_undone(db: Tercet, own: bool) -> None:
    """Savepoints in savepoints too, whoever set them; what was emitted around them stays."""

    def savepoint(tx: Transaction) -> Any:
        return tx.savepoint() if own else tx.session.begin_nested()

    async with transactions(db).begin() as tx:
        tx.emit("before")
        with contextlib.suppress(ZeroDivisionError):
            async with savepoint(tx):
                tx.emit("outer")
                await put(tx, 1)
                async with savepoint(tx):
                    tx.emit("inner, released")
                raise ZeroDivisionError
        async with savepoint(tx):
            tx.emit("kept")
            with contextlib.suppress(sqlalchemy.exc.IntegrityError):
                async with savepoint(tx):
                    tx.emit("refused")
                    await put(tx, 2)
                    await put(tx, 2)
            await put(tx, 3)
        tx.emit("after")
    assert (await emitted(db), await things(db)) == (["before", "kept", "after"], [3])


async def test_a_rollback_of_the_session_takes_its_events_along(db: Tercet) -> None:
    """What is done after it is another transaction, and commits alone."""
    async with transactions(db).begin() as tx:
        await put(tx, 1)
        tx.emit("gone")
        await tx.session.rollback()
        await put(tx, 2)
        tx.emit("stays")
    assert (await emitted(db), await things(db)) == (["stays"], [2])


async def test_an_event_that_cannot_commit_with_its_rows_is_refused(db: Tercet) -> None:
    """After the end of the block, without an outbox, and around a commit in the middle of it."""
    async with transactions(db).begin() as tx:
        await put(tx, 1)
    with pytest.raises(UsageError, match="after the end of its transaction"):
        tx.emit("late")
    without = Transactions(db.postgres, clock=db.clock, telemetry=db.telemetry)
    with pytest.raises(UsageError, match="no outbox"):
        async with without.begin() as tx:
            tx.emit("nowhere")
    with pytest.raises(UsageError, match="committed inside its block"):
        await transactions(db).run(commit_early)
    assert (await emitted(db), await things(db)) == ([], [1])


async def test_a_commit_knows_its_moment_and_reading_alone_has_none(db: Tercet) -> None:
    """The number is the transaction's own, as its rows carry it."""
    async with transactions(db).begin() as tx:
        await put(tx, 1)
    async with transactions(db).begin() as reading:
        await reading.session.execute(text("SELECT 1"))
    async with transactions(db).begin() as idle:
        pass
    async with db.postgres.session() as session:
        xmin = (await session.execute(text("SELECT xmin::text::int FROM thing"))).scalar_one()
    assert tx.moment is not None
    assert (tx.moment.source, tx.moment.at % 2**32) == (db.postgres.source, xmin)
    assert (reading.moment, idle.moment) == (None, None)


@pytest.mark.parametrize("synchronous", ["on", "off"])
async def test_a_token_is_not_before_its_commit(db: Tercet, synchronous: str) -> None:
    """Whether the commit waited for the disk or not; and its text comes back as it was."""
    async with transactions(db).begin() as tx:
        await tx.session.execute(text(f"SET LOCAL synchronous_commit = {synchronous}"))
        await put(tx, 1)
        before = (await tx.session.execute(text("SELECT pg_current_wal_insert_lsn()::text"))).scalar_one()
    token = await tx.token()
    assert token.at > lsn_number(before)
    assert ReadToken.read(str(token)) == token
    assert token.source == db.postgres.source


async def test_a_commit_returns_when_its_own_process_has_heard_of_it(db: Tercet) -> None:
    """Every follower is asked for this very commit, after it; one that does not listen is not."""
    made, one, two, off = transactions(db, hear="60s"), Ear(), Ear(), Ear()
    off.listening = False
    ends = [made.followed_by(ear) for ear in (one, two, off)]
    async with made.begin() as tx:
        await put(tx, 1)
        assert one.asked == []
    assert one.asked == two.asked == [tx.moment]
    assert off.asked == []
    async with made.begin() as reading:
        await reading.session.execute(text("SELECT 1"))
    async with made.begin(hear=0) as quick:
        await put(quick, 2)
    assert one.asked == [tx.moment], "who wrote nothing, or does not want to, waits for nothing"
    for end in ends:
        end()
    async with made.begin() as last:
        await put(last, 3)
    assert one.asked == [tx.moment]


@pytest.mark.parametrize("hears", [False, OSError("its own trouble")], ids=["silence", "an error"])
async def test_a_follower_that_does_not_hear_does_not_undo_a_commit(
    db: Tercet, hears: bool | BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """The commit stands, it is told each time, and logged once until it hears again."""
    told: list[Event] = []
    telemetry = Telemetry()
    telemetry.listen(told.append)
    patience = "10ms" if hears is False else "60s"
    made, ear = transactions(db, telemetry=telemetry, hear=patience), Ear(hears=hears)
    made.followed_by(ear)
    for number in range(2):
        async with made.begin() as tx:
            await put(tx, number)
    outcomes = [one.outcome for one in told if isinstance(one, Operation) and one.name == "hear"]
    assert outcomes == (["timeout"] * 2 if hears is False else ["failed"] * 2)
    assert (await things(db), tx.moment is not None) == ([0, 1], True)
    assert len([one for one in caplog.records if "not heard of" in one.message]) == 1


async def test_whoever_waits_for_the_echo_holds_no_connection(db: Tercet) -> None:
    """The connection is back in the pool, where the others need it."""
    made, out = transactions(db, hear="60s"), []

    class Looks(Ear):
        async def heard(self, moment: Moment, within: float) -> bool:
            out.append(db.pools()[0].in_use)
            return await super().heard(moment, within)

    made.followed_by(Looks())
    async with made.begin() as tx:
        await put(tx, 1)
    assert out == [0]


async def test_a_commit_is_marked_only_where_somebody_follows(db: Tercet) -> None:
    """The mark is in the log once for a transaction that wrote, and never otherwise."""
    made, ear = transactions(db), Ear()
    async with db.postgres.connection() as plain:
        slot = await plain.execution_options(isolation_level="AUTOCOMMIT")
        name = "marks_of_this_test"
        await slot.exec_driver_sql(f"SELECT pg_create_logical_replication_slot('{name}', 'test_decoding', true)")

        async def marks() -> int:
            rows = await slot.exec_driver_sql(f"SELECT data FROM pg_logical_slot_get_changes('{name}', NULL, NULL)")
            return sum(MARK in row.data for row in rows.all())

        # The servers of the tests do not wait for the disk, and a slot tells what is on it.
        flushed = text("SET LOCAL synchronous_commit = on")
        async with made.begin() as tx:
            await put(tx, 1)
            await tx.session.execute(flushed)
        assert await marks() == 0
        made.followed_by(ear)
        async with made.begin() as tx:
            await put(tx, 2)
            await tx.session.execute(flushed)
        async with made.begin() as reading:
            await reading.session.execute(text("SELECT 1"))
        assert await marks() == 1
        await slot.exec_driver_sql(f"SELECT pg_drop_replication_slot('{name}')")


async def test_limits_and_isolation_are_those_of_the_block(db: Tercet) -> None:
    """As words of `begin`; a level that does not exist is refused before anything is done."""
    asked = text("SELECT current_setting('transaction_isolation'), current_setting('statement_timeout')")
    async with transactions(db).begin(within="3s", isolation="serializable") as tx:
        assert tuple((await tx.session.execute(asked)).one()) == ("serializable", "3s")
    async with transactions(db).begin() as tx:
        assert tuple((await tx.session.execute(asked)).one()) == ("read committed", "30s")
    with pytest.raises(UsageError, match="'snapshot' is no isolation level"):
        async with transactions(db).begin(isolation="snapshot"):  # type: ignore[arg-type] # what a typing error does
            pass


async def test_a_function_is_called_again_where_another_transaction_was_in_its_way(db: Tercet) -> None:
    """Two that read and write the same row at once: one fails, is run again, and both are counted."""
    made = transactions(db)
    async with made.begin() as tx:
        await put(tx, 1)
    both_have_read, tries = asyncio.Barrier(2), 0

    async def count(tx: Transaction) -> int:
        nonlocal tries
        tries += 1
        mine = tries
        n: int = (await tx.session.execute(text("SELECT n FROM thing WHERE id = 1"))).scalar_one()
        if mine <= 2:
            await both_have_read.wait()
        tx.emit(f"counted {n + 1}")
        await tx.session.execute(text("UPDATE thing SET n = :n WHERE id = 1"), {"n": n + 1})
        return n + 1

    answers = await asyncio.gather(*(made.run(count, isolation="repeatable read") for _ in range(2)))
    assert (sorted(answers), tries, await emitted(db)) == ([1, 2], 3, ["counted 1", "counted 2"])


async def test_a_function_is_not_called_again_for_another_error_nor_for_ever(db: Tercet) -> None:
    """What would fail again is raised at once, and a conflict that does not end is raised too."""
    made, tries = transactions(db), 0

    async def twice(tx: Transaction) -> None:
        nonlocal tries
        tries += 1
        await put(tx, 1)
        await put(tx, 1)

    async def conflict(tx: Transaction) -> None:
        nonlocal tries
        tries += 1
        await tx.session.execute(text("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$"))

    with pytest.raises(sqlalchemy.exc.IntegrityError):
        await made.run(twice)
    assert tries == 1
    with pytest.raises(sqlalchemy.exc.DBAPIError, match="no"):
        await made.run(conflict, retries=2)
    assert tries == 4
