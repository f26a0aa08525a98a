"""Processes of a service that follow MongoDB together: one leads by a lease, and another takes over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import AsyncMongoClient

from tercet import Tercet
from tercet.changes import Changes, Commit, Wants
from tercet.changes.mongo.mongo import sources
from tercet.changes.mongo.mongo_leader import leaders
from tercet.clock import SystemClock
from tercet.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

# Long enough that only a fault reaches it.
SECONDS = 60.0


class Hears:
    """A listener that keeps what it is told."""

    wants = Wants({"orders": frozenset({"_id"})})

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.resyncs: list[str] = []

    async def hear(self, commits: Sequence[Commit]) -> None:
        """Keep the keys."""
        self.heard += [change.new["_id"] for commit in commits for change in commit.changes]

    async def resync(self, why: str) -> None:
        """Keep the reason."""
        self.resyncs.append(why)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for what is told to make this true."""
        async with asyncio.timeout(SECONDS):
            while not true():
                await asyncio.sleep(0.005)


@pytest.fixture
async def database(mongo_url: str) -> AsyncIterator[Any]:
    """A fresh database."""
    async with AsyncMongoClient[dict[str, Any]](mongo_url) as client:
        yield client.get_default_database()


def process(database: Any) -> Changes:
    """What a process of the service has; its lease outlives any pause of this machine."""
    who = leaders(database, seconds=SECONDS, every=0.05)
    return Changes(sources(database), who, service="shop", clock=SystemClock(), telemetry=Telemetry())


async def test_one_process_hears_and_another_goes_on_where_it_was(database: Any) -> None:
    """What was written in between is told by the second one, without beginning anew."""
    first, second = Hears(), Hears()
    one, two = process(database), process(database)
    try:
        await one.subscribe(first, durable="orders").ready()
        following = two.subscribe(second, durable="orders")
        await following.ready()
        assert following.status().state == "following"
        await database.orders.insert_many([{"_id": number} for number in range(3)])
        await first.until(lambda: first.heard == [0, 1, 2])
        assert second.heard == []
        await one.close()
        await database.orders.insert_one({"_id": 3})
        await second.until(lambda: 3 in second.heard)
        assert second.heard == [3]
        assert first.resyncs == ["nothing is kept for it yet"]
        assert second.resyncs == []
    finally:
        await asyncio.gather(one.close(), two.close())
    assert await database.tercet_places.count_documents({"_id": {"$regex": "^lease:"}}) == 0


async def test_a_collection_that_was_replaced_is_a_resync_and_no_loop(database: Any) -> None:
    """Once, and then it goes on."""
    listener, changes = Hears(), process(database)
    try:
        subscription = changes.subscribe(listener, durable="orders")
        await subscription.ready()
        await database.fresh.insert_one({"_id": 1})
        await database.fresh.rename("orders", dropTarget=True)
        await listener.until(lambda: len(listener.resyncs) == 2)
        await subscription.ready()
        await database.orders.insert_one({"_id": 2})
        await listener.until(lambda: listener.heard == [2])
        assert listener.resyncs[1:] == ["the collection orders was replaced as a whole"]
    finally:
        await changes.close()


async def test_an_ephemeral_place_begins_anew_and_leaves_nothing(database: Any) -> None:
    """Each time it is subscribed."""
    for _ in range(2):
        listener, changes = Hears(), process(database)
        try:
            await changes.subscribe(listener).ready()
            await listener.until(lambda: bool(listener.resyncs))  # noqa: B023 - waited for in this very turn
            await database.orders.insert_one({})
            await listener.until(lambda: len(listener.heard) == 1)  # noqa: B023 - as above
        finally:
            await changes.close()
    assert await database.tercet_places.count_documents({}) == 0


async def test_a_tercet_that_is_not_open_yet_can_be_subscribed_to(mongo_url: str) -> None:
    """It is read from its opening on, as PostgreSQL is."""
    listener, db = Hears(), Tercet(mongo=mongo_url)
    subscription = db.changes.mongo.subscribe(listener)
    async with asyncio.timeout(SECONDS), db:
        await subscription.ready()
        await db.mongo.orders.insert_one({"_id": 1})
        await listener.until(lambda: listener.heard == [1])
