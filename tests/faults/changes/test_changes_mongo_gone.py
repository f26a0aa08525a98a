"""MongoDB dies or freezes under a feed: what is told, how soon, and that nothing is missing afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import DuplicateKeyError, PyMongoError

from tercet.changes import Wants
from tercet.changes.feeding.place import Place
from tercet.changes.mongo import mongo as edge
from tercet.changes.mongo import mongo_place
from tercet.changes.mongo.mongo import MongoSource
from tercet.errors import DeadlinePassed, StoreError, StoreUnreachable
from tercet.servers import Servers, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Long enough that only a fault reaches it.
SECONDS = 100.0
DOCUMENTS = 120
WANTS = Wants({"orders": frozenset({"_id"})})
KEPT = Place("shop", "orders", durable=True)
ANEW = KEPT.renewed()


class Own:
    """A server of the test's own, which keeps its data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers: Servers | None = None

    async def start(self) -> str:
        """Bring it up, where it was if it was."""
        self._servers = Servers(self._folder, ("mongo",), sources=["wheel"])
        url = (await self._servers.start()).mongo
        assert url is not None
        return f"{url}&serverSelectionTimeoutMS=500"

    async def send(self, number: signal.Signals) -> None:
        """Send this to it."""
        (found,) = [one for one in await status(self._folder) if one.store == "mongo"]
        assert found.pid is not None
        os.kill(found.pid, number)
        if number == signal.SIGSTOP:
            threads = Path(f"/proc/{found.pid}/task")
            while any(one.read_text().rpartition(") ")[2][0] not in "TZX" for one in threads.glob("*/stat")):
                await asyncio.sleep(0.001)

    async def stop(self) -> None:
        """Take it down, or what is left of it."""
        servers, self._servers = self._servers, None
        if servers is not None:
            with suppress(ProcessLookupError, ValueError, AssertionError):
                await self.send(signal.SIGCONT)
            await servers.stop()


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Own]:
    """A running server; gone at the end, in whatever state it is."""
    server = Own(tmp_path)
    yield server
    await server.stop()


async def write(database: Any, acknowledged: list[int]) -> None:
    """Write documents one after the other, each until it is there for good."""
    for number in range(DOCUMENTS):
        while True:
            try:
                await database.orders.insert_one({"_id": number})
            except DuplicateKeyError:
                # It was written, and the answer was lost.
                break
            except PyMongoError:
                await asyncio.sleep(0.05)
            else:
                break
        acknowledged.append(number)


async def read(database: Any, told: list[int], errors: list[StoreError]) -> None:
    """Read the place as a feed does: again and again, and confirm what was told."""
    while len(set(told)) < DOCUMENTS:
        source = MongoSource(database, KEPT)
        try:
            await source.open(WANTS, None)
            async for commits in source.commits():
                told += [int(str(change.new["_id"])) for one in commits for change in one.changes]
                await source.confirm(commits[-1].position)
                if len(set(told)) == DOCUMENTS:
                    return
        except StoreError as error:
            errors.append(error)
            await asyncio.sleep(0.05)
        finally:
            await source.close()


async def test_nothing_is_missing_after_a_server_was_killed_twice(own: Own) -> None:
    """What was acknowledged is told, in its order, by a place that goes on where it was."""
    acknowledged: list[int] = []
    told: list[int] = []
    errors: list[StoreError] = []
    async with asyncio.timeout(SECONDS), AsyncMongoClient[dict[str, Any]](await own.start(), w="majority") as client:
        database = client["shop"]
        begun = MongoSource(database, ANEW)
        await begun.open(WANTS, None)
        waiting = asyncio.ensure_future(anext(begun.commits()))
        while await database.tercet_places.find_one() is None:
            await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
        await begun.close()
        tasks = [asyncio.create_task(write(database, acknowledged)), asyncio.create_task(read(database, told, errors))]
        for part in (1, 2):
            while len(acknowledged) < part * DOCUMENTS // 3 or not told:
                await asyncio.sleep(0.001)
            before = len(errors)
            await own.send(signal.SIGKILL)
            while len(errors) == before:
                await asyncio.sleep(0.01)
            await own.stop()
            await own.start()
        await asyncio.gather(*tasks)
    assert acknowledged == list(range(DOCUMENTS))
    assert list(dict.fromkeys(told)) == acknowledged
    assert [error for error in errors if not isinstance(error, StoreUnreachable | DeadlinePassed)] == []


async def test_a_frozen_server_ends_the_reading_in_time_and_closing_does_not_wait_for_it(
    own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that stays open and silent is not taken for peace; afterwards it goes on."""
    async with asyncio.timeout(SECONDS), AsyncMongoClient[dict[str, Any]](await own.start()) as client:
        database = client["shop"]
        source = MongoSource(database, ANEW)
        await source.open(WANTS, None)
        stream = source.commits()
        await database.orders.insert_one({"_id": 1})
        (commit,) = await anext(stream)
        await source.confirm(commit.position)
        monkeypatch.setattr(edge, "PATIENCE_SECONDS", 0.2)
        monkeypatch.setattr(mongo_place, "PATIENCE_SECONDS", 0.2)
        await own.send(signal.SIGSTOP)
        with pytest.raises(StoreError) as caught:
            await anext(stream)
        assert caught.value.retryable
        began = time.monotonic()
        await source.close()
        assert time.monotonic() - began < SECONDS / 2
        frozen = MongoSource(database, KEPT)
        with pytest.raises(StoreError) as again:
            await frozen.open(WANTS, None)
        assert again.value.retryable
        await frozen.close()
        await own.send(signal.SIGCONT)
        monkeypatch.undo()
        while True:
            after = MongoSource(database, KEPT)
            try:
                await after.open(WANTS, commit.position)
                break
            except StoreError:
                await after.close()
        await database.orders.insert_one({"_id": 2})
        (commit,) = await anext(after.commits())
        assert commit.changes[-1].new == {"_id": 2}
        await after.close()
