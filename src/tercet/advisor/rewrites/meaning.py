"""What an item of ORDER BY or GROUP BY means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.sources import output_name

if TYPE_CHECKING:
    from tercet.sql.tree import Tree


def meant(node: Tree, select: Tree) -> Tree:
    """An output by its position or its name, or the expression itself."""
    targets = select.trees("target_list")
    number = node.tree("ival")
    if node.kind == "A_Const" and number is not None:
        place = number.get("ival")
        value = targets[place - 1].tree("val") if isinstance(place, int) and 0 < place <= len(targets) else None
        return value or node
    if node.kind == "ColumnRef" and len(node.trees("fields")) == 1:
        word = node.trees("fields")[0].text("sval")
        for target in targets:
            value = target.tree("val")
            if value is not None and word and output_name(target) == word:
                return value
    return node
