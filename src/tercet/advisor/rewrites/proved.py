"""What the catalog proves of an expression or of the columns of a SELECT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.rewrites.sources import aggregates, columns, function, operator
from tercet.sql.condition import conjuncts
from tercet.sql.tree import Tree, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tercet.advisor.catalog import Table
    from tercet.advisor.rewrites.sources import Found, Scope, Source

Key = tuple[str, str]

# Functions that may answer otherwise when called again with the same values.
VOLATILE = frozenset(
    {
        "random", "random_normal", "clock_timestamp", "timeofday", "nextval", "currval", "lastval", "setval",
        "gen_random_uuid", "uuidv4", "uuidv7", "uuid_generate_v1", "uuid_generate_v1mc", "uuid_generate_v4",
        "gen_random_bytes", "pg_sleep", "pg_sleep_for", "pg_sleep_until", "setseed", "txid_current",
        "pg_current_xact_id",
    }
)  # fmt: skip
# Calls that this room may move, join or leave out: PostgreSQL's own, without side effects, and known to never fail.
STRICT_OPERATORS = frozenset({"=", "<>", "!=", "<", ">", "<=", ">=", "+", "-", "*", "/", "%", "~~", "!~~", "~~*"})
COMPARISONS = frozenset({"=", "<>", "!=", "<", ">", "<=", ">="})
INTEGERS = {"smallint": (-(2**15), 2**15 - 1), "integer": (-(2**31), 2**31 - 1), "bigint": (-(2**63), 2**63 - 1)}


def volatile(tree: Tree) -> bool:
    """Whether a function that is known to be volatile is called in it."""
    return any(function(one) in VOLATILE for one in tree.walk() if one.kind == "FuncCall")


def not_null(  # noqa: PLR0911 - a table of kinds
    tree: Tree, scope: Scope, *, grouped: bool = False
) -> bool:
    """Whether an expression is proved never to be NULL; `grouped`: where each group holds at least one row."""
    if tree.kind == "A_Const":
        return not tree.get("isnull")
    if tree.kind == "ColumnRef":
        found = scope.find(tree)
        return found is not None and found.depth == 0 and found.not_null
    if tree.kind in {"CoalesceExpr", "MinMaxExpr"}:
        return any(not_null(one, scope, grouped=grouped) for one in tree.trees("args"))
    if tree.kind in {"NullTest", "BooleanTest"}:
        return True
    if tree.kind == "TypeCast":
        inner = tree.tree("arg")
        return inner is not None and not_null(inner, scope, grouped=grouped)
    if operator(tree) in STRICT_OPERATORS:
        sides = [one for one in (tree.tree("lexpr"), tree.tree("rexpr")) if one is not None]
        return all(not_null(one, scope, grouped=grouped) for one in sides)
    name = function(tree)
    if name == "count":
        return True
    if name in {"sum", "min", "max", "avg"} and grouped and tree.tree("agg_filter") is None:
        return all(not_null(one, scope) for one in tree.trees("args"))
    return False


def rejects_null(condition: Tree, source: str, scope: Scope) -> bool:
    """Whether a condition cannot hold for a row in which all columns of a source are NULL."""
    if condition.kind == "BoolExpr":
        parts = condition.trees("args")
        if condition.text("boolop") == "AND_EXPR":
            return any(rejects_null(one, source, scope) for one in parts)
        if condition.text("boolop") == "OR_EXPR":
            return all(rejects_null(one, source, scope) for one in parts)
        return null_through(parts[0], source, scope)
    if condition.kind == "NullTest" and condition.text("nulltesttype") == "IS_NOT_NULL":
        inner = condition.tree("arg")
        return inner is not None and not condition.get("argisrow") and null_through(inner, source, scope)
    return null_through(condition, source, scope)


def null_through(tree: Tree, source: str, scope: Scope) -> bool:
    """Whether an expression is NULL when all columns of the source are."""
    if tree.kind == "ColumnRef":
        found = scope.find(tree)
        return found is not None and found.depth == 0 and found.source.name == source
    if tree.kind == "TypeCast":
        inner = tree.tree("arg")
        return inner is not None and null_through(inner, source, scope)
    if operator(tree) in STRICT_OPERATORS or (
        tree.kind == "A_Expr" and tree.text("kind") in {"AEXPR_LIKE", "AEXPR_ILIKE"}
    ):
        return any(null_through(one, source, scope) for one in (tree.tree("lexpr"), tree.tree("rexpr")) if one)
    if tree.kind == "A_Expr" and tree.text("kind") in {"AEXPR_IN", "AEXPR_BETWEEN"}:
        left = tree.tree("lexpr")
        return left is not None and null_through(left, source, scope)
    return False


def equalities(conditions: Iterable[Tree], scope: Scope) -> Iterator[tuple[Found, Found]]:
    """The pairs of this query's own columns that the conditions hold equal."""
    for one in conditions:
        left, right = one.tree("lexpr"), one.tree("rexpr")
        if operator(one) != "=" or left is None or right is None:
            continue
        if left.kind == right.kind == "ColumnRef":
            first, second = scope.find(left), scope.find(right)
            if first is not None and second is not None and first.depth == second.depth == 0:
                yield first, second


