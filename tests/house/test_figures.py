"""The figures on the first page are those that were measured."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tercet.proof import Ladder

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "bench" / "results").glob("ladder-*.json"))


def test_the_readme_shows_the_newest_result() -> None:
    """bench/readme.py would write it just as it stands."""
    made = runpy.run_path(str(ROOT / "bench" / "readme.py"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert made["written"](readme, made["latest"]()) == readme


def test_there_is_a_result_of_the_full_size() -> None:
    """One at least is of the reference case."""
    sizes = [Ladder.read(path.read_bytes()).data for path in RESULTS]
    assert any((data["users"], data["orders"]) == (1_000_000, 5_000_000) for data in sizes)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_result_is_of_the_same_rows_and_has_its_picture(path: Path) -> None:
    """A result whose rungs differ proves nothing; its picture is the one that it draws."""
    ladder = Ladder.read(path.read_bytes()).required()
    assert path.with_suffix(".svg").read_text(encoding="utf-8") == ladder.svg()


def test_the_readme_shows_the_newest_result_of_the_cache() -> None:
    """With every goal, met or missed, and all tables beside the result."""
    report = ROOT / "bench" / "cache" / "report.py"
    said = subprocess.run([sys.executable, str(report), "--check"], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")


def test_the_readme_shows_the_newest_result_of_changes() -> None:
    """With every goal, met or missed, and all figures beside the result."""
    report = ROOT / "bench" / "changes" / "report.py"
    said = subprocess.run([sys.executable, str(report), "--check"], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")


def test_the_readme_shows_the_newest_result_of_the_advisor() -> None:
    """With every goal, met or missed, and all figures beside the result."""
    report = ROOT / "bench" / "advisor" / "report.py"
    said = subprocess.run([sys.executable, str(report), "--check"], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")


def test_the_checker_of_staleness_has_found_nothing_but_what_was_broken_on_purpose() -> None:
    """In a million steps, with every control found."""
    newest = json.loads(max((ROOT / "bench" / "results").glob("staleness-*.json")).read_text(encoding="utf-8"))
    assert newest["steps"] >= 1_000_000
    assert newest["violations"] == 0
