"""Makes tables of a result: which goals are met, what every side measured, and the README's block.

python bench/cache/report.py [FILE] [--markdown] [--readme] [--check]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from goals import GOALS, Answers, Goal

FORMAT = "tercet.cache-bench/1"
ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
RESULTS = ROOT / "bench" / "results"
START = "<!-- cache: written by bench/cache/report.py from bench/results, do not edit -->\n"
END = "<!-- /cache -->"
LOOPS = ("asyncio", "uvloop")

# Which figures of a question stand in its tables, under which heading.
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "l1": {"cpu_us": "CPU µs"},
    "l2": {"cpu_us": "CPU µs", "p50_us": "p50 µs", "p99_us": "p99 µs", "per_second": "a second", "nothing": "no value"},
    "many": {"keys_per_second_core": "keys/s a core", "cpu_us_per_key": "CPU µs a key", "p50_us": "p50 µs"},
    "stampede": {
        "loads": "loads",
        "loads_max": "most",
        "wall_ms": "served after ms",
        "of_the_load": "of the load",
        "errors": "errors",
        "unserved": "never served",
    },
    "tags": {
        "ms": "ms",
        "cpu_ms": "CPU ms",
        "server_cpu_ms": "server CPU ms",
        "longest_command_ms": "longest command ms",
    },
    "locks": {
        "free_p50_us": "free p50 µs",
        "wall_ms": "50 × 5 ms: ms",
        "of_ideal": "of 250 ms",
        "inversions_max": "out of turn of 1,225",
        "holders_max": "holders",
        "commands": "commands",
        "cpu_ms": "CPU ms",
    },
    "rate": {
        "cpu_us": "CPU µs",
        "p50_us": "p50 µs",
        "p99_us": "p99 µs",
        "bytes_a_key": "bytes after 2,000 hits",
        "let_through": "let through of 100",
    },
    "frozen": {
        "healthy_ms": "healthy ms",
        "first_ms": "first call ms",
        "came": "what came",
        "later_ms": "later ms",
        "normal_after_thaw_s": "normal after s",
    },
    "probes": {"right": "right", "seen": "seen"},
}

TITLES: Mapping[str, str] = {
    "l1": "A hit in this process",
    "l2": "A hit in Redis",
    "many": "64 keys at once",
    "stampede": "A cold key that everybody wants",
    "tags": "Dropping 10,000 of 200,000 entries",
    "locks": "A lock that fifty tasks want",
    "rate": "A check of a rate limit",
    "frozen": "Redis stands still",
    "probes": "Right where it is hard",
}


def latest(results: Path = RESULTS) -> Path:
    """The newest whole result, by the moment that it holds itself."""
    found = {path: read(path)["at"] for path in results.glob("cache-*.json")}
    if not found:
        raise SystemExit("There is no bench/results/cache-*.json yet. Make one with: make bench-cache")
    return max(found, key=lambda path: found[path])


def read(path: Path) -> dict[str, Any]:
    """A result as it was written."""
    whole: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if whole.get("format") != FORMAT:
        raise SystemExit(f"{path.name} is no result of this benchmark: its format is {whole.get('format')!r}.")
    return whole


def goals(whole: Mapping[str, Any]) -> Iterator[tuple[Goal, list[float | None], bool | None]]:
    """Each goal with its figure in each loop, and whether all that were measured meet it; None: not measured."""
    for goal in GOALS:
        values = [goal.value(Answers(whole["questions"], loop)) for loop in LOOPS]
        met = [_meets(goal, one) for one in values if one is not None]
        yield goal, values, all(met) if met else None


def _meets(goal: Goal, value: object) -> bool:
    # What was waited for in vain is written as "> 12 s".
    return isinstance(value, int | float) and goal.meets(value)


def goals_table(whole: Mapping[str, Any]) -> str:
    """The goals as a Markdown table, those that are missed among them."""
    said = {True: "yes", False: "**no**", None: "not measured"}
    rows = [
        [goal.what, goal.wanted, *(_cell(one, goal.unit) for one in values), said[met]]
        for goal, values, met in goals(whole)
    ]
    return _table(["what", "goal", *LOOPS, "met"], rows)


def markdown(whole: Mapping[str, Any]) -> str:
    """Every table of a result, as a page of the documentation has them."""
    parts = [goals_table(whole)]
    for name, question in whole["questions"].items():
        parts.append(f"## {TITLES.get(name, name)}")
        if "failed" in question:
            parts.append(f"It could not be asked: {question['failed']}.")
        for loop, answer in question.get("loops", {}).items():
            for case, sides in _cases(answer):
                place = ", ".join(one for one in (case, loop) if one)
                parts.append(f"**{place}**\n\n{_sides(name, sides)}")
    parts.append(f"## With what\n\n{_with_what(whole)}")
    return "\n\n".join(parts) + "\n"


def _cases(answer: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The tables of an answer: one a case, or the one that it is."""
    if any(
        isinstance(one, Mapping) and any(isinstance(cell, Mapping) for cell in one.values()) for one in answer.values()
    ):
        yield from answer.items()
    else:
        yield "", answer