def keys(table: Table) -> tuple[tuple[str, ...], ...]:
    """The sets of columns that tell a table's rows apart for certain: unique, and none of them nullable."""
    found = [key] if (key := primary_key(table)) else []
    for key in table.unique_keys:
        columns = [table.column(name) for name in key]
        if key not in found and all(column is not None and column.not_null for column in columns):
            found.append(key)
    return tuple(found)


def primary_key(table: Table) -> tuple[str, ...]:
    """The primary key, if it holds at every moment and over all rows that the table's name brings."""
    loose = any(one.constraint == "p" and (one.deferrable or not one.valid) for one in table.indexes)
    inherited = table.kind == "r" and bool(table.partitions)
    return () if loose or inherited else table.primary_key


def inner_conditions(select: Tree) -> tuple[Tree, ...]:
    """What holds for every row of a SELECT before grouping: its WHERE, and ON of joins that fill in no NULLs."""
    found = list(conjuncts(select.tree("where_clause")))
    for item in select.trees("from_clause"):
        found.extend(_inner(item))
    return tuple(found)


def _inner(item: Tree) -> Iterator[Tree]:
    if item.kind != "JoinExpr":
        return
    left, right, kind = item.tree("larg"), item.tree("rarg"), item.text("jointype")
    if kind == "JOIN_INNER":
        yield from conjuncts(item.tree("quals"))
    if left is not None and kind in {"JOIN_INNER", "JOIN_LEFT"}:
        yield from _inner(left)
    if right is not None and kind in {"JOIN_INNER", "JOIN_RIGHT"}:
        yield from _inner(right)


def left_joins(select: Tree) -> Iterator[tuple[Tree, Tree]]:
    """Each LEFT JOIN to a plain table, with its right side."""
    for item in select.trees("from_clause"):
        for join in _joins(item):
            right = join.tree("rarg")
            if join.text("jointype") == "JOIN_LEFT" and right is not None and right.kind == "RangeVar":
                yield join, right


def _joins(item: Tree) -> Iterator[Tree]:
    if item.kind == "JoinExpr":
        yield item
        for side in ("larg", "rarg"):
            below = item.tree(side)
            if below is not None:
                yield from _joins(below)


# Parts of an expression that are none themselves, and hold the same for every row.
# Window functions that give rows of equal order the same.
_SHARED = frozenset({"rank", "dense_rank", "percent_rank", "cume_dist"})
_WORDS = frozenset({"A_Const", "ParamRef", "TypeName", "String", "Integer", "Float", "Boolean", "Null", "A_Star"})


