"""MongoDB's change streams as a Source, on a real replica set."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from tercet.changes import Change, Commit, Wants
from tercet.changes.feeding.place import Place
from tercet.changes.mongo import mongo as edge
from tercet.changes.mongo.mongo import MongoSource, sources
from tercet.changes.mongo.mongo_leader import MongoLeader, leaders
from tercet.changes.mongo.mongo_place import IDLE_SAVE_SECONDS, SAVE_SECONDS
from tercet.clock import StoppedClock
from tercet.errors import FeedRefused, NotOpen, PositionLost, StoreUnreachable
from tercet.tercet import Tercet
from tercet.witness import Moment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from pymongo.asynchronous.database import AsyncDatabase

    from tercet.changes.mongo.scope import Images

Database = Any
# Long enough that only a fault reaches it.
SECONDS = 60.0


def place(name: str = "orders", *, durable: bool = False, anew: bool = False) -> Place:
    """A place of the shop's."""
    return Place("shop", name, durable=durable, anew=anew)


@dataclass
class Reading:
    """A source that is being read, and what it has told."""

    source: MongoSource
    position: str = ""
    commits: list[Commit] = field(default_factory=list)

    async def until(self, number: int) -> list[Commit]:
        """The first commits, once there are so many."""
        async with asyncio.timeout(SECONDS):
            while len(self.commits) < number:
                self.commits += await self.stream.__anext__()
        return self.commits

    async def changes(self, number: int) -> list[Change]:
        """The changes of so many commits."""
        return [change for commit in await self.until(number) for change in commit.changes]

    def begin(self) -> None:
        """Ask for commits, as a feed does once its listener is ready."""
        self.stream: Any = self.source.commits()


@asynccontextmanager
async def reading(
    database: Database,
    tables: dict[str, Iterable[str] | None],
    *,
    since: str | None = None,
    where: Place | None = None,
    images: Images = "wanted",
    clock: Any = None,
) -> AsyncIterator[Reading]:
    """A source of these tables, open; closed at the end."""
    source = sources(database, images=images, clock=clock)(where or place())
    wants = Wants({name: None if some is None else frozenset(some) for name, some in tables.items()})
    try:
        one = Reading(source, str(await source.open(wants, since)))
        one.begin()
        yield one
    finally:
        await source.close()


@pytest.fixture
async def database(mongo_url: str) -> AsyncIterator[AsyncDatabase[dict[str, Any]]]:
    """A fresh database."""
    async with AsyncMongoClient[dict[str, Any]](mongo_url, tz_aware=True) as client:
        yield client.get_default_database()


def said(changes: list[Change]) -> list[tuple[str, str, dict[str, Any]]]:
    """What each change says, shortly."""
    return [(one.kind, one.table, dict(one.new or one.old)) for one in changes]


async def test_every_kind_of_write_is_told_in_order(database: Database) -> None:
    """Inserts, updates, replacements and deletions, with the key and what is wanted."""
    async with reading(database, {"orders": {"user", "total"}}, images="keys") as feed:
        await database.orders.insert_many([{"_id": 1, "user": 7, "note": "x"}, {"_id": 2}])
        await database.orders.update_one({"_id": 1}, {"$set": {"total": 5, "note": "y"}})
        await database.orders.replace_one({"_id": 1}, {"user": 8})
        await database.orders.update_one({"_id": 1}, {"$unset": {"user": 1}})
        await database.orders.delete_one({"_id": 2})
        changes = await feed.changes(6)
        hello = await database.client.admin.command("hello")
    assert said(changes) == [
        ("insert", "orders", {"_id": 1, "user": 7, "total": None}),
        ("insert", "orders", {"_id": 2, "user": None, "total": None}),
        ("update", "orders", {"_id": 1, "total": 5}),
        ("update", "orders", {"_id": 1, "user": 8, "total": None}),
        ("update", "orders", {"_id": 1, "user": None}),
        ("delete", "orders", {"_id": 2}),
    ]
    first = feed.commits[0]
    assert changes[0].schema == database.name
    assert first.moment.source == f"mongo:{hello['setName']}"
    assert [one.moment.at for one in feed.commits] == sorted(one.moment.at for one in feed.commits)
    assert abs(datetime.now(UTC) - first.at) < timedelta(hours=1)


