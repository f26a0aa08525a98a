"""What users have done: kept once, counted once, however often it is told."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tercet.clock import StoppedClock
from tercet.errors import SettingInvalid, StoreMissing, StoreUnreachable, UsageError
from tercet.router import Activities, Router
from tercet.router.activity.mongo_journal import MongoJournal


async def test_an_activity_is_counted_once_however_often_it_is_told(world: Any) -> None:
    """Also when it is told twenty times at once; each kind has its own count."""
    router = world.router
    await asyncio.gather(*(router.save_activity(42, "page_view", {"page": "/"}, id="one") for _ in range(20)))
    await router.save_activity(42, "page_view", {"page": "/b"})
    await router.save_activity(42, "purchase", {"total": 3})
    await router.save_activity("42:x", "page_view", {})
    assert await router.activities.total(42, "page_view") == 2
    assert await router.activities.total(42, "purchase") == 1
    assert await router.activities.total("42:x", "page_view") == 1
    assert await world.db.mongo["activities"].count_documents({"user_id": 42, "counted": True}) == 3


async def test_the_payload_cannot_stand_for_who_what_or_when(world: Any) -> None:
    """It lies in a place of its own, and names that MongoDB would read are refused."""
    told = await world.router.save_activity(42, "page_view", {"user_id": 1, "kind": "x", "at": 0, "_id": "evil"})
    (document,) = await world.db.mongo["activities"].find({}).to_list()
    assert (document["_id"], document["user_id"], document["kind"]) == (told.id, 42, "page_view")
    for evil in ({"$inc": {"x": 1}}, {"a.b": 1}, {"a": {"$ne": 1}}, {"a": [{"b.c": 1}]}, {1: 2}):
        with pytest.raises(UsageError, match="operator or a path"):
            await world.router.save_activity(42, "page_view", evil)
    for user in ({"$ne": 1}, None, True, 1.5, ["a"]):
        with pytest.raises(UsageError, match="A user was given as"):
            await world.router.save_activity(user, "page_view", {})
    with pytest.raises(SettingInvalid):
        await world.router.save_activity(42, "page view", {})
    with pytest.raises(UsageError, match="is a list"):
        await world.router.save_activity(42, "page_view", [])
    with pytest.raises(UsageError, match="is no id"):
        await world.router.save_activity(42, "page_view", {}, id="a b")


async def test_an_id_of_another_activity_is_refused(world: Any) -> None:
    """Else a count would go to somebody who did nothing."""
    await world.router.save_activity(1, "page_view", {}, id="same")
    with pytest.raises(UsageError, match="belongs to another one"):
        await world.router.save_activity(2, "page_view", {}, id="same")
    assert await world.router.activities.total(2, "page_view") == 0


class Away:
    """A Redis that is not there until it is told to be, and that may die right after it has counted."""

    def __init__(self, line: Any) -> None:
        self.line, self.away, self.dies_after = line, True, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.line, name)

    async def run(self, *arguments: Any) -> Any:
        """Run it, unless away."""
        gone = StoreUnreachable("redis", reason="it is a test")
        if self.away:
            raise gone
        reply = await self.line.run(*arguments)
        if self.dies_after:
            raise gone
        return reply


async def test_what_was_left_uncounted_is_counted_by_a_sweep_exactly_once(world: Any) -> None:
    """Redis was away, or it counted and its answer was lost: the sweep ends both alike."""
    line, clock = Away(world.db.wire), StoppedClock()
    activities = Activities(MongoJournal(world.db.mongo), line, clock=clock)
    await activities.prepare()
    assert not (await activities.save(1, "view", {}, id="a")).counted
    line.away, line.dies_after = False, True
    assert not (await activities.save(1, "view", {}, id="b")).counted
    assert await activities.total(1, "view") == 1
    line.dies_after = False
    clock.advance(60)
    assert await activities.recount(most=1) == 1
    assert await activities.recount() == 1
    assert await activities.recount() == 0
    assert await activities.total(1, "view") == 2
    # A retry of the caller's, after all of that.
    assert (await activities.save(1, "view", {}, id="a")).counted
    assert await activities.total(1, "view") == 2


async def test_a_sweep_leaves_what_is_older_than_its_marks(world: Any) -> None:
    """Nobody could say any more whether it was counted."""
    line, clock = Away(world.db.wire), StoppedClock()
    activities = Activities(MongoJournal(world.db.mongo), line, clock=clock)
    await activities.save(1, "view", {}, id="a")
    line.away = False
    clock.advance(timedelta(days=3).total_seconds())
    assert await activities.recount() == 0


async def test_activities_need_two_stores_and_no_postgres(world: Any) -> None:
    """PostgreSQL is not asked; without the others it is said which one is missing."""
    both = Router(mongo=world.db.mongo, wire=world.db.wire, clock=world.db.clock, telemetry=world.db.telemetry)
    assert (await both.save_activity(1, "view", {})).total == 1
    bare = Router(mongo=world.db.mongo, clock=world.db.clock, telemetry=world.db.telemetry)
    with pytest.raises(StoreMissing, match="save_activity needs redis"):
        await bare.save_activity(1, "view", {})
