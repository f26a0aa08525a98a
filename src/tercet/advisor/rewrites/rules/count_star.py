"""count(column) becomes count(*) where the column is never NULL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.building import changed_here
from tercet.advisor.rewrites.rule import Block, Changed
from tercet.advisor.rewrites.sources import function
from tercet.sql.tree import write

if TYPE_CHECKING:
    from tercet.advisor.rewrites.facts import Facts
    from tercet.sql.tree import Tree


def apply(block: Block, facts: Facts) -> Changed | None:
    """The same SELECT with count(*): no column has to be read for it."""
    counted: list[str] = []

    def change(node: Tree) -> Tree | None:
        arguments = node.trees("args")
        if function(node) != "count" or node.get("agg_distinct") or len(arguments) != 1:
            return None
        found = block.scope.find(arguments[0]) if arguments[0].kind == "ColumnRef" else None
        if found is None or found.depth or not facts.not_null(arguments[0], block.scope):
            return None
        counted.append(write(arguments[0]))
        return node.replaced(args=None, agg_star=True)

    select = changed_here(block.select, change)
    return Changed(select, f"{', '.join(dict.fromkeys(counted))} is NOT NULL") if counted else None
