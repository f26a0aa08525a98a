"""What rules ask before they change anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.proved import (
    INTEGERS,
    STRICT_OPERATORS,
    Determined,
    column_ref,
    keys,
    not_null,
    null_through,
    primary_key,
    rejects_null,
    volatile,
)
from tercet.advisor.rewrites.sources import aggregates, function, operator
from tercet.sql.condition import conjuncts
from tercet.sql.tree import write

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tercet.advisor.catalog import Table
    from tercet.advisor.rewrites.sources import Found, Scope
    from tercet.sql.tree import Tree


class Facts:
    """What rules ask before they change anything; every answer rests on the catalog alone.

    Rules ask nobody else, so a test can give them one who believes everything, and see what would come of it.
    """

    def not_null(self, tree: Tree, scope: Scope) -> bool:
        """Whether an expression is never NULL."""
        return not_null(tree, scope)

    def rejects_null(self, condition: Tree, source: str, scope: Scope) -> bool:
        """Whether a condition cannot hold where all columns of a source are NULL."""
        return rejects_null(condition, source, scope)

    def null_with(self, tree: Tree, source: str, scope: Scope) -> bool:
        """Whether an expression is NULL where all columns of a source are."""
        return null_through(tree, source, scope)

    def null_when_empty(self, tree: Tree) -> bool:
        """Whether an aggregate expression answers NULL where there is no row."""
        if tree.kind == "TypeCast":
            inner = tree.tree("arg")
            return inner is not None and self.null_when_empty(inner)
        if operator(tree) in STRICT_OPERATORS:
            return any(self.null_when_empty(one) for one in (tree.tree("lexpr"), tree.tree("rexpr")) if one)
        return function(tree) in {"sum", "avg", "min", "max"} and tree.tree("over") is None

    def steady(self, *trees: Tree | None) -> bool:
        """Whether nothing volatile is called."""
        return not any(volatile(tree) for tree in trees if tree is not None)

    def primary_key(self, table: Table, columns: Iterable[str]) -> bool:
        """Whether these columns hold the table's whole primary key."""
        return bool(primary_key(table)) and set(primary_key(table)) <= set(columns)

    def at_most_one(self, table: Table, columns: Iterable[str]) -> bool:
        """Whether no two rows have the same values in these columns, NULLs aside."""
        held = set(columns)
        return any(set(key) <= held for key in (*table.unique_keys, primary_key(table)) if key)

    def refers(self, table: Table, columns: tuple[str, ...], target: Table, theirs: tuple[str, ...]) -> bool:
        """Whether a validated foreign key finds these columns in the target, where none of them is NULL."""
        wanted = set(zip(columns, theirs, strict=True))
        return any(
            key.validated and key.target == target.name
            and set(zip(key.columns, key.target_columns, strict=True)) == wanted
            for key in table.foreign_keys
        ) and not target.row_security  # fmt: skip

    def distinct_rows(self, select: Tree, scope: Scope) -> bool:
        """Whether a SELECT without DISTINCT gives no row twice."""
        values = [value for target in select.trees("target_list") if (value := target.tree("val")) is not None]
        if scope.blind or any(not _single(value) for value in values) or select.get("values_lists"):
            return False
        given = _unfolded(scope, values)
        known = Determined(select, scope, given)
        groups = select.trees("group_clause")
        if groups:
            return all(one.kind == "ColumnRef" and known.holds(one) for one in groups)
        if any(True for value in values for _ in aggregates(value)):
            return True
        return bool(scope.sources) and all(
            one.table is not None
            and any(all((one.name, name) in known.columns for name in key) for key in keys(one.table))
            for one in scope.sources
        )

    def integer(self, found: Found | None) -> bool:
        """Whether a column holds whole numbers of a machine's size."""
        return found is not None and found.column is not None and found.column.type in INTEGERS

    def local_time(self, found: Found | None) -> bool:
        """Whether a column holds moments without a zone, that mean the same to everybody."""
        kind = found.column.type if found is not None and found.column is not None else ""
        return kind.startswith("timestamp") and kind.endswith("without time zone")

    def grouped(self, select: Tree) -> bool:
        """Whether rows are grouped by plain keys, so that a group without rows is not there."""
        groups = select.trees("group_clause")
        return bool(groups) and all(one.kind != "GroupingSet" for one in groups)

    def disjoint(self, left: Tree, right: Tree) -> bool:
        """Whether two SELECTs have a column of different constants."""
        pairs = zip(_constant_outputs(left), _constant_outputs(right), strict=False)
        return any(one and other and one != other and one.kind == other.kind for one, other in pairs)


def _constant_outputs(select: Tree) -> list[Tree | None]:
    """The constant that each output is, also by an equality in WHERE; None for others."""
    fixed = {}
    for one in conjuncts(select.tree("where_clause")):
        left, right = one.tree("lexpr"), one.tree("rexpr")
        if operator(one) == "=" and left is not None and right is not None and left.kind == "ColumnRef":
            fixed[write(left)] = _constant(right)
    found = []
    for target in select.trees("target_list"):
        value = target.tree("val")
        found.append(
            None if value is None else fixed.get(write(value)) if value.kind == "ColumnRef" else _constant(value)
        )
    return found


def _constant(tree: Tree) -> Tree | None:
    """What a plain text or whole number holds: texts of other types may differ and mean the same."""
    return (tree.tree("sval") or tree.tree("ival")) if tree.kind == "A_Const" else None


# Functions that give one value for one row: any other might give several.
_SINGLE = frozenset(
    {"lower", "upper", "length", "date_trunc", "extract", "date_part", "round", "abs", "trim", "btrim", "substring",
     "concat", "now", "to_char", "greatest", "least"}
)  # fmt: skip


def _single(value: Tree) -> bool:
    known = {*_SINGLE, "count", "sum", "avg", "min", "max"}
    return all(function(one) in known for one in value.walk() if one.kind == "FuncCall")


def _unfolded(scope: Scope, values: list[Tree]) -> list[Tree]:
    """The outputs, with * as the columns that it stands for."""
    found = []
    for value in values:
        words = value.trees("fields")
        if value.kind != "ColumnRef" or words[-1].kind != "A_Star":
            found.append(value)
            continue
        for one in scope.sources:
            if len(words) == 1 or one.name == words[0].text("sval"):
                found.extend(column_ref(one.name, name) for name in one.columns or ())
    return found
