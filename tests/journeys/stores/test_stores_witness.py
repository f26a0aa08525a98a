"""What a load has seen of PostgreSQL, as the engine tells it to the load's witness."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
import sqlalchemy.exc
from sqlalchemy import Integer, event, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.schema import ForeignKey

from tercet.errors import StoreUnreachable
from tercet.tercet import Tercet
from tercet.witness import Moment, Witness, watched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection


class _Base(DeclarativeBase):
    pass


class Owner(_Base):
    """Whoever has things."""

    __tablename__ = "owner"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    things: Mapped[list[Thing]] = relationship()


class Thing(_Base):
    """One of them."""

    __tablename__ = "thing"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"))


@pytest_asyncio.fixture
async def db(postgres_url: str) -> AsyncIterator[Tercet]:
    """A database with one owner of two things."""
    async with Tercet(postgres=postgres_url, postgres_pool_size=4) as made:
        async with made.postgres.transaction() as connection:
            await connection.run_sync(_Base.metadata.create_all)
            await connection.execute(text("INSERT INTO owner VALUES (1)"))
            await connection.execute(text("INSERT INTO thing (owner_id) VALUES (1), (1)"))
        yield made


async def _begin(db: Tercet, connection: AsyncConnection) -> Moment:
    """Write something in this transaction; its moment."""
    await connection.execute(text("INSERT INTO thing (owner_id) VALUES (1)"))
    xid = (await connection.execute(text("SELECT pg_current_xact_id()::text"))).scalar_one()
    assert db.postgres.source is not None
    return Moment(db.postgres.source, int(xid))


async def _write(db: Tercet) -> Moment:
    """A transaction that is over; its moment."""
    async with db.postgres.transaction() as connection:
        return await _begin(db, connection)


def _extra(db: Tercet) -> list[str]:
    """The statements that the engine sends from now on, the witness's own among them."""
    sent: list[str] = []
    event.listen(
        db.postgres.engine.sync_engine, "before_cursor_execute", lambda *told: sent.append(told[2]), insert=True
    )
    return sent


async def test_a_read_sees_what_was_committed_before_it_and_not_what_runs(db: Tercet) -> None:
    """A transaction is not seen while it is open, although others with higher numbers are."""
    async with db.postgres.connection() as open_one:
        running = await _begin(db, open_one)
        done = await _write(db)
        assert running.at < done.at
        with watched(Witness()) as witness:
            async with db.postgres.session() as session:
                assert (await session.execute(text("SELECT count(*) FROM thing"))).scalar_one() == 3
        assert (witness.sees(done), witness.sees(running)) == (True, False)
        await open_one.commit()
    with watched(Witness()) as later:
        async with db.postgres.connection() as connection:
            await connection.exec_driver_sql("SELECT 1")
    assert later.sees(running) is True
    assert later.sees(Moment("pg:another", 1)) is None


async def test_a_read_committed_transaction_tells_its_first_statement_once(db: Tercet) -> None:
    """What is committed between its statements counts as not seen: the first of them has not."""
    with watched(Witness()) as witness:
        async with db.postgres.transaction() as connection:
            await connection.execute(text("SELECT 1"))
            between = await _write(db)
            assert (await connection.execute(text("SELECT count(*) FROM thing"))).scalar_one() == 3
    assert witness.sees(between) is False
    assert len(witness._seen) == 2, "one for each transaction, also for the writer's own"


async def test_a_transaction_that_keeps_its_snapshot_tells_that_one(db: Tercet) -> None:
    """A REPEATABLE READ transaction from before the watch sees nothing that came since, and says so."""
    engine = db.postgres.engine.execution_options(isolation_level="REPEATABLE READ")
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        since = await _write(db)
        for _ in range(2):
            with watched(Witness()) as witness:
                assert (await connection.execute(text("SELECT count(*) FROM thing"))).scalar_one() == 2
            assert witness.sees(since) is False
        await connection.rollback()
        with watched(Witness()) as witness:
            await connection.execute(text("SELECT 1"))
        assert witness.sees(since) is True


async def test_where_each_statement_stands_alone_each_tells(db: Tercet) -> None:
    """In autocommit there is no transaction that the first could stand for."""
    with watched(Witness()) as witness:
        async with db.postgres.autocommit() as connection:
            await connection.execute(text("SELECT 1"))
            between = await _write(db)
            await connection.execute(text("SELECT count(*) FROM thing"))
    assert witness.sees(between) is False
    with watched(Witness()) as witness:
        async with db.postgres.autocommit() as connection:
            await connection.execute(text("SELECT 1"))
            await connection.execute(text("SELECT 1"))
    assert len(witness._seen) == 2


async def test_every_way_to_read_is_watched(db: Tercet) -> None:
    """ORM queries and their lazy loads, streams, driver's SQL, and the engine handed out raw."""
    done = await _write(db)

    async def lazy() -> None:
        async with db.postgres.session() as session:
            owner = await session.get_one(Owner, 1)
            await session.commit()
            things = await session.run_sync(lambda _: len(owner.things))
            assert things == 3

    async def streamed() -> None:
        async with db.postgres.session() as session:
            rows = await session.stream(text("SELECT id FROM thing ORDER BY id"))
            assert [row.id async for row in rows] == [1, 2, 3]

    async def raw() -> None:
        async with db.postgres.engine.connect() as connection:
            await connection.exec_driver_sql("SELECT 1")

    async def from_a_task() -> None:
        await asyncio.create_task(raw())

    for read, transactions in ((lazy, 2), (streamed, 1), (raw, 1), (from_a_task, 1)):
        with watched(Witness()) as witness:
            await read()
        assert witness.sees(done) is True, read
        assert len(witness._seen) == transactions, read


