"""What a read of MongoDB has seen, on a replica set whose second member lags as far as the test wants."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.errors import ConnectionFailure, OperationFailure
from pymongo.read_concern import ReadConcern

from tercet.changes import Wants
from tercet.changes.feeding.place import Place
from tercet.changes.mongo.mongo import MongoSource
from tercet.servers.folder import Site
from tercet.servers.mongo import MongoServer
from tercet.servers.program import find
from tercet.tercet import Tercet
from tercet.witness import Moment, Witness, watched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

# Long enough that only a fault reaches it.
SECONDS = 60.0


@dataclass(frozen=True)
class Members:
    """A primary, and a secondary that has no vote: a majority has what the primary has."""

    primary: int
    secondary: int

    @property
    def url(self) -> str:
        """Of the database shop, by the set."""
        return f"mongodb://127.0.0.1:{self.primary},127.0.0.1:{self.secondary}/shop?replicaSet=rs0"

    async def lag(self, *, stopped: bool) -> None:
        """Let the secondary apply nothing more, or go on."""
        async with AsyncMongoClient[dict[str, Any]](
            f"mongodb://127.0.0.1:{self.secondary}/?directConnection=true"
        ) as it:
            was = await it.admin.command("configureFailPoint", "rsSyncApplyStop", mode="alwaysOn" if stopped else "off")
            if stopped:
                # It may be applying right now; once it has come to the point it does not pass it.
                entered = {"timesEntered": was["count"] + 1, "maxTimeMS": SECONDS * 1000}
                await it.admin.command("waitForFailPoint", "rsSyncApplyStop", **entered)


def _port() -> int:
    """A port on which nobody listens, and which no client is given by the system meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


async def _initiate(members: Members) -> None:
    alone = f"mongodb://127.0.0.1:{members.primary}/?directConnection=true&serverSelectionTimeoutMS=500"
    hosts = [
        {"_id": 0, "host": f"127.0.0.1:{members.primary}"},
        {"_id": 1, "host": f"127.0.0.1:{members.secondary}", "priority": 0, "votes": 0},
    ]
    # Each would wait for ten seconds before it stands for election; only one may.
    quick = {"heartbeatIntervalMillis": 100, "electionTimeoutMillis": 500}
    async with asyncio.timeout(SECONDS), AsyncMongoClient[dict[str, Any]](alone) as client:
        while True:
            try:
                hello = await client.admin.command("hello")
                if hello.get("setName") is None:
                    await client.admin.command("replSetInitiate", {"_id": "rs0", "members": hosts, "settings": quick})
                states = (await client.admin.command("replSetGetStatus"))["members"]
                if [one["stateStr"] for one in states] == ["PRIMARY", "SECONDARY"]:
                    return
            except (ConnectionFailure, OperationFailure):
                pass
            await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    """Two servers of this file's own; gone at the end."""
    folder: Path = tmp_path_factory.mktemp("members")
    server = MongoServer()
    running: list[subprocess.Popen[bytes]] = []
    try:
        ports = [_port(), _port()]
        for port in ports:
            site = Site("mongo", folder / str(port))
            (folder / str(port)).mkdir()
            site.data.mkdir(parents=True)
            program = find(server, site, ("wheel",), os.environ)
            words = [*server.command(site, program, port), "--setParameter", "enableTestCommands=1"]
            running.append(
                subprocess.Popen(words, env={**os.environ, **program.environment}, stdout=subprocess.DEVNULL)
            )
        made = Members(*ports)
        asyncio.run(_initiate(made))
        yield made
    finally:
        for process in running:
            process.kill()
            process.wait()


@pytest.fixture
async def db(members: Members) -> AsyncIterator[Tercet]:
    """Both members, by one client; the secondary goes on in the end."""
    async with Tercet(mongo=members.url) as tercet:
        await tercet.mongo.orders.drop()
        await tercet.mongo.orders.insert_one({"_id": 1, "total": 0})
        yield tercet
        await members.lag(stopped=False)


async def told(db: Tercet, total: int) -> Moment:
    """Change the order, and return the moment once a feed has told it."""
    source = MongoSource(db.mongo, Place("shop", "witness"))
    try:
        await source.open(Wants({"orders": frozenset({"_id"})}), None)
        await db.mongo.orders.update_one({"_id": 1}, {"$set": {"total": total}})
        async with asyncio.timeout(SECONDS):
            async for commits in source.commits():
                return commits[0].moment
        raise AssertionError("a feed does not end")
    finally:
        await source.close()


async def seen(orders: Any, moment: Moment, **options: Any) -> tuple[int, bool | None]:
    """What a read finds, and whether its witness says that it has seen this moment."""
    with watched(Witness()) as witness:
        found = await orders.find_one({"_id": 1}, **options)
    return found["total"], witness.sees(moment)


async def caught_up(orders: Any, total: int) -> None:
    """Wait until a secondary has it."""
    async with asyncio.timeout(SECONDS):
        while (found := await orders.find_one({"_id": 1})) is None or found["total"] != total:
            await asyncio.sleep(0.01)


def secondary(db: Tercet, **options: Any) -> Any:
    """The orders, as the secondary has them."""
    return db.mongo.orders.with_options(read_preference=ReadPreference.SECONDARY, **options)


