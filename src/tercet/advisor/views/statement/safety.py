"""Which expressions mean the same whenever and by whomever they are worked out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.views.statement.shape import AGGREGATES, Unmatched, called, references

if TYPE_CHECKING:
    from collections.abc import Callable

    from tercet.advisor.catalog import Column
    from tercet.sql import Tree

# Kinds of trees that only put others together.
_GRAMMAR = frozenset({
    "ColumnRef", "A_Const", "String", "Integer", "Float", "Boolean", "BitString", "A_Expr", "BoolExpr", "NullTest",
    "BooleanTest", "CaseExpr", "CaseWhen", "CoalesceExpr", "MinMaxExpr", "List", "TypeCast", "TypeName", "FuncCall",
})  # fmt: skip
# Of the same arguments always the same, whatever the session's settings.
IMMUTABLE = frozenset({
    "abs", "btrim", "ceil", "ceiling", "char_length", "character_length", "date_part", "date_trunc", "extract",
    "floor", "greatest", "left", "length", "lower", "ltrim", "md5", "mod", "octet_length", "power", "replace",
    "right", "round", "rtrim", "sign", "split_part", "sqrt", "strpos", "substr", "substring", "timezone", "trunc",
    "upper", "concat_ws",
})  # fmt: skip
# The same within a statement: welcome when an answer is read, never in a view.
STABLE = frozenset(
    {"now", "statement_timestamp", "transaction_timestamp", "to_char", "to_date", "age", "make_interval"}
)
_READ_ONLY_GRAMMAR = frozenset({"ParamRef", "SQLValueFunction", "A_ArrayExpr", "RowExpr", "CollateClause"})
# Casts that no setting of the session has a part in, if what is cast is none of the clock's.
_PLAIN_TYPES = frozenset({
    "int2", "int4", "int8", "numeric", "bool", "text", "varchar", "bpchar", "uuid", "date", "timestamp", "interval",
})  # fmt: skip
_ZONED = ("timestamp with time zone", "time with time zone")
# Words that a cast turns into a moment of its own.
_MOMENTS = ("now", "today", "tomorrow", "yesterday")
# current_user and its like: the answer depends on who asks.
_WHO = frozenset({
    "SVFOP_CURRENT_USER", "SVFOP_USER", "SVFOP_SESSION_USER", "SVFOP_CURRENT_ROLE", "SVFOP_CURRENT_SCHEMA",
    "SVFOP_CURRENT_CATALOG",
})  # fmt: skip


def check_reading(tree: Tree) -> None:
    """Raise Unmatched for what must not be worked out over the view's rows instead of the tables'."""
    for one in tree.walk():
        if one.kind not in _GRAMMAR | _READ_ONLY_GRAMMAR:
            raise Unmatched(_strange(one))
        if one.kind == "FuncCall":
            _check_call(one, IMMUTABLE | STABLE | AGGREGATES)
        if one.text("op") in _WHO:
            raise Unmatched("it depends on who asks (current_user)")


def check_kept(tree: Tree, column: Callable[[Tree], Column | None]) -> None:
    """Raise Unmatched for what must not be worked out once and kept: moments, settings, values from outside."""
    for one in tree.walk():
        if one.kind == "ParamRef":
            raise Unmatched("a value from outside ($1) stands within what would have to be worked out beforehand")
        if one.kind == "SQLValueFunction":
            raise Unmatched("the present moment stands within what would have to be worked out beforehand")
        if one.kind not in _GRAMMAR:
            raise Unmatched(_strange(one))
        if one.kind == "FuncCall":
            _check_call(one, IMMUTABLE | AGGREGATES)
        if one.kind == "TypeCast":
            _check_cast(one, column)
        if _mixes(one) and any(_zoned(ref, column) for ref in references(one)):
            raise Unmatched("it depends on the session's time zone; write it for one zone: (column at time zone 'UTC')")


def _mixes(tree: Tree) -> bool:
    """Whether a setting has a part in it as soon as a moment with a zone does."""
    if tree.kind in {"TypeCast", "A_Expr"}:
        sides = [side for side in tree.below() if side.kind not in {"String", "TypeName"}]
        return not (tree.kind == "A_Expr" and all(side.kind == "ColumnRef" for side in sides)) and not any(
            _named_zone(one) for one in tree.walk()
        )
    if tree.kind != "FuncCall" or _named_zone(tree):
        return False
    return called(tree) in {"date_trunc", "date_part", "extract"} and not any(_named_zone(one) for one in tree.walk())


def _named_zone(tree: Tree) -> bool:
    """Whether it says itself in which zone it means its moment."""
    if tree.kind != "FuncCall":
        return False
    args = tree.trees("args")
    name = called(tree)
    return (name == "timezone" and args[0].kind == "A_Const") or (
        name == "date_trunc" and len(args) == 3 and args[2].kind == "A_Const"  # noqa: PLR2004 - unit, moment, zone
    )


def _zoned(ref: Tree, column: Callable[[Tree], Column | None]) -> bool:
    found = column(ref)
    return found is not None and found.type.endswith(_ZONED)


def _check_call(tree: Tree, known: frozenset[str]) -> None:
    name = called(tree)
    if tree.get("over") is not None:
        raise Unmatched(f"{name}() OVER (…) looks at other rows of the answer")
    if name not in known:
        raise Unmatched(f"{name}() may answer differently each time, as far as its name tells")
    if tree.get("agg_order") is not None or tree.get("agg_within_group") or tree.get("func_variadic"):
        raise Unmatched(f"{name}() orders what it takes in")


def _check_cast(tree: Tree, column: Callable[[Tree], Column | None]) -> None:
    into = tree.tree("type_name")
    name = into.trees("names")[-1].text("sval") if into is not None else ""
    if name not in _PLAIN_TYPES:
        raise Unmatched(f"a cast to {name} may depend on the session's settings")
    for one in tree.walk():
        if one.kind == "String" and one.text("sval").strip().lower().startswith(_MOMENTS) and name != "text":
            raise Unmatched("the present moment stands within what would have to be worked out beforehand")
    if name in {"text", "varchar", "bpchar"}:
        kinds = [column(ref) for ref in references(tree)]
        if any(kind is not None and kind.category in "DT" for kind in kinds):
            raise Unmatched("how a moment is written depends on the session's DateStyle")


def _strange(tree: Tree) -> str:
    """Why a kind of tree is not taken, as a person would call it."""
    return {
        "SubLink": "it asks another question inside (a subquery in an expression)",
        "A_Star": "it takes all columns (*)",
        "GroupingSet": "it groups in several ways at once (ROLLUP, CUBE, GROUPING SETS)",
        "GroupingFunc": "it groups in several ways at once (GROUPING)",
        "ParamRef": "a value from outside stands within it",
    }.get(tree.kind, f"a {tree.kind} stands in it, which is not looked into")
