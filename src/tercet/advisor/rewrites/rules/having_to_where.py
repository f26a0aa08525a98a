"""HAVING on group keys moves to WHERE: rows that it drops are not grouped at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.meaning import meant
from tercet.advisor.rewrites.rule import Block, Changed
from tercet.advisor.rewrites.sources import aggregates, columns
from tercet.sql.condition import all_of, conjuncts
from tercet.sql.tree import write

if TYPE_CHECKING:
    from tercet.advisor.rewrites.facts import Facts
    from tercet.sql.tree import Tree


def apply(block: Block, facts: Facts) -> Changed | None:
    """The same groups out of fewer rows."""
    select = block.select
    parts = conjuncts(select.tree("having_clause"))
    if not parts or not facts.grouped(select):
        return None
    keys = {write(meant(one, select)) for one in select.trees("group_clause")}
    moved = [one for one in parts if _by_keys(one, keys) and facts.steady(one)]
    if not moved:
        return None
    where = all_of((*conjuncts(select.tree("where_clause")), *moved))
    having = all_of([one for one in parts if one not in moved])
    why = f"{write(moved[0])} is the same for all rows of a group, and a group without rows is not there"
    return Changed(select.replaced(where_clause=where, having_clause=having), why)


def _by_keys(condition: Tree, keys: set[str]) -> bool:
    plain = not any(True for _ in aggregates(condition)) and all(one.kind != "SubLink" for one in condition.walk())
    return plain and all(write(ref) in keys for ref in columns(condition))
