"""column + 1 > 5 becomes column > 4, for whole numbers: then an index can answer it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.building import changed_here, compared, expression
from tercet.advisor.rewrites.proved import COMPARISONS
from tercet.advisor.rewrites.rule import Block, Changed
from tercet.advisor.rewrites.sources import operator

if TYPE_CHECKING:
    from tercet.advisor.rewrites.facts import Facts
    from tercet.sql.tree import Tree

_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "<>": "<>", "!=": "!="}
# What the grammar holds as a whole number; beyond, the type of the constant would be another.
_LEAST, _MOST = -(2**31), 2**31 - 1


def apply(block: Block, facts: Facts) -> Changed | None:
    """The same rows, the sum done once on the constant; where the column's sum overflows, that error goes."""
    done = False

    def change(node: Tree) -> Tree | None:
        nonlocal done
        sign, left, right = operator(node), node.tree("lexpr"), node.tree("rexpr")
        if sign not in COMPARISONS or left is None or right is None:
            return None
        if _number(left) is not None:
            left, right, sign = right, left, _FLIPPED[sign]
        new = _moved(left, sign, right, block, facts)
        done = done or new is not None
        return new

    where = block.select.tree("where_clause")
    if where is None:
        return None
    changed = changed_here(where, change)
    return Changed(block.select.replaced(where_clause=changed), "the column holds whole numbers") if done else None


def _moved(left: Tree, sign: str, right: Tree, block: Block, facts: Facts) -> Tree | None:
    bound, way = _number(right), operator(left)
    one, other = left.tree("lexpr"), left.tree("rexpr")
    if bound is None or way not in {"+", "-"} or one is None or other is None:
        return None
    column, number = (one, _number(other)) if one.kind == "ColumnRef" else (other, _number(one))
    if column.kind != "ColumnRef" or number is None or not facts.integer(block.scope.find(column)):
        return None
    if way == "+":
        value = bound - number
    elif column is one:
        value = bound + number
    else:
        value, sign = number - bound, _FLIPPED[sign]
    return compared(column, sign, expression(str(value))) if _LEAST <= value <= _MOST else None


def _number(tree: Tree) -> int | None:
    inner = tree.tree("ival") if tree.kind == "A_Const" else None
    value = inner.get("ival") or 0 if inner is not None else None
    return value if isinstance(value, int) else None
