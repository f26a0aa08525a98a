"""A PostgreSQL of a test's own, which it may kill, freeze and start again, and whoever follows it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tercet.changes import Changes, Commit, Wants
from tercet.changes.stream.postgres import postgres_changes
from tercet.clock import SystemClock
from tercet.servers import Servers, start
from tercet.settings import Settings
from tercet.telemetry import Telemetry

# Both cores may be taken: nothing here is about how fast PostgreSQL answers.
PATIENCE_SECONDS = 90.0
# Below those that systems give to clients, above those of services that people know.
PORTS = (20_000, 32_000)


class Heard:
    """A listener that remembers what it was told."""

    def __init__(self) -> None:
        self.wants = Wants({"t": None})
        self.ids: list[object] = []
        self.why: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def hear(self, commits: Sequence[Commit]) -> None:
        """Remember the ids of the rows, once the gate is open."""
        await self.gate.wait()
        self.ids += [change.new["id"] for commit in commits for change in commit.changes]

    async def resync(self, why: str) -> None:
        """Remember why."""
        self.why.append(why)


class OwnPostgres:
    """A server on a port that it keeps."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers = self._make()
        self._frozen: list[int] = []
        self._made: list[Changes] = []
        self.url = ""

    def _make(self) -> Servers:
        return Servers(self._folder, ("postgres",), durable=False, sources=("wheel",))

    async def start(self) -> None:
        """Start it, at its last port."""
        url = (await self._servers.start()).postgres
        assert url is not None
        assert self.url in {"", url}, "the port was taken meanwhile"
        self.url = url

    async def kill(self) -> None:
        """As a crash would: at once."""
        os.kill(self._postmaster(), signal.SIGKILL)
        await self._servers.stop()
        self._servers = self._make()

    async def stop(self) -> None:
        """In order, as for an upgrade."""
        await self._servers.stop()
        self._servers = self._make()

    def freeze(self) -> None:
        """It keeps its connections and answers nobody: its processes are all stopped."""
        parent = self._postmaster()
        os.kill(parent, signal.SIGSTOP)
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        self._frozen = [*map(int, children), parent]
        for pid in self._frozen:
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it stood."""
        for pid in self._frozen:
            os.kill(pid, signal.SIGCONT)
        self._frozen = []

    def _postmaster(self) -> int:
        return int((self._folder / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])

    async def run(self, *statements: str) -> Any:
        """Run statements on a connection of their own; what the last one answers first."""
        sql = await asyncpg.connect(self.url)
        try:
            for statement in statements[:-1]:
                await sql.execute(statement)
            return await sql.fetchval(statements[-1])
        finally:
            await sql.close()

    def changes(self, service: str = "shop") -> Changes:
        """As one process of the service has it."""
        made = postgres_changes(
            Settings.read({"postgres": self.url}, environ={}),
            clock=SystemClock(), telemetry=Telemetry(), service=service,
        )  # fmt: skip
        self._made.append(made)
        return made

    async def close(self) -> None:
        """Nothing of it is left."""
        self.thaw()
        await asyncio.gather(*(one.close() for one in self._made))
        await self._servers.stop()


def _ports(last: Any) -> Iterator[int]:
    """The last port again and again; at first, one that no client is given by the system while the server is away."""
    while last is not None:
        yield last.port
    while True:
        yield random.randrange(*PORTS)


@pytest.fixture
async def own_postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OwnPostgres]:
    """A running server with a published table `t`; gone at the end, in whatever state it is."""
    monkeypatch.setattr(start, "_ports", _ports)
    server = OwnPostgres(tmp_path)
    await server.start()
    try:
        await server.run(
            "create table t (id int primary key, word text)", "create publication tercet for table t", "select 1"
        )
        yield server
    finally:
        await server.close()


async def until(holds: Callable[[], object]) -> None:
    """Wait until this is so; what it answers may have to be waited for."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            answer = holds()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return
            await asyncio.sleep(0.01)


@pytest.fixture
def heard() -> Callable[[], Heard]:
    """Makes listeners."""
    return Heard


@pytest.fixture(name="until")
def _until() -> Callable[[Callable[[], object]], object]:
    """Waits for a condition."""
    return until
