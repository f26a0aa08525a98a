"""LEFT JOIN becomes INNER where a filter above takes away the rows that it has filled with NULLs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.rule import Block, Changed
from tercet.sql.condition import conjuncts
from tercet.sql.tree import Tree, write

if TYPE_CHECKING:
    from tercet.advisor.rewrites.facts import Facts

# The side whose rows a join may leave out, by its kind.
_FILLED = {"JOIN_LEFT": "rarg", "JOIN_RIGHT": "larg"}


def apply(block: Block, facts: Facts) -> Changed | None:
    """The same rows by a join that may begin at either side."""
    filters = conjuncts(block.select.tree("where_clause"))
    because: list[str] = []

    def change(item: Tree) -> Tree:
        if item.kind != "JoinExpr":
            return item
        parts = {side: change(below) for side in ("larg", "rarg") if (below := item.tree(side)) is not None}
        item = item.replaced(**parts)
        filled = item.tree(_FILLED.get(item.text("jointype"), ""))
        for name in _names(filled) if filled is not None else ():
            for one in filters:
                if facts.rejects_null(one, name, block.scope):
                    because.append(f"{write(one)} does not hold where {name} is missing")
                    return item.replaced(jointype="JOIN_INNER")
        return item

    items = tuple(change(item) for item in block.select.trees("from_clause"))
    return Changed(block.select.replaced(from_clause=items), "; ".join(because)) if because else None


def _names(item: Tree) -> tuple[str, ...]:
    """The sources of one side of a join."""
    if item.kind == "JoinExpr":
        return tuple(name for side in ("larg", "rarg") if (below := item.tree(side)) for name in _names(below))
    alias = item.tree("alias")
    return (alias.text("aliasname") if alias is not None else item.text("relname"),)
