"""The staleness checker in short: several processes, a Redis of their own, faults, and a judge of every read.

The long run is `make check-staleness`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
RUN = ROOT / "bench" / "staleness" / "run.py"
# A slow machine ends with fewer steps, and not later.
SECONDS = 9
# A broken cache is found within some seconds; here it is not the time that is tested.
FOUND_SECONDS = 100


def ran(into: Path, *words: str, seconds: int = SECONDS) -> dict[str, Any]:
    """What the checker says."""
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, str(RUN), "--seconds", str(seconds), "--into", str(into), *words],
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    result: dict[str, Any] = json.loads(into.read_text())
    return result


def test_nothing_is_shown_that_is_older_than_the_last_acknowledged_drop_and_the_bound(tmp_path: Path) -> None:
    """Whatever is frozen, killed, cut, emptied and lost meanwhile; and all is well again afterwards."""
    words = "--workers 3 --tasks 24 --steps 30000 --pace 0.01 --gap 0.25 --peace 0.5 --seed 28"
    result = ran(tmp_path / "result", *words.split())
    assert (result["violations"], result["wrong"]) == (0, []), json.dumps(result, indent=2)
    assert result["worst_age_seconds"] <= result["bound_seconds"]
    counts = result["counts"]
    assert all(counts[f"from {tier}"] for tier in ("memory", "redis", "loader"))
    assert counts["drops acknowledged"]
    assert result["faults"]


@pytest.mark.parametrize("broken", ["deaf", "late"])
def test_a_broken_cache_is_found(tmp_path: Path, broken: str) -> None:
    """One does not do what the bus says, one keeps what was loaded before a drop: both are seen."""
    words = ["--workers", "2", "--tasks", "8", "--steps", "1000000", "--until-found", "--broken"]
    words += [broken, "--only", "subscriptions killed"]
    assert ran(tmp_path / "result", *words, seconds=FOUND_SECONDS)["violations"]
