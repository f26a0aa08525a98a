"""Indexes compared: whether one that is there does what another would."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from tercet.errors import SqlInvalid
from tercet.sql import Expression
from tercet.sql.tree import Tree, parse, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.sql import Index, Key

# Casts that PostgreSQL writes into definitions where a statement has none; between them nothing is computed.
_SILENT = frozenset({"text", "varchar", "bpchar", "regconfig", "unknown"})
# Texts that are compared again and again in one run; each is small.
_TEXTS_MAX = 4096

_Way = tuple[bool, bool]


@lru_cache(maxsize=_TEXTS_MAX)
def plain(sql: str) -> str:
    """An expression as it compares: without silent casts, IN lists as arrays, words as PostgreSQL writes them."""
    try:
        tree = parse(f"SELECT {sql}")
    except SqlInvalid:
        return sql
    return write(tree.mapped(_plain)).removeprefix("SELECT ")


def serves(there: Index, wanted: Index) -> bool:
    """Whether `wanted` equals an index that is there, or begins it: same method, order, operators and condition."""
    if there.method != wanted.method or _condition(there) != _condition(wanted):
        return False
    if wanted.unique and not (there.unique and len(there.keys) == len(wanted.keys)):
        return False
    if not begins(there.keys, wanted.keys, exactly=there.method in {"hash", "brin"}):
        return False
    return set(wanted.include) <= {*there.include, *_columns(there.keys)}


def begins(longer: Sequence[Key], shorter: Sequence[Key], *, exactly: bool = False) -> bool:
    """Whether the shorter keys are the first of the longer ones, as asked or all the other way round."""
    if len(shorter) > len(longer) or (exactly and len(shorter) != len(longer)):
        return False
    pairs = list(zip(longer, shorter, strict=False))
    if not all(_what(one) == _what(other) for one, other in pairs):
        return False
    forward = all(_way(one) == _way(other) for one, other in pairs)
    return forward or all(_back(_way(one)) == _way(other) for one, other in pairs)


def said_by(there: Index, wanted: Index, constants: frozenset[str]) -> bool:
    """Whether an index of all rows that begins with the condition's own columns reads just what a partial one would.

    `constants` are the columns of the partial index's condition.
    """
    if there.where is not None or wanted.where is None or there.method != wanted.method:
        return False
    rest = [key for key in there.keys if key.of not in constants]
    # The constants must stand before whatever the partial index is walked by.
    led = len(there.keys) - len(rest)
    before = sum(1 for key in there.keys[: led + len(wanted.keys)] if key.of in constants)
    full = led > 0 and before == led and begins(rest, wanted.keys)
    return full and set(wanted.include) <= {*there.include, *_columns(there.keys)}


def _what(key: Key) -> tuple[str, str | None, str | None]:
    of = plain(key.of.sql) if isinstance(key.of, Expression) else f"{key.of}\0"
    return of, _last(key.operators), _last(key.collation)


def _way(key: Key) -> _Way:
    return key.descending, key.descending if key.nulls is None else key.nulls == "first"


def _back(way: _Way) -> _Way:
    return not way[0], not way[1]


def _last(name: str | tuple[str, ...] | None) -> str | None:
    return name[-1] if isinstance(name, tuple) else name


def _condition(index: Index) -> str | None:
    return None if index.where is None else plain(index.where)


def _columns(keys: Sequence[Key]) -> set[str]:
    return {key.of for key in keys if isinstance(key.of, str)}


def _plain(tree: Tree) -> Tree:
    match tree.kind:
        case "TypeCast":
            inside, name = tree.tree("arg"), type_of(tree)
            literal = inside is not None and inside.kind == "A_Const"
            if inside is not None and (name in _SILENT or (literal and name != "bool")):
                return inside
        case "A_Expr" if tree.text("kind") == "AEXPR_IN":
            return _as_array(tree)
        case "TypeName":
            return tree.replaced(names=tree.trees("names")[-1:])
        case _:
            pass
    return tree


def _as_array(tree: Tree) -> Tree:
    items = tree.tree("rexpr")
    array = Tree("A_ArrayExpr", (("elements", items.trees("items")),)) if items is not None else None
    kind: Literal["AEXPR_OP_ANY", "AEXPR_OP_ALL"] = "AEXPR_OP_ANY"
    if any(name.text("sval") == "<>" for name in tree.trees("name")):
        kind = "AEXPR_OP_ALL"
    return tree.replaced(kind=kind, rexpr=array)


def type_of(cast: Tree) -> str:
    """The last word of the type that a cast is to."""
    name = cast.tree("type_name")
    words = name.trees("names") if name is not None else ()
    arrays = "[]" if name is not None and name.trees("array_bounds") else ""
    return (words[-1].text("sval") if words else "") + arrays
