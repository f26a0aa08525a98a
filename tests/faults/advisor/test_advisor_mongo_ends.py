"""A sample of production's documents stays nowhere: not after its end, a cancellation, or a kill."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tercet.advisor.mongo.trial import Throwaway
from tercet.servers.process import working_on

# A condition is looked at so often, on a machine whose cores others have.
LOOK_SECONDS = 0.05
PATIENCE_SECONDS = 60.0

STARTS = """
import asyncio, sys, tempfile
from tercet.advisor.mongo.trial import Throwaway

async def stay():
    tempfile.tempdir = sys.argv[1]
    server = await Throwaway.start()
    print(server.folder, flush=True)
    await asyncio.sleep(3600)

asyncio.run(stay())
"""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary folders are made by this test alone; a socket's path must be short."""
    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    shutil.rmtree(folder)


async def _gone(folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while folder.exists() or working_on(folder / "mongo", ("mongod",)):
        assert time.monotonic() < deadline, folder
        await asyncio.sleep(LOOK_SECONDS)


async def test_nobody_else_may_enter_and_nothing_stays(place: Path) -> None:
    """The folder is ours alone, the socket in it is the only way in, and closing twice is fine."""
    server = await Throwaway.start()
    assert server.folder.stat().st_mode & 0o777 == 0o700
    assert "127.0.0.1" not in server.url
    assert list(place.iterdir()) == [server.folder]
    await server.close()
    await server.close()
    await _gone(server.folder)


async def test_a_cancelled_start_leaves_nothing(place: Path) -> None:
    """Whenever it comes: before the process, while it starts, while it is asked."""
    for seconds in (0.0, 0.1, 0.4):
        starting = asyncio.create_task(Throwaway.start())
        await asyncio.sleep(seconds)
        starting.cancel()
        with suppress(asyncio.CancelledError):
            await (await starting).close()
        for folder in place.iterdir():
            await _gone(folder)


async def test_a_killed_advisor_takes_its_server_and_folder_along(place: Path) -> None:
    """kill -9 leaves no time to tidy up; the one who watches does."""
    with subprocess.Popen([sys.executable, "-c", STARTS, str(place)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert folder.parent == place
        process.send_signal(signal.SIGKILL)
        process.wait()
    await _gone(folder)
