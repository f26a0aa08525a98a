"""The cache's benchmark can be run: tiny sizes, with the packages that are there; no figure is looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
BENCH = ROOT / "bench" / "cache"
QUESTIONS = ("l1", "l2", "many", "stampede", "tags", "locks", "rate", "frozen", "probes")

# Nine questions, each with a process and a server of its own, on a machine that others use too.
LIMIT_SECONDS = 600

# A slow machine is not a Redis that does not answer.
DEADLINE = "30s"


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TERCET_BENCH_DEADLINE": DEADLINE}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one quick run of everything has written its answers."""
    made = tmp_path_factory.mktemp("results")
    command = [sys.executable, BENCH / "run.py", "--quick", "--only", "tercet,redis", "--results", made]
    done = subprocess.run(command, check=False, env=_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    return made


@pytest.fixture(scope="module")
def result(folder: Path) -> dict[str, Any]:
    """What the run has found."""
    (path,) = folder.glob("cache-*.json")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _sides(table: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Every side of a table, whatever cases it stands under."""
    found = []
    for name, cells in table.items():
        inner = [one for one in cells.values() if isinstance(one, dict)]
        found += _sides(cells) if inner else [(name, cells)]
    return found


@pytest.mark.timeout(LIMIT_SECONDS)
def test_every_question_of_the_benchmark_is_answered(result: dict[str, Any]) -> None:
    """Each one gives a table with both sides in it, and the run says what it ran with."""
    assert tuple(result["questions"]) == QUESTIONS
    for name, question in result["questions"].items():
        sides = [side for side, _ in _sides(question["loops"]["asyncio"])]
        assert any(side.startswith("tercet") for side in sides), name
        assert name == "l1" or any("redis-py" in side or side.startswith("recipe") for side in sides), name
    assert {"tercet", "redis"} <= set(result["versions"])
    assert result["machine"]["servers"]
    assert result["quick"] is True


@pytest.mark.timeout(LIMIT_SECONDS)
def test_no_side_of_the_benchmark_answers_with_other_rows(result: dict[str, Any]) -> None:
    """Each side was asked for what was put in before it was timed; one that differs is told as such."""
    every = [
        (name, side, cells["refused"])
        for name, question in result["questions"].items()
        for side, cells in _sides(question["loops"]["asyncio"])
        if "refused" in cells
    ]
    assert [one for one in every if "Differs" in one[2]] == []
    read = {side for side, cells in _sides(result["questions"]["l2"]["loops"]["asyncio"]) if "refused" not in cells}
    assert {"tercet cache.get", "redis-py GET + orjson"} <= read


@pytest.mark.timeout(LIMIT_SECONDS)
def test_every_probe_of_the_benchmark_gives_a_verdict(result: dict[str, Any]) -> None:
    """tercet is right in all of them, and the usual recipe is wrong where it is known to be."""
    probes = result["questions"]["probes"]["loops"]["asyncio"]
    assert {
        name: seen["tercet @cache"]["seen"] for name, seen in probes.items() if not seen["tercet @cache"]["right"]
    } == {}
    late = probes["late fill after a drop"]["recipe: redis-py GET, SETEX"]
    assert late == {"right": False, "seen": "after the drop it serves the old value"}


@pytest.mark.timeout(LIMIT_SECONDS)
def test_the_tables_of_the_benchmark_show_every_goal_and_every_side(folder: Path, result: dict[str, Any]) -> None:
    """The page made of a result has a line for each goal, met or not, and for each side, also those that refused."""
    (path,) = folder.glob("cache-*.json")
    command = [sys.executable, BENCH / "report.py", path, "--markdown"]
    page = subprocess.run(command, check=True, env=_environment(), capture_output=True, text=True).stdout
    goals = subprocess.run(command[:-1], check=True, env=_environment(), capture_output=True, text=True).stdout
    assert page.startswith(goals.rstrip("\n"))
    assert "decorated hit in this process" in goals
    assert "Redis frozen: the first call" in goals
    missing = [
        (name, side)
        for name, question in result["questions"].items()
        for side, _ in _sides(question["loops"]["asyncio"])
        if f"| {side} |" not in page
    ]
    assert missing == []


@pytest.mark.timeout(LIMIT_SECONDS)
def test_a_quick_result_is_never_shown_as_a_figure(folder: Path, tmp_path: Path) -> None:
    """The README's block is refused for a run whose figures mean nothing."""
    (path,) = folder.glob("cache-*.json")
    code = "import sys, pathlib, report; report.block(pathlib.Path(sys.argv[1]))"
    environment = {**_environment(), "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(BENCH)])}
    done = subprocess.run(
        [sys.executable, "-c", code, path], check=False, env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode != 0
    assert "quick run" in done.stderr