async def test_the_moment_is_the_cluster_time_of_the_write(database: Database) -> None:
    """So that it can be compared with what a read has seen."""
    async with reading(database, {"orders": {"_id"}}) as feed, database.client.start_session() as session:
        await database.orders.insert_one({"_id": 1}, session=session)
        written = session.operation_time
        (commit,) = await feed.until(1)
    assert commit.moment == Moment(commit.moment.source, written.time << 32 | written.inc)


async def test_a_transaction_is_one_commit_over_its_collections(database: Database) -> None:
    """Nothing of it is told alone, and what is written beside it is another one."""
    await database.create_collection("orders")
    await database.create_collection("lines")
    async with reading(database, {"*": {"_id"}}) as feed:
        async with database.client.start_session() as session, await session.start_transaction():
            await database.orders.insert_one({"_id": 1}, session=session)
            await database.lines.insert_many([{"_id": 1}, {"_id": 2}], session=session)
        await database.orders.insert_one({"_id": 9})
        first, second = await feed.until(2)
    assert [(one.table, one.new["_id"]) for one in first.changes] == [("orders", 1), ("lines", 1), ("lines", 2)]
    assert first.last
    assert [one.new["_id"] for one in second.changes] == [9]
    assert first.moment.at < second.moment.at


async def test_an_aborted_transaction_tells_nothing(database: Database) -> None:
    """Neither then nor later."""
    await database.create_collection("orders")
    async with reading(database, {"orders": {"_id"}}) as feed:
        async with database.client.start_session() as session:
            await session.start_transaction()
            await database.orders.insert_one({"_id": 1}, session=session)
            await session.abort_transaction()
        await database.orders.insert_one({"_id": 2})
        assert said(await feed.changes(1)) == [("insert", "orders", {"_id": 2})]


