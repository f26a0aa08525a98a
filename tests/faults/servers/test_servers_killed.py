"""Starters and servers that are killed, and what a second run finds."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest
import redis.asyncio

import tercet
from tercet.servers import Servers, down, status
from tercet.servers.launcher import started_at
from tercet.servers.process import command_line

if TYPE_CHECKING:
    from collections.abc import Iterator

WHEEL = ("wheel",)
# For what must come by itself, on a machine that is busy with other things.
PATIENCE_SECONDS = 90
_SOURCE = str(Path(tercet.__file__).parents[1])

# Starts the servers, says each step, and then waits for the end that the test gives it.
_STARTER = """
import asyncio, sys
from tercet.servers import Servers

async def main():
    servers = Servers(
        sys.argv[1], sys.argv[2].split(","), sources=("wheel",),
        detached="detached" in sys.argv, durable="durable" in sys.argv,
        on_progress=lambda store, what: print(store, what, flush=True),
    )
    await servers.start()
    print("all up", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


class Starter:
    """A program of its own that starts servers, to be killed at a step of its."""

    def __init__(self, folder: Path, stores: str, *how: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _STARTER, str(folder), stores, *how],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": _SOURCE},
        )

    def wait_for(self, step: str) -> None:
        """Read on until it says this."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == step:
                return
            # The last thing that it says: to read on would be to wait for ever.
            if line.strip() == "all up":
                break
        raise AssertionError(f"the starter never said {step!r}")

    def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        """Send it this and wait until it has gone."""
        self._process.send_signal(how)
        code = self._process.wait(PATIENCE_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose servers are gone after the test."""
    yield tmp_path / ".tercet"
    asyncio.run(down(tmp_path / ".tercet"))
    assert _processes_of(tmp_path) == []


