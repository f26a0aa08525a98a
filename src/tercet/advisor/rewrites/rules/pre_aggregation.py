"""Children are added up by parent before they are joined; the run decides, for it can well be slower."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.building import aliased, column_ref, compared, joined, output, selected
from tercet.advisor.rewrites.children import Added, family, only, tie
from tercet.advisor.rewrites.rule import Block, Changed
from tercet.advisor.rewrites.sources import function
from tercet.sql.condition import all_of
from tercet.sql.tree import Tree

if TYPE_CHECKING:
    from tercet.advisor.rewrites.facts import Facts

_KEY = "tercet_key"


def apply(block: Block, facts: Facts) -> Changed | None:
    """The same groups: each parent is one group, and its children's sums are there once."""
    group = family(block, facts)
    if group is None or not group.left:
        return None
    ties = [(one, found) for one in group.quals if (found := tie(one, group, block)) is not None]
    rest = [one for one in group.quals if only(one, group.child, block)]
    if len(ties) != 1 or len(ties) + len(rest) < len(group.quals):
        return None
    _, (key, partner) = ties[0]
    added = Added(group, block, facts, _stands)
    outside = added.outside()
    if not added.sound or not added.values:
        return None
    mine = column_ref(group.child.name, key)
    outputs = (output(mine, _KEY), *(output(value, given) for given, value in added.values.items()))
    sums = selected(outputs, (group.child_item,), all_of(rest)).replaced(group_clause=(mine,))
    same = compared(column_ref(added.name, _KEY), "=", column_ref(group.parent.name, partner))
    source = joined("JOIN_LEFT", group.parent_item, aliased(sums, added.name), same)
    return Changed(
        outside.replaced(from_clause=(source,)), f"each group is one row of {group.parent.name}, by its primary key"
    )


def _stands(aggregate: Tree, column: Tree) -> Tree:
    """A parent without children has no row of sums: its count is 0 all the same."""
    if function(aggregate) != "count":
        return column
    zero = Tree("A_Const", (("ival", Tree("Integer")),))
    return Tree("CoalesceExpr", (("args", (column, zero)),))
