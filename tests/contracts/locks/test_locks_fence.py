"""The fence: a store that has seen a newer token refuses an older one, also in a race."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from tercet.errors import FencedOff, UsageError
from tercet.locks import mongo
from tercet.locks.postgres import create_fence, fence

# As large as tokens are: microseconds since 1970.
OLD, NEW = 1_795_306_520_728_902, 1_795_306_520_728_903


@pytest.fixture
async def engine(postgres_url: str) -> AsyncIterator[AsyncEngine]:
    """PostgreSQL with a fence and a row to guard."""
    made = create_async_engine(postgres_url.replace("postgresql://", "postgresql+asyncpg://"))
    async with made.begin() as connection:
        await create_fence(connection)
        await connection.execute(text("create table guarded (writer text)"))
    yield made
    await made.dispose()


@pytest.fixture
async def database(mongo_url: str) -> AsyncIterator[AsyncDatabase[dict[str, Any]]]:
    """A MongoDB database."""
    async with AsyncMongoClient[dict[str, Any]](mongo_url) as client:
        yield client.get_default_database()


async def write(engine: AsyncEngine, token: int, writer: str) -> None:
    """A write as a holder makes it."""
    async with engine.begin() as connection:
        await fence(connection, "settle:42", token)
        await connection.execute(text("insert into guarded values (:writer)"), {"writer": writer})


async def writers(engine: AsyncEngine) -> list[str]:
    """Who has written."""
    async with engine.connect() as connection:
        return list((await connection.execute(text("select writer from guarded order by ctid"))).scalars())


async def test_postgres_refuses_the_older_of_two_holders(engine: AsyncEngine) -> None:
    """The same token may write again; an older one is told which was seen; another name is not concerned."""
    await write(engine, OLD, "first")
    await write(engine, OLD, "first again")
    await write(engine, NEW, "second")
    with pytest.raises(FencedOff, match=f"'settle:42' refuses token {OLD}: {NEW} has been seen") as caught:
        await write(engine, OLD, "too late")
    assert (caught.value.name, caught.value.token, caught.value.newest) == ("settle:42", OLD, NEW)
    async with engine.begin() as connection:
        await fence(connection, "settle:43", OLD)
    assert await writers(engine) == ["first", "first again", "second"]


async def test_postgres_lets_an_older_holder_that_was_first_finish(engine: AsyncEngine) -> None:
    """The newer one waits for its commit, so the two cannot write between one another."""
    passed, second_done = asyncio.Event(), asyncio.Event()

    async def second() -> None:
        await passed.wait()
        await write(engine, NEW, "new")
        second_done.set()

    task = asyncio.create_task(second())
    async with engine.begin() as connection:
        await fence(connection, "settle:42", OLD)
        passed.set()
        await waiting_for_a_row(engine)
        assert not second_done.is_set()
        await connection.execute(text("insert into guarded values ('old')"))
    await task
    assert await writers(engine) == ["old", "new"]


async def test_postgres_refuses_an_older_holder_that_comes_during_the_newer(engine: AsyncEngine) -> None:
    """It waits for the newer one's end, and is refused when that has committed."""
    async with engine.begin() as connection:
        await fence(connection, "settle:42", NEW)
        task = asyncio.create_task(write(engine, OLD, "old"))
        await waiting_for_a_row(engine)
        await connection.execute(text("insert into guarded values ('new')"))
    with pytest.raises(FencedOff):
        await task
    assert await writers(engine) == ["new"]


async def waiting_for_a_row(engine: AsyncEngine) -> None:
    """Wait until somebody waits for a lock in PostgreSQL."""
    question = text("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")
    async with engine.connect() as connection:
        while (await connection.execute(question)).scalar() == 0:
            await connection.rollback()
            await asyncio.sleep(0.005)


async def test_a_newer_token_that_was_rolled_back_has_not_been_seen(engine: AsyncEngine) -> None:
    """The fence is part of the transaction."""

    async def fail() -> None:
        async with engine.begin() as connection:
            await fence(connection, "settle:42", NEW)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    await write(engine, OLD, "old")
    assert await writers(engine) == ["old"]


async def test_the_fence_works_in_a_session_too(engine: AsyncEngine) -> None:
    """What db.postgres.session() hands out is what it takes."""
    async with AsyncSession(engine) as session, session.begin():
        await fence(session, "settle:42", NEW)
    async with AsyncSession(engine) as session:
        with pytest.raises(FencedOff):
            await fence(session, "settle:42", OLD)


async def test_two_who_make_the_table_at_once_do_not_disturb_each_other(engine: AsyncEngine) -> None:
    """Every process of a service may do it when it starts."""
    async with engine.begin() as connection:
        await connection.execute(text("drop table tercet_fence"))

    async def make() -> None:
        async with engine.begin() as connection:
            await create_fence(connection)

    await asyncio.gather(*(make() for _ in range(5)))
    await write(engine, OLD, "first")


