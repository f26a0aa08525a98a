"""UNION becomes UNION ALL where no row can be in both parts, or twice in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.rule import Block, Changed
from tercet.advisor.rewrites.sources import scope_of

if TYPE_CHECKING:
    from tercet.advisor.rewrites.facts import Facts


def apply(block: Block, facts: Facts) -> Changed | None:
    """The same rows without looking for doubles."""
    select = block.select
    left, right = select.tree("larg"), select.tree("rarg")
    if select.text("op") != "SETOP_UNION" or select.get("all") or left is None or right is None:
        return None
    arms = (left, right)
    if any(arm.text("op") not in {"", "SETOP_NONE"} or arm.get("limit_count") for arm in arms):
        return None
    if not facts.disjoint(left, right):
        return None
    if not all(facts.distinct_rows(arm, scope_of(arm, block.catalog, block.scope)) for arm in arms):
        return None
    return Changed(select.replaced(all=True), "a constant tells both parts apart, and a key the rows of each")
