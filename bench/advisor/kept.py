"""Summaries kept up to date: the fault run and the prices of bench/rollups/kept.py, at the sizes of the goals.

.venv-bench/bin/python bench/advisor/kept.py [--scale 1] [--json FILE]
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import part

if TYPE_CHECKING:
    from part import Answers, Options

SCRIPT = Path(__file__).parents[1] / "rollups" / "kept.py"
# Some hundred kills, and a table as large as the reference query's.
SECONDS, USERS, ORDERS = 600.0, 1_000_000, 5_000_000
# Time for one kill and one check at least.
SECONDS_LEAST = 10.0


async def measure(options: Options) -> Answers:
    """Run it, and read what it prints; that it has found a difference is an answer too."""
    command = [
        str(SCRIPT), "--seconds", str(max(SECONDS_LEAST, SECONDS * options.scale)),
        "--users", str(round(USERS * options.scale)), "--orders", str(round(ORDERS * options.scale)),
    ]  # fmt: skip
    running = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    told, _ = await running.communicate()
    try:
        found: Answers = json.loads(told)
    except ValueError as error:
        raise SystemExit(f"{SCRIPT.name} ended with {running.returncode} and told nothing.") from error
    return {"faults": found["faults"], "prices": found["prices"]}


if __name__ == "__main__":
    part.main(__doc__, measure)
