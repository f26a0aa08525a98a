"""What every benchmark's run.py does: each question asked in a process of its own, the answers kept in one file."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tercet.proof import describe_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tables import Report

Answers = dict[str, Any]


def script(path: Path, arguments: Sequence[str], seconds: float) -> Answers:
    """What a script answers into the file of its --json; what it says beside goes on to whoever watches.

    One that takes longer than `seconds` hangs, and has failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        answers = Path(folder) / "answers.json"
        command = [sys.executable, str(path), "--json", str(answers), *arguments]
        try:
            done = subprocess.run(command, check=False, timeout=seconds)  # noqa: S603 - our own files
        except subprocess.TimeoutExpired:
            return {"failed": f"it took longer than {seconds:g} s"}
        if not answers.exists():
            return {"failed": f"it ended with {done.returncode}"}
        found: Answers = json.loads(answers.read_text(encoding="utf-8"))
        return found


@dataclass(frozen=True, slots=True)
class Asking:
    """One benchmark's questions in the order of its tables, and how one is asked."""

    report: Report
    every: Sequence[str]
    ask: Callable[[str], Answers]
    # A result of tiny sizes, which is never shown.
    quick: bool
    # What else the file tells of itself, by the answers.
    more: Callable[[Mapping[str, Answers]], Answers] = lambda _: {}

    def run(self, asked: Sequence[str], results: Path) -> None:
        """Ask these, or all of them, write, and say which goals are met.

        Of those that are not asked again, today's answers stay. The file is written after each: all of them take
        long, and what was measured is not to be lost.
        """
        unknown = set(asked) - set(self.every)
        if unknown:
            raise SystemExit(f"No such question: {', '.join(sorted(unknown))}. There are: {', '.join(self.every)}")
        path = results / f"{self.report.name}-{datetime.now(UTC):%Y-%m-%d}.json"
        answers = self._answered(path) if asked else {}
        results.mkdir(parents=True, exist_ok=True)
        for name in asked or self.every:
            print(f"== {name}", flush=True)
            answers[name] = self.ask(name)
            self._write(path, answers)
        print(f"\n{self.report.goals_table(self.report.read(path))}\nWritten: {path}")
        failed = [name for name, one in answers.items() if "failed" in one]
        if failed:
            raise SystemExit(f"These questions could not be asked: {', '.join(failed)}")

    def _answered(self, path: Path) -> dict[str, Answers]:
        if not path.exists():
            return {}
        whole = self.report.read(path)
        return dict(whole["questions"]) if whole["quick"] == self.quick else {}

    def _write(self, path: Path, answers: Mapping[str, Answers]) -> None:
        servers = {name for one in answers.values() for name in (*one.get("servers", ()), one.get("server")) if name}
        whole = {
            "format": self.report.format,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "quick": self.quick,
            "machine": asdict(describe_machine(sorted(servers))),
            **self.more(answers),
            "questions": {name: answers[name] for name in self.every if name in answers},
        }
        path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
