"""Makes tables of a result: which goals are met, what every side measured, and the README's block.

python bench/cache/report.py [FILE] [--markdown] [--readme] [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# Where what all benchmarks share lies.
sys.path.append(str(Path(__file__).parents[1]))

from goals import GOALS, Answers, Goal
from tables import MET, Report, cell, missed, page, table

FORMAT = "tercet.cache-bench/1"
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
    rows = [
        [goal.what, goal.wanted, *(cell(one, goal.unit) for one in values), MET[met]]
        for goal, values, met in goals(whole)
    ]
    return table(["what", "goal", *LOOPS, "met"], rows)


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
        isinstance(one, Mapping) and any(isinstance(inner, Mapping) for inner in one.values())
        for one in answer.values()
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
            rows.append([side, *(cell(cells.get(name)) for name in columns)])
    return table(["", *columns.values()], rows)


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


def block(path: Path) -> str:
    """What stands between the README's two marks: the goals, met or not, and where the figures come from."""
    whole = REPORT.full(path)
    said = missed([met for _, _, met in goals(whole)]) or "All of them are met."
    machine = whole["machine"]
    place = " · ".join([machine["cpu"], f"{machine['cores']} cores", machine["python"], *machine["servers"]])
    return (
        f"{goals_table(whole)}\n\n{said} {place}. {whole['at'][:10]}. "
        f"Every figure is from [`bench/results/{path.name}`](bench/results/{path.name}); "
        f"[all tables](bench/results/{page(path).name}), peer by peer.\n"
    )


REPORT = Report("cache", FORMAT, goals_table, markdown, block)


if __name__ == "__main__":
    REPORT.main(__doc__)
