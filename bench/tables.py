"""What every benchmark's report shares: cells and tables in Markdown, the newest result, and the README's block."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "bench" / "results"

# How a goal's last column reads; None is "nobody measured it".
MET = {True: "yes", False: "**no**", None: "not measured"}

Whole = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """One benchmark: how its results are called, and what is drawn of one."""

    # "cache": the files are cache-DATE.json, the marks <!-- cache: … -->, the target make bench-cache.
    name: str
    format: str
    goals_table: Callable[[Whole], str]
    markdown: Callable[[Whole], str]
    # What stands between the README's two marks.
    block: Callable[[Path], str]

    @property
    def script(self) -> str:
        """The file that draws it."""
        return f"bench/{self.name}/report.py"

    @property
    def start(self) -> str:
        """The mark before the block."""
        return f"<!-- {self.name}: written by {self.script} from bench/results, do not edit -->\n"

    @property
    def end(self) -> str:
        """The mark behind it."""
        return f"<!-- /{self.name} -->"

    def latest(self, results: Path = RESULTS) -> Path:
        """The newest whole result, by the moment that it holds itself."""
        found = {path: self.read(path)["at"] for path in results.glob(f"{self.name}-*.json")}
        if not found:
            wanted = f"bench/results/{self.name}-*.json"
            raise SystemExit(f"There is no {wanted} yet. Make one with: make bench-{self.name}")
        return max(found, key=lambda path: found[path])

    def read(self, path: Path) -> dict[str, Any]:
        """A result as it was written."""
        whole: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if whole.get("format") != self.format:
            raise SystemExit(f"{path.name} is no result of this benchmark: its format is {whole.get('format')!r}.")
        return whole

    def full(self, path: Path) -> dict[str, Any]:
        """A result that may be shown: one of a quick run may not."""
        whole = self.read(path)
        if whole["quick"]:
            raise SystemExit(f"{path.name} is of a quick run, whose figures mean nothing.")
        return whole

    def written(self, readme: str, path: Path) -> str:
        """The README with the block of this result in it."""
        head, mark, rest = readme.partition(self.start)
        _, end, tail = rest.partition(self.end)
        if not mark or not end:
            raise SystemExit(f"README.md has no marks for {self.name}: {self.start.strip()} … {self.end}")
        return head + self.start + self.block(path) + self.end + tail

    def main(self, description: str | None) -> None:
        """Print, or write, or check."""
        options = _options(description)
        path = options.file or self.latest()
        if not (options.readme or options.check):
            print((self.markdown if options.markdown else self.goals_table)(self.read(path)))
            return
        texts = {
            README: self.written(README.read_text(encoding="utf-8"), path),
            page(path): self.markdown(self.read(path)),
        }
        for place, text in texts.items():
            if options.readme:
                place.write_text(text, encoding="utf-8")
            elif not place.exists() or place.read_text(encoding="utf-8") != text:
                raise SystemExit(f"{place.name} is out of date. Write it anew: python {self.script} --readme")


def page(path: Path) -> Path:
    """Where all figures of a result are written down."""
    return path.with_suffix(".md")


def missed(met: Sequence[bool | None]) -> str:
    """How many of the goals are missed, in a sentence; nothing is said of those that nobody measured."""
    count = sum(one is False for one in met)
    return f"{count} of them {'is' if count == 1 else 'are'} missed, and shown." if count else ""


def unmeasured(met: Sequence[bool | None]) -> str:
    """How many of the goals nobody measured, in a sentence."""
    count = sum(one is None for one in met)
    return f"{count} {'is' if count == 1 else 'are'} not measured." if count else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(one.replace("|", "\\|") for one in line) + " |" for line in lines)


def leaves(answer: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    """Every figure by its path; a list is one."""
    for name, value in answer.items():
        path = f"{before} › {name}" if before else str(name)
        if isinstance(value, Mapping):
            yield from leaves(value, path)
        else:
            yield path, value


def cell(value: object, unit: str = "") -> str:
    """A figure as it is read: three digits, thousands apart, its unit behind it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, list):
        return ", ".join(cell(one) for one in value)
    if isinstance(value, float):
        text = f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
    elif isinstance(value, int):
        text = f"{value:,}"
    else:
        return str(value)
    return f"{text}{'' if unit == '×' or not unit else ' '}{unit}"


def _options(description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="report.py", description=description)
    parser.add_argument("file", nargs="?", type=Path, default=None, help="a result; none: the newest")
    parser.add_argument("--markdown", action="store_true", help="print every table")
    parser.add_argument(
        "--readme", action="store_true", help="write the README's block, and all tables beside the result"
    )
    parser.add_argument("--check", action="store_true", help="say whether the README's block is out of date")
    return parser.parse_args()
