"""The settings as arguments are known to type checkers: what is right passes, what is wrong is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE.parent.parent / "src"

# Not a file: it would be refused by every other check of this repository too.
WRONG = """
from tercet.tercet import Tercet

Tercet(postgres_pool_sise=20)  # refused
Tercet(postgres_pool_size="many")  # refused
Tercet(postgres_tls="always")  # refused
Tercet(postgres_pooler="yes")  # refused
Tercet("postgresql://h/d")  # refused
Tercet.local(stores=("oracle",))  # refused
Tercet(postgres="postgresql://h/d", instances=2)
"""


def refused(*files: Path) -> list[set[int]]:
    """The lines of each file that mypy refuses."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", *files]
    environ = {**os.environ, "MYPYPATH": str(SOURCE)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ, cwd=SOURCE.parent)
    assert done.stderr == ""
    return [set(map(int, re.findall(rf"{one.name}:(\d+): error", done.stdout))) for one in files]


def test_what_is_right_passes_and_what_is_wrong_is_refused(tmp_path: Path) -> None:
    """A wrong name and a wrong value are found before the program runs."""
    wrong = tmp_path / "stores_fail.py"
    wrong.write_text(WRONG)
    wanted = {number for number, line in enumerate(WRONG.splitlines(), 1) if line.endswith("# refused")}
    assert refused(HERE / "stores_pass.py", wrong) == [set(), wanted]