async def test_a_transaction_larger_than_a_batch_comes_in_parts(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the last of them say that more comes, and one can go on between them."""
    monkeypatch.setattr(edge, "BATCH", 4)
    await database.create_collection("orders")
    async with reading(database, {"orders": {"_id"}}) as feed:
        async with database.client.start_session() as session, await session.start_transaction():
            await database.orders.insert_many([{"_id": number} for number in range(10)], session=session)
        await database.orders.insert_one({"_id": 10})
        async with asyncio.timeout(SECONDS):
            while sum(len(one.changes) for one in feed.commits) < 11:
                await feed.until(len(feed.commits) + 1)
    *parts, last, single = feed.commits
    assert len({one.moment for one in (*parts, last)}) == 1
    assert parts
    assert not any(one.last for one in parts)
    assert last.last
    assert single.last
    assert [change.new["_id"] for one in feed.commits for change in one.changes] == list(range(11))
    async with reading(database, {"orders": {"_id"}}, since=str(parts[0].position)) as again:
        rest = await again.changes(1)
        assert rest[0].new["_id"] == len(parts[0].changes)


async def test_a_database_is_followed_without_what_tercet_keeps_there(database: Database) -> None:
    """Otherwise each confirmation would be a change that is confirmed."""
    await database.tercet_places.insert_one({"_id": "x"})
    async with reading(database, {"*": None}) as feed:
        await database.tercet_places.update_one({"_id": "x"}, {"$set": {"a": 1}})
        await database.anything.insert_one({"_id": 1, "a": {"b": 2}})
        assert said(await feed.changes(1)) == [("insert", "anything", {"_id": 1, "a": {"b": 2}})]


async def test_only_the_named_collections_are_told(database: Database) -> None:
    """Of several, by one stream."""
    async with reading(database, {"orders": {"_id"}, "users": {"_id"}}) as feed:
        for name in ("else", "orders", "more", "users"):
            await database[name].insert_one({"_id": name})
        assert [one.table for one in await feed.changes(2)] == ["orders", "users"]


async def test_kept_images_tell_what_was_before(database: Database) -> None:
    """Where every wanted collection keeps them they are used without being asked for."""
    await database.create_collection("orders", changeStreamPreAndPostImages={"enabled": True})
    async with reading(database, {"orders": {"user", "total"}}) as feed:
        await database.orders.insert_one({"_id": 1, "user": 7, "total": 1})
        await database.orders.update_one({"_id": 1}, {"$set": {"user": 8}})
        await database.orders.update_one({"_id": 1}, {"$set": {"user": 9}})
        await database.orders.delete_one({"_id": 1})
        _, moved, again, gone = await feed.changes(4)
    assert (moved.old, moved.new) == ({"_id": 1, "user": 7, "total": 1}, {"_id": 1, "user": 8, "total": 1})
    assert (again.old["user"], again.new["user"]) == (8, 9)
    assert gone.old == {"_id": 1, "user": 9, "total": 1}


async def test_a_lookup_tells_a_later_state(database: Database) -> None:
    """The whole document, as it is when the event is read: the update before is told with what came after it."""
    async with reading(database, {"orders": {"user", "total"}}) as feed:
        await database.orders.insert_one({"_id": 1, "user": 7, "total": 1})
        await database.orders.update_one({"_id": 1}, {"$set": {"user": 8}})
        await database.orders.update_one({"_id": 1}, {"$set": {"total": 2}})
        _, first, second = await feed.changes(3)
    assert first.new["user"] == 8
    assert second.new == {"_id": 1, "user": 8, "total": 2}


async def test_images_that_are_not_kept_are_refused_with_the_mend(database: Database) -> None:
    """Who asks for what was before must not be told less without a word."""
    await database.create_collection("orders")
    with pytest.raises(FeedRefused, match="collMod on orders"):
        async with reading(database, {"orders": None}, images="stored"):
            pass


async def test_a_view_and_a_time_series_are_refused(database: Database) -> None:
    """Their changes are told to nobody, and silence would look like peace."""
    await database.create_collection("newest", viewOn="orders", pipeline=[])
    await database.create_collection("load", timeseries={"timeField": "at"})
    for name in ("newest", "load"):
        with pytest.raises(FeedRefused, match=name):
            async with reading(database, {name: None, "orders": None}):
                pass


@pytest.mark.parametrize("tables", [{"orders": {"_id"}}, {"orders": {"_id"}, "users": {"_id"}}, {"*": {"_id"}}])
async def test_a_dropped_collection_is_a_truncate_and_reading_goes_on(
    database: Database, tables: dict[str, Iterable[str] | None]
) -> None:
    """Also where the server ends the collection's own stream with it."""
    await database.orders.insert_one({"_id": 0})
    async with reading(database, tables) as feed:
        await database.orders.drop()
        await database.orders.insert_one({"_id": 1})
        await database.orders.rename("old")
        await database.orders.insert_one({"_id": 2})
        # For the database, renaming to a name that is wanted too ends the reading; see below.
        if "*" in tables:
            assert said(await feed.changes(2)) == [("truncate", "orders", {}), ("insert", "orders", {"_id": 1})]
            return
        assert said(await feed.changes(4)) == [
            ("truncate", "orders", {}),
            ("insert", "orders", {"_id": 1}),
            ("truncate", "orders", {}),
            ("insert", "orders", {"_id": 2}),
        ]


@pytest.mark.parametrize("tables", [{"orders": {"_id"}}, {"*": {"_id"}}])
async def test_a_dropped_database_is_a_truncate_of_what_was_in_it(
    database: Database, tables: dict[str, Iterable[str] | None]
) -> None:
    """And what is made under its name again is told."""
    await database.orders.insert_one({"_id": 0})
    async with reading(database, tables) as feed:
        await database.client.drop_database(database.name)
        await database.orders.insert_one({"_id": 1})
        assert said(await feed.changes(2)) == [("truncate", "orders", {}), ("insert", "orders", {"_id": 1})]


@pytest.mark.parametrize("tables", [{"orders": {"_id"}}, {"orders": {"_id"}, "users": {"_id"}}])
async def test_a_collection_that_takes_a_wanted_name_ends_the_reading(
    database: Database, tables: dict[str, Iterable[str] | None]
) -> None:
    """What came before is told, and then nobody can say what changed."""
    await database.fresh.insert_one({"_id": 7})
    async with reading(database, tables) as feed:
        await database.orders.insert_one({"_id": 1})
        await database.fresh.rename("orders", dropTarget=True)
        assert said(await feed.changes(1))[0] == ("insert", "orders", {"_id": 1})
        with pytest.raises(PositionLost, match="orders was replaced"):
            await feed.until(1_000)


async def test_a_feed_goes_on_where_it_was(database: Database) -> None:
    """With a position in hand, also from a drop, and also where other tables are wanted than before."""
    async with reading(database, {"orders": {"_id"}}) as feed:
        await database.orders.insert_many([{"_id": number} for number in range(3)])
        commits = await feed.until(3)
        await database.orders.drop()
        commits = await feed.until(4)
        await database.orders.insert_one({"_id": 9})
    for position, wanted in ((commits[0].position, 1), (feed.position, 0), (commits[3].position, 9)):
        async with reading(database, {"orders": {"_id"}, "users": {"_id"}}, since=str(position)) as again:
            change = (await again.changes(1))[0]
            assert change.new == {"_id": wanted}
    assert feed.commits[3].changes[0].kind == "truncate"


async def test_a_durable_place_is_kept_and_two_are_two(database: Database) -> None:
    """Each goes on from what was confirmed under its own name, in another process too."""
    tables: dict[str, Iterable[str] | None] = {"orders": {"_id"}}
    for name in ("one", "two"):
        with pytest.raises(PositionLost, match="nothing is kept"):
            async with reading(database, tables, where=place(name, durable=True)):
                pass
        async with reading(database, tables, where=place(name, durable=True, anew=True)) as feed:
            await database.orders.insert_one({"_id": name})
            (commit,) = await feed.until(1)
            if name == "one":
                await feed.source.confirm(commit.position)
    await database.orders.insert_one({"_id": "later"})
    for name, wanted in (("one", "two"), ("two", "two")):
        async with reading(database, tables, where=place(name, durable=True)) as again:
            assert [change.new["_id"] for change in await again.changes(2)] == [wanted, "later"]


async def test_a_place_that_was_begun_anew_is_kept_only_once_it_is_read(database: Database) -> None:
    """Who crashes between opening it and making everything anew finds it lost again."""
    source = sources(database)(place(durable=True, anew=True))
    await source.open(Wants({"orders": None}), None)
    await source.close()
    with pytest.raises(PositionLost):
        async with reading(database, {"orders": None}, where=place(durable=True)):
            pass


async def test_confirmations_are_written_at_most_every_second_and_at_the_end(database: Database) -> None:
    """The oplog is not filled with places."""
    clock, where = StoppedClock(), place(durable=True, anew=True)

    async def kept() -> object:
        found = await database.tercet_places.find_one({"_id": "place:shop:orders"})
        return found["token"]

    async with reading(database, {"orders": {"_id"}}, where=where, clock=clock) as feed:
        await database.orders.insert_many([{"_id": number} for number in range(3)])
        commits = await feed.until(3)
        begun = await kept()
        await feed.source.confirm(commits[0].position)
        assert await kept() == begun
        clock.advance(SAVE_SECONDS)
        await feed.source.confirm(commits[1].position)
        assert await kept() == commits[1].position
        await feed.source.confirm(commits[2].position)
        assert await kept() == commits[1].position
    assert await kept() == commits[2].position


async def test_a_place_goes_on_while_nothing_wanted_happens(database: Database) -> None:
    """Once a minute, so that the oplog does not run away from it, and not past what nobody has confirmed."""
    clock, where = StoppedClock(), place(durable=True, anew=True)

    async def kept() -> object:
        found = await database.tercet_places.find_one({"_id": "place:shop:orders"})
        return found and found["token"]

    async with reading(database, {"orders": {"_id"}}, where=where, clock=clock) as feed:
        await database.orders.insert_one({"_id": 1})
        (commit,) = await feed.until(1)
        begun = await kept()
        clock.advance(IDLE_SAVE_SECONDS)
        waiting = asyncio.create_task(feed.until(2))
        for _ in range(3):
            await database["else"].insert_one({})
        assert await kept() == begun
        await feed.source.confirm(commit.position)
        assert await kept() == commit.position
        async with asyncio.timeout(SECONDS):
            while await kept() == commit.position:
                clock.advance(IDLE_SAVE_SECONDS)
                await database["else"].insert_one({})
        assert cast("str", await kept()) > str(commit.position)
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_a_slow_reader_does_not_turn_the_place_back(database: Database) -> None:
    """Another one has taken over, and is further."""
    where = place(durable=True, anew=True)
    async with reading(database, {"orders": {"_id"}}, where=where) as slow:
        await database.orders.insert_many([{"_id": number} for number in range(2)])
        first, second = await slow.until(2)
        async with reading(database, {"orders": {"_id"}}, where=place(durable=True)) as quick:
            await quick.until(2)
            await quick.source.confirm(second.position)
        await slow.source.confirm(first.position)
    found = await database.tercet_places.find_one({"_id": "place:shop:orders"})
    assert found["token"] == second.position


@pytest.mark.parametrize(
    "token",
    ["", "nothing", "82", "82zz", "826B", "8260000000000000012B022C0100296E5A1004CD608B6B9C9444F6B9974C5E08939F13FF"],
)
async def test_a_token_that_is_none_is_lost(database: Database, token: str) -> None:
    """Whatever the server calls it."""
    with pytest.raises(PositionLost, match="begins anew"):
        async with reading(database, {"orders": None}, since=token) as feed:
            await feed.until(1)


async def test_a_token_that_is_not_in_the_oplog_is_lost(database: Database) -> None:
    """The server says so when it meets the first event after it, or at once where its oplog begins later."""
    await database.orders.insert_one({"_id": 1})
    token = "8260000000000000012B022C0100296E5A1004CD608B6B9C9444F6B9974C5E08939F13461E5F6964002B020004"
    with pytest.raises(PositionLost, match="the oplog"):
        async with reading(database, {"orders": None}, since=token) as feed:
            await feed.until(1)


async def test_a_token_from_a_time_to_come_is_lost(database: Database) -> None:
    """A restored server would be silent until that time."""
    with pytest.raises(PositionLost, match="has not seen"):
        async with reading(database, {"orders": None}, since="82FFFFFFF0000000012B0229296E04"):
            pass


@pytest.mark.parametrize("code", [286, 136])
async def test_an_oplog_that_has_gone_past_the_token_is_a_lost_position(
    database: Database, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """The server's code is stubbed in the driver's answer: an oplog's least size is 990 MB of writes."""
    async with reading(database, {"orders": None}) as feed:
        command = type(database).command

        async def gone(self: Any, what: Any, *more: Any, **options: Any) -> Any:
            if "getMore" in what:
                raise OperationFailure("gone", code, {"codeName": "ChangeStreamHistoryLost"})
            return await command(self, what, *more, **options)

        monkeypatch.setattr(type(database), "command", gone)
        with pytest.raises(PositionLost, match="oplog has gone past") as caught:
            await feed.until(1)
    assert isinstance(caught.value, OperationFailure)


async def test_closing_ends_a_wait_and_leaves_nothing(database: Database) -> None:
    """Neither a cursor on the server nor a session; twice is fine, and a closed source says so."""
    async with reading(database, {"orders": None}) as feed:
        waiting = asyncio.create_task(feed.until(1))
        async with asyncio.timeout(SECONDS):
            while not feed.source._under_way:
                await asyncio.sleep(0)
        await feed.source.close()
        with pytest.raises(NotOpen):
            await waiting
        await feed.source.close()
        with pytest.raises(NotOpen):
            await feed.source.confirm("82")
        ours = [{"$currentOp": {"idleCursors": True}}, {"$match": {"ns": {"$regex": f"^{database.name}[.]"}}}]
        async with asyncio.timeout(SECONDS):
            # The server lets its wait end first, which takes a second.
            while await (await database.client.admin.aggregate(ours)).to_list():
                await asyncio.sleep(0.05)


async def test_a_limit_for_operations_does_not_end_a_wait(database: Database, mongo_url: str) -> None:
    """What comes after a client's own limit for one operation is told all the same."""
    async with (
        AsyncMongoClient[dict[str, Any]](mongo_url, timeoutMS=100) as hasty,
        reading(hasty[database.name], {"orders": {"_id"}}) as feed,
    ):
        waiting = asyncio.create_task(feed.until(1))
        await asyncio.wait([waiting], timeout=0.5)
        await database.orders.insert_one({"_id": 1})
        assert (await waiting)[0].changes[0].new == {"_id": 1}


async def test_a_tercet_that_is_closed_under_a_feed_says_so(mongo_url: str) -> None:
    """It is no outage, and nobody goes on trying."""
    tercet = Tercet(mongo=mongo_url, close_wait="10ms")
    async with tercet as db, reading(db.mongo, {"orders": {"_id"}}) as feed:
        waiting = asyncio.create_task(feed.until(1))
        async with asyncio.timeout(SECONDS):
            while not feed.source._under_way:
                await asyncio.sleep(0)
        await db.close()
        with pytest.raises(NotOpen):
            await waiting


async def test_broken_dates_and_texts_do_not_stop_the_feed(database: Database) -> None:
    """A document that Python cannot hold is told with what can be held of it."""
    from bson.datetime_ms import DatetimeMS

    async with reading(database, {"orders": None}) as feed:
        await database.orders.insert_one({"_id": 1, "at": DatetimeMS(2**62)})
        (change,) = await feed.changes(1)
    assert change.new["at"] == DatetimeMS(2**62)


def note(_lag: object) -> None:
    """Whoever leads is told how far it lags, and MongoDB has nothing to say of it."""


async def test_one_leads_and_another_takes_over(database: Database) -> None:
    """At once when the first one says goodbye, and when its lease is over where it does not."""
    following: list[int] = []
    first, second, third = (MongoLeader(database, "lease:a", seconds=SECONDS, every=0.02) for _ in range(3))
    async with asyncio.timeout(SECONDS):
        await first.lead(lambda: following.append(1))
        waiting = asyncio.create_task(second.lead(lambda: following.append(2)))
        leading = asyncio.create_task(first.led(note))
        begun = (await database.tercet_places.find_one({"_id": "lease:a"}))["until"]
        while not following or (await database.tercet_places.find_one({"_id": "lease:a"}))["until"] == begun:
            await asyncio.sleep(0.01)
        assert not waiting.done()
        assert not leading.done()
        leading.cancel()
        await asyncio.wait([leading])
        await first.close()
        await waiting
        assert following == [2]
        # The second one says nothing more, as if it had been killed; its time passes.
        await database.tercet_places.update_one(
            {"_id": "lease:a"}, {"$set": {"until": datetime(2020, 1, 1, tzinfo=UTC)}}
        )
        await third.lead(lambda: following.append(3))
        assert following == [2]
        # And hears of it when it wakes up.
        await second.led(note)
        # Its goodbye takes nothing away from who leads now.
        await asyncio.gather(second.close(), first.close())
        assert await database.tercet_places.count_documents({}) == 1
        await third.close()
        await third.close()
    assert await database.tercet_places.count_documents({}) == 0


async def test_a_lease_that_is_over_is_not_led_on(database: Database) -> None:
    """Who has slept through its end trusts its own clock, and asks nobody."""
    leader = leaders(database)(place())
    async with asyncio.timeout(SECONDS):
        await leader.lead(lambda: None)
        leader._every, leader._until = 0.0, asyncio.get_running_loop().time() - 1
        with pytest.raises(StoreUnreachable, match="could not be renewed"):
            await leader.led(note)
        await leader.close()
