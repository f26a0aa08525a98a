"""Makes tables of a result: which goals are met, every part's figures, and the README's block.

python bench/advisor/report.py [FILE] [--markdown] [--readme] [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Where what all benchmarks share lies.
sys.path.append(str(Path(__file__).parents[1]))

import goal
from goals import GOALS, errands
from tables import Report, cell, leaves, page, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

FORMAT = "tercet.advisor-bench/1"

TITLES: Mapping[str, str] = {
    "shadow": "The shadow beside the server that it is a shadow of",
    "tpch": "TPC-H without keys, beside other advisors' choices",
    "reference": "The reference query",
    "planted": "The planted cases",
    "production": "What production gives",
    "kept": "Summaries kept up to date",
    "mongo": "MongoDB",
}


def goals_table(whole: Mapping[str, Any]) -> str:
    """The goals as a Markdown table, those that are missed among them."""
    return goal.goals_table(GOALS, whole["questions"])


def markdown(whole: Mapping[str, Any]) -> str:
    """Every figure of a result, as a page."""
    parts = [goals_table(whole)]
    for name, answer in whole["questions"].items():
        parts.append(f"## {TITLES.get(name, name)}")
        if "failed" in answer:
            parts.append(f"It could not be asked: {answer['failed']}.")
            continue
        parts += DRAWINGS.get(name, _plain)(answer)
    parts.append(f"## With what\n\n{goal.place(whole)}")
    return "\n\n".join(parts) + "\n"


def block(path: Path) -> str:
    """What stands between the README's two marks: the goals, met or not, and where the figures come from."""
    whole = REPORT.full(path)
    return (
        f"{_climb(whole['questions'])}\n\n{goals_table(whole)}\n\n"
        f"{goal.said(GOALS, whole['questions'])} {goal.place(whole)} "
        f"Every figure is from [`bench/results/{path.name}`](bench/results/{path.name}); "
        f"[all of them](bench/results/{page(path).name}).\n"
    )


def _climb(questions: Mapping[str, Any]) -> str:
    """The reference query: what the advisor found beside the best by hand."""
    answer = questions["reference"]
    hand = f"by hand: {answer['best_by_hand']}"
    names = {"as written": "as written", "usual indexes": "the usual two indexes", hand: "the best by hand",
             "advisor: rung 1": "as advised: index and rewrite", "advisor: rung 2": "as advised: view"}  # fmt: skip
    rows = {said: answer["ways"][name] for name, said in names.items() if name in answer["ways"]}
    head = f"the reference query, {answer['users']:,} users, {answer['orders']:,} orders"
    columns = {"ms_best": "best ms", "ms_median": "median ms", "cpu_ms": "server CPU ms", "same_rows": "same rows"}
    return _cells(head, rows, columns)


def _plain(answer: Mapping[str, Any]) -> Iterator[str]:
    rows = [[path, cell(value)] for path, value in leaves(answer) if not path.startswith("servers")]
    yield table(["", ""], rows)


def _on_each(draw: Callable[[Mapping[str, Any]], Iterator[str]]) -> Callable[[Mapping[str, Any]], Iterator[str]]:
    """The same for each server."""

    def drawn(answer: Mapping[str, Any]) -> Iterator[str]:
        for server, found in answer["on"].items():
            yield f"### {server}, scale {answer['scale']:g}"
            yield from draw(found)

    return drawn


def _shadow(found: Mapping[str, Any]) -> Iterator[str]:
    tpch = found["tpch"]
    ways = {
        "TPC-DS, no index": found["tpcds"],
        "TPC-H, no index": tpch["without"],
        "TPC-H, 20 indexes, sizes estimated": tpch["estimated"],
        "TPC-H, 20 indexes, sizes from a sample": tpch["sampled"],
    }
    columns = {"planned": "planned", "same_plan": "same plan", "equal_cost": "same cost",
               "mean_percent": "cost error, mean %", "worst_percent": "worst %"}  # fmt: skip
    yield _cells("", ways, columns)
    rows = {
        what: {"real": real, "estimated": tpch["estimated"]["ratios"][what], "sampled": tpch["sampled"]["ratios"][what]}
        for what, real in tpch["real_mb"].items()
    }
    yield _cells("index", rows, {"real": "real MB", "estimated": "estimated ×", "sampled": "from a sample ×"})
    yield (
        f"Ready in {cell(tpch['ready_seconds'])} s; {cell(tpch['read_bytes'])} bytes read of the server in "
        f"{cell(tpch['read_seconds'])} s; {cell(tpch['suppose_ms'])} ms for each supposed index."
    )


