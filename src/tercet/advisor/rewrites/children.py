"""Parents grouped with their children: each group is one parent, and its aggregates are of its children alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.rewrites.building import changed_here, column_ref, free_name, qualified
from tercet.advisor.rewrites.meaning import meant
from tercet.advisor.rewrites.proved import same_rows_name
from tercet.advisor.rewrites.sources import aggregates, columns, function, operator, output_name
from tercet.sql.condition import all_of, conjuncts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tercet.advisor.rewrites.facts import Facts
    from tercet.advisor.rewrites.rule import Block
    from tercet.advisor.rewrites.sources import Source
    from tercet.sql.tree import Tree

_ADDED = frozenset({"sum", "avg", "min", "max", "count"})
_UNFIT = ("distinct_clause", "window_clause", "locking_clause", "into_clause")
# An output of these kinds is named after what is inside of it.
_NAMED_WITHIN = frozenset({"TypeCast", "CaseExpr", "CollateClause", "A_Indirection"})
_PREFIX = "added_"
_TWO = 2


@dataclass(frozen=True, slots=True)
class Family:
    """One parent table and one child table in FROM, grouped by the parent's key.

    `quals` look at the children, and tie them to their parent; `where` looks at the parent alone. `left`: parents
    without children are there too.
    """

    parent: Source
    child: Source
    parent_item: Tree
    child_item: Tree
    quals: tuple[Tree, ...]
    where: tuple[Tree, ...]
    left: bool


def family(block: Block, facts: Facts) -> Family | None:
    """The parent and its children that a SELECT groups; None where it is not of this kind, or not proved to be."""
    select, scope = block.select, block.scope
    if scope.blind or len(scope.sources) != _TWO or any(select.get(name) for name in _UNFIT):
        return None
    outside = (*select.trees("target_list"), *select.trees("sort_clause"), *conjuncts(select.tree("having_clause")))
    if not facts.steady(select) or any(_asks(one) for one in outside):
        return None
    given = _items(select)
    if given is None:
        return None
    items, quals, left = given
    by_name = {same_rows_name(item): item for item in items}
    for parent, child in (scope.sources, scope.sources[::-1]):
        if child.outer is left and child.table is not None and _by_parent(parent, block, facts):
            return _split(block, parent, child, by_name, quals, left=left)
    return None


def _items(select: Tree) -> tuple[tuple[Tree, ...], tuple[Tree, ...], bool] | None:
    """The two tables in FROM, what joins them, and whether it is a LEFT JOIN."""
    items = select.trees("from_clause")
    if len(items) == 1 and items[0].text("jointype") in {"JOIN_LEFT", "JOIN_INNER"}:
        sides = tuple(side for side in (items[0].tree("larg"), items[0].tree("rarg")) if side is not None)
        quals, left = conjuncts(items[0].tree("quals")), items[0].text("jointype") == "JOIN_LEFT"
    else:
        sides, quals, left = items, (), False
    return (sides, quals, left) if all(one.kind == "RangeVar" for one in sides) else None


def _split(
    block: Block, parent: Source, child: Source, items: dict[str, Tree], quals: Sequence[Tree], *, left: bool
) -> Family | None:
    """The conditions shared out; in an inner join WHERE may say what ON may say."""
    conditions = conjuncts(block.select.tree("where_clause"))
    if left and not all(only(one, parent, block) for one in conditions):
        return None
    anywhere = conditions if left else (*conditions, *quals)
    where = [one for one in anywhere if only(one, parent, block)]
    inside = [*(quals if left else ()), *(one for one in anywhere if one not in where)]
    known = [qualified(one, block.scope) for one in inside if not _asks(one)]
    whole = tuple(one for one in known if one is not None)
    if len(whole) < len(inside):
        return None
    return Family(parent, child, items[parent.name], items[child.name], whole, tuple(where), left)


def tie(condition: Tree, group: Family, block: Block) -> tuple[str, str] | None:
    """The child's column and the parent's that a condition holds equal."""
    sides = [condition.tree("lexpr"), condition.tree("rexpr")]
    found = [block.scope.find(side) for side in sides if side is not None and side.kind == "ColumnRef"]
    by_source = {ref.source.name: ref.name for ref in found if ref is not None and not ref.depth}
    if operator(condition) != "=" or set(by_source) != {group.child.name, group.parent.name}:
        return None
    return by_source[group.child.name], by_source[group.parent.name]


def only(tree: Tree, source: Source, block: Block) -> bool:
    """Whether all columns of an expression are of this source."""
    found = [block.scope.find(ref) for ref in columns(tree)]
    return all(one is not None and one.source is source for one in found)


class Added:
    """The aggregates of the children, each once, and what stands for them outside."""

    def __init__(self, group: Family, block: Block, facts: Facts, stands: Callable[[Tree, Tree], Tree]) -> None:
        """`stands` makes of an aggregate and its column what is written in its place."""
        self._group, self._block, self._facts, self._stands = group, block, facts, stands
        self.name = free_name("added", block.select)
        self.values: dict[str, Tree] = {}
        # False once something is met that cannot be added up by child.
        self.sound = not any(name.startswith(_PREFIX) for name in group.parent.columns or ())

    def outside(self) -> Tree:
        """The SELECT with a column in the place of each aggregate, and HAVING in WHERE: its FROM is still to be set."""
        select = self._block.select
        targets = tuple(self._target(one) for one in select.trees("target_list"))
        having = [self._change(one) for one in conjuncts(select.tree("having_clause"))]
        return select.replaced(
            target_list=targets,
            where_clause=all_of((*self._group.where, *having)),
            group_clause=None,
            having_clause=None,
            sort_clause=tuple(self._sort(one) for one in select.trees("sort_clause")) or None,
        )

    def value(self, aggregate: Tree) -> Tree:
        """The column in which an aggregate is found."""
        given = next((one for one, value in self.values.items() if value == aggregate), None)
        given = given or f"{_PREFIX}{len(self.values) + 1}"
        self.values[given] = aggregate
        return column_ref(self.name, given)

    def _target(self, target: Tree) -> Tree:
        """An output with the name that its aggregate gave it."""
        value, name = target.tree("val"), output_name(target)
        if value is None or value.kind == "ColumnRef" or target.text("name"):
            return self._change(target)
        if name is None and value.kind in _NAMED_WITHIN:
            self.sound = False
        changed = self._change(target)
        return changed if name is None else changed.replaced(name=name)

    def _sort(self, item: Tree) -> Tree:
        """Outputs keep their names and places; an expression is changed."""
        node = item.tree("node")
        if node is None or meant(node, self._block.select) is not node:
            return item
        return item.replaced(node=self._change(node))

    def _change(self, tree: Tree) -> Tree:
        return changed_here(tree, self._one)

    def _one(self, node: Tree) -> Tree | None:
        if not any(one == node for one in aggregates(node)):
            return None
        whole = qualified(node, self._block.scope)
        if whole is None or not self._of_child(whole):
            self.sound = False
            return None
        return self._stands(whole, self.value(whole))

    def _of_child(self, call: Tree) -> bool:
        """Whether an aggregate adds up the child's values, and none for a parent without children."""
        arguments, child = call.trees("args"), self._group.child
        if function(call) not in _ADDED or call.get("agg_order") or not only(call, child, self._block):
            return False
        if not self._group.left:
            return True
        condition, scope = call.tree("agg_filter"), self._block.scope
        if condition is not None and self._facts.rejects_null(condition, child.name, scope):
            return True
        return len(arguments) == 1 and self._facts.null_with(arguments[0], child.name, scope)


def _asks(tree: Tree) -> bool:
    return any(node.kind == "SubLink" for node in tree.walk())


def _by_parent(parent: Source, block: Block, facts: Facts) -> bool:
    """Whether each group is one row of the parent."""
    groups = [block.scope.find(meant(one, block.select)) for one in block.select.trees("group_clause")]
    named = [one.name for one in groups if one is not None and not one.depth and one.source is parent]
    if parent.table is None or parent.outer or len(named) < len(groups) or not facts.grouped(block.select):
        return False
    return facts.primary_key(parent.table, named)
