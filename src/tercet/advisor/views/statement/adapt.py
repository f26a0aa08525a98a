"""A statement over fewer tables, or over an inner join, as one over a view's: only where no row comes or goes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.advisor.views.statement.measure import call, counted, number, operation, present
from tercet.advisor.views.statement.shape import Unmatched, aggregate, equality, named, references, renamed, twins

if TYPE_CHECKING:
    from tercet.advisor.views.statement.shape import Shape, Source
    from tercet.sql import Tree


def adapt(shape: Shape, other: Shape) -> Shape:
    """The statement in terms of what `other` joins. Raises Unmatched where that has other rows."""
    if shape.graph == other.graph:
        return shape
    missing = set(other.graph.tables) - set(shape.graph.tables)
    if set(shape.graph.tables) - set(other.graph.tables):
        raise Unmatched("it asks other tables")
    if missing:
        return _extras(shape, other, {name for name, _ in missing})
    return _inner(shape, other)


def _extras(shape: Shape, other: Shape, extras: set[str]) -> Shape:
    """Tables more that each row has exactly one row of, or at most one and may lack."""
    joins = other.graph.joins - shape.graph.joins
    outer = set(other.graph.outer) - set(shape.graph.outer)
    if shape.graph.joins - other.graph.joins or set(shape.graph.outer) - set(other.graph.outer):
        raise Unmatched("it joins its tables otherwise")
    for name, on in outer:
        if name not in extras or not _at_most_one(other.sources[name], on):
            raise Unmatched(f"beside {name} its rows would be there several times")
    inner = extras - {name for name, _ in outer}
    for name in inner:
        conditions = {one for one in joins if name in {named(ref)[0] for ref in references(one)}}
        if not _exactly_one(name, conditions, other):
            raise Unmatched(f"nothing promises one row of {name} for each of its rows")
        joins -= conditions
    if joins:
        raise Unmatched("it joins its tables otherwise")
    same = twins(other.graph, other.sources)
    return replace(
        shape,
        graph=other.graph,
        sources=other.sources,
        keys=tuple(dict.fromkeys(renamed(one, same) for one in shape.keys)),
        predicates=tuple(renamed(one, same) for one in shape.predicates),
        outputs=tuple((name, renamed(tree, same)) for name, tree in shape.outputs),
        having=tuple(renamed(one, same) for one in shape.having),
        order=tuple(renamed(one, same) for one in shape.order),
    )


def _sides(name: str, conditions: frozenset[Tree] | set[Tree]) -> list[tuple[str, Tree]] | None:
    """(column of the table, what it equals) of each condition; None if one is something else."""
    found = []
    for one in conditions:
        sides = equality(one)
        if sides is None or any(side.kind != "ColumnRef" for side in sides):
            return None
        mine = [side for side in sides if named(side)[0] == name]
        others = [side for side in sides if named(side)[0] != name]
        if len(mine) != 1 or len(others) != 1:
            return None
        found.append((named(mine[0])[1], others[0]))
    return found


def _at_most_one(source: Source, conditions: frozenset[Tree]) -> bool:
    columns = {column for column, _ in _sides(source.name, conditions) or ()}
    return any(key and set(key) <= columns for key in (source.table.primary_key, *source.table.unique_keys))


def _exactly_one(name: str, conditions: set[Tree], other: Shape) -> bool:
    """Whether a foreign key that is checked and never NULL leads to exactly one row of the table."""
    sides = _sides(name, conditions)
    if not sides or len({named(ref)[0] for _, ref in sides}) != 1:
        return False
    child = other.sources[named(sides[0][1])[0]]
    if child.optional:
        return False
    pairs = {(named(ref)[1], column) for column, ref in sides}
    for key in child.table.foreign_keys:
        columns = [child.table.column(column) for column in key.columns]
        if (
            key.validated
            and key.target == other.sources[name].table.name
            and set(zip(key.columns, key.target_columns, strict=True)) == pairs
            and all(column is not None and column.not_null for column in columns)
        ):
            return True
    return False


def _inner(shape: Shape, other: Shape) -> Shape:
    """An inner join out of an outer one: the groups of which the optional table has rows."""
    changed = [name for name, _ in set(other.graph.outer) - set(shape.graph.outer)]
    if len(changed) != 1 or set(shape.graph.outer) - set(other.graph.outer):
        raise Unmatched("it joins its tables otherwise")
    (name,) = changed
    on = dict(other.graph.outer)[name]
    witness = present(name, other.graph)
    if witness is None or shape.graph.joins != other.graph.joins | on:
        raise Unmatched("it joins its tables otherwise")

    def translated(tree: Tree) -> Tree:
        if not aggregate(tree):
            return tree
        rows = counted(tree, shape.graph, shape.sources)
        found = rows.replaced(args=(witness,), agg_star=None) if rows.get("agg_star") else rows
        if any(named(ref)[0] != name for ref in references(found)):
            raise Unmatched("it sums up what the outer join also has beside missing rows")
        return found

    exists = operation(call("count", witness), ">", number(0))
    return replace(
        shape,
        graph=other.graph,
        sources=other.sources,
        outputs=tuple((label, tree.mapped(translated)) for label, tree in shape.outputs),
        order=tuple(one.mapped(translated) for one in shape.order),
        having=(*(one.mapped(translated) for one in shape.having), *((exists,) if shape.grouped else ())),
    )