def _sides(question: str, sides: Mapping[str, Any]) -> str:
    columns = COLUMNS[question]
    rows = []
    for side, cells in sides.items():
        if "refused" in cells:
            rows.append([side, f"refused: {cells['refused']}", *[""] * (len(columns) - 1)])
        else:
            rows.append([side, *(_cell(cells.get(name)) for name in columns)])
    return _table(["", *columns.values()], rows)


def _with_what(whole: Mapping[str, Any]) -> str:
    machine = whole["machine"]
    place = " · ".join(
        [machine["cpu"], f"{machine['cores']} cores", machine["system"], machine["python"], *machine["servers"]]
    )
    used = ", ".join(f"{name} {version}" for name, version in whole["versions"].items())
    lines = [f"{place}. {whole['at'][:10]}.", f"Versions: {used}."]
    lines += [f"Not installed: {name} ({reason})." for name, reason in whole["missing"].items()]
    lines += [f"{name} is set up as in {text}." for name, text in whole["advice"].items()]
    for refused in whole["refuses"].values():
        lines += [f"{side}: {reason}." for kind in refused.values() for side, reason in kind.items()]
    return "\n".join(f"- {line}" for line in lines)


def page(path: Path) -> Path:
    """Where all tables of a result are written down."""
    return path.with_suffix(".md")


def block(path: Path) -> str:
    """What stands between the README's two marks: the goals, met or not, and where the figures come from."""
    whole = read(path)
    if whole["quick"]:
        raise SystemExit(f"{path.name} is of a quick run, whose figures mean nothing.")
    missed = sum(met is False for _, _, met in goals(whole))
    said = (
        "All of them are met."
        if not missed
        else f"{missed} of them {'is' if missed == 1 else 'are'} missed, and shown."
    )
    machine = whole["machine"]
    place = " · ".join([machine["cpu"], f"{machine['cores']} cores", machine["python"], *machine["servers"]])
    return (
        f"{goals_table(whole)}\n\n{said} {place}. {whole['at'][:10]}. "
        f"Every figure is from [`bench/results/{path.name}`](bench/results/{path.name}); "
        f"[all tables](bench/results/{page(path).name}), peer by peer.\n"
    )


def written(readme: str, path: Path) -> str:
    """The README with the block of this result in it."""
    head, mark, rest = readme.partition(START)
    _, end, tail = rest.partition(END)
    if not mark or not end:
        raise SystemExit(f"README.md has no marks for the cache: {START.strip()} … {END}")
    return head + START + block(path) + END + tail


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(one.replace("|", "\\|") for one in line) + " |" for line in lines)


def _cell(value: object, unit: str = "") -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, float):
        text = f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"
    elif isinstance(value, int):
        text = f"{value:,}"
    else:
        return str(value)
    return f"{text}{'' if unit == '×' or not unit else ' '}{unit}"


def main() -> None:
    """Print, or write, or check."""
    parser = argparse.ArgumentParser(prog="report.py", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=None, help="a result; none: the newest")
    parser.add_argument("--markdown", action="store_true", help="print every table")
    parser.add_argument(
        "--readme", action="store_true", help="write the README's block, and all tables beside the result"
    )
    parser.add_argument("--check", action="store_true", help="say whether the README's block is out of date")
    options = parser.parse_args()
    path = options.file or latest()
    if options.readme or options.check:
        pages = {README: written(README.read_text(encoding="utf-8"), path), page(path): markdown(read(path))}
        for place, text in pages.items():
            if options.readme:
                place.write_text(text, encoding="utf-8")
            elif not place.exists() or place.read_text(encoding="utf-8") != text:
                raise SystemExit(f"{place.name} is out of date. Write it anew: python bench/cache/report.py --readme")
        return
    print(markdown(read(path)) if options.markdown else goals_table(read(path)))


if __name__ == "__main__":
    main()
