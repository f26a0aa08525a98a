"""The floors: imports go downwards, and every room has its floor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# In a process of its own: import-linter sets up logging as if it were alone in the world.
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def test_imports_go_downwards_and_every_room_has_its_floor(root: Path) -> None:
    """The contracts in pyproject.toml hold, as `make check` would find."""
    linted = subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--no-logo"],
        cwd=root,
        env={"PYTHONPATH": str(root / "src"), "PYTHONIOENCODING": "utf-8"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr
    assert "1 kept, 0 broken" in linted.stdout
