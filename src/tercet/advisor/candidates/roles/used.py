"""Which columns of a table a query needs at all: an index that holds them answers without the table."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from tercet.advisor.scope.block import references

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tercet.advisor.scope.block import Block, Source
    from tercet.sql import Tree


def counted(block: Block) -> dict[int, Counter[str]]:
    """How often this block and all inside of it name each column, by the numbers of its sources."""
    found: dict[int, Counter[str]] = defaultdict(Counter)
    for tree in _trees(block):
        for one in references(tree):
            if not one.up:
                found[one.source][one.column] += 1
    for inner in block.below():
        for one in inner.outer:
            if one.up == 1:
                # However often it stands in there: certainly not only in a condition of this block.
                found[one.source][one.column] += 2
    return found


def used(block: Block, source: Source, names: Collection[str]) -> frozenset[str] | None:
    """The columns of a source that are named at all; None where the rows themselves are needed."""
    if source.table is None or block.locking or (block.kind != "select" and source.number == block.sources[0].number):
        return None
    known = {column.name for column in source.table.columns}
    return frozenset(names) if known.issuperset(names) else None


def once(names: Counter[str]) -> frozenset[str]:
    """The columns that are named in one place only."""
    return frozenset(name for name, times in names.items() if times == 1)


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
