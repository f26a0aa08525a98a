"""NOT IN (SELECT …) becomes NOT EXISTS where neither side can be NULL: then it is an anti-join."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.building import changed_here, exists
from tercet.advisor.rewrites.membership import matching
from tercet.advisor.rewrites.rule import Block, Changed

if TYPE_CHECKING:
    from tercet.advisor.rewrites.facts import Facts
    from tercet.sql.tree import Tree


def apply(block: Block, facts: Facts) -> Changed | None:
    """The same rows without the trap of NOT IN, which is never true once a NULL is in the list."""
    because: list[str] = []

    def change(node: Tree) -> Tree | None:
        (link,) = node.trees("args") if node.kind == "BoolExpr" and node.text("boolop") == "NOT_EXPR" else (None,)
        found = matching(link, block) if link is not None else None
        if found is None:
            return None
        if not facts.not_null(found.asked, block.scope) or not facts.not_null(found.answered, found.scope):
            return None
        because.append("neither side of NOT IN can be NULL")
        return exists(found.select, negated=True)

    where = block.select.tree("where_clause")
    if where is None:
        return None
    select = block.select.replaced(where_clause=changed_here(where, change))
    return Changed(select, because[0]) if because else None
