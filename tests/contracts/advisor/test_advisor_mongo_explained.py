"""What explain says is read alike from both engines of a real mongod, and from what a router puts together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from pymongo.asynchronous.database import AsyncDatabase

from tercet.advisor.mongo import Command
from tercet.advisor.mongo.explained import read
from tercet.advisor.mongo.trial import Desk, Throwaway
from tercet.advisor.mongo.trial.mongo_server import client

Database = AsyncDatabase[dict[str, Any]]

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOOKUP = {"$lookup": {"from": "users", "localField": "_id", "foreignField": "key", "as": "user"}}
GROUPED = (
    {"$match": {"status": "a", "at": {"$gte": 500}}},
    {"$group": {"_id": "$user", "sum": {"$sum": "$total"}}},
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place() -> AsyncIterator[Database]:
    """A throw-away server with a thousand documents and an index for some of what is asked."""
    async with await Throwaway.start() as server, client(server.url) as own:
        database = own["explained"]
        await database.orders.insert_many(
            [{"_id": n, "status": "ab"[n % 2], "at": n, "user": n % 10, "total": n} for n in range(1000)]
        )
        await database.users.insert_many([{"_id": n, "key": n} for n in range(10)])
        await database.orders.create_index([("status", 1), ("at", 1)], name="status_at")
        yield database


@pytest.fixture(params=["classic", "sbe"])
def engine(request: pytest.FixtureRequest) -> str:
    """The engine that pipelines are run by."""
    return str(request.param)


async def _set(database: Database, engine: str) -> None:
    """Choose the engine; the versions that know the one parameter do not know the other."""
    told = await database.client.admin.command({"getParameter": "*"})
    if "internalQueryFrameworkControl" in told:
        value: Any = "forceClassicEngine" if engine == "classic" else "trySbeEngine"
        await database.client.admin.command({"setParameter": 1, "internalQueryFrameworkControl": value})
    elif "internalQueryForceClassicEngine" in told:
        value = engine == "classic"
        await database.client.admin.command({"setParameter": 1, "internalQueryForceClassicEngine": value})


async def test_both_engines_tell_the_same_of_a_pipeline(place: Database, engine: str) -> None:
    """Keys, documents and the index; one joins by walking through the other collection each time, one by hashes."""
    await _set(place, engine)
    told = await Desk(place).explain(Command("aggregate", "orders", pipeline=(*GROUPED, LOOKUP)))
    assert told.indexes == {"status_at"}
    assert told.keys == 250
    # 250 of the orders, and the ten users: for each of the five groups, or once.
    walks = 5 if told.scanned_joins else 1
    assert told.docs == 250 + walks * 10
    assert told.returned == 5
    assert told.scanned_joins or "HashJoin" in told.drawing
    assert not told.scanned
    assert told.version == ("2" if engine == "sbe" else "1")


async def test_an_indexed_join_is_told_by_its_index(place: Database, engine: str) -> None:
    """The name of the other collection's index is among those used, in both engines."""
    await _set(place, engine)
    await place.users.create_index("key", name="by_key")
    try:
        told = await Desk(place).explain(Command("aggregate", "orders", pipeline=(*GROUPED, LOOKUP)))
    finally:
        await place.users.drop_index("by_key")
    assert told.indexes == {"status_at", "by_key"}
    assert not told.scanned_joins


async def test_a_sort_in_memory_and_a_whole_scan_are_seen(place: Database) -> None:
    """A find tells them in its stages."""
    told = await Desk(place).explain(Command("find", "orders", {"user": 3}, sort=(("total", 1),)))
    assert (told.sorted, told.scanned, told.docs, told.returned) == (True, True, 1000, 100)
    assert told.drawing == "COLLSCAN → SORT"
    count = await Desk(place).explain(Command("count", "orders", {"status": "a"}))
    assert (count.scanned, count.indexes) == (False, {"status_at"})
    distinct = await Desk(place).explain(Command("distinct", "orders", key="status"))
    assert distinct.keys <= 3


async def test_the_parts_of_a_cluster_are_added_up() -> None:
    """A router tells a find's shards below its plan, and a pipeline's by their names."""
    plan = {"stage": "FETCH", "inputStage": {"stage": "IXSCAN", "indexName": "a_1"}}
    shards = [{"shardName": name, "winningPlan": plan} for name in ("one", "two")]
    ran = [
        {"shardName": name, "totalKeysExamined": 3, "totalDocsExamined": 2, "nReturned": 2, "executionStages": {}}
        for name in ("one", "two")
    ]
    find = {
        "queryPlanner": {"winningPlan": {"stage": "SHARD_MERGE", "shards": shards}},
        "executionStats": {"executionStages": {"stage": "SHARD_MERGE", "shards": ran}},
    }
    single = {
        "queryPlanner": {"winningPlan": plan},
        "executionStats": {"totalKeysExamined": 3, "totalDocsExamined": 2, "nReturned": 2, "executionStages": {}},
    }
    cursor = {"stages": [{"$cursor": single}, {"$group": {}, "nReturned": 1}]}
    for explain, returned in ((find, 4), ({"shards": {"one": single, "two": single}}, 4)):
        told = read(explain)
        assert (told.keys, told.docs, told.returned, told.indexes) == (6, 4, returned, {"a_1"})
    told = read({"shards": {"one": cursor, "two": cursor}})
    assert (told.keys, told.docs) == (6, 4)
    assert told.drawing == "IXSCAN a_1 → FETCH → $group"
