"""A query taken apart for comparing: all its rows, the keys of its order, and what its LIMIT takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.equivalence.statements import statement
from tercet.advisor.rewrites.meaning import meant
from tercet.advisor.rewrites.sources import output_name
from tercet.sql import identifier
from tercet.sql.tree import Tree, parse, write

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN = {"", "SETOP_NONE"}


@dataclass(frozen=True, slots=True)
class Asking:
    """The statements that ask what is needed of one query. Each answers one column of text."""

    rows: str
    # None where it has no order.
    ties: str | None
    # Expressions whose values are how many rows to skip and to take.
    offset: str | None = None
    limit: str | None = None


def asking(query: Tree) -> Asking:
    """How to ask a SELECT for all its rows and their ties."""
    if query.text("limit_option") == "LIMIT_OPTION_WITH_TIES" or query.get("locking_clause"):
        # WITH TIES takes all that are tied: nothing is left open.
        return Asking(as_text(query.replaced(locking_clause=None)), ties_of(query) if not _limited(query) else None)
    whole = query.replaced(limit_count=None, limit_offset=None, limit_option="LIMIT_OPTION_DEFAULT")
    offset, limit = query.tree("limit_offset"), query.tree("limit_count")
    return Asking(
        as_text(whole),
        ties_of(whole),
        None if offset is None else write(offset),
        None if limit is None else write(limit),
    )


def as_text(query: Tree) -> str:
    """The statement that answers each row of a query as one text."""
    return statement("rows", query=write(query))


def _limited(query: Tree) -> bool:
    return query.get("limit_count") is not None


def ties_of(query: Tree) -> str | None:
    """The statement that answers the keys of its order, row by row; None where it has none."""
    items = query.trees("sort_clause")
    if not items:
        return None
    if query.text("op") in _PLAIN and not query.get("distinct_clause"):
        keys = tuple(meant(node, query) for one in items if (node := one.tree("node")) is not None)
        sorts = tuple(one.replaced(node=key) for one, key in zip(items, keys, strict=True))
        row = Tree("RowExpr", (("args", keys), ("row_format", "COERCE_EXPLICIT_CALL")))
        target = Tree("ResTarget", (("name", "tercet_keys"), ("val", row)))
        inner = query.replaced(target_list=(target,), sort_clause=sorts)
        return statement("ties", query=write(inner))
    named = [_output(one, query) for one in items]
    if any(one is None for one in named):
        return None
    keys_written = ", ".join(f"tercet_ties.{one}" for one in named)
    return statement("outputs", keys=keys_written, query=write(query))


def _output(item: Tree, query: Tree) -> str | None:
    """The output that an ORDER BY of a DISTINCT or a UNION names; these can be ordered by nothing else."""
    arm, node = query, item.tree("node")
    while arm.text("op") not in _PLAIN and (left := arm.tree("larg")) is not None:
        arm = left
    if node is None:
        return None
    value = meant(node, arm)
    for target in arm.trees("target_list"):
        name = output_name(target)
        if name is not None and target.tree("val") == value:
            return identifier(name)
    return None


def with_values(query: Tree, values: Mapping[int, tuple[str, str]]) -> Tree:
    """The query with $1, $2 … replaced by values of a type, (value, type) by number."""

    def change(tree: Tree) -> Tree:
        if tree.kind != "ParamRef":
            return tree
        number = tree.get("number")
        value, kind = values[number if isinstance(number, int) else 0]
        return Tree(
            "TypeCast",
            (("arg", Tree("A_Const", (("sval", Tree("String", (("sval", value),))),))), ("type_name", type_name(kind))),
        )

    return query.mapped(change)


def type_name(kind: str) -> Tree:
    """A type's name as it stands in the grammar, for a type as format_type writes it."""
    found = next((one for one in parse(f"select null::{kind}").walk() if one.kind == "TypeName"), None)
    return found or Tree("TypeName")
