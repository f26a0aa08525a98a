"""The page on MongoDB's changes: its program runs, and prints what is shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_program_on_the_page_prints_what_the_page_says(mongo_url: str, tmp_path: Path) -> None:
    """Run as a user would, with the server's address in the environment."""
    page = (ROOT / "docs/reference/changes-mongo.md").read_text(encoding="utf-8")
    shown = re.search(r"```python\n(?P<code>.*?)^```\n\n```text\n(?P<text>.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert shown is not None
    program = tmp_path / "example.py"
    program.write_text(shown["code"], encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        cwd=tmp_path,
        env={**os.environ, "TERCET_MONGO_URL": mongo_url, "PYTHONPATH": str(ROOT / "src")},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == shown["text"]
