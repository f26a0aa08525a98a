"""count(o.id) becomes count(o.user_id) where that is the join's own column: the index of the join has it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.advisor.rewrites.building import changed_here, column_ref
from tercet.advisor.rewrites.proved import equalities, left_joins, same_rows_name
from tercet.advisor.rewrites.rule import Block, Changed
from tercet.advisor.rewrites.sources import function
from tercet.sql.condition import conjuncts

if TYPE_CHECKING:
    from tercet.advisor.rewrites.facts import Facts
    from tercet.advisor.rewrites.sources import Scope, Source
    from tercet.sql.tree import Tree


def apply(block: Block, facts: Facts) -> Changed | None:
    """The same SELECT counting the column that the LEFT JOIN compares: NULL exactly where no row was found."""
    joined = dict(_join_columns(block))
    changes: list[str] = []

    def change(node: Tree) -> Tree | None:
        arguments = node.trees("args")
        if function(node) != "count" or node.get("agg_distinct") or len(arguments) != 1:
            return None
        found = block.scope.find(arguments[0]) if arguments[0].kind == "ColumnRef" else None
        if found is None or found.depth or found.source.name not in joined:
            return None
        names = joined[found.source.name]
        if found.name in names or not facts.not_null(arguments[0], _inside(block, found.source)):
            return None
        changes.append(f"{found.source.name}.{found.name} is NULL exactly where {found.source.name}.{names[0]} is")
        return node.replaced(args=(column_ref(found.source.name, names[0]),))

    select = changed_here(block.select, change)
    return Changed(select, changes[0]) if changes else None


def _join_columns(block: Block) -> list[tuple[str, list[str]]]:
    """For each table that a LEFT JOIN brings in, its columns that must equal something for a row to be found."""
    found = []
    for join, right in left_joins(block.select):
        name = same_rows_name(right)
        pairs = equalities(conjuncts(join.tree("quals")), block.scope)
        names = [
            mine.name for pair in pairs for mine, other in (pair, pair[::-1])
            if mine.source.name == name and other.source.name != name
        ]  # fmt: skip
        if names:
            found.append((name, names))
    return found


def _inside(block: Block, source: Source) -> Scope:
    """The names as they are before the join fills in NULLs."""
    inner = tuple(replace(one, outer=False) if one is source else one for one in block.scope.sources)
    return replace(block.scope, sources=inner)
