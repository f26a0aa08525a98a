"""The benchmark of changes can be run: tiny sizes, with servers of its own; no figure is looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
BENCH = ROOT / "bench" / "changes"
# The others start servers too, and are tested where what they measure is; the storm of faults takes minutes.
QUESTIONS = ("latency", "decode", "writer", "race", "load_many")

# Each starts and stops servers, on a machine that others use too.
LIMIT_SECONDS = 600


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a quick run has written its answers."""
    made = tmp_path_factory.mktemp("results")
    command = [sys.executable, str(BENCH / "run.py"), "--quick", "--results", str(made), *QUESTIONS]
    done = subprocess.run(command, check=False, env=_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    return made


@pytest.fixture(scope="module")
def result(folder: Path) -> dict[str, Any]:
    """What the run has found."""
    (path,) = folder.glob("changes-*.json")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.timeout(LIMIT_SECONDS)
def test_every_question_about_changes_is_answered(result: dict[str, Any]) -> None:
    """Each gives its figures, and the run says what it ran with."""
    answers = result["questions"]
    assert tuple(answers) == QUESTIONS
    assert [name for name, one in answers.items() if "failed" in one] == []
    for store in ("postgres", "mongo"):
        assert set(answers["latency"]["stores"][store]["another_process_ms"]) == {"p50", "p95", "p99"}
    assert set(answers["writer"]["clients"]["2"]) == {"plain", "notify", "polled", "emit"}
    assert answers["race"]["arms"]["rule"]["stale"] == 0
    assert set(answers["load_many"]["turns"]) == {"postgres", "mongo", "redis"}
    assert {kind: set(times) for kind, times in answers["load_many"]["ms"].items()} == {
        "driver": {"postgres", "mongo", "redis"},
        "entity": {"postgres", "mongo", "redis"},
        "all": {"all"},
    }
    assert {one.split()[0] for one in result["machine"]["servers"]} == {"PostgreSQL", "mongod", "Valkey"}
    assert result["quick"] is True


@pytest.mark.timeout(LIMIT_SECONDS)
def test_what_is_not_asked_again_stays_as_it_was(folder: Path, result: dict[str, Any]) -> None:
    """One question anew, and the others' answers are those of before."""
    command = [sys.executable, str(BENCH / "run.py"), "--quick", "--results", str(folder), "decode"]
    subprocess.run(command, check=True, env=_environment(), capture_output=True)
    # A run may begin before midnight and this one after it.
    newest = max(folder.glob("changes-*.json"), key=lambda path: path.stat().st_mtime)
    after = json.loads(newest.read_text(encoding="utf-8"))
    if len(list(folder.glob("changes-*.json"))) == 1:
        assert {**after["questions"], "decode": None} == {**result["questions"], "decode": None}
    assert "cpu_us_a_row" in after["questions"]["decode"]


@pytest.mark.timeout(LIMIT_SECONDS)
def test_the_tables_of_changes_show_every_goal_and_every_figure(folder: Path) -> None:
    """The page made of a result has a line for each goal, met, missed or not measured, and each question its part."""
    path = min(folder.glob("changes-*.json"))
    command = [sys.executable, str(BENCH / "report.py"), str(path), "--markdown"]
    page = subprocess.run(command, check=True, env=_environment(), capture_output=True, text=True).stdout
    goals = subprocess.run(command[:-1], check=True, env=_environment(), capture_output=True, text=True).stdout
    assert page.startswith(goals.rstrip("\n"))
    assert "COMMIT returned" in goals
    assert "not measured" in goals
    for title in ("What a message costs its writers", "A change and its row", "A thousand entities"):
        assert title in page


@pytest.mark.timeout(LIMIT_SECONDS)
def test_a_quick_result_of_changes_is_never_shown_as_a_figure(folder: Path, tmp_path: Path) -> None:
    """The README's block is refused for a run whose figures mean nothing."""
    path = min(folder.glob("changes-*.json"))
    code = "import sys, pathlib, report; report.block(pathlib.Path(sys.argv[1]))"
    environment = {**_environment(), "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(BENCH)])}
    done = subprocess.run(
        [sys.executable, "-c", code, path], check=False, env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode != 0
    assert "quick run" in done.stderr
