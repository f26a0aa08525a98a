"""The fixtures that other rooms' tests stand on."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
import redis.asyncio
from pymongo import AsyncMongoClient


@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_gets_an_empty_postgres_database(postgres_url: str, turn: int) -> None:
    """What one test makes, the next does not see, though both make the same."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("create table things (id int primary key)")
    assert await connection.fetchval("select count(*) from pg_stat_statements") >= 0
    await connection.close()


@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_gets_an_empty_mongo_database(mongo_url: str, turn: int) -> None:
    """Transactions work in it, since the server is a replica set."""
    async with AsyncMongoClient[dict[str, Any]](mongo_url) as client:
        database = client.get_default_database()
        assert await database.list_collection_names() == []
        async with client.start_session() as session, await session.start_transaction():
            await database["things"].insert_one({"_id": 1}, session=session)
        assert await database["things"].count_documents({}) == 1


@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_gets_an_empty_redis(redis_url: str, turn: int) -> None:
    """Nothing of the test before is in it."""
    async with redis.asyncio.from_url(redis_url) as client:
        assert await client.keys("*") == []
        await client.set("thing", "1")
