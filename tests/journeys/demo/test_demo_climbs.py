"""`tercet demo` as a person runs it: a process of its own, real servers, a small shop or a real order file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tercet.proof import Ladder

ROOT = Path(__file__).parents[3]
RETAIL = Path(os.environ.get("TERCET_TEST_DATA") or ROOT.parent / "shared" / "data") / "uci_online_retail.parquet"
# Each demo takes some seven seconds on an idle machine; on a very slow one it is only slower.
PATIENCE_SECONDS = 240

SMALL = ("--users", "2000", "--orders", "10000")


def _start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    paths = f"{ROOT / 'src'}{os.pathsep}{ROOT / 'examples' / 'shop'}"
    command = [sys.executable, "-m", "tercet.cli.main", "demo", "--folder", str(tmp_path / "servers")]
    return subprocess.Popen(
        [*command, "--out", str(tmp_path), *arguments],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
        cwd=tmp_path,
    )


def _run(tmp_path: Path, *arguments: str) -> tuple[str, str]:
    """What it prints and what it tells the person, after it has ended well."""
    running = _start(tmp_path, *arguments)
    out, err = running.communicate(timeout=PATIENCE_SECONDS)
    assert running.returncode == 0, err
    return out, err


def _left_behind(folder: Path) -> list[str]:
    """The command lines of processes that work in this folder."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            alive = "State:\tZ" not in (process / "status").read_text()
        except OSError:
            continue
        if str(folder) in line and alive:
            lines.append(line)
    return lines


def _none_left(folder: Path) -> bool:
    """Whether every server of this folder is gone soon; killed ones need a moment."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _left_behind(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not _left_behind(folder)


def test_the_demo_prints_and_writes_a_ladder_of_five_rungs_and_a_second_run_finds_its_shop(tmp_path: Path) -> None:
    """From nothing to the advice, the table, the document and the picture; then again, without filling anything."""
    out, told = _run(tmp_path, *SMALL)
    assert "The advisor was given the query and nothing else" in told
    assert "Rung 1, the advisor's: " in told
    assert out.splitlines()[0].split()[:2] == ["rung", "rows"]
    assert [line.split()[0] for line in out.splitlines()[1:6]] == ["0", "1", "2", "3", "4"]
    assert out.splitlines()[6].startswith("same 100 rows on every rung     sha256 ")
    ladder = Ladder.read((tmp_path / "ladder.json").read_bytes())
    assert (ladder.data["users"], ladder.data["orders"]) == (2000, 10000)
    assert ladder.differing == ()
    assert ET.parse(tmp_path / "ladder.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert _none_left(tmp_path / "servers")
    again, told = _run(tmp_path, *SMALL)
    assert told.count("the shop stood there already") == 2
    assert again.splitlines()[6] == out.splitlines()[6]


@pytest.mark.skipif(sys.platform != "linux", reason="a killed starter takes its servers along on Linux only")
def test_killed_in_any_phase_the_demo_leaves_no_server_and_the_next_run_is_clean(tmp_path: Path) -> None:
    """SIGKILL while it starts, fills and climbs; each time the servers die with it, and at last a run ends well."""
    folder = tmp_path / "servers"
    for seconds in (0.6, 1.2, 2.2, 3.5, 6.0):
        running = _start(tmp_path, *SMALL)
        try:
            running.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            running.kill()
            running.communicate()
        assert _none_left(folder), f"killed after {seconds} s"
    out, _ = _run(tmp_path, *SMALL)
    assert "same 100 rows on every rung" in out


def test_interrupted_the_demo_stops_its_servers_and_ends_with_130(tmp_path: Path) -> None:
    """Ctrl-C, here once the first server is up: no server stays, and nobody is shown a traceback."""
    running = _start(tmp_path, *SMALL)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (tmp_path / "servers" / "postgres").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.5)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=PATIENCE_SECONDS)
    assert running.returncode == 130
    assert "Traceback" not in err
    assert _none_left(tmp_path / "servers")


def test_a_second_demo_in_the_folder_is_told_who_holds_it(tmp_path: Path) -> None:
    """One folder, one demo; the sentence names the process."""
    first = _start(tmp_path, *SMALL)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (tmp_path / "servers" / "postgres").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    second = _start(tmp_path, *SMALL)
    _, err = second.communicate(timeout=PATIENCE_SECONDS)
    assert second.returncode == 1
    assert f"process {first.pid}" in err
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--users", "0"), "0 is not in the range"),
        (("--data", "nothing.parquet"), "nothing.parquet"),
        (("--orders", "many"), "'many' is not a valid integer"),
    ],
)
def test_a_demo_that_cannot_be_meant_says_so(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    """Bad input ends with a sentence and exit code 2, not with a traceback."""
    running = _start(tmp_path, *arguments)
    _, err = running.communicate(timeout=PATIENCE_SECONDS)
    assert running.returncode == 2
    assert sentence in err
    assert "Traceback" not in err


@pytest.mark.acceptance
@pytest.mark.skipif(not RETAIL.exists(), reason="the order file is not here (TERCET_TEST_DATA)")
def test_the_demo_climbs_on_a_real_order_file(tmp_path: Path) -> None:
    """541,909 invoice lines of a real shop, dirty as they came: every rung gives the same hundred rows."""
    out, told = _run(tmp_path, "--data", str(RETAIL))
    ladder = Ladder.read((tmp_path / "ladder.json").read_bytes())
    assert "same 100 rows on every rung" in out
    assert ladder.data["from"] == RETAIL.name
    assert ladder.rungs[0].rows == 100
    assert "541\u202f909 lines; 391\u202f150 kept, in 18\u202f402 orders of 4\u202f334 customers" in told
