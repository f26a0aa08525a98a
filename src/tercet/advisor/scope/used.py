"""What of its sources a block uses, where its outputs come from, and which of its columns decide about others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.scope.block import WHOLE_ROW, Reference, reference, references
from tercet.advisor.scope.predicates import predicates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tercet.advisor.catalog import Table
    from tercet.advisor.scope.block import Block, Join, Source
    from tercet.advisor.scope.predicate import Predicate
    from tercet.sql.tree import Tree


@dataclass(frozen=True, slots=True)
class Origin:
    """The column of a table that an output is, unchanged; `nullable` where an outer join may have made it NULL."""

    table: Table
    column: str
    nullable: bool = False


def expressions(block: Block) -> Iterator[Tree]:
    """Every expression that stands in a block itself."""
    for output in (*block.outputs, *block.assignments):
        yield output.tree
    yield from (*block.where, *block.having, *block.group, *block.distinct_on)
    for join in block.joins:
        yield from join.on
    for source in block.sources:
        yield from source.trees
    for row in block.rows:
        yield from row
    yield from (one.tree for one in block.order)
    yield from (one for one in (block.limit, block.offset) if one is not None)


def used(block: Block) -> dict[int, tuple[str, ...]]:
    """The columns that a block needs of each of its sources, in the sources' own order; for those inside of it, too.

    An index that carries them all can answer for the table. System columns are told last.
    """
    found: dict[int, set[str]] = {source.number: set() for source in block.sources}
    for one in _references(block):
        source = block.sources[one.source]
        found[one.source] |= set(source.columns) if one.column == WHOLE_ROW else {one.column}
    return {
        source.number: (
            *(name for name in source.columns if name in found[source.number]),
            *sorted(found[source.number].difference(source.columns)),
        )
        for source in block.sources
    }


def _references(block: Block) -> Iterator[Reference]:
    for tree in expressions(block):
        yield from (one for one in references(tree) if one.up == 0 and one.source >= 0)
    for sublink in block.sublinks:
        if sublink.test is not None:
            yield from (one for one in references(sublink.test) if one.up == 0 and one.source >= 0)
    for inside in block.below():
        yield from (one for one in inside.outer if one.up == 1)


def lineage(block: Block) -> tuple[Origin | None, ...]:
    """For each output the table's column that it is; None for what is worked out, or comes from several."""
    return tuple(origin(output.tree, block) for output in block.outputs)


def origin(tree: Tree, block: Block) -> Origin | None:
    """The table's column that an expression of a block is, through views, subqueries and WITH queries."""
    found, nullable = reference(tree), False
    while found is not None and found.up == 0 and found.source >= 0:
        source = block.sources[found.source]
        nullable = nullable or source.nullable
        if source.table is not None:
            return Origin(source.table, found.column, nullable)
        output = source.output(found.column)
        if source.block is None or output is None:
            return None
        block = source.block
        if block.grouping_sets is not None:  # a key that a set lacks is NULL
            return None
        found = reference(output.tree)
    return None


def keys(source: Source) -> tuple[tuple[str, ...], ...]:
    """The sets of a source's columns that no two of its rows share; the empty set if it has one row at most."""
    if source.table is not None:
        table = source.table
        needed = {column.name for column in table.columns if column.not_null}
        return tuple(key for key in table.unique_keys if needed.issuperset(key))
    block = source.block
    if block is None or block.kind not in {"select", "set"}:
        return ()
    if block.grouped and not block.group and block.grouping_sets is None:
        return ((),)
    found = []
    if block.distinct or (block.operation and not block.all):
        found.append(source.columns)
    if block.group and block.grouping_sets is None:
        places = {output.tree: at for at, output in reversed(list(enumerate(block.outputs)))}
        if all(key in places for key in block.group):
            found.append(tuple(source.columns[places[key]] for key in block.group))
    return tuple(found)


def determined(block: Block, trees: Iterable[Tree]) -> frozenset[int]:
    """The sources of which at most one row belongs to each value of these expressions, through joins as well.

    If that holds of a source for the keys of GROUP BY, all its columns are the same throughout a group.
    """
    told = predicates(block)
    decided = {(at.source, at.column) for tree in trees if (at := reference(tree)) is not None and at.up == 0}
    decided |= {(one.source, one.column) for one in told if _fixes(one) and one.source is not None and one.column}
    known = {source.number: keys(source) for source in block.sources}
    found: set[int] = set()
    while True:
        before = len(decided), len(found)
        for one in told:
            if _leads(one, block, decided) and one.source is not None and one.column is not None:
                decided.add((one.source, one.column))
        for source in block.sources:
            if any(all((source.number, name) in decided for name in key) for key in known[source.number]):
                found.add(source.number)
                decided |= {(source.number, name) for name in source.columns}
        if before == (len(decided), len(found)):
            return frozenset(found)


def _fixes(one: Predicate) -> bool:
    """Whether a predicate leaves its column a single value in all rows of the block."""
    single = one.kind == "equal" or (one.kind == "join" and one.correlated and one.sources == {one.source})
    return single and one.column is not None and one.always and one.place != "having"


def _leads(one: Predicate, block: Block, decided: set[tuple[int, str]]) -> bool:
    """Whether an equality decides its key: the other side is decided, and with it whether an outer join finds a row."""
    other = reference(one.other)
    if one.kind != "join" or other is None or other.up or not one.narrows or one.place == "having":
        return False
    if (other.source, other.column) not in decided:
        return False
    join = None if one.join is None else block.joins[one.join]
    return join is None or join.kind in {"inner", "cross"} or _settled(join, decided)


def _settled(join: Join, decided: set[tuple[int, str]]) -> bool:
    """Whether all that an outer join asks of the side that is kept is decided."""
    kept = join.left if join.kind == "left" else join.right
    asked = [one for tree in join.on for one in references(tree) if one.up == 0 and one.source in kept]
    return all((one.source, one.column) in decided for one in asked)
