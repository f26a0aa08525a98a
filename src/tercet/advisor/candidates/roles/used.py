"""Which columns of a table a query needs at all: an index that holds them answers without the table."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tercet.advisor.scope.block import references

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.scope.block import Block, Source
    from tercet.sql import Tree


def used(block: Block, source: Source) -> frozenset[str] | None:
    """The columns of a source that this block and all inside of it name; None where the rows themselves are needed."""
    if source.table is None or block.locking or (block.kind != "select" and source.number == block.sources[0].number):
        return None
    names = set(_counted(block, source))
    return frozenset(names) if names <= {column.name for column in source.table.columns} else None


def once(block: Block, source: Source) -> frozenset[str]:
    """The columns of a source that are named in one place only."""
    return frozenset(name for name, times in _counted(block, source).items() if times == 1)


def _counted(block: Block, source: Source) -> Counter[str]:
    here, outside = (source.number, 0), (source.number, 1)
    found = Counter(one.column for tree in _trees(block) for one in references(tree) if (one.source, one.up) == here)
    for inner in block.below():
        # However often it stands in there: certainly not only in a condition of this block.
        found.update(2 * [one.column for one in inner.outer if (one.source, one.up) == outside])
    return found


def _trees(block: Block) -> Iterator[Tree]:
    yield from (*block.where, *block.having, *block.group, *block.distinct_on)
    yield from (one.tree for one in block.order)
    yield from (one.tree for one in (*block.outputs, *block.assignments))
    yield from (*block.aggregates, *block.windows)
    for join in block.joins:
        yield from join.on
    for link in block.sublinks:
        if link.test is not None:
            yield link.test
    for source in block.sources:
        yield from source.trees
    for one in (block.limit, block.offset):
        if one is not None:
            yield one
