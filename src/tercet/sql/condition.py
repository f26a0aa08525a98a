"""Conditions taken apart at their ANDs, and put together again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.sql.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Sequence


def conjuncts(tree: Tree | None) -> tuple[Tree, ...]:
    """What must all be true for a condition to be true, brackets of ANDs opened; nothing of no condition."""
    if tree is None:
        return ()
    if tree.kind == "BoolExpr" and tree.text("boolop") == "AND_EXPR":
        return tuple(one for part in tree.trees("args") for one in conjuncts(part))
    return (tree,)


def all_of(conditions: Sequence[Tree]) -> Tree | None:
    """A condition that holds where all of these do; None of none."""
    if len(conditions) > 1:
        return Tree("BoolExpr", (("boolop", "AND_EXPR"), ("args", tuple(conditions))))
    return conditions[0] if conditions else None
