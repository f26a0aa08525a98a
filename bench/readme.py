"""Writes the README's figures out of bench/results; with --check it only says whether they are out of date.

python bench/readme.py [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path

from tercet.proof import Ladder

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "bench" / "results"
# How many times faster than the query as written each rung has to be at the full size, in the run that is shown.
GOALS = {1: 4, 2: 1_000, 3: 5_000, 4: 1_000_000}
START = "<!-- ladder: written by bench/readme.py from bench/results, do not edit -->\n"
END = "<!-- /ladder -->"


def latest(results: Path = RESULTS) -> Path:
    """The newest ladder, by the moment that it holds itself."""
    found = {path: Ladder.read(path.read_bytes()).at for path in results.glob("ladder-*.json")}
    if not found:
        raise SystemExit("There is no bench/results/ladder-*.json yet. Make one with: make bench-ladder")
    return max(found, key=lambda path: found[path])


def section(path: Path) -> str:
    """What stands between the two marks: the table as text, the picture, and where the figures come from.

    Raises ProofFailed for a result that misses its goals: such a one is not shown, it is looked into.
    """
    ladder = Ladder.read(path.read_bytes()).required(GOALS)
    return (
        f"```\n{ladder.table()}\n```\n\n"
        f"![The ladder](bench/results/{path.stem}.svg)\n\n"
        f"{ladder.data_line}. {ladder.machine.line}. {ladder.at:%d %B %Y}. "
        f"Every figure is from [`bench/results/{path.name}`](bench/results/{path.name}).\n"
    )


def written(readme: str, path: Path) -> str:
    """The README with the section of this result in it."""
    head, mark, rest = readme.partition(START)
    _, end, tail = rest.partition(END)
    if not mark or not end:
        raise SystemExit(f"README.md has lost its marks: {START.strip()} … {END}")
    return head + START + section(path) + END + tail


def main() -> None:
    """Write it, or check it."""
    before = README.read_text(encoding="utf-8")
    after = written(before, latest())
    if before == after:
        return
    if "--check" in sys.argv[1:]:
        raise SystemExit("README.md is out of date. Write it anew with: python bench/readme.py")
    README.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
