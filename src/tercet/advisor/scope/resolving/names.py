"""The names that PostgreSQL gives to columns of the answer that were given none (its FigureColname)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tercet.sql.tree import Tree

_UNNAMED = "?column?"

_WORDS: Mapping[str, str] = {
    "A_ArrayExpr": "array",
    "CoalesceExpr": "coalesce",
    "RowExpr": "row",
    "GroupingFunc": "grouping",
    "XmlSerialize": "xmlserialize",
    "MergeSupportFunc": "merge_action",
    "JsonObjectConstructor": "json_object",
    "JsonArrayConstructor": "json_array",
    "JsonArrayQueryConstructor": "json_array",
    "JsonObjectAgg": "json_objectagg",
    "JsonArrayAgg": "json_arrayagg",
    "JsonParseExpr": "json",
    "JsonScalarExpr": "json_scalar",
    "JsonSerializeExpr": "json_serialize",
}


class _Name(NamedTuple):
    """A name, and whether it stands against that of a type or a CASE around it."""

    word: str = ""
    strong: bool = False


def output_name(tree: Tree) -> str:
    """The name of a column of the answer by its expression, as it was written; "?column?" if it has none."""
    return _name(tree).word or _UNNAMED


def function(tree: Tree) -> str:
    """The name of the function that a FuncCall calls, without its schema; "" for every other tree."""
    return _last(tree, "funcname")


def _name(tree: Tree | None) -> _Name:
    if tree is None:
        return _Name()
    if tree.kind in _WORDS:
        return _Name(_WORDS[tree.kind], strong=True)
    named = _KINDS.get(tree.kind)
    return _Name() if named is None else named(tree)


def _last(tree: Tree, field: str) -> str:
    return next((one.text("sval") for one in reversed(tree.trees(field)) if one.kind == "String"), "")


def _indirection(tree: Tree) -> _Name:
    word = _last(tree, "indirection")
    return _Name(word, strong=True) if word else _name(tree.tree("arg"))


def _cast(tree: Tree) -> _Name:
    found, kind = _name(tree.tree("arg")), tree.tree("type_name")
    return found if found.strong or kind is None else _Name(_last(kind, "names"))


def _case(tree: Tree) -> _Name:
    found = _name(tree.tree("defresult"))
    return found if found.strong else _Name("case")


def _nullif(tree: Tree) -> _Name:
    return _Name("nullif", strong=True) if tree.text("kind") == "AEXPR_NULLIF" else _Name()


def _sublink(tree: Tree) -> _Name:
    kind = tree.text("sub_link_type")
    if kind in {"EXISTS_SUBLINK", "ARRAY_SUBLINK"}:
        return _Name(kind.removesuffix("_SUBLINK").lower(), strong=True)
    query = tree.tree("subselect") if kind == "EXPR_SUBLINK" else None
    while query is not None and query.tree("larg") is not None:
        query = query.tree("larg")
    if query is None:
        return _Name()
    targets = query.trees("target_list")
    value = targets[0].tree("val") if targets else None
    if value is None:
        return _Name("column1" if query.trees("values_lists") else "", strong=True)
    return _Name(targets[0].text("name") or output_name(value), strong=True)


def _word(tree: Tree) -> _Name:
    word = tree.text("op").removeprefix("SVFOP_").removeprefix("IS_").removesuffix("_N").removesuffix("_OP")
    return _Name(word.lower(), strong=True)


_KINDS: Mapping[str, Callable[[Tree], _Name]] = {
    "ColumnRef": lambda tree: _Name(_last(tree, "fields"), strong=True),
    "FuncCall": lambda tree: _Name(function(tree), strong=True),
    "CollateClause": lambda tree: _name(tree.tree("arg")),
    "A_Indirection": _indirection,
    "A_Expr": _nullif,
    "TypeCast": _cast,
    "CaseExpr": _case,
    "SubLink": _sublink,
    "MinMaxExpr": _word,
    "SQLValueFunction": _word,
    "JsonFuncExpr": _word,
}
