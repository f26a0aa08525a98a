"""Index advice for MongoDB cut short: cancelled, its server or its process killed; nothing half done stays unsaid."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from tercet.advisor.advice import MongoChange, Piece
from tercet.advisor.mongo import apply, mongo_apply, undo
from tercet.advisor.mongo.mongo_guard import Guard
from tercet.servers.folder import Site
from tercet.servers.mongo import MongoServer
from tercet.servers.port import Program
from tercet.servers.process import Spawner
from tercet.servers.servers import SOURCES
from tercet.servers.start import Running, Start, bring_up

Database = AsyncDatabase[dict[str, Any]]

pytestmark = pytest.mark.asyncio(loop_scope="module")

HANGS = "hangAfterStartingIndexBuild"
# A condition is looked at so often.
LOOK_SECONDS = 0.02
SPEC = '{"key": {"a": {"$numberInt": "1"}}, "name": "a_1"}'
CHANGE = MongoChange("things", "a_1", SPEC, ('{"find": "things", "filter": {"a": {"$numberInt": "3"}}}',))
MAKE, LET_GO = Piece("index", "", value=CHANGE), Piece("drop_index", "", value=CHANGE)


@dataclass(frozen=True, slots=True)
class Halting(MongoServer):
    """A mongod that can be told to halt in the middle of a build."""

    def command(self, site: Site, program: Program, port: int) -> tuple[str, ...]:
        """As any other, with the commands of MongoDB's own tests."""
        return (*MongoServer.command(self, site, program, port), "--setParameter", "enableTestCommands=1")


class Heard(CommandListener):
    """What was asked."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []
        self.failures: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        """Keep it."""
        self.commands.append(dict(event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Keep its name."""
        self.failures.append(event.command_name)


class Own:
    """A server of this module's own with a collection of things, which keeps its data."""

    def __init__(self, folder: Path) -> None:
        self._site, self._spawner = Site("mongo", folder), Spawner()
        self._running: Running | None = None
        self.heard = Heard()
        self.clients: list[AsyncMongoClient[dict[str, Any]]] = []

    async def start(self) -> Database:
        """Bring it up with what it had."""
        self._running = await bring_up(Halting(), self._site, Start(self._spawner, detached=False, sources=SOURCES))
        return self.client()

    def client(self) -> Database:
        """Another client of it, with a limit for each operation as a program's has."""
        assert self._running is not None
        url = f"mongodb://127.0.0.1:{self._running.port}/?directConnection=true&serverSelectionTimeoutMS=5000"
        self.clients.append(AsyncMongoClient(url, timeoutMS=60_000, event_listeners=[self.heard]))
        return self.clients[-1]["shop"]

    async def kill(self) -> None:
        """kill -9."""
        assert self._running is not None
        os.kill(self._running.process.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """End it, and whoever talks with it."""
        for one in self.clients:
            await one.close()
        await asyncio.gather(*(process.end() for process in await self._spawner.settle()))
        self._spawner.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Own]:
    """A running server."""
    server = Own(tmp_path_factory.mktemp("own"))
    await (await server.start()).things.insert_many([{"a": n} for n in range(500)])
    yield server
    await server.stop()


async def _state(database: Database) -> str:
    """What is there of the index."""
    told = await database.command({"listIndexes": "things", "includeIndexBuildInfo": True})
    for one in told["cursor"]["firstBatch"]:
        if one["spec"]["name"] == "a_1":
            return "half built" if "indexBuildInfo" in one else "hidden" if one["spec"].get("hidden") else "shown"
    return "absent"


async def _halt(database: Database, *, on: bool) -> None:
    await database.client.admin.command({"configureFailPoint": HANGS, "mode": "alwaysOn" if on else "off"})


async def _until(database: Database, wanted: str) -> None:
    while await _state(database) != wanted:
        await asyncio.sleep(LOOK_SECONDS)


async def _cancelled(work: asyncio.Task[Any]) -> None:
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


async def test_a_build_that_is_cancelled_is_ended_on_the_server(own: Own) -> None:
    """Left alone it would go on there. The next one begins anew, and is undone."""
    database = own.client()
    await _halt(database, on=True)
    work = asyncio.create_task(apply(database, MAKE))
    await _until(database, "half built")
    await _cancelled(work)
    assert await _state(database) == "absent"
    await _halt(database, on=False)
    assert (await apply(database, MAKE)).done
    assert await _state(database) == "shown"
    assert (await undo(database, MAKE)).done
    assert await _state(database) == "absent"


async def test_a_cancellation_before_the_server_has_begun_leaves_nothing_either(own: Own) -> None:
    """At whatever step it comes."""
    database = own.client()
    for steps in range(0, 60, 4):
        work = asyncio.create_task(apply(database, MAKE))
        for _ in range(steps):
            await asyncio.sleep(0)
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
            await undo(database, MAKE)
        assert await _state(database) == "absent"


async def test_a_server_killed_in_the_middle_builds_on_and_nobody_takes_it_for_done(own: Own) -> None:
    """It is told what remains; when the server is back, the index is hidden, and the same command goes on with it."""
    database = own.client()
    await _halt(database, on=True)
    work = asyncio.create_task(apply(database, MAKE))
    await _until(database, "half built")
    await own.kill()
    cut = await work
    assert not cut.done
    assert "hidden, so that no query takes it" in cut.why
    assert "Apply it again, or undo it" in cut.why
    database = await own.start()
    await _until(database, "hidden")
    assert (await apply(database, MAKE)).done
    assert await _state(database) == "shown"
    assert (await undo(database, MAKE)).done
    assert await _state(database) == "absent"


