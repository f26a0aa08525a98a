"""Aggregates: what of them is kept in a view, and how they come back from it, rolled up or as they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.views.statement.shape import Unmatched, called, named, references, word
from tercet.sql import Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.advisor.catalog import Column
    from tercet.advisor.views.statement.shape import Graph, Source

# What an aggregate of many groups is made of by: the aggregate of their own results.
_AGAIN = {name: name for name in ("min", "max", "bool_and", "bool_or", "every", "bit_and", "bit_or")}

# Types of numbers by the grammar's and the catalog's names, and their ranks: an operation has the greater one's.
_RANKS = {
    "smallint": 0, "int2": 0, "integer": 1, "int4": 1, "bigint": 2, "int8": 2, "numeric": 3, "real": 4, "float4": 4,
    "double precision": 4, "float8": 4,
}  # fmt: skip
_INTEGER, _BIGINT, _NUMERIC, _FLOAT = 1, 2, 3, 4


def call(name: str, *args: Tree) -> Tree:
    """name(args…) as a tree."""
    parts = (("funcname", (word(name),)), ("args", args), ("funcformat", "COERCE_EXPLICIT_CALL"))
    return Tree("FuncCall", parts)


def number(value: int) -> Tree:
    """A whole number as a tree."""
    return Tree("A_Const", (("ival", Tree("Integer", (("ival", value),) if value else ())),))


def cast(tree: Tree, *names: str) -> Tree:
    """tree::type as a tree."""
    kind = Tree("TypeName", (("names", tuple(word(name) for name in names)), ("typemod", -1)))
    return Tree("TypeCast", (("arg", tree), ("type_name", kind)))


def operation(left: Tree, sign: str, right: Tree, *, kind: str = "AEXPR_OP") -> Tree:
    """left sign right as a tree."""
    return Tree("A_Expr", (("kind", kind), ("name", (word(sign),)), ("lexpr", left), ("rexpr", right)))


def basics(measure: Tree, graph: Graph, sources: Mapping[str, Source]) -> tuple[Tree, ...]:
    """The aggregates that have to be kept for this one: sum and count for avg, itself for others."""
    name = called(measure)
    if name == "avg" and not measure.get("agg_distinct") and _exact(measure, sources):
        summed = measure.replaced(funcname=(word("sum"),))
        return (_ordered(summed), counted(measure.replaced(funcname=(word("count"),)), graph, sources))
    return (counted(measure, graph, sources),)


def _ordered(tree: Tree) -> Tree:
    """The call with its fields in one order, however it came about: two equal ones are one column."""
    return Tree(tree.kind, tuple(sorted(tree.parts, key=lambda part: part[0])))


def counted(measure: Tree, graph: Graph, sources: Mapping[str, Source]) -> Tree:
    """A count of what is never NULL as the count of its rows, so that two ways to say so are one column."""
    args = measure.trees("args")
    if called(measure) != "count" or measure.get("agg_distinct") or not args or args[0].kind != "ColumnRef":
        return _ordered(measure)
    source, name = named(args[0])
    column = sources[source].table.column(name)
    if column is not None and (column.not_null or name in sources[source].table.primary_key):
        witness = present(source, graph) if sources[source].optional else None
        if witness is not None:
            measure = measure.replaced(args=(witness,))
        elif not sources[source].optional:
            measure = measure.replaced(args=None, agg_star=True)
    return _ordered(measure)


def present(source: str, graph: Graph) -> Tree | None:
    """A column of an optional table that is NULL exactly where the table is missing: one that it is joined by."""
    conditions = next((some for name, some in graph.outer if name == source), frozenset())
    strict = [one for one in conditions if one.kind == "A_Expr" and one.text("kind") == "AEXPR_OP"]
    sides = (
        side
        for one in sorted(strict, key=str)
        for side in one.below()
        if side.kind == "ColumnRef" and named(side)[0] == source
    )
    return next(sides, None)


def direct(measure: Tree, kept: Mapping[Tree, Tree], graph: Graph, sources: Mapping[str, Source]) -> Tree:
    """The aggregate where each of its groups is one row of the view; `kept` has the view's columns."""
    columns = [_found(one, kept) for one in basics(measure, graph, sources)]
    return _average(*columns) if len(columns) > 1 else columns[0]


