"""Conditions that PostgreSQL moves into a subquery, a view or a WITH query: there an index can serve them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.scope.block import COLUMN, Reference, column, reference, references

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tercet.advisor.scope.block import Block, Source
    from tercet.sql import Tree


def pushed(block: Block, conjuncts: Iterable[Tree]) -> Iterator[tuple[Block, Tree]]:
    """Each condition on the answer of a block inside of this one, as that block would say it about its own sources."""
    inside = {one.number: (one, inner) for one in block.sources if (inner := _open(block, one)) is not None}
    for tree in conjuncts:
        if any(one.kind == "Block" for one in tree.walk()):
            continue
        for number in sorted({one.source for one in references(tree) if not one.up} & inside.keys()):
            said = _inward(tree, *inside[number])
            if said is not None:
                yield inside[number][1], said


def _open(block: Block, source: Source) -> Block | None:
    """The query of a source into which conditions go: not one that counts, ranks or cuts its rows first."""
    inner = source.block
    if inner is None or inner.kind != "select" or inner.operation or inner.windows or inner.distinct_on:
        return None
    if source.kind == "cte" and not any(one.name == source.cte and one.inlined for one in block.ctes):
        return None
    return None if inner.limit is not None or inner.offset is not None or inner.grouping_sets is not None else inner


def _inward(tree: Tree, source: Source, inner: Block) -> Tree | None:
    """The condition about the inner sources; columns of others become those of the block around."""
    found = set(references(tree))
    asked = {one.column for one in found if (one.source, one.up) == (source.number, 0)}
    outputs = {name: one.tree for name in asked if (one := inner.output(name)) is not None}
    if len(outputs) < len(asked):
        return None
    alone = all(one.source == source.number and not one.up for one in found)
    # A group is kept or left as a whole; a join cannot reach into it.
    if inner.grouped and not (alone and all(one in inner.group for one in outputs.values())):
        return None

    def moved(one: Tree) -> Tree:
        at = reference(one)
        if one.kind != COLUMN or at is None:
            return one
        if Reference(source.number, at.column) == at:
            return outputs[at.column]
        return column(at.source, at.column, alias=one.text("alias"), shown=one.text("shown"), up=at.up + 1)

    return tree.mapped(moved)