async def test_what_a_killed_program_has_left_half_built_is_waited_for_or_undone(own: Own) -> None:
    """The server builds on for nobody: whoever applies it again waits for that build, whoever undoes it ends it."""
    database = own.client()
    for again in (apply, undo):
        await _halt(database, on=True)
        gone = own.client()
        left = asyncio.create_task(gone.command({"createIndexes": "things", "indexes": [
            {"key": {"a": 1}, "name": "a_1", "hidden": True}]}))  # fmt: skip
        await _until(database, "half built")
        left.cancel()
        with suppress(asyncio.CancelledError, PyMongoError):
            await left
        await gone.client.close()
        assert await _state(database) == "half built"
        work = asyncio.create_task(again(database, MAKE))
        if again is undo:
            await work
            assert await _state(database) == "absent"
        await _halt(database, on=False)
        assert (await work).done
        assert await _state(database) == ("shown" if again is apply else "absent")
        await undo(database, MAKE)


async def test_a_build_has_no_limit_of_time(own: Own) -> None:
    """The client's limit for one operation would reach the server, and end a build that takes longer."""
    database = own.client()
    own.heard.commands.clear()
    assert (await apply(database, MAKE)).done
    (created,) = [one for one in own.heard.commands if "createIndexes" in one]
    assert "maxTimeMS" not in created
    assert any("maxTimeMS" in one for one in own.heard.commands)
    await undo(database, MAKE)


@pytest.mark.parametrize(
    ("piece", "before", "while_looked_at"), [(MAKE, "absent", "shown"), (LET_GO, "shown", "hidden")]
)
async def test_cancelled_while_it_is_looked_at_all_is_as_it_was(
    own: Own, monkeypatch: pytest.MonkeyPatch, piece: Piece, before: str, while_looked_at: str
) -> None:
    """An index that is to come goes away again, one that is to go is shown again."""
    database = own.client()
    if before == "shown":
        assert (await apply(database, MAKE)).done
    looking = asyncio.Event()

    async def forever(*_: Any) -> str:
        looking.set()
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(Guard, "worse", forever)
    work = asyncio.create_task(apply(database, piece))
    await looking.wait()
    assert await _state(database) == while_looked_at
    await _cancelled(work)
    assert await _state(database) == before
    await undo(database, MAKE)


async def test_a_server_killed_while_a_drop_is_looked_at_is_told_and_both_ways_go_on(
    own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index may be hidden then: undo shows it, apply lets it go."""
    database = own.client()
    assert (await apply(database, MAKE)).done

    async def killed(self: Guard, name: str, change: Any) -> str:
        await own.kill()
        await change(True)
        return ""

    with monkeypatch.context() as patched:
        patched.setattr(Guard, "worse", killed)
        cut = await apply(database, LET_GO)
    assert not cut.done
    assert "may be hidden" in cut.why
    database = await own.start()
    assert await _state(database) == "hidden"
    assert (await undo(database, LET_GO)).done
    assert await _state(database) == "shown"
    # Its command would read everything without it.
    missed = await apply(database, LET_GO)
    assert (missed.done, missed.why) == (False, "a_1 was left: without it 2 → 500 keys and documents read")
    assert await _state(database) == "shown"
    for _ in range(2):
        assert (await apply(database, LET_GO, commands=())).done
    assert await _state(database) == "absent"


async def test_beside_a_build_of_somebody_elses_it_is_said_what_waits(own: Own) -> None:
    """While another index of a collection is built none can be hidden or shown: it is told, and nothing is changed."""
    database = own.client()
    assert (await apply(database, MAKE)).done
    await _halt(database, on=True)
    other = asyncio.create_task(database.things.create_index("b"))
    while not any("createIndexes" in one and "b_1" in str(one) for one in own.heard.commands):
        await asyncio.sleep(LOOK_SECONDS)
    while (await database.command({"listIndexes": "things", "includeIndexBuildInfo": True}))["cursor"]["firstBatch"][
        -1
    ].get("indexBuildInfo") is None:
        await asyncio.sleep(LOOK_SECONDS)
    waits = await apply(database, LET_GO)
    assert not waits.done
    assert "another index of things is being built: a_1 may be hidden" in waits.why
    assert await _state(database) == "shown"
    await _halt(database, on=False)
    await other
    await database.things.drop_index("b_1")
    assert (await apply(database, LET_GO, commands=())).done


async def test_a_transaction_that_has_the_collection_in_hand_is_waited_for_in_short_steps(
    own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes behind such a request would wait with it, so it is given up and made again; at last it is told."""
    database = own.client()
    assert (await apply(database, MAKE)).done
    own.heard.failures.clear()
    async with database.client.start_session() as session:
        await session.start_transaction()
        await database.things.insert_one({"a": 7}, session=session)
        with monkeypatch.context() as patched:
            patched.setattr(mongo_apply, "PATIENCE_SECONDS", 0.0)
            refused = await apply(database, LET_GO, commands=())
        assert not refused.done
        assert "a transaction has things in hand: a_1 may be there still" in refused.why
        assert await _state(database) == "shown"
        tries = own.heard.failures.count("dropIndexes")
        work = asyncio.create_task(apply(database, LET_GO, commands=()))
        while own.heard.failures.count("dropIndexes") == tries:
            await asyncio.sleep(LOOK_SECONDS)
        await session.abort_transaction()
    assert (await work).done
    assert await _state(database) == "absent"