def _tpch(found: Mapping[str, Any]) -> Iterator[str]:
    sides = {name: one | {"slower": " ".join(one["slower"]) or "–"} for name, one in found["sides"].items()}
    columns = {"real_mb": "real MB", "total_ms": "all 19, ms", "without_q1_q18_ms": "without Q1, Q18, ms",
               "cpu_ms": "server CPU ms", "cost": "cost", "build_ms": "built in ms",
               "slower": "more than 10 % slower"}  # fmt: skip
    yield _cells("", sides, columns)
    queries = list(next(iter(sides.values()))["ms_by_query"])
    yield _cells("ms", {name: one["ms_by_query"] for name, one in sides.items()}, {one: one for one in queries})
    columns = {"seconds": "searched s", "explains": "EXPLAINs", "ended": "to its end", "estimated_mb": "estimated MB",
               "estimated_ms_before": "estimated ms before", "estimated_ms_after": "after"}  # fmt: skip
    yield _cells("", found["choices"], columns)
    yield "\n".join(f"- {name}: {'; '.join(one['indexes']) or 'nothing'}" for name, one in sides.items())
    apart = {name: one | {"indexes": "; ".join(one["indexes"])} for name, one in found["apart"].items()}
    columns = {"ms_before": "without, ms", "cut_off": "cut off", "ms_after": "with, ms", "indexes": "indexes"}
    yield _cells("by itself", apart, columns)


def _reference(answer: Mapping[str, Any]) -> Iterator[str]:
    yield f"{answer['users']:,} users, {answer['orders']:,} orders; advised in {cell(answer['advise_seconds'])} s."
    columns = {"ms_best": "best ms", "ms_median": "median ms", "cpu_ms": "server CPU ms", "same_rows": "same rows"}
    yield _cells("", answer["ways"], columns)
    yield from _list("Advised", [f"{one['kind']}: {'; '.join(one['ddl'])}: {one['why']}" for one in answer["pieces"]])
    yield from _list("Rejected", answer["rejected"])
    yield from _list("Told", answer["notes"])
    yield from _list("Told of an open top", answer["undetermined_notes"])


def _planted(answer: Mapping[str, Any]) -> Iterator[str]:
    columns = {"right": "right", "of": "of", "none_due": "with none due", "seconds": "s"}
    yield _cells("", answer["ways"], columns)
    for way, one in answer["ways"].items():
        yield from _list(f"Wrong, {way}", [f"{name}: {' · '.join(what)}" for name, what in one["wrong"].items()])


def _production(found: Mapping[str, Any]) -> Iterator[str]:
    rows = {
        name: {**one, "locks": ", ".join(sorted(one["locks"])), "ended": one.get("ended", "ready")}
        for name, one in errands(found)
    }
    columns = {"seconds": "s", "server_cpu_seconds": "server CPU s", "from_server_bytes": "bytes from the server",
               "told_bytes": "bytes told", "told_seconds": "s told", "looks": "looks into pg_locks",
               "locks": "locks seen", "beyond": "beyond AccessShare", "ended": "ended"}  # fmt: skip
    yield _cells("", rows, columns)
    many = found["many"]
    built = {"by statistics": many["counted_hot"], "by a script": many["script_built"]}
    yield from _list("Indexes built as advised", [f"{way}: {name}: {end}" for way, one in built.items()
                                                  for name, end in one.items()])  # fmt: skip
    yield from _list("Told of the script", many["script"].get("notes", ()))


def _cells(head: str, rows: Mapping[str, Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    lines = [[name, *(cell(one.get(column)) for column in columns)] for name, one in rows.items()]
    return table([head, *columns.values()], lines)


def _list(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"{title}:\n\n" + "\n".join(f"- {' '.join(line.split())}" for line in lines)


DRAWINGS: Mapping[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "shadow": _on_each(_shadow),
    "tpch": _on_each(_tpch),
    "reference": _reference,
    "planted": _planted,
    "production": _on_each(_production),
}
REPORT = Report("advisor", FORMAT, goals_table, markdown, block)


if __name__ == "__main__":
    REPORT.main(__doc__)
