"""The habits: what runs before a commit and before a merge is what a person runs, and is all local."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize("word", ["setup", "test", "check", "docs"])
def test_what_runs_before_a_merge_is_what_a_person_runs(root: Path, word: str) -> None:
    """Each step of .ci/run is a word of the Makefile."""
    script = (root / ".ci/run").read_text(encoding="utf-8")
    assert re.search(rf"^step {word}$", script, re.MULTILINE)
    assert re.search(rf"^{word}:", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_what_runs_before_a_merge_is_a_program_that_bash_can_read(root: Path) -> None:
    """It can be executed as it lies there, and stops at the first fault."""
    script = root / ".ci/run"
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", script], check=True)


def test_no_hook_is_fetched_from_anywhere(root: Path) -> None:
    """Every hook is local and runs a tool out of .venv, so what is checked is what was locked."""
    config = (root / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"^ *- repo: (.*)$", config, re.MULTILINE)) == {"local"}
    entries = re.findall(r"^ *entry: (.*)$", config, re.MULTILINE)
    assert entries
    assert [entry for entry in entries if not entry.startswith(".venv/bin/")] == []