async def test_mongo_refuses_the_older_of_two_holders(database: AsyncDatabase[dict[str, Any]]) -> None:
    """The document carries its newest token; one that has none takes any."""
    stock = database["stock"]
    await stock.insert_one({"_id": 42, "left": 10})

    async def take(token: int, left: int) -> None:
        await mongo.update_one(stock, {"_id": 42}, {"$set": {"left": left}}, name="stock:42", token=token)

    await take(OLD, 9)
    await take(OLD, 8)
    await take(NEW, 7)
    with pytest.raises(FencedOff, match=f"'stock:42' refuses token {OLD}: {NEW} has been seen"):
        await take(OLD, 99)
    assert await stock.find_one({"_id": 42}) == {"_id": 42, "left": 7, "_fence": NEW}


async def test_mongo_refuses_an_upsert_of_an_older_holder(database: AsyncDatabase[dict[str, Any]]) -> None:
    """Nor does it make a second document beside the first."""
    stock = database["stock"]
    for token in (NEW, NEW):
        change = {"$inc": {"left": 1}}
        await mongo.update_one(stock, {"_id": 42}, change, name="stock:42", token=token, upsert=True)
    with pytest.raises(FencedOff) as caught:
        await mongo.update_one(stock, {"_id": 42}, change, name="stock:42", token=OLD, upsert=True)
    assert caught.value.newest == NEW
    assert await stock.find().to_list() == [{"_id": 42, "left": 2, "_fence": NEW}]


async def test_mongo_takes_a_pipeline_and_finds_nothing_where_nothing_is(
    database: AsyncDatabase[dict[str, Any]],
) -> None:
    """An update that finds no document is no refusal; a whole document in place of a change is a mistake."""
    stock = database["stock"]
    await stock.insert_one({"_id": 42, "left": 10})
    pipeline = [{"$set": {"left": {"$subtract": ["$left", 1]}}}]
    done = await mongo.update_one(stock, {"_id": 42}, pipeline, name="stock:42", token=NEW)
    assert done.modified_count == 1
    assert await stock.find_one({"_id": 42}) == {"_id": 42, "left": 9, "_fence": NEW}
    done = await mongo.update_one(stock, {"_id": 43}, pipeline, name="stock:43", token=NEW)
    assert done.matched_count == 0
    with pytest.raises(UsageError, match="whole document"):
        await mongo.update_one(stock, {"_id": 42}, {"left": 1}, name="stock:42", token=NEW)


async def test_many_racing_writers_leave_the_newest_token_in_mongo(database: AsyncDatabase[dict[str, Any]]) -> None:
    """Whatever order they come in, what is accepted only goes up."""
    stock = database["stock"]
    accepted: list[int] = []

    async def take(token: int) -> None:
        change = {"$push": {"seen": token}}
        try:
            await mongo.update_one(stock, {"_id": 42}, change, name="stock:42", token=token, upsert=True)
        except FencedOff:
            return
        accepted.append(token)

    await stock.insert_one({"_id": 42})
    await asyncio.gather(*(take(OLD + number * 7 % 20) for number in range(20)))
    found = await stock.find_one({"_id": 42})
    assert found is not None
    assert found["seen"] == sorted(found["seen"])
    assert sorted(accepted) == found["seen"]
    assert found["_fence"] == OLD + 19


async def test_a_transaction_over_several_documents_is_fenced_in_mongo(
    database: AsyncDatabase[dict[str, Any]],
) -> None:
    """The older holder's transaction is refused as a whole."""

    async def move(token: int, amount: int) -> None:
        async def both(session: AsyncClientSession) -> None:
            await mongo.fence(database, "accounts", token, session=session)
            await database["accounts"].update_one({"_id": 1}, {"$inc": {"sum": -amount}}, upsert=True, session=session)
            await database["accounts"].update_one({"_id": 2}, {"$inc": {"sum": amount}}, upsert=True, session=session)

        async with database.client.start_session() as session:
            await session.with_transaction(both)

    await move(OLD, 5)
    await move(NEW, 1)
    with pytest.raises(FencedOff, match=f"'accounts' refuses token {OLD}: {NEW} has been seen"):
        await move(OLD, 100)
    sums = {row["_id"]: row["sum"] async for row in database["accounts"].find()}
    assert sums == {1: -6, 2: 6}


async def test_two_transactions_that_are_open_at_once_do_not_both_pass(
    database: AsyncDatabase[dict[str, Any]],
) -> None:
    """MongoDB lets the second one begin anew, and then it is too old."""
    await mongo.fence(database, "accounts", OLD)
    begun = 0
    newer_done = asyncio.Event()

    async def older(session: AsyncClientSession) -> None:
        nonlocal begun
        begun += 1
        # The snapshot of this transaction is from before the newer one.
        await database["accounts"].find_one({}, session=session)
        if begun == 1:
            async with database.client.start_session() as other, await other.start_transaction():
                await mongo.fence(database, "accounts", NEW, session=other)
            newer_done.set()
        await mongo.fence(database, "accounts", OLD, session=session)

    async with database.client.start_session() as session:
        with pytest.raises(FencedOff):
            await session.with_transaction(older)
    assert newer_done.is_set()
