"""Children are added up by parent before they are joined; the run decides, for it can well be slower."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.building import (
    aliased,
    all_of,
    changed_here,
    column_ref,
    compared,
    free_name,
    output,
    qualified,
    selected,
)
from tercet.advisor.rewrites.facts import left_joins, same_rows_name
from tercet.advisor.rewrites.meaning import meant
from tercet.advisor.rewrites.rule import Block, Changed
from tercet.advisor.rewrites.sources import aggregates, columns, conjuncts, function, operator, output_name
from tercet.sql.tree import Tree

if TYPE_CHECKING:
    from tercet.advisor.rewrites.facts import Facts
    from tercet.advisor.rewrites.sources import Source

_ADDED = frozenset({"sum", "avg", "min", "max", "count"})
_TWO = 2


def apply(block: Block, facts: Facts) -> Changed | None:
    """The same groups: each parent is one group, and its children's sums are there once."""
    select = block.select
    pair = _pair(block, facts)
    if pair is None or select.get("distinct_clause") or select.get("window_clause") or select.get("locking_clause"):
        return None
    parent, child, key, partner, rest = pair
    name = free_name("added", select)
    added: dict[str, Tree] = {}
    sound = True

    def change(node: Tree) -> Tree | None:
        nonlocal sound
        if not any(one == node for one in aggregates(node)):
            return None
        whole = qualified(node, block.scope)
        if whole is None or not _of_child(whole, child, block, facts):
            sound = False
            return None
        given = next((one for one, value in added.items() if value == whole), f"added_{len(added) + 1}")
        added[given] = whole
        ref = column_ref(name, given)
        if function(node) != "count":
            return ref
        zero = Tree("A_Const", (("ival", Tree("Integer")),))
        return Tree("CoalesceExpr", (("args", (ref, zero)),))

    parts = {part: select.get(part) for part in ("target_list", "having_clause", "sort_clause")}
    named = tuple(_named(one) for one in select.trees("target_list"))
    sorts = tuple(
        item if (node := item.tree("node")) is None else item.replaced(node=meant(node, select))
        for item in select.trees("sort_clause")
    )
    targets = tuple(changed_here(one, change) for one in named)
    having = [changed_here(one, change) for one in conjuncts(select.tree("having_clause"))]
    ordered = tuple(changed_here(one, change) for one in sorts)
    if not sound or not added or parts["target_list"] is None:
        return None
    outputs = (
        output(column_ref(child.name, key), "tercet_key"),
        *(output(value, given) for given, value in added.items()),
    )
    inner = selected(outputs, (_table(select, child.name),), all_of(rest)).replaced(
        group_clause=(column_ref(child.name, key),)
    )
    join, _ = next(iter(left_joins(select)))
    rebuilt = join.replaced(
        rarg=aliased(inner, name), quals=compared(column_ref(name, "tercet_key"), "=", column_ref(parent.name, partner))
    )
    where = all_of((*conjuncts(select.tree("where_clause")), *having))
    changed = select.replaced(
        target_list=targets, from_clause=(rebuilt,), where_clause=where, group_clause=None, having_clause=None,
        sort_clause=ordered or None,
    )  # fmt: skip
    return Changed(changed, f"each group is one row of {parent.name}, by its primary key")


def _named(target: Tree) -> Tree:
    """An output with the name that its aggregate gave it."""
    value, name = target.tree("val"), output_name(target)
    plain = value is None or value.kind == "ColumnRef" or target.text("name") or name is None
    return target if plain else target.replaced(name=name)


def _pair(block: Block, facts: Facts) -> tuple[Source, Source, str, str, list[Tree]] | None:
    """Parent, child, the child's column and the parent's that join them, and conditions on the child alone."""
    select, scope = block.select, block.scope
    items = select.trees("from_clause")
    if len(items) != 1 or len(scope.sources) != _TWO or not facts.grouped(select):
        return None
    joins = list(left_joins(select))
    if len(joins) != 1 or joins[0][0] is not items[0] or not facts.steady(select):
        return None
    child = scope.source(same_rows_name(joins[0][1]))
    parent = next(one for one in scope.sources if one is not child)
    if child is None or parent.table is None or child.table is None:
        return None
    groups = [scope.find(meant(one, select)) for one in select.trees("group_clause")]
    if any(one is None or one.depth or one.source is not parent for one in groups):
        return None
    if not facts.primary_key(parent.table, [one.name for one in groups if one is not None]):
        return None
    found, rest = None, []
    for one in conjuncts(items[0].tree("quals")):
        sides = [
            scope.find(side)
            for side in (one.tree("lexpr"), one.tree("rexpr"))
            if side is not None and side.kind == "ColumnRef"
        ]
        own = {ref.source.name for ref in map(scope.find, columns(one)) if ref is not None}
        by_source = {ref.source.name: ref.name for ref in sides if ref is not None}
        if operator(one) == "=" and set(by_source) == {child.name, parent.name} and found is None:
            found = by_source
        elif own == {child.name} and not any(node.kind == "SubLink" for node in one.walk()):
            rest.append(one)
        else:
            return None
    where = select.tree("where_clause")
    if found is None or (where is not None and not _only(where, parent, block)):
        return None
    return parent, child, found[child.name], found[parent.name], rest


def _only(tree: Tree, source: Source, block: Block) -> bool:
    found = [block.scope.find(ref) for ref in columns(tree)]
    return all(one is not None and one.source is source for one in found)


def _of_child(call: Tree, child: Source, block: Block, facts: Facts) -> bool:
    """Whether an aggregate adds up the child's values, and none for a parent without children."""
    arguments = call.trees("args")
    if function(call) not in _ADDED or len(arguments) != 1 or call.get("agg_filter") or call.get("agg_order"):
        return False
    return _only(arguments[0], child, block) and facts.null_with(arguments[0], child.name, block.scope)


def _table(select: Tree, name: str) -> Tree:
    _, right = next((join, right) for join, right in left_joins(select) if same_rows_name(right) == name)
    return right