def _processes_of(folder: Path) -> list[str]:
    """What runs with this folder in its command line; a server that has its signal may take a moment."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        lines = [" ".join(command_line(int(one.name))) for one in Path("/proc").glob("[0-9]*")]
        found = [line for line in lines if str(folder) in line and "-c" not in line.split(" ")[1:2]]
        if not found:
            return []
        time.sleep(0.05)
    return found


async def _pids(folder: Path) -> dict[str, int | None]:
    return {one.store: one.pid for one in await status(folder)}


@pytest.mark.parametrize(
    ("store", "step"),
    [
        ("postgres", "looking for the program"),
        ("postgres", "creating the cluster"),
        ("mongo", "starting"),
        ("mongo", "joining its replica set"),
    ],
)
async def test_a_starter_killed_at_any_step_does_not_keep_a_second_run_from_working(
    folder: Path, store: str, step: str
) -> None:
    """Its servers die with it, and the next start is clean."""
    starter = Starter(folder, store)
    starter.wait_for(f"{store} {step}")
    starter.end()
    async with Servers(folder, (store,), sources=WHEEL, durable=False):
        assert [one.state for one in await status(folder) if one.store == store] == ["running"]
    assert not list(folder.glob("postgres.new-*"))


async def test_servers_die_with_a_killed_starter_without_anybodys_help(folder: Path) -> None:
    """The kernel tells them; nothing has to come along and clean."""
    starter = Starter(folder, "postgres,mongo,redis", "durable")
    starter.wait_for("all up")
    assert all((await _pids(folder)).values())
    starter.end()
    assert await asyncio.to_thread(_processes_of, folder) == []
    assert [one.state for one in await status(folder)] == ["stopped"] * 3
    async with Servers(folder, sources=WHEEL, durable=False):
        assert [one.state for one in await status(folder)] == ["running"] * 3


async def test_ctrl_c_during_the_start_stops_what_was_started(folder: Path) -> None:
    """SIGINT in the middle of it ends the program and leaves no server."""
    starter = Starter(folder, "postgres,mongo,redis")
    starter.wait_for("mongo joining its replica set")
    assert starter.end(signal.SIGINT) != 0
    assert _processes_of(folder) == []


async def test_cancelling_the_start_stops_what_was_started(folder: Path) -> None:
    """Whatever step each of the three was at."""
    steps: list[str] = []
    start = asyncio.create_task(
        Servers(folder, sources=WHEEL, on_progress=lambda store, what: steps.append(f"{store} {what}")).start()
    )
    while "postgres creating the cluster" not in steps:
        await asyncio.sleep(0.005)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert await asyncio.to_thread(_processes_of, folder) == []
    async with Servers(folder, ("postgres",), sources=WHEEL):
        pass


async def test_detached_servers_of_a_killed_starter_are_used_or_replaced(folder: Path) -> None:
    """`tercet up` killed before mongod was told of its replica set: the next one goes on from there."""
    starter = Starter(folder, "mongo,redis", "detached")
    starter.wait_for("mongo starting")
    starter.end()
    servers = Servers(folder, ("mongo", "redis"), sources=WHEEL, detached=True)
    await servers.start()
    running = {one.store: one for one in await status(folder)}
    assert (running["mongo"].state, running["redis"].state) == ("running", "running")
    assert await down(folder) == ("mongo", "redis")


async def test_killed_servers_start_again_with_their_data(folder: Path) -> None:
    """kill -9 of all three loses nothing that was committed."""
    async with Servers(folder, ("postgres", "redis"), sources=WHEEL) as addresses:
        assert addresses.postgres is not None
        assert addresses.redis is not None
        connection = await asyncpg.connect(addresses.postgres)
        await connection.execute("create table kept (n int); insert into kept values (42)")
        await connection.close()
        async with redis.asyncio.from_url(addresses.redis) as client:
            await client.set("kept", 42)
        for pid in (await _pids(folder)).values():
            if pid:
                os.kill(pid, signal.SIGKILL)
    async with Servers(folder, ("postgres", "redis"), sources=WHEEL) as addresses:
        connection = await asyncpg.connect(addresses.postgres)
        assert await connection.fetchval("select n from kept") == 42
        await connection.close()
        async with redis.asyncio.from_url(addresses.redis or "") as client:
            assert await client.get("kept") == b"42"


async def test_a_killed_postmasters_busy_child_does_not_keep_the_next_one_out(folder: Path) -> None:
    """A backend in the middle of a long computation holds the old memory; it is found by where it works."""
    servers = Servers(folder, ("postgres",), sources=WHEEL)
    addresses = await servers.start()
    connection = await asyncpg.connect(addresses.postgres)
    busy = asyncio.create_task(connection.execute("select count(*) from generate_series(1, 1000000000)"))
    pid = (await _pids(folder))["postgres"]
    assert pid is not None
    await asyncio.sleep(0.2)
    os.kill(pid, signal.SIGKILL)
    await servers.stop()
    async with Servers(folder, ("postgres",), sources=WHEEL) as addresses:
        again = await asyncpg.connect(addresses.postgres)
        assert await again.fetchval("select 1") == 1
        await again.close()
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await busy


async def test_a_process_that_has_inherited_a_servers_number_is_left_alone(folder: Path) -> None:
    """A record or a postmaster.pid that names a stranger does not harm it, nor keep servers from starting."""
    async with Servers(folder, ("postgres", "redis"), sources=WHEEL):
        pass
    with subprocess.Popen(["sleep", "600"]) as stranger:
        for name in ("postgres.json", "redis.json"):
            record = json.loads((folder / name).read_text())
            (folder / name).write_text(json.dumps({**record, "pid": stranger.pid}))
        lines = [str(stranger.pid), str(folder / "postgres"), "0", "1", "", "127.0.0.1", "1 1", "ready   "]
        (folder / "postgres" / "postmaster.pid").write_text("\n".join(lines))
        async with Servers(folder, ("postgres", "redis"), sources=WHEEL):
            assert stranger.poll() is None
        assert await down(folder) == ()
        assert stranger.poll() is None
        stranger.kill()


async def test_the_copy_of_a_folder_does_not_touch_the_servers_of_the_first(folder: Path, tmp_path: Path) -> None:
    """A project copied while its servers run has a copy of their records, and they are not its own."""
    await Servers(folder, ("redis",), sources=WHEEL, detached=True).start()
    pid = (await _pids(folder))["redis"]
    copy = tmp_path / "copy" / ".tercet"
    copy.mkdir(parents=True)
    for one in folder.glob("*.json"):
        (copy / one.name).write_text(one.read_text())
    async with Servers(copy, ("redis",), sources=WHEEL):
        assert (await _pids(copy))["redis"] != pid
    assert await down(copy) == ()
    assert pid is not None
    assert started_at(pid) is not None
