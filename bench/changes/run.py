"""Asks every question about changes, one after the other, and keeps the answers in one file.

.venv/bin/python bench/changes/run.py [--quick] [--results bench/results] [--seconds 600] [latency writer …]

Each question is a script of its own beside this one, with servers of its own, and prints JSON. Of those that are not
asked again, today's answers stay. `--seconds` is for how long `faults` kills.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Where what all benchmarks share lies.
sys.path.append(str(Path(__file__).parents[1]))

import report
from asking import Asking

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Question:
    """A script, and what it is asked with: for a result, and to see that it runs."""

    script: str
    full: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()


# In the order of the tables.
QUESTIONS = {
    "latency": Question("latency.py", (), ("--seconds", "1")),
    "backlog": Question("feed.py", (), ("--seconds", "1", "--rows", "500", "--runs", "1")),
    "mongo": Question("mongo.py", (), ("--writes", "30", "--backlog", "500")),
    "decode": Question("decode.py", (), ("--rows", "200", "--rounds", "1")),
    "writer": Question("writer.py", (), ("--seconds", "1", "--rounds", "1", "--clients", "2")),
    "race": Question("race.py", (), ("--rows", "100", "--reads", "2")),
    "slot": Question("slot.py", (), ("--cap", "32", "--times", "2")),
    "load_many": Question("load_many.py", (), ("--keys", "20", "--rounds", "2")),
    "faults": Question("outbox_faults.py", (), ("--every", "1", "--lease", "5")),
}

# What the storm takes beside its time of killing: waiting for leases, and comparing.
DRAIN_SECONDS = 900
# A question that takes longer than this hangs.
LIMIT_SECONDS = 1_800
# With --quick, the storm kills each kind once, which takes longer than this.
QUICK_STORM_SECONDS = 1.0


def main() -> None:
    """Ask, write, and say which goals are met."""
    options = _options()
    asking = Asking(report.REPORT, tuple(QUESTIONS), lambda name: _asked(name, options), quick=options.quick)
    asking.run(options.questions, options.results)


def _asked(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One question's answers; what it says beside them goes on to whoever watches."""
    question = QUESTIONS[name]
    command = [sys.executable, str(HERE / question.script), *(question.quick if options.quick else question.full)]
    limit: float = LIMIT_SECONDS
    if name == "faults":
        seconds = QUICK_STORM_SECONDS if options.quick else options.seconds
        command += ["--seconds", str(seconds)]
        limit = seconds + DRAIN_SECONDS
    try:
        done = subprocess.run(command, check=False, timeout=limit, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own files
    except subprocess.TimeoutExpired:
        return {"failed": f"it took longer than {limit:.0f} s"}
    print(done.stdout, flush=True)
    try:
        # The storm ends with 1 where it has found something wrong, and says what.
        answers: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"failed": f"it ended with {done.returncode}"}
    return answers


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that it runs; the figures mean nothing"
    )
    parser.add_argument("--results", type=Path, default=HERE.parent / "results", help="the folder for the file")
    parser.add_argument("--seconds", type=float, default=600.0, help="for how long faults kills")
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help="these questions; none: all of them")
    return parser.parse_args()


if __name__ == "__main__":
    main()
