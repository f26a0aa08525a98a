"""A query over plain SELECTs as one over their tables: what stands in FROM as a subquery or CTE is taken apart."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.advisor import scope
from tercet.advisor.scope.block import COLUMN
from tercet.advisor.views.statement.safety import IMMUTABLE, STABLE
from tercet.advisor.views.statement.shape import called
from tercet.sql import Tree

if TYPE_CHECKING:
    from tercet.advisor.scope import Block
    from tercet.advisor.scope.block import Source

# Of a text or a NULL without a type, a subquery makes text; in the place of its column it could become anything.
_UNTYPED = ("sval", "isnull")


def flattened(block: Block) -> Block:
    """The block with each source that only selects and joins rows replaced by what it is made of.

    The rows are the same, however often one is used: such a SELECT neither groups nor limits, and what may answer
    differently each time is refused later wherever it stands. A source that an outer join may put NULLs in place of
    stays as it is, for its expressions would not be NULL then; so does any that does more.
    """
    for source in block.sources:
        inner = source.block
        if inner is not None and source.kind in {"subquery", "cte"} and not source.nullable:
            below = flattened(inner)
            if _plain(below) and len(set(source.columns)) == len(source.columns) <= len(below.outputs):
                # What comes next is looked at anew, for its numbers have changed.
                return flattened(_merged(block, source, below))
    return block


def _plain(inner: Block) -> bool:
    more = (
        inner.grouped, inner.distinct, inner.distinct_on, inner.limit, inner.offset, inner.windows, inner.sublinks,
        inner.operation, inner.locking, inner.correlated,
    )  # fmt: skip
    untyped = any(
        one.tree.kind == "A_Const" and any(one.tree.get(kind) is not None for kind in _UNTYPED) for one in inner.outputs
    )
    # A function that nobody knows may make several rows of one, also where its column is not asked for.
    known = all(
        part.kind != "FuncCall" or called(part) in IMMUTABLE | STABLE
        for one in inner.outputs
        for part in one.tree.walk()
    )
    return inner.kind == "select" and bool(inner.sources) and not any(more) and not untyped and known


def _merged(block: Block, source: Source, inner: Block) -> Block:
    """The block with the inner one's sources behind its own, in place of `source`."""
    at, own = source.number, len(block.sources) - 1
    # Its own sources behind the one that goes move up; the inner ones come last.
    places = {one.number: one.number - (one.number > at) for one in block.sources if one.number != at}
    inner_places = {one.number: own + one.number for one in inner.sources}
    # In the order of its columns, also where it was taken apart itself.
    outputs = {name: _moved(one.tree, inner_places) for name, one in zip(source.columns, inner.outputs, strict=False)}

    def change(one: Tree) -> Tree:
        found = scope.reference(one) if one.kind == COLUMN else None
        if found is None or found.up:
            return one
        if found.source != at:
            return _numbered(one, places[found.source])
        # Whatever is no column of it (a whole row) finds no table's column later, and is refused.
        return outputs.get(found.column, _numbered(one, own).replaced(column="*"))

    def numbers(some: frozenset[int]) -> frozenset[int]:
        kept = {places[one] for one in some if one != at}
        return frozenset(kept | set(inner_places.values()) if at in some else kept)

    def moved(some: tuple[Tree, ...]) -> tuple[Tree, ...]:
        return tuple(one.mapped(change) for one in some)

    joins = [replace(one, left=numbers(one.left), right=numbers(one.right), on=moved(one.on)) for one in block.joins]
    inner_joins = [
        replace(
            one,
            left=frozenset(inner_places[number] for number in one.left),
            right=frozenset(inner_places[number] for number in one.right),
            on=tuple(_moved(each, inner_places) for each in one.on),
        )
        for one in inner.joins
    ]
    return replace(
        block,
        sources=(
            *(replace(one, number=places[one.number]) for one in block.sources if one.number != at),
            *(replace(one, number=inner_places[one.number]) for one in inner.sources),
        ),
        joins=(*inner_joins, *joins),
        where=(*moved(block.where), *(_moved(one, inner_places) for one in inner.where)),
        having=moved(block.having),
        group=moved(block.group),
        distinct_on=moved(block.distinct_on),
        order=tuple(replace(one, tree=one.tree.mapped(change)) for one in block.order),
        outputs=tuple(replace(one, tree=one.tree.mapped(change)) for one in block.outputs),
        aggregates=moved(block.aggregates),
        windows=moved(block.windows),
    )


def _moved(tree: Tree, places: dict[int, int]) -> Tree:
    def change(one: Tree) -> Tree:
        found = scope.reference(one) if one.kind == COLUMN else None
        return one if found is None or found.up else _numbered(one, places[found.source])

    return tree.mapped(change)


def _numbered(column: Tree, number: int) -> Tree:
    return Tree(COLUMN, tuple((name, number if name == "source" else part) for name, part in column.parts))