class Determined:
    """Which columns of a SELECT follow from some of them: by keys, by equal columns and by constants."""

    def __init__(self, select: Tree, scope: Scope, given: Iterable[Tree]) -> None:
        self._scope = scope
        self._texts = set()
        self.columns: set[Key] = set()
        for one in given:
            self._texts.add(write(one))
            found = scope.find(one) if one.kind == "ColumnRef" else None
            if found is not None and found.depth == 0:
                self.columns.add(found.key)
        self._conditions = inner_conditions(select)
        self._outer = tuple(left_joins(select))
        self._close()

    def holds(self, tree: Tree) -> bool:
        """Whether the value of an expression follows."""
        if tree.kind in _WORDS:
            return True
        if write(tree) in self._texts:
            return True
        if tree.kind == "ColumnRef":
            found = self._scope.find(tree)
            return found is not None and (found.depth > 0 or found.key in self.columns)
        if tree.kind == "SelectStmt" or any(True for _ in aggregates(tree)) or volatile(tree):
            return False
        if tree.kind == "FuncCall" and tree.tree("over") is not None:
            return self._ranked(tree)
        return all(self.holds(one) for one in tree.below())

    def _ranked(self, call: Tree) -> bool:
        """Whether a place that rows of equal order share follows: by what its window is divided and ordered."""
        over = call.tree("over")
        if function(call) not in _SHARED or over is None or over.text("name") or over.text("refname"):
            return False
        sorts = [node for one in over.trees("order_clause") if (node := one.tree("node")) is not None]
        return all(self.holds(one) for one in (*over.trees("partition_clause"), *sorts))

    def _close(self) -> None:
        self._constants()
        before = -1
        while before != len(self.columns):
            before = len(self.columns)
            for first, second in equalities(self._conditions, self._scope):
                # Equal texts may still be told apart (1.0 and 1.00, or a collation of its own): keys go by equality.
                if _same_when_equal(first) and _same_when_equal(second):
                    if first.key in self.columns:
                        self.columns.add(second.key)
                    if second.key in self.columns:
                        self.columns.add(first.key)
            for source in self._scope.sources:
                if source.table is not None and self._by_key(source):
                    self.columns.update((source.name, column.name) for column in source.table.columns)

    def _constants(self) -> None:
        for one in self._conditions:
            if operator(one) == "=":
                for side, other in (("lexpr", "rexpr"), ("rexpr", "lexpr")):
                    ref, value = one.tree(side), one.tree(other)
                    found = self._scope.find(ref) if ref is not None and ref.kind == "ColumnRef" else None
                    if found is None or found.depth or value is None or not _same_when_equal(found):
                        continue
                    if not any(True for _ in columns(value)) and not volatile(value) and value.kind != "SubLink":
                        self.columns.add(found.key)

    def _by_key(self, source: Source) -> bool:
        table = source.table
        if table is None:
            return False
        known = keys(table)
        if any(all((source.name, name) in self.columns for name in key) for key in known):
            return True
        return any(self._by_left_join(source, join, key) for join, right in self._outer for key in known
                   if _name(right) == source.name)  # fmt: skip

    def _by_left_join(self, source: Source, join: Tree, key: tuple[str, ...]) -> bool:
        """A LEFT JOIN on a key finds one row or none, and which follows from the other side's columns."""
        quals = conjuncts(join.tree("quals"))
        held = {
            mine.name
            for pair in equalities(quals, self._scope)
            for mine, other in (pair, pair[::-1])
            if mine.source.name == source.name and other.key in self.columns
        }
        others = [self._scope.find(ref) for one in quals for ref in columns(one)]
        follows = all(
            one is not None and (one.depth or one.source.name == source.name or one.key in self.columns)
            for one in others
        )
        return follows and set(key) <= held and not any(volatile(one) for one in quals)


def _same_when_equal(found: Found) -> bool:
    """Whether two equal values of a column look the same."""
    kind = found.column.type if found.column is not None else ""
    return kind in {*INTEGERS, "uuid", "boolean", "date", "text", "timestamp without time zone", "oid",
                    "timestamp with time zone"} or kind.startswith(("character varying", "timestamp"))  # fmt: skip


def _name(item: Tree) -> str:
    alias = item.tree("alias")
    return alias.text("aliasname") if alias is not None else item.text("relname")


def same_rows_name(item: Tree) -> str:
    """The name by which a RangeVar is spoken of."""
    return _name(item)


def column_ref(source: str, name: str) -> Tree:
    """A column by its source and name."""
    return Tree("ColumnRef", (("fields", tuple(Tree("String", (("sval", word),)) for word in (source, name))),))