async def test_each_task_tells_its_own_witness(db: Tercet) -> None:
    """Loads that run at once do not see with each other's eyes, though SQLAlchemy runs each on a stack beside it."""

    async def load() -> Witness:
        with watched(Witness()) as witness:
            async with db.postgres.session() as session:
                await session.execute(text("SELECT pg_sleep(0.01)"))
        return witness

    witnesses = await asyncio.gather(*(load() for _ in range(8)))
    assert [len(one._seen) for one in witnesses] == [1] * 8


async def test_nothing_more_is_sent_where_nobody_watches(db: Tercet) -> None:
    """A statement without a witness is one statement, and a transaction with one has one more."""
    sent = _extra(db)
    async with db.postgres.session() as session:
        await session.execute(text("SELECT 1"))
    assert sent == ["SELECT 1"]
    async with db.postgres.connection() as connection:
        with watched(Witness()):
            await connection.execute(text("SELECT 1"))
            statements = "SELECT calls FROM pg_stat_statements WHERE query LIKE '%pg_current_snapshot%' AND dbid = "
            mine = "(SELECT oid FROM pg_database WHERE datname = current_database())"
            before = (await connection.execute(text(statements + mine))).scalars().all()
            await connection.execute(text("SELECT 1"))
            after = (await connection.execute(text(statements + mine))).scalars().all()
    assert before == after


async def test_what_must_come_first_in_a_transaction_still_does(db: Tercet) -> None:
    """SET TRANSACTION is refused after a snapshot, and whoever locks a table first wants to read what is there then."""
    with watched(Witness()) as witness:
        async with db.postgres.transaction() as connection:
            await connection.exec_driver_sql("/* a b */ SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            await connection.exec_driver_sql("LOCK TABLE thing IN SHARE MODE")
            assert witness._seen == []
            await connection.exec_driver_sql("SELECT count(*) FROM thing")
        async with db.postgres.transaction(within="3s") as connection:
            await connection.exec_driver_sql("SELECT 1")
    assert len(witness._seen) == 2


async def test_a_user_s_own_error_is_the_one_that_is_raised(db: Tercet) -> None:
    """The extra statement fails in an aborted transaction too, and what was not seen does not count as seen."""
    done = await _write(db)
    async with db.postgres.connection() as connection:
        with pytest.raises(sqlalchemy.exc.ProgrammingError):
            await connection.exec_driver_sql("SELECT nothing")
        with watched(Witness()) as witness:
            with pytest.raises(sqlalchemy.exc.DBAPIError) as caught:
                await connection.exec_driver_sql("SELECT 42")
            await connection.rollback()
            await connection.exec_driver_sql("SELECT 1")
    assert caught.value.statement == "SELECT 42"
    assert witness.sees(done) is False


async def test_a_server_that_does_not_say_who_it_is_is_not_witnessed(postgres_url: str) -> None:
    """Without the right to ask, nothing is noted, nothing fails, and nobody takes its rows for fresh."""
    async with Tercet(postgres=postgres_url) as admin:
        async with admin.postgres.transaction() as connection:
            await connection.exec_driver_sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
            await connection.exec_driver_sql("DROP ROLE IF EXISTS a_plain_one")
            await connection.exec_driver_sql("CREATE ROLE a_plain_one LOGIN")
        source = admin.postgres.source
        assert source is not None
        try:
            async with Tercet(postgres=postgres_url.replace("postgres@", "a_plain_one@")) as db:
                with watched(Witness()) as witness:
                    async with db.postgres.connection() as connection:
                        assert (await connection.execute(text("SELECT current_user"))).scalar_one() == "a_plain_one"
                assert db.postgres.source is None
                assert witness.sees(Moment(source, 1)) is None
        finally:
            async with admin.postgres.transaction() as connection:
                await connection.exec_driver_sql("DROP ROLE a_plain_one")


async def test_a_feed_and_a_witness_name_the_server_alike(db: Tercet, postgres_url: str) -> None:
    """What a replication connection calls the system is what the witness calls it."""
    import psycopg

    async with await psycopg.AsyncConnection.connect(postgres_url, replication="database", autocommit=True) as feed:
        row = await (await feed.execute("IDENTIFY_SYSTEM")).fetchone()
    assert row is not None
    assert db.postgres.source == f"pg:{row[0]}"


async def test_a_connection_that_is_lost_under_the_extra_statement_is_the_user_s_loss(db: Tercet) -> None:
    """The error is what the statement itself would have met, the connection is given up, and the next one works."""
    done = await _write(db)
    async with db.postgres.connection() as connection:
        pid = (await connection.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one()
        async with db.postgres.transaction() as other:
            await other.execute(text("SELECT pg_terminate_backend(:pid, 60000)"), {"pid": pid})
        with watched(Witness()) as witness:
            with pytest.raises(StoreUnreachable) as caught:
                await connection.exec_driver_sql("SELECT 42")
            assert connection.invalidated
            assert isinstance(caught.value, sqlalchemy.exc.DBAPIError)
            assert caught.value.statement == "SELECT 42"
    assert witness.sees(done) is False
    with watched(Witness()) as witness:
        async with db.postgres.session() as session:
            await session.execute(text("SELECT 1"))
    assert witness.sees(done) is True
