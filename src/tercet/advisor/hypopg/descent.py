"""What HypoPG leaves out of a plan's cost: the way down each tree, which it takes for one of no height."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.sql import Node

# The planner charges so many comparisons for each page on the way down (DEFAULT_PAGE_CPU_MULTIPLIER).
_A_PAGE = 50.0


def corrected(node: Node, names: Mapping[str, str], heights: Mapping[str, int], operator: float) -> Node:
    """The step and all below it with our names of indexes, and with the cost of each descent.

    `names` maps HypoPG's names to ours, `heights` ours to levels above the leaves. The plan itself stays the one
    that was found with descents for nothing.
    """
    return _step(node, names, heights, operator)[0]


def _step(node: Node, names: Mapping[str, str], heights: Mapping[str, int], operator: float) -> tuple[Node, float]:
    """The step, and what it costs more than it said."""
    below = [_step(child, names, heights, operator) for child in node.children]
    name = names.get(node.index or "", node.index)
    more = 0.0
    if node.index in names and name is not None and node.type.endswith(("Index Scan", "Index Only Scan")):
        more = (heights.get(name, 0) + 1) * _A_PAGE * operator
    for at, (child, extra) in enumerate(below):
        again = node.type == "Nested Loop" and at == 1 and child.type not in {"Memoize", "Materialize"}
        more += extra * (max(below[0][0].rows_planned, 1.0) if again else 1.0)
    if not more and name == node.index:
        return replace(node, children=tuple(child for child, _ in below)), 0.0
    children = tuple(child for child, _ in below)
    return replace(node, index=name, cost=node.cost + more, children=children), more
