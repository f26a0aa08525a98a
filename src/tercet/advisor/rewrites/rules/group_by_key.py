"""GROUP BY loses the columns that its table's primary key decides anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.meaning import meant
from tercet.advisor.rewrites.rule import Block, Changed

if TYPE_CHECKING:
    from tercet.advisor.rewrites.facts import Facts


def apply(block: Block, facts: Facts) -> Changed | None:
    """The same groups by fewer keys: what is sorted or hashed gets narrower."""
    items = block.select.trees("group_clause")
    if not facts.grouped(block.select) or block.select.get("group_distinct"):
        return None
    keys = [meant(one, block.select) for one in items]
    found = [block.scope.find(one) if one.kind == "ColumnRef" else None for one in keys]
    dropped: set[str] = set()
    kept = list(items)
    for source in block.scope.sources:
        names = {one.name for one in found if one is not None and not one.depth and one.source is source}
        table = source.table
        if table is None or not facts.primary_key(table, names):
            continue
        for item, one in zip(items, found, strict=True):
            if one is not None and not one.depth and one.source is source and one.name not in table.primary_key:
                kept = [other for other in kept if other is not item]
                dropped.add(f"{source.name}.{one.name}")
    if not dropped or not kept:
        return None
    why = f"the primary key in GROUP BY decides {', '.join(sorted(dropped))}"
    return Changed(block.select.replaced(group_clause=tuple(kept)), why)
