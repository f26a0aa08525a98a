"""Each parent's children are added up for itself, by an index; the run decides, for many parents read it all anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.building import aliased, compared, expression, joined, output, selected
from tercet.advisor.rewrites.children import Added, family, tie
from tercet.advisor.rewrites.rule import Block, Changed
from tercet.sql.condition import all_of, conjuncts

if TYPE_CHECKING:
    from tercet.advisor.rewrites.facts import Facts


def apply(block: Block, facts: Facts) -> Changed | None:
    """The same groups: an aggregate without GROUP BY gives each parent one row, also where there is no child."""
    group = family(block, facts)
    if group is None or not any(tie(one, group, block) for one in group.quals):
        return None
    added = Added(group, block, facts, lambda _, column: column)
    outside = added.outside()
    if not added.sound or not added.values:
        return None
    if not group.left:
        # A parent without children was not there.
        some = compared(added.value(expression("count(*)")), ">", expression("0"))
        outside = outside.replaced(where_clause=all_of((*conjuncts(outside.tree("where_clause")), some)))
    sums = selected(
        (output(value, given) for given, value in added.values.items()), (group.child_item,), all_of(group.quals)
    )
    each = aliased(sums, added.name).replaced(lateral=True)
    source = joined("JOIN_INNER", group.parent_item, each, None)
    return Changed(
        outside.replaced(from_clause=(source,)), f"each group is one row of {group.parent.name}, by its primary key"
    )
