"""A shadow comes to an end in every way there is, and leaves no process and no folder with production's values."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tercet import Tercet
from tercet.advisor import Catalog, advisor
from tercet.advisor.port import Costed
from tercet.advisor.private import reaper
from tercet.advisor.shadow import Shadow, shadow
from tercet.errors import NotOpen, StoreUnreachable
from tercet.sql import Index

if TYPE_CHECKING:
    from collections.abc import Iterator

# A folder that a killed process leaves is taken away as soon as its server has ended; the machine may be slow.
GONE_SECONDS = 60.0

PROGRAM = """
import asyncio, sys, tempfile
from tercet import Tercet
from tercet.advisor import Catalog
from tercet.advisor.shadow import shadow

async def main():
    tempfile.tempdir = sys.argv[2]
    async with Tercet(postgres=sys.argv[1]) as db:
        made = await shadow(db.postgres, Catalog())
        print("made", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where shadows make their folders, with a name short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="ts", dir="/tmp") as made:
        monkeypatch.setattr(tempfile, "tempdir", made)
        yield Path(made)


async def _asked_on(made: Shadow) -> None:
    """Ask until its server is found to be gone."""
    # Each is another one: what is known is told without the server.
    for number in count():
        await made.plan(f"select {number}")


def _inside(place: Path) -> list[str]:
    return [one.name for one in place.iterdir()]


async def test_a_closed_shadow_leaves_nothing_and_answers_nothing(postgres_url: str, place: Path) -> None:
    """Closing twice is fine; a question afterwards is told that it was closed."""
    async with Tercet(postgres=postgres_url) as db:
        made = await shadow(db.postgres, Catalog())
        (folder,) = place.iterdir()
        assert folder.stat().st_mode & 0o077 == 0
        await made.close()
        await made.close()
        assert _inside(place) == []
        with pytest.raises(NotOpen):
            await made.cost("select 1")
        with pytest.raises(NotOpen):
            await made.suppose([Index("a", "b", ("c",))])


@pytest.mark.parametrize("at", ["at once", "when it is there"])
async def test_an_engine_that_is_being_started_ends_with_the_advice(
    postgres_url: str, place: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """What goes wrong before the first question leaves no server, whether it was up yet or not."""

    async def wrong(*_: object) -> None:
        while at != "at once" and not list(place.glob("*/.s.PGSQL.*")):
            await asyncio.sleep(0.01)
        raise RuntimeError("thought wrong")

    monkeypatch.setattr(advisor, "think", wrong)
    async with Tercet(postgres=postgres_url) as db:
        with pytest.raises(RuntimeError, match="thought wrong"):
            await advisor.advise(db, "select 1", thorough=False)
    assert _inside(place) == []


async def test_a_shadow_takes_away_what_another_has_left_when_the_machine_went_down(
    postgres_url: str, place: Path
) -> None:
    """Nobody holds that folder any more, so the next one that is made removes it."""
    left = place / f"{reaper.PREFIX}left"
    (left / "postgres").mkdir(parents=True)
    os.utime(left, (0, 0))
    async with Tercet(postgres=postgres_url) as db, await shadow(db.postgres, Catalog()):
        until = time.monotonic() + GONE_SECONDS
        while left.exists() and time.monotonic() < until:
            await asyncio.sleep(0.05)
        assert not left.exists()
        assert len(_inside(place)) == 1


async def test_a_shadow_whose_server_was_killed_says_so_and_closes(postgres_url: str, place: Path) -> None:
    """No statement is called wrong because its server is gone."""
    async with Tercet(postgres=postgres_url) as db, await shadow(db.postgres, Catalog()) as made:
        assert isinstance(await made.cost("select 1"), Costed)
        (folder,) = place.iterdir()
        pid = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        with pytest.raises(StoreUnreachable):
            await _asked_on(made)
    assert _inside(place) == []


async def test_a_shadow_that_nobody_waits_for_any_more_is_not_left_behind(postgres_url: str, place: Path) -> None:
    """Cancelled in the middle of being made, it takes back what there is of it."""
    begun = asyncio.Event()
    async with Tercet(postgres=postgres_url) as db:
        task = asyncio.create_task(shadow(db.postgres, Catalog(), on_progress=lambda *_: begun.set()))
        await begun.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert _inside(place) == []


async def test_a_shadow_of_a_killed_process_goes_with_it(postgres_url: str, place: Path) -> None:
    """Its server ends and its folder is taken away, though nobody was left to do it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, postgres_url, str(place),
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == b"made\n"
    assert len(_inside(place)) == 1
    process.kill()
    await process.wait()
    until = time.monotonic() + GONE_SECONDS
    while _inside(place) and time.monotonic() < until:
        await asyncio.sleep(0.05)
    assert _inside(place) == []
