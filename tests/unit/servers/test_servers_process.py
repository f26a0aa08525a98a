"""Processes: known by their beginning, ended with a deadline, their programs told apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tercet.servers.launcher import NOT_POSSIBLE, started_at
from tercet.servers.libraries import borrow
from tercet.servers.process import Order, Process, Spawner, command_line, run, runs, working_on
from tercet.servers.program import package_folder

# For what must come by itself, on a machine that is busy with other things; less than what sleeps here sleeps.
PATIENCE_SECONDS = 40


@pytest.fixture
def spawner() -> Spawner:
    """A thread that starts processes."""
    return Spawner()


def _order(tmp_path: Path, *argv: str, stop: int = signal.SIGKILL) -> Order:
    return Order(argv, tmp_path / "log", {"PATH": "/usr/bin:/bin"}, signal=stop)


def test_a_zombie_counts_as_gone() -> None:
    """It has ended and only waits for its parent to look."""
    with subprocess.Popen(["true"]) as child:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while started_at(child.pid) is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert started_at(child.pid) is None


def test_a_process_is_itself_and_no_later_one() -> None:
    """The same number with another beginning is not alive for us."""
    started = started_at(os.getpid())
    assert started is not None
    assert Process(os.getpid(), started, signal.SIGTERM).alive()
    assert not Process(os.getpid(), started + "1", signal.SIGTERM).alive()


async def test_one_that_ignores_its_signal_is_killed(tmp_path: Path, spawner: Spawner) -> None:
    """After its patience is over, not before."""
    script = "trap '' TERM; echo on; while :; do sleep 60; done"
    process = await spawner.spawn(_order(tmp_path, "/bin/sh", "-c", script, stop=signal.SIGTERM))
    while "on" not in (tmp_path / "log").read_text():
        assert process.alive()
    began = time.monotonic()
    await process.end(patience=0.2)
    assert 0.2 <= time.monotonic() - began < PATIENCE_SECONDS
    assert not process.alive()
    assert process.ended() == "it was ended by SIGKILL"
    spawner.close()


async def test_a_program_is_run_to_its_end_and_its_exit_code_told(tmp_path: Path, spawner: Spawner) -> None:
    """What it wrote is in the log."""
    assert await run(spawner, _order(tmp_path, "/bin/sh", "-c", "echo done; exit 7"), patience=PATIENCE_SECONDS) == 7
    assert (tmp_path / "log").read_text() == "done\n"
    assert spawner.begun == []
    spawner.close()


async def test_a_program_that_is_not_there_is_said_so_in_the_log(tmp_path: Path, spawner: Spawner) -> None:
    """The launcher's exit code is no server's."""
    assert await run(spawner, _order(tmp_path, "/nowhere/postgres"), patience=PATIENCE_SECONDS) == NOT_POSSIBLE
    assert "tercet could not start /nowhere/postgres" in (tmp_path / "log").read_text()
    spawner.close()


async def test_a_process_started_in_a_thread_that_ends_gets_its_signal(tmp_path: Path, spawner: Spawner) -> None:
    """Closing the spawner is the end of what it has started."""
    process = await spawner.spawn(_order(tmp_path, "/bin/sleep", "60", stop=signal.SIGTERM))
    while runs(process.pid, ("python", Path(sys.executable).name)):
        time.sleep(0.01)
    spawner.close()
    assert await process.over(PATIENCE_SECONDS)


def test_programs_are_told_by_the_first_word_of_their_command_line(tmp_path: Path) -> None:
    """A shell that stands in a data folder is not taken for a server."""
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as shell:
        while not command_line(shell.pid) or "python" in command_line(shell.pid)[0]:
            time.sleep(0.01)
        assert runs(shell.pid, ("sleep",))
        assert not runs(shell.pid, ("leep", "60"))
        assert [one.pid for one in working_on(tmp_path, ("sleep",))] == [shell.pid]
        assert working_on(tmp_path, ("postgres", "postgres:")) == ()
        shell.kill()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the wheel's libraries are Linux's")
def test_borrowed_libraries_make_mongod_run(tmp_path: Path) -> None:
    """The three come out of the wheel, also where the system has its own."""
    environment = borrow(tmp_path / "links")
    home = package_folder("fiftyone")
    assert home is not None
    shown = subprocess.run(
        [
            "/lib64/ld-linux-x86-64.so.2" if os.uname().machine == "x86_64" else "/lib/ld-linux-aarch64.so.1",
            "--list",
            str(home / "db" / "bin" / "mongod"),
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in ("libcurl.so.4", "libssl.so.3", "libcrypto.so.3"):
        assert f"{name} => {tmp_path / 'links' / name}" in shown.stdout
    answer = subprocess.run(
        [home / "db" / "bin" / "mongod", "--version"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout.startswith("db version v")
