"""Measures every part of the advisor, each in a process and with servers of its own, and keeps the answers in one file.

.venv-bench/bin/python bench/advisor/run.py [--quick] [--scale 1] [--results bench/results] [shadow tpch …]

Of parts that are not asked again, today's answers stay.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import report

from tercet.proof import describe_machine

HERE = Path(__file__).parent

# In the order of the tables.
PARTS = ("shadow", "tpch", "reference", "planted", "production", "kept", "mongo")
# A part that takes longer than this hangs; TPC-H at its full size on two servers takes the longest.
LIMIT_SECONDS = 3 * 3_600


def main() -> None:
    """Measure, write, and say which goals are met."""
    options = _options()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        raise SystemExit(f"No such part: {', '.join(sorted(unknown))}. There are: {', '.join(PARTS)}")
    path = options.results / f"{report.REPORT.name}-{datetime.now(UTC):%Y-%m-%d}.json"
    answers = _answers_of(path, options) if options.parts else {}
    options.results.mkdir(parents=True, exist_ok=True)
    for name in options.parts or PARTS:
        print(f"== {name}", flush=True)
        answers[name] = _asked(name, options)
        # At once: all of them take hours, and what was measured is not to be lost.
        _write(path, answers, options)
    print(f"\n{report.goals_table(report.REPORT.read(path))}\nWritten: {path}")
    failed = [name for name, one in answers.items() if "failed" in one]
    if failed:
        raise SystemExit(f"These parts could not be measured: {', '.join(failed)}")


def _tiny(options: argparse.Namespace) -> bool:
    """The goals are meant at scale 1: of any other size nothing is shown."""
    return bool(options.quick or options.scale != 1.0)


def _write(path: Path, answers: dict[str, Any], options: argparse.Namespace) -> None:
    servers = {server for one in answers.values() for server in one.get("servers", ())}
    whole = {
        "format": report.FORMAT,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": _tiny(options),
        "machine": asdict(describe_machine(sorted(servers))),
        "questions": {name: answers[name] for name in PARTS if name in answers},
    }
    path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def _answers_of(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What was measured today already, which parts measured anew are put in place of."""
    if not path.exists():
        return {}
    whole: dict[str, Any] = report.REPORT.read(path)
    return whole["questions"] if whole["quick"] == _tiny(options) else {}


def _asked(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One part's answers; what it says beside them goes on to whoever watches."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.json"
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(path)]
        command += ["--quick"] if options.quick else ["--scale", str(options.scale)]
        try:
            done = subprocess.run(command, check=False, timeout=LIMIT_SECONDS)  # noqa: S603 - our own files
        except subprocess.TimeoutExpired:
            return {"failed": f"it took longer than {LIMIT_SECONDS} s"}
        if done.returncode or not path.exists():
            return {"failed": f"it ended with {done.returncode}"}
        answers: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return answers


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the size of the goals")
    parser.add_argument("--results", type=Path, default=HERE.parent / "results", help="the folder for the file")
    parser.add_argument("parts", nargs="*", metavar="PART", help="these parts; none: all of them")
    return parser.parse_args()


if __name__ == "__main__":
    main()
