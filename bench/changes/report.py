"""Makes tables of a result: which goals are met, every figure, and the README's block.

python bench/changes/report.py [FILE] [--markdown] [--readme] [--check]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from goals import GOALS, Goal

FORMAT = "tercet.changes-bench/1"
ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
RESULTS = ROOT / "bench" / "results"
START = "<!-- changes: written by bench/changes/report.py from bench/results, do not edit -->\n"
END = "<!-- /changes -->"

TITLES: Mapping[str, str] = {
    "latency": "From the commit to another process",
    "backlog": "From the commit to a listener, and a backlog",
    "mongo": "MongoDB's feed",
    "decode": "Decoding alone",
    "writer": "What a message costs its writers",
    "race": "A change and its row",
    "slot": "A slot that nobody reads on",
    "load_many": "A thousand entities from three stores",
    "faults": "The outbox while everything is killed",
}


def latest(results: Path = RESULTS) -> Path:
    """The newest whole result, by the moment that it holds itself."""
    found = {path: read(path)["at"] for path in results.glob("changes-*.json")}
    if not found:
        raise SystemExit("There is no bench/results/changes-*.json yet. Make one with: make bench-changes")
    return max(found, key=lambda path: found[path])


def read(path: Path) -> dict[str, Any]:
    """A result as it was written."""
    whole: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if whole.get("format") != FORMAT:
        raise SystemExit(f"{path.name} is no result of this benchmark: its format is {whole.get('format')!r}.")
    return whole


def goals(whole: Mapping[str, Any]) -> Iterator[tuple[Goal, float | None, bool | None]]:
    """Each goal with its figure, and whether it is met; None: not measured."""
    for goal in GOALS:
        value = goal.value(whole["questions"])
        yield goal, value, None if value is None else goal.meets(value)


def goals_table(whole: Mapping[str, Any]) -> str:
    """The goals as a Markdown table, those that are missed among them."""
    said = {True: "yes", False: "**no**", None: "not measured"}
    rows = [[goal.what, goal.wanted, _cell(value, goal.unit), said[met]] for goal, value, met in goals(whole)]
    return _table(["what", "goal", "measured", "met"], rows)


def writers_table(whole: Mapping[str, Any]) -> str:
    """Transactions a second of every arm, and what it costs beside the plain one; nothing where it was not asked."""
    clients = whole["questions"].get("writer", {}).get("clients", {})
    if not clients:
        return ""
    rows = [
        [arm, *(f"{one[arm]['tps']:,} ({one[arm]['cost']:+.0%})".replace("(+0%)", "") for one in clients.values())]
        for arm in next(iter(clients.values()))
    ]
    return _table(["transactions a second (cost)", *(f"{count} clients" for count in clients)], rows)


def markdown(whole: Mapping[str, Any]) -> str:
    """Every figure of a result, as a page."""
    parts = [goals_table(whole)]
    for name, answer in whole["questions"].items():
        parts.append(f"## {TITLES.get(name, name)}")
        if "failed" in answer:
            parts.append(f"It could not be asked: {answer['failed']}.")
            continue
        if name == "writer":
            parts.append(writers_table(whole))
        rows = [[path, _cell(value)] for path, value in _leaves(answer) if not path.startswith("servers")]
        parts.append(_table(["", ""], rows))
    parts.append(f"## With what\n\n{_place(whole)}")
    return "\n\n".join(parts) + "\n"


def _leaves(answer: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    """Every figure by its path; a list is one."""
    for name, value in answer.items():
        path = f"{before} › {name}" if before else str(name)
        if isinstance(value, Mapping):
            yield from _leaves(value, path)
        else:
            yield path, value


def _place(whole: Mapping[str, Any]) -> str:
    machine = whole["machine"]
    words = [machine["cpu"], f"{machine['cores']} cores", machine["system"], machine["python"], *machine["servers"]]
    return f"{' · '.join(words)}. {whole['at'][:10]}."


def page(path: Path) -> Path:
    """Where all figures of a result are written down."""
    return path.with_suffix(".md")


def block(path: Path) -> str:
    """What stands between the README's two marks: the goals, met or not, and where the figures come from."""
    whole = read(path)
    if whole["quick"]:
        raise SystemExit(f"{path.name} is of a quick run, whose figures mean nothing.")
    missed = sum(met is False for _, _, met in goals(whole))
    unknown = sum(met is None for _, _, met in goals(whole))
    said = "All of them are met." if not missed + unknown else ""
    if missed:
        said = f"{missed} of them {'is' if missed == 1 else 'are'} missed, and shown."
    if unknown:
        said += f" {unknown} {'is' if unknown == 1 else 'are'} not measured."
    writers = writers_table(whole)
    return (
        f"{goals_table(whole)}\n\n{said.strip()} {_place(whole)} "
        f"Every figure is from [`bench/results/{path.name}`](bench/results/{path.name}); "
        f"[all of them](bench/results/{page(path).name}).\n" + (f"\n{writers}\n" if writers else "")
    )


def written(readme: str, path: Path) -> str:
    """The README with the block of this result in it."""
    head, mark, rest = readme.partition(START)
    _, end, tail = rest.partition(END)
    if not mark or not end:
        raise SystemExit(f"README.md has no marks for changes: {START.strip()} … {END}")
    return head + START + block(path) + END + tail


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(one.replace("|", "\\|") for one in line) + " |" for line in lines)


def _cell(value: object, unit: str = "") -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, list):
        return ", ".join(_cell(one) for one in value)
    if isinstance(value, float):
        text = f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
    elif isinstance(value, int):
        text = f"{value:,}"
    else:
        return str(value)
    return f"{text}{'' if unit == '×' or not unit else ' '}{unit}"


def main() -> None:
    """Print, or write, or check."""
    parser = argparse.ArgumentParser(prog="report.py", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=None, help="a result; none: the newest")
    parser.add_argument("--markdown", action="store_true", help="print every figure")
    parser.add_argument(
        "--readme", action="store_true", help="write the README's block, and all figures beside the result"
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
                raise SystemExit(f"{place.name} is out of date. Write it anew: python bench/changes/report.py --readme")
        return
    print(markdown(read(path)) if options.markdown else goals_table(read(path)))


if __name__ == "__main__":
    main()
