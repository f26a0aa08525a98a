"""Asks every question, each in a process and with a server of its own, and keeps the answers in one file.

.venv-bench/bin/python bench/cache/run.py [--quick] [--only tercet,redis] [--results bench/results] [l1 l2 …]
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

import payload
import peers
import report

from tercet.proof import describe_machine

HERE = Path(__file__).parent

# In the order of the tables. `frozen` waits for peers that wait, and `tags` fills a server: they take the longest.
QUESTIONS = ("l1", "l2", "many", "stampede", "tags", "locks", "rate", "frozen", "probes")

# A question that takes longer than this hangs.
LIMIT_SECONDS = 1_800
QUICK_LIMIT_SECONDS = 240


def main() -> None:
    """Ask, write, and say which goals are met."""
    options = _options()
    unknown = set(options.questions) - set(QUESTIONS)
    if unknown:
        raise SystemExit(f"No such question: {', '.join(sorted(unknown))}. There are: {', '.join(QUESTIONS)}")
    path = options.results / f"cache-{datetime.now(UTC):%Y-%m-%d}.json"
    before = _answers_of(path, options) if options.questions else {}
    answers = before | {name: _asked(name, options) for name in options.questions or QUESTIONS}
    whole = {
        "format": report.FORMAT,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        "machine": asdict(describe_machine(sorted({one["server"] for one in answers.values() if "server" in one}))),
        "payload": {"json": payload.JSON, "small_bytes": payload.PROFILE_BYTES, "large_rows": payload.ROWS},
        **_told_of_peers(answers),
        "questions": answers,
    }
    options.results.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    print(f"\n{report.goals_table(whole)}\nWritten: {path}")
    failed = [name for name, one in answers.items() if "failed" in one]
    if failed:
        raise SystemExit(f"These questions could not be asked: {', '.join(failed)}")


def _answers_of(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What was answered today already, which questions asked anew are put in place of."""
    whole = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"quick": None}
    answers: dict[str, Any] = whole["questions"] if whole["quick"] == options.quick else {}
    return answers


def _told_of_peers(answers: dict[str, Any]) -> dict[str, Any]:
    """Who took part in which version, who could not be installed, where each one's setting comes from."""
    found = peers.load()
    wanted = {name for one in answers.values() for name in one.get("versions", ())}
    return {
        "versions": {name: version for name, version in found.versions.items() if name in wanted},
        "missing": {name: reason for one in answers.values() for name, reason in one.get("missing", {}).items()},
        "advice": {name: module.ADVICE for name, module in found.modules.items()},
        "refuses": {name: module.REFUSES for name, module in found.modules.items() if hasattr(module, "REFUSES")},
    }


def _asked(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One question's answers; what it says goes on to whoever watches."""
    limit = QUICK_LIMIT_SECONDS if options.quick else LIMIT_SECONDS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.json"
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(path)]
        command += ["--quick"] if options.quick else []
        command += ["--only", options.only] if options.only else []
        try:
            done = subprocess.run(command, check=False, timeout=limit)  # noqa: S603 - our own files
        except subprocess.TimeoutExpired:
            return {"failed": f"it took longer than {limit} s"}
        if done.returncode or not path.exists():
            return {"failed": f"it ended with {done.returncode}"}
        answers: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return answers


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
