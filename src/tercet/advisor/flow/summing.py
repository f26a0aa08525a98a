"""Why an index alone makes some statements no quicker: rows that are added up have all to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.flow.viewing import SLOW_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.flow.draft import Draft
    from tercet.sql import Node, Plan

# Fewer are added up while nobody notices.
ROWS_MIN = 10_000
_APART = frozenset({"InitPlan", "SubPlan"})


def floor(draft: Draft) -> str | None:
    """What stays to be done of a statement that is slow with its best index too, in a sentence with its figures."""
    ran = draft.verified.after if draft.verified is not None else None
    ms = ran.median if ran is not None else draft.outlook.ms_after if draft.outlook is not None else None
    if not draft.query.reading or ms is None or ms < SLOW_MS:
        return None
    # The planner knows best how many they are where tables are joined as wholes, and a run knows it better.
    plan = ran.plan if ran is not None and ran.plan is not None else draft.plan_before
    rows, table = _added_up(plan) if plan is not None else (0.0, "")
    if rows < ROWS_MIN:
        return None
    return (
        f"about {_rounded(rows):,} rows of {table} have to be read and added up before the first row of the answer is "
        f"known, whatever the index: {ms:.3g} ms are {ms * 1e3 / rows:.2g} µs for each, and only kept sums save them"
    )


def _added_up(plan: Plan) -> tuple[float, str]:
    """The most rows that go into one step that groups them, and the table that most of them come from."""
    found = [
        (rows, node) for node, loops in _with_loops(plan.root, 1.0) if node.type.endswith("Aggregate")
        for rows in (sum(_given(child, loops) for child in node.children if child.relationship not in _APART),)
    ]  # fmt: skip
    rows, node = max(found, key=lambda one: one[0], default=(0.0, plan.root))
    scans = [(given, step.relation) for step, loops in _with_loops(node, 1.0) if step.relation
             for given in (_given(step, loops),)]  # fmt: skip
    return rows, max(scans, default=(0.0, "its tables"))[1] or "its tables"


def _given(node: Node, loops: float) -> float:
    """The rows that a step has given in all its loops; those that are planned where it was not run."""
    return node.rows if node.rows is not None else node.rows_planned * loops


def _with_loops(node: Node, loops: float) -> Iterator[tuple[Node, float]]:
    """Each step with how often it is begun by plan: what a nested loop has inside, once for each row outside."""
    yield node, loops
    plain = [child for child in node.children if child.relationship not in _APART]
    for at, child in enumerate(plain):
        again = _given(plain[0], loops) if node.type == "Nested Loop" and at else loops
        yield from _with_loops(child, again)


def _rounded(number: float) -> int:
    """Two digits say enough."""
    return int(float(f"{number:.1e}"))
