"""A join goes that neither adds a column, nor takes a row away, nor doubles one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.building import column_ref, uses
from tercet.advisor.rewrites.proved import equalities, left_joins, same_rows_name
from tercet.advisor.rewrites.rule import Block, Changed
from tercet.sql.condition import all_of, conjuncts
from tercet.sql.tree import Tree

if TYPE_CHECKING:
    from tercet.advisor.catalog import Table
    from tercet.advisor.rewrites.facts import Facts
    from tercet.advisor.rewrites.sources import Found, Source


def apply(block: Block, facts: Facts) -> Changed | None:
    """The same rows from one table less."""
    if block.select.get("locking_clause") or block.scope.blind:
        return None
    return _left(block, facts) or _inner(block, facts)


def _left(block: Block, facts: Facts) -> Changed | None:
    """LEFT JOIN to at most one row, of which nothing is used."""
    for join, right in left_joins(block.select):
        name = same_rows_name(right)
        source = block.scope.source(name)
        quals = join.tree("quals")
        if source is None or source.table is None or quals is None or not facts.steady(quals):
            continue
        held = [
            mine.name for pair in equalities(conjuncts(quals), block.scope) for mine, other in (pair, pair[::-1])
            if mine.source.name == name and other.source.name != name
        ]  # fmt: skip
        without = _without(block.select, join)
        if held and facts.at_most_one(source.table, held) and not uses(without, name, block.scope):
            return Changed(without, f"{name} has at most one row for each, and nothing of it is used")
    return None


def _without(select: Tree, join: Tree) -> Tree:
    """The SELECT with the left side of a join in its place."""

    def change(item: Tree) -> Tree:
        left = item.tree("larg")
        if item is join and left is not None:
            return left
        parts = {side: change(below) for side in ("larg", "rarg") if (below := item.tree(side)) is not None}
        return item.replaced(**parts) if parts else item

    return select.replaced(from_clause=tuple(change(item) for item in select.trees("from_clause")))


def _inner(block: Block, facts: Facts) -> Changed | None:
    """INNER JOIN along a foreign key to a parent of which nothing is used."""
    for source in block.scope.sources:
        if source.table is None or source.outer:
            continue
        taken = _taken(block.select, source)
        if taken is None:
            continue
        without, conditions = taken
        pairs = [
            (other, mine) for pair in equalities(conditions, block.scope) for mine, other in (pair, pair[::-1])
            if mine.source.name == source.name and other.source.name != source.name
        ]  # fmt: skip
        own = [one for one in conditions if uses(one, source.name, block.scope)]
        children = {child.source.name for child, _ in pairs}
        if len(pairs) != len(own) or len(children) != 1 or uses(_minus(without, own), source.name, block.scope):
            continue
        child = pairs[0][0].source
        if child.table is None or child.outer or not _refers(facts, child.table, source.table, pairs):
            continue
        nullable = [one for one, _ in pairs if not facts.not_null(column_ref(child.name, one.name), block.scope)]
        filled = [
            Tree("NullTest", (("arg", column_ref(child.name, one.name)), ("nulltesttype", "IS_NOT_NULL")))
            for one in nullable
        ]
        rest = [one for one in conjuncts(without.tree("where_clause")) if one not in own]
        select = without.replaced(where_clause=all_of((*rest, *filled)))
        why = f"a validated foreign key finds exactly one row of {source.name} for each, and nothing of it is used"
        return Changed(select, why)
    return None


def _refers(facts: Facts, child: Table, parent: Table, pairs: list[tuple[Found, Found]]) -> bool:
    ours = tuple(one.name for one, _ in pairs)
    theirs = tuple(one.name for _, one in pairs)
    return facts.refers(child, ours, parent, theirs) and facts.at_most_one(parent, theirs)


def _minus(select: Tree, conditions: list[Tree]) -> Tree:
    rest = [one for one in conjuncts(select.tree("where_clause")) if one not in conditions]
    return select.replaced(where_clause=all_of(rest))


def _taken(select: Tree, source: Source) -> tuple[Tree, list[Tree]] | None:
    """The SELECT without one table of its FROM, its ON among WHERE, and all conditions there."""
    items: list[Tree] = []
    moved: list[Tree] = []
    for item in select.trees("from_clause"):
        kept = _cut(item, source.name, moved)
        if kept is not None:
            items.append(kept)
    whole = tuple(items) != select.trees("from_clause")
    if not whole or not items:
        return None
    conditions = [*conjuncts(select.tree("where_clause")), *moved]
    return select.replaced(from_clause=tuple(items), where_clause=all_of(conditions)), conditions


def _cut(item: Tree, name: str, moved: list[Tree]) -> Tree | None:
    """A FROM item without a table; only out of INNER JOINs, whose ON may as well stand in WHERE."""
    if item.kind == "RangeVar":
        return None if same_rows_name(item) == name else item
    left, right = item.tree("larg"), item.tree("rarg")
    if item.kind != "JoinExpr" or left is None or right is None:
        return item
    if item.text("jointype") == "JOIN_INNER":
        parts = [_cut(side, name, moved) for side in (left, right)]
        if None in parts:
            moved.extend(conjuncts(item.tree("quals")))
            return parts[0] or parts[1]
        return item.replaced(larg=parts[0], rarg=parts[1])
    if item.text("jointype") == "JOIN_LEFT" and left.kind == "JoinExpr":
        return item.replaced(larg=_cut(left, name, moved))
    return item
