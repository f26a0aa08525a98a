"""The settings as arguments are known to type checkers: what is right passes, what is wrong is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE.parent.parent / "src"


def refused(*names: str) -> dict[str, set[int]]:
    """The lines of each file that mypy refuses."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        *(HERE / name for name in names),
    ]
    environ = {**os.environ, "MYPYPATH": str(SOURCE)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environ, cwd=SOURCE.parent
    )
    assert done.stderr == ""
    return {name: set(map(int, re.findall(rf"{name}:(\d+): error", done.stdout))) for name in names}


def test_what_is_right_passes_and_what_is_wrong_is_refused() -> None:
    """A wrong name and a wrong value are found before the program runs."""
    lines = (HERE / "stores_fail.py").read_text().splitlines()
    wanted = {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}
    found = refused("stores_pass.py", "stores_fail.py")
    assert found == {"stores_pass.py": set(), "stores_fail.py": wanted}
