"""A grouping statement in one canonical form: what it joins, groups by, filters, sums up and orders by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.sql import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tercet.advisor.catalog import Column, Qualified, Table

# What makes one value of many rows, and can stand in a view.
AGGREGATES = frozenset({
    "count", "sum", "avg", "min", "max", "bool_and", "bool_or", "every", "bit_and", "bit_or",
})  # fmt: skip


class Unmatched(Exception):
    """A statement, or a part of one, that no view can answer exactly; `why` is a sentence's end."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


# Types of which equal values are the same value, so that either side of a join may stand for the other.
_SAME = frozenset({"smallint", "integer", "bigint", "uuid"})


@dataclass(frozen=True, slots=True)
class Source:
    """A table as it stands in FROM under its canonical name; `optional` if it may be missing beside the others."""

    name: str
    table: Table
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Graph:
    """What is joined with what; two statements over the same rows have equal graphs."""

    tables: tuple[tuple[str, Qualified], ...]
    joins: frozenset[Tree] = frozenset()
    # Tables that may be missing, each with the conditions under which it is there.
    outer: tuple[tuple[str, frozenset[Tree]], ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """One SELECT … GROUP BY; every column in it is written (canonical table name, column)."""

    statement: Tree
    graph: Graph
    sources: Mapping[str, Source]
    # Whether there is a GROUP BY: without, the answer is one row, even of nothing.
    grouped: bool
    keys: tuple[Tree, ...]
    predicates: tuple[Tree, ...]
    outputs: tuple[tuple[str, Tree], ...]
    having: tuple[Tree, ...] = ()
    # SortBy trees.
    order: tuple[Tree, ...] = ()

    def column(self, ref: Tree) -> Column | None:
        """The catalog's column that a canonical reference means."""
        source, name = named(ref)
        return self.sources[source].table.column(name)

    def measures(self) -> tuple[Tree, ...]:
        """Each aggregate that it asks for, once, as it is written there."""
        trees = (*(tree for _, tree in self.outputs), *self.having, *self.order)
        return tuple(dict.fromkeys(one for tree in trees for one in aggregates(tree)))


def reference(source: str, column: str) -> Tree:
    """source.column as a tree."""
    return Tree("ColumnRef", (("fields", (word(source), word(column))),))


def word(text: str) -> Tree:
    """A word in a list of words."""
    return Tree("String", (("sval", text),))


def named(ref: Tree) -> tuple[str, str]:
    """The two parts of a canonical reference."""
    first, second = ref.trees("fields")
    return first.text("sval"), second.text("sval")


def references(tree: Tree) -> Iterator[Tree]:
    """Every column below, and the tree itself if it is one."""
    return (one for one in tree.walk() if one.kind == "ColumnRef")


def called(tree: Tree) -> str:
    """The name of a function that is called, if it is one of PostgreSQL's own by its name; else with its schema."""
    names = [one.text("sval") for one in tree.trees("funcname")]
    return ".".join(names[1:] if names[0] == "pg_catalog" else names)


def aggregate(tree: Tree) -> bool:
    """Whether it is a call of an aggregate."""
    return tree.kind == "FuncCall" and called(tree) in AGGREGATES


def aggregates(tree: Tree) -> Iterator[Tree]:
    """The calls of aggregates below, and the tree itself if it is one."""
    if aggregate(tree):
        yield tree
        return
    for one in tree.below():
        yield from aggregates(one)


def equality(tree: Tree) -> tuple[Tree, Tree] | None:
    """The two sides of a plain `a = b`."""
    left, right = tree.tree("lexpr"), tree.tree("rexpr")
    if tree.kind != "A_Expr" or tree.text("kind") != "AEXPR_OP" or left is None or right is None:
        return None
    return (left, right) if [one.text("sval") for one in tree.trees("name")] == ["="] else None


def fixed(predicate: Tree) -> Tree | None:
    """The expression that a condition `expression = constant` leaves one value; None if it is no such condition."""
    sides = equality(predicate)
    if sides is None:
        return None
    left, right = sides
    for side, other in ((left, right), (right, left)):
        if not any(references(other)) and any(references(side)):
            return side
    return None


def twins(graph: Graph, sources: Mapping[str, Source]) -> dict[Tree, Tree]:
    """For each column that an inner join makes equal to a primary key: that key, which stands for both."""
    found: dict[Tree, Tree] = {}
    for one in sorted(graph.joins, key=str):
        sides = equality(one)
        if sides is None or any(side.kind != "ColumnRef" for side in sides):
            continue
        places = [named(side) for side in sides]
        columns = [sources[source].table.column(name) for source, name in places]
        kinds = {column.type if column is not None else "" for column in columns}
        if len(kinds) > 1 or not kinds <= _SAME:
            continue
        for key, other, (source, name) in ((*sides, places[0]), (*sides[::-1], places[1])):
            if sources[source].table.primary_key == (name,) and other not in found and key not in found:
                found[other] = key
                break
    return found


def renamed(tree: Tree, same: Mapping[Tree, Tree]) -> Tree:
    """The tree with each column that has a twin written as that."""
    return tree.mapped(lambda one: same.get(one, one)) if same else tree
