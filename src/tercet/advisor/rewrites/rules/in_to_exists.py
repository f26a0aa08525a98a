"""IN (SELECT …) becomes EXISTS where only rows count for which it is true."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.building import exists
from tercet.advisor.rewrites.membership import matching
from tercet.advisor.rewrites.rule import Block, Changed
from tercet.sql.condition import all_of, conjuncts

if TYPE_CHECKING:
    from tercet.advisor.rewrites.facts import Facts


def apply(block: Block, facts: Facts) -> Changed | None:
    """The same rows: a filter does not tell false from NULL."""
    changed = False
    conditions = []
    for one in conjuncts(block.select.tree("where_clause")):
        found = matching(one, block) if facts.steady(one) else None
        conditions.append(one if found is None else exists(found.select))
        changed = changed or found is not None
    if not changed:
        return None
    select = block.select.replaced(where_clause=all_of(conditions))
    return Changed(select, "a filter treats NULL as false")
