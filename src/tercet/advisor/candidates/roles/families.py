"""What type an expression has, and whether it gives the same answer for ever: only then may an index hold it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from tercet.advisor.candidates.same import type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tercet.advisor.catalog import Table
    from tercet.sql import Tree

_FAMILIES = {
    "smallint": "number", "integer": "number", "bigint": "number", "numeric": "number", "decimal": "number",
    "real": "number", "double precision": "number", "int2": "number", "int4": "number", "int8": "number",
    "float4": "number", "float8": "number", "text": "text", "varchar": "text", "character varying": "text",
    "character": "text", "char": "text", "bpchar": "text", "name": "text", "boolean": "bool", "bool": "bool",
    "timestamp without time zone": "timestamp", "timestamp": "timestamp",
    "timestamp with time zone": "timestamptz", "timestamptz": "timestamptz", "date": "date",
    "interval": "interval", "uuid": "uuid", "jsonb": "jsonb", "json": "json", "tsvector": "tsvector",
}  # fmt: skip

# Casts between any two of these read no setting.
_NEUTRAL = frozenset({"number", "text", "bool", "uuid", "jsonb"})
# Functions all of whose forms are immutable in PostgreSQL 14 to 18 (pg_proc.provolatile), and what they give;
# "" is the family of their first argument. concat, format, to_char, age and unaccent are not among them.
_FUNCTIONS = {
    **dict.fromkeys(("lower", "upper", "initcap", "btrim", "ltrim", "rtrim", "replace", "left", "right", "substring",
                     "substr", "reverse", "md5", "split_part", "regexp_replace", "translate", "lpad", "rpad", "repeat",
                     "jsonb_extract_path_text", "jsonb_typeof", "encode"), "text"),
    **dict.fromkeys(("length", "char_length", "character_length", "octet_length", "strpos", "position", "ascii",
                     "jsonb_array_length", "array_length", "cardinality", "abs", "round", "floor", "ceil", "ceiling",
                     "trunc", "mod", "sign", "power", "sqrt"), "number"),
    "jsonb_extract_path": "jsonb",
}  # fmt: skip
# These depend on the session's TimeZone where they are asked of a timestamptz.
_OF_TIME = {"date_trunc": "", "date_part": "number", "extract": "number"}
# What comes of two families by an operator that reads no setting.
_MOVES = {
    **{("number", name, "number"): "number" for name in "+-*/%"},
    **dict.fromkeys((("timestamp", name, "interval") for name in "+-"), "timestamp"),
    **dict.fromkeys((("date", name, "interval") for name in "+-"), "timestamp"),
    **dict.fromkeys((("date", name, "number") for name in "+-"), "date"),
    ("date", "-", "date"): "number", ("text", "||", "text"): "text",
}  # fmt: skip
_COMPARISONS = frozenset({"=", "<>", "<", "<=", ">", ">="})
_INTO_DOCUMENT = frozenset({"->", "#>", "->>", "#>>"})
_AS_TEXT = frozenset({"->>", "#>>"})


def family(written: str) -> str:
    """The family of a type as format_type or a cast writes it; arrays keep their brackets, others their own name."""
    bare = written.partition("(")[0].strip()
    if written.startswith(("timestamp(", "time(")):
        bare = f"{bare} {written.partition(')')[2].strip()}".strip()
    return _FAMILIES.get(bare, written)


def kind_of(tree: Tree, table: Table) -> str | None:
    """The family of an expression over a table's columns; None where it is unknown or not immutable.

    Columns stand in it without their table.
    """
    reading = _READINGS.get(tree.kind)
    return None if reading is None else reading(tree, table)


def _column(tree: Tree, table: Table) -> str | None:
    names = tree.trees("fields")
    column = table.column(names[-1].text("sval")) if names else None
    return family(column.type) if column is not None else None


def _literal(tree: Tree, table: Table) -> str:
    del table
    return "text" if tree.tree("sval") is not None else "bool" if tree.tree("boolval") is not None else "number"


def _same(tree: Tree, table: Table) -> str | None:
    found = {kind_of(one, table) for one in tree.trees("args")}
    return found.pop() if len(found) == 1 else None


def _tested(tree: Tree, table: Table) -> str | None:
    inside = tree.tree("arg")
    return "bool" if inside is not None and kind_of(inside, table) else None


def _cast(tree: Tree, table: Table) -> str | None:
    inside, wanted = tree.tree("arg"), family(type_of(tree))
    if inside is None:
        return None
    if inside.kind == "A_Const":
        return wanted if wanted in _NEUTRAL | {"interval", "regconfig"} else None
    found = kind_of(inside, table)
    if found == wanted or (found in _NEUTRAL and wanted in _NEUTRAL):
        return wanted
    return wanted if {found, wanted} == {"date", "timestamp"} else None


def _function(tree: Tree, table: Table) -> str | None:
    words = [one.text("sval") for one in tree.trees("funcname")]
    if len(words) > 1 and words[0] != "pg_catalog":
        return None
    name, found = words[-1], [kind_of(one, table) for one in tree.trees("args")]
    if not found or any(one is None for one in found):
        return None
    match name, found:
        case "timezone", [_, ("timestamp" | "timestamptz") as of]:
            return "timestamptz" if of == "timestamp" else "timestamp"
        case "to_tsvector", [_, "text" | "jsonb"]:
            return "tsvector"
        case "date_trunc" | "date_part" | "extract", [*_, ("timestamp" | "date" | "interval") as of]:
            return _OF_TIME[name] or _truncated(of)
        case _:
            return _FUNCTIONS.get(name)


def _truncated(found: str | None) -> str | None:
    """date_trunc of a date makes a timestamptz of it first, which depends on the session."""
    return None if found == "date" else found


def _operator(tree: Tree, table: Table) -> str | None:
    left, right = tree.tree("lexpr"), tree.tree("rexpr")
    name = tree.trees("name")[-1].text("sval") if tree.trees("name") else ""
    if tree.text("kind") != "AEXPR_OP" or left is None or right is None:
        return None
    one, other = kind_of(left, table), kind_of(right, table)
    if one is None or other is None:
        return None
    if name in _INTO_DOCUMENT and one in {"jsonb", "json"}:
        return "text" if name in _AS_TEXT else one
    if name in _COMPARISONS:
        return "bool" if one == other and one in _NEUTRAL else None
    return _MOVES.get((one, name, other))


_READINGS: Mapping[str, Callable[[Tree, Table], str | None]] = MappingProxyType(
    {
        "ColumnRef": _column, "A_Const": _literal, "TypeCast": _cast, "FuncCall": _function, "A_Expr": _operator,
        "CoalesceExpr": _same, "MinMaxExpr": _same, "NullTest": _tested, "BooleanTest": _tested,
    }
)  # fmt: skip