def again(
    measure: Tree,
    kept: Mapping[Tree, Tree],
    graph: Graph,
    sources: Mapping[str, Source],
    *,
    alone: bool,
) -> Tree:
    """The aggregate over several rows of the view; `alone` where it has to answer of no rows at all."""
    name = called(measure)
    if measure.get("agg_distinct") and name not in {"min", "max"}:
        return _distinct(measure, kept)
    kind = type_of(measure.trees("args")[0], sources) if name in {"sum", "avg"} else None
    if name in {"sum", "avg"} and (kind is None or kind >= _FLOAT):
        why = "a sum of floats depends on its order" if kind is not None else "the type of a sum is not known"
        raise Unmatched(f"{why}, so that it cannot be added up again")
    columns = [_found(one, kept) for one in basics(measure, graph, sources)]
    if name == "avg":
        return _average(call("sum", columns[0]), call("sum", columns[1]))
    if name == "sum":
        total = call("sum", columns[0])
        return cast(total, "pg_catalog", "int8") if kind is not None and kind <= _INTEGER else total
    if name == "count":
        total = call("sum", columns[0])
        return cast(Tree("CoalesceExpr", (("args", (total, number(0))),)) if alone else total, "pg_catalog", "int8")
    return call(_AGAIN[name], columns[0])


def _distinct(measure: Tree, kept: Mapping[Tree, Tree]) -> Tree:
    (argument,) = measure.trees("args")
    if argument not in kept or measure.get("agg_filter") is not None:
        raise Unmatched("distinct values are counted across groups, and the view does not keep them")
    return measure.replaced(args=(kept[argument],))


def _average(total: Tree, count: Tree) -> Tree:
    """total / count as avg() works it out: in numeric, NULL of nothing."""
    none = operation(count, "=", number(0), kind="AEXPR_NULLIF")
    return operation(cast(total, "pg_catalog", "numeric"), "/", none)


def _found(one: Tree, kept: Mapping[Tree, Tree]) -> Tree:
    if one not in kept:
        raise Unmatched(f"the view does not keep its {called(one)}()")
    return kept[one]


def _exact(measure: Tree, sources: Mapping[str, Source]) -> bool:
    """Whether an average may be made of a sum and a count: not of floats, intervals or what nobody knows."""
    kind = type_of(measure.trees("args")[0], sources)
    return kind is not None and kind < _FLOAT


def inexact(measure: Tree, sources: Mapping[str, Source]) -> bool:
    """Whether its result depends on the order of its rows: a sum or an average of floats."""
    if called(measure) not in {"sum", "avg"}:
        return False
    kind = type_of(measure.trees("args")[0], sources)
    return kind is not None and kind >= _FLOAT


def type_of(tree: Tree, sources: Mapping[str, Source]) -> int | None:
    """The rank of a number's type; None of what is none, or is not known."""
    if tree.kind == "ColumnRef":
        source, name = named(tree)
        column: Column | None = sources[source].table.column(name)
        return None if column is None else _RANKS.get(column.type.partition("(")[0])
    if tree.kind == "A_Const":
        return _INTEGER if tree.get("ival") is not None else _NUMERIC if tree.get("fval") is not None else None
    if tree.kind == "TypeCast":
        into = tree.tree("type_name")
        return _RANKS.get(into.trees("names")[-1].text("sval")) if into is not None else None
    results: list[Tree] = []
    if tree.kind == "A_Expr" and tree.trees("name")[0].text("sval") in {"+", "-", "*", "/", "%"}:
        results = [side for side in (tree.tree("lexpr"), tree.tree("rexpr")) if side is not None]
    elif tree.kind == "CoalesceExpr" or (tree.kind == "FuncCall" and called(tree) == "abs"):
        results = list(tree.trees("args"))
    elif tree.kind == "CaseExpr":
        default = tree.tree("defresult")
        results = [one for when in tree.trees("args") if (one := when.tree("result")) is not None]
        results += [default] if default is not None else []
    ranks = [type_of(one, sources) for one in results if not _null(one)]
    known = [rank for rank in ranks if rank is not None]
    return max(known) if known and len(known) == len(ranks) else None


def _null(tree: Tree) -> bool:
    return tree.kind == "A_Const" and bool(tree.get("isnull"))


def name_of(measure: Tree) -> str:
    """What a view calls its column: "sum_total", "count_user_id", "row_count"."""
    refs = list(references(measure))
    if measure.get("agg_star"):
        return "row_count"
    distinct = "distinct_" if measure.get("agg_distinct") else ""
    return f"{called(measure)}_{distinct}{named(refs[0])[1] if refs else 'value'}"
