"""The router's benchmark can be run: a few keys, with servers of its own; no figure is looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

# Three servers start and stop, on a machine that others use too.
LIMIT_SECONDS = 110


def test_the_benchmark_of_entities_prints_what_it_has_measured(tmp_path: Path) -> None:
    """Every way of asking has its time, and every store the number of times it was spoken to."""
    command = [sys.executable, str(ROOT / "bench/router/load_many.py"), "--keys", "20", "--rounds", "2"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, check=False, env=environ, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    assert done.returncode == 0, done.stderr[-4_000:]
    result = json.loads(done.stdout)
    assert result["keys"] == 20
    assert {kind: set(times) for kind, times in result["ms"].items()} == {
        "driver": {"postgres", "mongo", "redis"},
        "entity": {"postgres", "mongo", "redis"},
        "all": {"all"},
    }
    assert set(result["turns"]) == {"postgres", "mongo", "redis"}