async def test_a_read_from_the_primary_has_seen_what_was_told(db: Tercet) -> None:
    """Whatever way it is read; and a read that nobody watches tells nobody."""
    orders = db.mongo.orders
    moment = await told(db, 1)
    assert await seen(orders, moment) == (1, True)
    with watched(Witness()) as witness:
        await orders.count_documents({})
        await orders.distinct("total")
        await (await orders.aggregate([{"$match": {}}])).to_list()
        await orders.find_one_and_update({"_id": 1}, {"$set": {"note": 1}})
    assert witness.sees(moment) is True
    await orders.find_one({"_id": 1})
    assert Witness().sees(moment) is None


async def test_a_secondary_that_lags_is_not_taken_for_one_that_has_seen(db: Tercet, members: Members) -> None:
    """It answers with what was before, and its witness says so; once it has caught up, it says that too."""
    orders = secondary(db)
    await caught_up(orders, 0)
    await members.lag(stopped=True)
    moment = await told(db, 2)
    assert await seen(orders, moment) == (0, False)
    assert await seen(db.mongo.orders, moment) == (2, True)
    await members.lag(stopped=False)
    await caught_up(orders, 2)
    # The answer before this read has said how far it was.
    assert await seen(orders, moment) == (2, True)


async def test_what_a_secondary_was_first_asked_is_not_known_to_be_seen(db: Tercet) -> None:
    """Nothing is known of it before its first answer."""
    moment = await told(db, 3)
    await caught_up(secondary(db), 3)
    # What is known is known for one read concern: another one may read less.
    majority = secondary(db, read_concern=ReadConcern("majority"))
    with watched(Witness()) as witness:
        await majority.find_one({"_id": 1})
    assert witness.sees(moment) is False


async def test_a_read_that_waits_for_a_time_has_seen_it(db: Tercet, members: Members) -> None:
    """A causally consistent session makes the secondary wait."""
    await members.lag(stopped=True)
    async with db.mongo.client.start_session() as session:
        source = MongoSource(db.mongo, Place("shop", "witness"))
        await source.open(Wants({"orders": None}), None)
        await db.mongo.orders.update_one({"_id": 1}, {"$set": {"total": 4}}, session=session)
        commits = await anext(source.commits())
        await source.close()
        await members.lag(stopped=False)
        found = await seen(secondary(db), commits[0].moment, session=session)
    assert found == (4, True)


async def test_a_snapshot_has_seen_what_was_there_at_its_time(db: Tercet) -> None:
    """And none of what came later, on whichever member it is read."""
    await told(db, 5)
    async with db.mongo.client.start_session(snapshot=True) as session:
        moment = await told(db, 6)
        first = await seen(db.mongo.orders, moment, session=session)
        later = await told(db, 7)
        again = await seen(db.mongo.orders, later, session=session)
        elder = await seen(db.mongo.orders, moment, session=session)
    assert first == (6, True)
    assert again == (6, False)
    assert elder == (6, True)


async def test_a_transaction_that_was_begun_before_has_not_seen_it(db: Tercet) -> None:
    """One that begins under the witness has, with everything that it reads."""
    orders = db.mongo.orders
    async with db.mongo.client.start_session() as session:
        async with await session.start_transaction(read_concern=ReadConcern("snapshot")):
            before = (await orders.find_one({"_id": 1}, session=session))["total"]
            moment = await told(db, 8)
            assert await seen(orders, moment, session=session) == (before, False)
        with watched(Witness()) as witness:
            async with await session.start_transaction():
                await orders.find_one({"_id": 1}, session=session)
                await orders.find_one({"_id": 1}, session=session)
        assert witness.sees(moment) is True


async def test_a_cursor_that_was_opened_before_has_not_seen_it(db: Tercet) -> None:
    """One that is opened under the witness has, to its end."""
    orders = db.mongo.orders
    await orders.insert_many([{"total": number} for number in range(10)])
    cursor = orders.find({}, batch_size=2)
    await cursor.next()
    moment = await told(db, 9)
    with watched(Witness()) as early:
        await cursor.to_list()
    assert early.sees(moment) is False
    with watched(Witness()) as witness:
        assert len(await orders.find({}, batch_size=2).to_list()) == 11
    assert witness.sees(moment) is True


async def test_who_says_primary_preferred_is_believed_no_more_than_a_secondary(db: Tercet) -> None:
    """Nobody promises that what answers still is the primary; after an answer one knows."""
    orders = db.mongo.orders.with_options(read_preference=ReadPreference.PRIMARY_PREFERRED)
    moment = await told(db, 10)
    await orders.find_one({"_id": 1})
    assert await seen(orders, moment) == (10, True)


async def test_the_feed_and_the_witness_count_by_the_same_name(db: Tercet) -> None:
    """Otherwise no read would ever have been watched."""
    moment = await told(db, 11)
    assert moment.source == "mongo:rs0"
    with watched(Witness()) as witness:
        await db.mongo.orders.find_one()
    assert witness.sees(Moment("mongo:else", 1)) is None
    assert witness.sees(moment) is True
