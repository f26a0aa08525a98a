"""The staleness checker: its check tells late reads from others, and a short run of it goes through."""

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


@pytest.fixture
def truth(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of bench/cache, which is no package."""
    monkeypatch.syspath_prepend(str(BENCH))
    import truth

    return truth


def _journal(truth: Any, path: Path, *events: tuple[bytes, int, int, float]) -> Path:
    journal = truth.Journal(path)
    for event in events:
        journal.note(*event)
    journal.close()
    return path


def test_a_read_is_wrong_only_when_it_is_behind_for_longer_than_the_bound(truth: Any, tmp_path: Path) -> None:
    """What counts is the first acknowledgement of anything newer, whoever made it, before the read began."""
    writer = _journal(
        truth,
        tmp_path / "journal-0",
        # The second write of key 1 was acknowledged first: from then on nobody may see version 0.
        (truth.ACKNOWLEDGED, 1, 2, 10.0),
        (truth.ACKNOWLEDGED, 1, 1, 11.0),
        (truth.ACKNOWLEDGED, 2, 1, 10.0),
    )
    reader = _journal(
        truth,
        tmp_path / "journal-1",
        (truth.READ, 1, 0, 9.0),
        (truth.READ, 1, 1, 11.5),
        (truth.READ, 1, 0, 12.5),
        (truth.READ, 1, 2, 99.0),
        (truth.READ, 3, 0, 99.0),
    )
    found = truth.check([writer, reader], 2.0)
    assert (found.reads, found.acknowledged, found.stale_reads, found.stalest_seconds) == (5, 3, 2, 2.5)
    assert found.violations == (truth.Stale(1, 0, 2, 2.5, "journal-1"),)
    assert truth.check([writer, reader], 2.5).violations == ()


def test_a_journal_that_was_cut_short_is_read_up_to_there(truth: Any, tmp_path: Path) -> None:
    """A process that was killed while it wrote has left whole events and a part of one."""
    path = _journal(truth, tmp_path / "journal-0", (truth.READ, 1, 7, 1.0), (truth.READ, 1, 8, 2.0))
    path.write_bytes(path.read_bytes()[:-3])
    assert list(truth.events(path)) == [(truth.READ, 1, 7, 1.0)]


def test_versions_are_counted_once_by_all_processes(truth: Any, tmp_path: Path) -> None:
    """Two who have the register open see and count the same versions and steps."""
    one, other = (truth.Register(tmp_path / "register", 4, 2) for _ in range(2))
    assert [one.write(3), other.write(3), one.write(3)] == [1, 2, 3]
    assert (other.version(3), other.version(2)) == (3, 0)
    one.step(1, 25)
    assert (other.steps(1), other.steps(0)) == (25, 0)
    one.close()
    other.close()


@pytest.mark.timeout(300)
def test_a_short_run_of_the_checker_reads_writes_and_breaks_things(tmp_path: Path) -> None:
    """It goes through to its end and tells what it did; the bound is one that no machine is too slow for."""
    written = tmp_path / "found.json"
    command = [
        sys.executable,
        BENCH / "staleness.py",
        "--steps",
        "500",
        "--seconds",
        "1",
        "--bound",
        "600",
        "--rest",
        "0.2",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [*command, "--json", written], check=False, env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
    found = json.loads(written.read_text(encoding="utf-8"))
    assert found["steps"] >= 500
    assert found["reads"] > 0
    assert sum(found["faults"].values()) >= 1
    assert found["violations"] == 0
