"""A statement read into its canonical form, or why it has none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tercet.advisor import scope
from tercet.advisor.views.statement.flat import flattened
from tercet.advisor.views.statement.safety import check_kept, check_reading
from tercet.advisor.views.statement.shape import (
    Graph,
    Shape,
    Source,
    Unmatched,
    aggregates,
    equality,
    named,
    reference,
    references,
    renamed,
    twins,
)
from tercet.errors import SqlInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.catalog import Catalog, Column
    from tercet.advisor.scope import Block
    from tercet.sql import Tree

# Clauses that make another question of a SELECT.
_CLAUSES = {
    "into_clause": "it writes (SELECT INTO)",
    "window_clause": "it has a WINDOW",
    "locking_clause": "it locks rows (FOR UPDATE)",
    "values_lists": "it is a list of VALUES",
}


def shape_of(statement: Tree, catalog: Catalog, search_path: Sequence[str] = ()) -> Shape:
    """The canonical form of a statement that sums up rows. Raises Unmatched."""
    block = _block(statement, catalog, search_path)
    reading = _Reading(block)
    reading.join()
    predicates = reading.predicates()
    outputs = tuple((one.name, reading.written(one.tree)) for one in block.outputs)
    if block.distinct and block.grouped:
        raise Unmatched("DISTINCT stands above a grouping")
    keys = tuple(tree for _, tree in outputs) if block.distinct else tuple(map(reading.written, block.group))
    order = tuple(
        sort.replaced(node=reading.written(one.tree))
        for sort, one in zip(statement.trees("sort_clause"), block.order, strict=True)
    )
    graph, sources = reading.graph(), {one.name: one for one in reading.sources}
    same = twins(graph, sources)
    shape = Shape(
        statement=statement,
        graph=graph,
        sources=sources,
        grouped=bool(block.group) or block.distinct,
        keys=tuple(dict.fromkeys(renamed(key, same) for key in keys)),
        predicates=tuple(renamed(one, same) for one in predicates),
        outputs=tuple((name, renamed(tree, same)) for name, tree in outputs),
        having=tuple(renamed(reading.written(one), same) for one in block.having),
        order=tuple(renamed(one, same) for one in order),
    )
    _check(shape)
    return shape


def _block(statement: Tree, catalog: Catalog, search_path: Sequence[str]) -> Block:
    """The statement with its names resolved, if it is one SELECT over tables."""
    if statement.kind != "SelectStmt" or statement.text("op") not in {"", "SETOP_NONE"}:
        raise Unmatched("it is not one SELECT")
    for clause, why in _CLAUSES.items():
        if statement.get(clause) is not None:
            raise Unmatched(why)
    try:
        block = scope.resolve(statement, catalog, search_path)
    except SqlInvalid as error:
        raise Unmatched(f"its names cannot be resolved: {error.reason}") from error
    with_clause = statement.tree("with_clause")
    if with_clause is not None and with_clause.get("recursive"):
        raise Unmatched("it begins with WITH RECURSIVE")
    block = flattened(block)
    if block.sublinks:
        raise Unmatched("it asks another question inside (a subquery in an expression)")
    if block.grouping_sets is not None:
        raise Unmatched("it groups in several ways at once (ROLLUP, CUBE, GROUPING SETS)")
    if block.distinct_on:
        raise Unmatched("DISTINCT ON takes one row of many by their order")
    return block


def _check(shape: Shape) -> None:
    if not shape.grouped and not shape.measures():
        raise Unmatched("it sums nothing up: an index serves it better than a view")
    for key in shape.keys:
        if not any(references(key)):
            raise Unmatched("it groups by a constant")
        check_kept(key, shape.column)
        if any(aggregates(key)):
            raise Unmatched("it groups by an aggregate")
    for measure in shape.measures():
        check_kept(measure, shape.column)
    for tree in (*shape.predicates, *shape.having, *(one for _, one in shape.outputs)):
        check_reading(tree)
    for sort in shape.order:
        _check_sort(sort)
    for limit in (shape.statement.tree("limit_count"), shape.statement.tree("limit_offset")):
        if limit is not None and any(one.kind in {"ColumnRef", "SubLink", "FuncCall"} for one in limit.walk()):
            raise Unmatched("its LIMIT is worked out")


def _check_sort(sort: Tree) -> None:
    node = sort.tree("node")
    if node is None or sort.text("sortby_dir") == "SORTBY_USING":
        raise Unmatched("it orders by an operator of its own")
    if not any(one.kind in {"ColumnRef", "FuncCall"} for one in node.walk()):
        raise Unmatched("it orders by a constant")
    check_reading(node)


@dataclass(slots=True)
class _Reading:
    """FROM as it is read: the tables under their canonical names, and the conditions between them."""

    block: Block
    sources: list[Source] = field(default_factory=list)
    between: list[Tree] = field(default_factory=list)
    outer: list[tuple[str, frozenset[Tree]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for one in self.block.sources:
            if one.kind == "view":
                raise Unmatched(f"{one.alias} is a view: ask its tables")
            table = one.table
            if table is None or one.sampled or one.only:
                what = {"cte": "a WITH query", "subquery": "a subquery"}.get(one.kind, "something else than a table")
                raise Unmatched(f"{what} stands in FROM that does more than select rows")
            name = table.name[1]
            if table.row_security:
                raise Unmatched(f"{name} has row-level security, which does not apply to materialized views")
            if table.persistence == "t":
                raise Unmatched(f"{name} is a temporary table")
            before = sum(other.table.name[1] == name for other in self.sources)
            self.sources.append(Source(f"{name}_{before + 1}" if before else name, table, one.nullable))

    def written(self, tree: Tree) -> Tree:
        """The tree with each column written by the canonical name of its table."""
        return tree.mapped(self._written)

    def _written(self, tree: Tree) -> Tree:
        at = scope.reference(tree)
        if at is None:
            return tree
        if at.up or at.column == "*" or self.sources[at.source].table.column(at.column) is None:
            raise Unmatched("it takes whole rows, or a system's column")
        return reference(self.sources[at.source].name, at.column)

    def _column(self, ref: Tree) -> Column | None:
        source, name = named(ref)
        return next(one for one in self.sources if one.name == source).table.column(name)

    def join(self) -> None:
        """Take up the conditions of the joins: of outer ones each with the table that may be missing."""
        for join in self.block.joins:
            conditions = tuple(_canonical(self.written(one)) for one in join.on)
            if join.kind in {"inner", "cross"}:
                self.between.extend(conditions)
                continue
            missing = join.right if join.kind == "left" else join.left
            if join.kind == "full":
                raise Unmatched("a FULL JOIN stands in it")
            if len(missing) > 1:
                raise Unmatched("several tables are joined optionally at once")
            for one in conditions:
                check_kept(one, self._column)
            (number,) = missing
            self.outer.append((self.sources[number].name, frozenset(conditions)))

    def predicates(self) -> tuple[Tree, ...]:
        """The conditions on rows; those between tables become part of what is joined."""
        optional = {one.name for one in self.sources if one.optional}
        kept: list[Tree] = []
        between, self.between = self.between, []
        for one in (*between, *map(self.written, self.block.where)):
            touched = {named(ref)[0] for ref in references(one)}
            if len(touched) > 1 and not touched & optional and not any(part.kind == "ParamRef" for part in one.walk()):
                check_kept(one, self._column)
                self.between.append(one)
            elif one in between and touched & optional:
                raise Unmatched("an inner join rests on a table that is joined optionally before")
            else:
                kept.append(one)
        return tuple(dict.fromkeys(kept))

    def graph(self) -> Graph:
        """What is joined with what."""
        tables = tuple(sorted((one.name, one.table.name) for one in self.sources))
        joins = frozenset(_canonical(one) for one in self.between)
        return Graph(tables, joins, tuple(sorted(self.outer, key=lambda one: one[0])))


def _canonical(tree: Tree) -> Tree:
    """An equality with its sides in one order, whichever way it was written."""
    sides = equality(tree)
    if sides is None:
        return tree
    left, right = sorted(sides, key=str)
    return tree.replaced(lexpr=left, rexpr=right)
