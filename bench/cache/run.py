"""Asks every question, each in a process and with a server of its own, and keeps the answers in one file.

.venv-bench/bin/python bench/cache/run.py [--quick] [--only tercet,redis] [--results bench/results] [l1 l2 …]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

# Where what all benchmarks share lies.
sys.path.append(str(Path(__file__).parents[1]))

import payload
import peers
import report
from asking import Asking, script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asking import Answers

HERE = Path(__file__).parent

# In the order of the tables. `frozen` waits for peers that wait, and `tags` fills a server: they take the longest.
QUESTIONS = ("l1", "l2", "many", "stampede", "tags", "locks", "rate", "frozen", "probes")

# A question that takes longer than this hangs.
LIMIT_SECONDS = 1_800
QUICK_LIMIT_SECONDS = 240


def main() -> None:
    """Ask, write, and say which goals are met."""
    options = _options()
    asking = Asking(report.REPORT, QUESTIONS, lambda name: _asked(name, options), options.quick, _told)
    asking.run(options.questions, options.results)


def _told(answers: Mapping[str, Answers]) -> Answers:
    """What was stored, and of those who took part."""
    stored = {"json": payload.JSON, "small_bytes": payload.PROFILE_BYTES, "large_rows": payload.ROWS}
    return {"payload": stored, **_told_of_peers(answers)}


def _told_of_peers(answers: Mapping[str, Answers]) -> Answers:
    """Who took part in which version, who could not be installed, where each one's setting comes from."""
    found = peers.load()
    wanted = {name for one in answers.values() for name in one.get("versions", ())}
    return {
        "versions": {name: version for name, version in found.versions.items() if name in wanted},
        "missing": {name: reason for one in answers.values() for name, reason in one.get("missing", {}).items()},
        "advice": {name: module.ADVICE for name, module in found.modules.items()},
        "refuses": {name: module.REFUSES for name, module in found.modules.items() if hasattr(module, "REFUSES")},
    }


def _asked(name: str, options: argparse.Namespace) -> Answers:
    arguments = [*(["--quick"] if options.quick else []), *(["--only", options.only] if options.only else [])]
    return script(HERE / f"{name}.py", arguments, QUICK_LIMIT_SECONDS if options.quick else LIMIT_SECONDS)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that it runs; the figures mean nothing"
    )
    parser.add_argument("--only", default=None, help="these peers: tercet,redis")
    parser.add_argument("--results", type=Path, default=HERE.parent / "results", help="the folder for the file")
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help="these questions; none: all of them")
    return parser.parse_args()


if __name__ == "__main__":
    main()
