"""Writers, relays and all three servers are killed, each at least once; every event has its one effect, in order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

# It takes some fifteen on an idle machine; on a very slow one it is only slower, and still has to be right.
PATIENCE_SECONDS = 480


@pytest.mark.timeout(PATIENCE_SECONDS + 60)
def test_whatever_is_killed_every_effect_happens_once_and_in_order() -> None:
    """The long run, of ten minutes, is the same program: bench/changes/outbox_faults.py."""
    program = [sys.executable, str(ROOT / "bench/changes/outbox_faults.py")]
    ran = subprocess.run(
        [*program, "--seconds", "4", "--every", "0.6", "--lease", "3", "--pace", "0.15"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert ran.stdout, ran.stderr
    told = json.loads(ran.stdout)
    assert {"lost", "twice", "out_of_order", "made_up"} <= told.keys()
    assert told["well"], told
    assert set(told["killed"]) == {"postgres", "mongo", "redis", "writer", "relay"}
    assert min(told["effects"].values()) > 0
