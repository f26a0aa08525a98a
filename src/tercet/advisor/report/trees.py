"""A plan drawn as nested lists, each step with its share of the time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.report.markup import Markup, joined, tag
from tercet.advisor.report.words import milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.sql import Node, Plan

# From here a guess of the planner is worth a colour.
_MISESTIMATE_SHOWN = 10.0
# Deeper than this no browser draws anything that could be read; what is below is told as a number.
_DEPTH_MAX = 60


def tree(plan: Plan, *, other: Plan | None = None) -> Markup:
    """The steps of a plan; an index that the other plan does not use stands out."""
    known = frozenset(other.indexes) if other is not None else frozenset(plan.indexes)
    whole = plan.root.ms
    return tag("ul", _step(plan.root, known, whole or plan.root.cost, 0), class_="plan")


def head(plan: Plan) -> str:
    """What the whole plan took, or what the planner thinks that it would."""
    parts = []
    if plan.execution_ms is not None:
        parts.append(milliseconds(plan.execution_ms))
    elif plan.root.ms is not None:
        parts.append(milliseconds(plan.root.ms))
    else:
        parts.append(f"not run, cost {plan.root.cost:,.0f}")
    if plan.root.buffers is not None:
        parts.append(f"{plan.root.buffers.touched:,} pages")
    return ", ".join(parts)


def _step(node: Node, known: frozenset[str], whole: float, depth: int) -> Markup:
    new = node.index is not None and node.index not in known
    below = (
        tag("ul", *(_step(child, known, whole, depth + 1) for child in node.children))
        if node.children and depth < _DEPTH_MAX
        else Markup("")
    )
    share = _share(node, whole)
    bar = tag("span", class_="own", style=f"width:{share:.1f}%") if share is not None else None
    name = f"{node.subplan}: {node.title}" if node.subplan else node.title
    step = tag(
        "div",
        tag("div", name, class_="title new" if new else "title"),
        tag("div", *_facts(node), class_="facts"),
        bar,
        class_="step",
        title=_conditions(node),
    )
    return tag("li", step, below)


def _share(node: Node, whole: float) -> float | None:
    """How much of all the time, or of all the cost, is the step's own; in percent."""
    if node.exclusive_ms is not None:
        own = node.exclusive_ms
    elif node.ms is None:
        own = node.cost - sum(child.cost for child in node.children)
    else:
        return None
    return min(100.0, max(0.0, 100 * own / whole)) if whole else None


def _facts(node: Node) -> Iterator[Markup]:
    if node.never_executed:
        yield joined("never executed")
        return
    if node.rows is None:
        yield joined(f"rows {node.rows_planned:,.0f} planned, cost {node.cost:,.2f}")
        return
    parts = [f"rows {node.rows:,.0f}"]
    if node.ms is not None:
        parts.insert(0, f"{milliseconds(node.ms)}, itself {milliseconds(node.exclusive_ms)}")
    if (node.loops or 1) > 1:
        parts.append(f"{node.loops:,} loops")
    if node.buffers is not None and node.buffers.touched:
        parts.append(f"{node.buffers.touched:,} pages")
    if node.rows_removed:
        parts.append(f"{node.rows_removed:,.0f} removed")
    if node.heap_fetches:
        parts.append(f"{node.heap_fetches:,} heap fetches")
    if node.spilled:
        parts.append("spilled to disk")
    yield joined(", ".join(parts))
    off = node.misestimate or 1.0
    if off >= _MISESTIMATE_SHOWN or off <= 1 / _MISESTIMATE_SHOWN:
        yield tag("span", f", planned {node.rows_planned:,.0f}", class_="off")


def _conditions(node: Node) -> str | None:
    return "\n".join(f"{name}: {text}" for name, text in node.conditions) or None
