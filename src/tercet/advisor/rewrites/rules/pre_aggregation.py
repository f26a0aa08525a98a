"""Children are added up by parent before they are joined; the run decides, for it can well be slower."""

from __future__ import annotations

from dataclasses import dataclass
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
from tercet.advisor.rewrites.meaning import meant
from tercet.advisor.rewrites.proved import left_joins, same_rows_name
from tercet.advisor.rewrites.rule import Block, Changed
from tercet.advisor.rewrites.sources import aggregates, columns, conjuncts, function, operator, output_name
from tercet.sql.tree import Tree

if TYPE_CHECKING:
    from tercet.advisor.rewrites.facts import Facts
    from tercet.advisor.rewrites.sources import Source

_ADDED = frozenset({"sum", "avg", "min", "max", "count"})
_TWO = 2


@dataclass(frozen=True, slots=True)
class _Pair:
    """A parent and its children, joined by a column of each; `rest` looks at the children alone."""

    parent: Source
    child: Source
    key: str
    partner: str
    rest: tuple[Tree, ...]


def apply(block: Block, facts: Facts) -> Changed | None:
    """The same groups: each parent is one group, and its children's sums are there once."""
    select = block.select
    pair = _pair(block, facts)
    if pair is None or any(select.get(name) for name in ("distinct_clause", "window_clause", "locking_clause")):
        return None
    added = _Added(pair, block, facts)
    targets = tuple(added.change(_named(one)) for one in select.trees("target_list"))
    having = [added.change(one) for one in conjuncts(select.tree("having_clause"))]
    sorts = tuple(
        item if (node := item.tree("node")) is None else item.replaced(node=added.change(meant(node, select)))
        for item in select.trees("sort_clause")
    )
    if not added.sound or not added.values:
        return None
    joined = compared(column_ref(added.name, "tercet_key"), "=", column_ref(pair.parent.name, pair.partner))
    join, child = next(iter(left_joins(select)))
    changed = select.replaced(
        target_list=targets,
        from_clause=(join.replaced(rarg=aliased(added.query(child), added.name), quals=joined),),
        where_clause=all_of((*conjuncts(select.tree("where_clause")), *having)),
        group_clause=None,
        having_clause=None,
        sort_clause=sorts or None,
    )
    return Changed(changed, f"each group is one row of {pair.parent.name}, by its primary key")


class _Added:
    """The aggregates of the children, each once, and what stands for them outside."""

    def __init__(self, pair: _Pair, block: Block, facts: Facts) -> None:
        self._pair, self._block, self._facts = pair, block, facts
        self.name = free_name("added", block.select)
        self.values: dict[str, Tree] = {}
        # False once an aggregate is met that cannot be added up by child.
        self.sound = True

    def change(self, tree: Tree) -> Tree:
        """A tree with each aggregate replaced by its column."""
        return changed_here(tree, self._one)

    def _one(self, node: Tree) -> Tree | None:
        if not any(one == node for one in aggregates(node)):
            return None
        whole = qualified(node, self._block.scope)
        if whole is None or not _of_child(whole, self._pair.child, self._block, self._facts):
            self.sound = False
            return None
        given = next((one for one, value in self.values.items() if value == whole), f"added_{len(self.values) + 1}")
        self.values[given] = whole
        ref = column_ref(self.name, given)
        if function(node) != "count":
            return ref
        zero = Tree("A_Const", (("ival", Tree("Integer")),))
        return Tree("CoalesceExpr", (("args", (ref, zero)),))

    def query(self, table: Tree) -> Tree:
        """The children added up by the column that joins them."""
        key = column_ref(self._pair.child.name, self._pair.key)
        outputs = (output(key, "tercet_key"), *(output(value, given) for given, value in self.values.items()))
        return selected(outputs, (table,), all_of(self._pair.rest)).replaced(group_clause=(key,))


def _named(target: Tree) -> Tree:
    """An output with the name that its aggregate gave it."""
    value, name = target.tree("val"), output_name(target)
    plain = value is None or value.kind == "ColumnRef" or target.text("name") or name is None
    return target if plain else target.replaced(name=name)


def _pair(block: Block, facts: Facts) -> _Pair | None:
    select, scope = block.select, block.scope
    items, joins = select.trees("from_clause"), list(left_joins(select))
    if len(items) != 1 or len(scope.sources) != _TWO or len(joins) != 1 or joins[0][0] is not items[0]:
        return None
    child = scope.source(same_rows_name(joins[0][1]))
    parent = next(one for one in scope.sources if one is not child)
    where = select.tree("where_clause")
    if child is None or child.table is None or not _by_parent(parent, block, facts):
        return None
    if not facts.steady(select) or (where is not None and not _only(where, parent, block)):
        return None
    found, rest = None, []
    for one in conjuncts(items[0].tree("quals")):
        sides = [
            scope.find(side) for side in (one.tree("lexpr"), one.tree("rexpr")) if side and side.kind == "ColumnRef"
        ]
        by_source = {ref.source.name: ref.name for ref in sides if ref is not None}
        if found is None and operator(one) == "=" and set(by_source) == {child.name, parent.name}:
            found = by_source
        elif _only(one, child, block) and all(node.kind != "SubLink" for node in one.walk()):
            rest.append(one)
        else:
            return None
    return None if found is None else _Pair(parent, child, found[child.name], found[parent.name], tuple(rest))


def _by_parent(parent: Source, block: Block, facts: Facts) -> bool:
    """Whether each group is one row of the parent."""
    groups = [block.scope.find(meant(one, block.select)) for one in block.select.trees("group_clause")]
    named = [one.name for one in groups if one is not None and not one.depth and one.source is parent]
    if parent.table is None or len(named) < len(groups) or not facts.grouped(block.select):
        return False
    return facts.primary_key(parent.table, named)


def _only(tree: Tree, source: Source, block: Block) -> bool:
    found = [block.scope.find(ref) for ref in columns(tree)]
    return all(one is not None and one.source is source for one in found)


def _of_child(call: Tree, child: Source, block: Block, facts: Facts) -> bool:
    """Whether an aggregate adds up the child's values, and none for a parent without children."""
    arguments = call.trees("args")
    if function(call) not in _ADDED or len(arguments) != 1 or call.get("agg_filter") or call.get("agg_order"):
        return False
    return _only(arguments[0], child, block) and facts.null_with(arguments[0], child.name, block.scope)
