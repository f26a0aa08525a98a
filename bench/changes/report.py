"""Makes tables of a result: which goals are met, every figure, and the README's block.

python bench/changes/report.py [FILE] [--markdown] [--readme] [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Where what all benchmarks share lies.
sys.path.append(str(Path(__file__).parents[1]))

import goal
from goals import GOALS
from tables import Report, cell, leaves, page, table

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = "tercet.changes-bench/1"

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


def goals_table(whole: Mapping[str, Any]) -> str:
    """The goals as a Markdown table, those that are missed among them."""
    return goal.goals_table(GOALS, whole["questions"])


def writers_table(whole: Mapping[str, Any]) -> str:
    """Transactions a second of every arm, and what it costs beside the plain one; nothing where it was not asked."""
    clients = whole["questions"].get("writer", {}).get("clients", {})
    if not clients:
        return ""
    rows = [
        [arm, *(f"{one[arm]['tps']:,} ({one[arm]['cost']:+.0%})".replace("(+0%)", "") for one in clients.values())]
        for arm in next(iter(clients.values()))
    ]
    return table(["transactions a second (cost)", *(f"{count} clients" for count in clients)], rows)


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
        rows = [[path, cell(value)] for path, value in leaves(answer) if not path.startswith("servers")]
        parts.append(table(["", ""], rows))
    parts.append(f"## With what\n\n{goal.place(whole)}")
    return "\n\n".join(parts) + "\n"


def block(path: Path) -> str:
    """What stands between the README's two marks: the goals, met or not, and where the figures come from."""
    whole = REPORT.full(path)
    said = goal.said(GOALS, whole["questions"])
    writers = writers_table(whole)
    return (
        f"{goals_table(whole)}\n\n{said} {goal.place(whole)} "
        f"Every figure is from [`bench/results/{path.name}`](bench/results/{path.name}); "
        f"[all of them](bench/results/{page(path).name}).\n" + (f"\n{writers}\n" if writers else "")
    )


REPORT = Report("changes", FORMAT, goals_table, markdown, block)


if __name__ == "__main__":
    REPORT.main(__doc__)
