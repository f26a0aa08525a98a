"""A view as a value that can be asked what it keeps, and its SQL."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tercet.advisor.views.statement.measure import basics, name_of, number
from tercet.advisor.views.statement.shape import Graph, aggregate, named, reference, references
from tercet.sql import Tree
from tercet.sql.condition import all_of
from tercet.sql.identifier import NAME_BYTES_MAX
from tercet.sql.tree import write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tercet.advisor.views.statement.shape import Shape, Source

# Eight hexadecimal digits tell apart two views over the same tables.
_DIGITS = 8

# The column that is the key of a view of one row.
ONLY = "only"


@dataclass(frozen=True, slots=True)
class Definition:
    """What is joined, by what it is grouped, and what of each group is kept.

    `keys` tell its rows apart; `attributes` follow from them; `measures` are aggregates; `baked` are conditions
    that every row has met.
    """

    graph: Graph
    sources: Mapping[str, Source]
    keys: tuple[Tree, ...]
    attributes: tuple[Tree, ...]
    measures: tuple[Tree, ...]
    baked: tuple[Tree, ...] = ()
    # The name of each of its columns by what it holds.
    names: Mapping[Tree, str] = field(init=False, compare=False)
    query: str = field(init=False)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", _names(self))
        object.__setattr__(self, "query", write(_select(self)))
        object.__setattr__(self, "name", _name(self))

    @property
    def schema(self) -> str:
        """The schema of its first table, which becomes its own."""
        return self.graph.tables[0][1][0]

    @property
    def key(self) -> tuple[str, ...]:
        """The names of the columns that tell its rows apart."""
        return tuple(self.names[one] for one in self.keys) or (ONLY,)


def define(shapes: Sequence[Shape], baked: Sequence[Tree] = ()) -> Definition:
    """The view that keeps what all these statements need; all have one graph."""
    first = shapes[0]
    needed = dict.fromkeys(one for shape in shapes for one in _needed(shape, baked))
    whole = determined(needed, first.sources)
    keys = tuple(one for one in needed if _primary(one, first.sources, whole) or not set(references(one)) <= whole)
    attributes = tuple(one for one in needed if one not in keys)
    measures = dict.fromkeys(
        one for shape in shapes for measure in shape.measures() for one in basics(measure, first.graph, shape.sources)
    )
    return Definition(first.graph, first.sources, keys, attributes, tuple(measures), tuple(baked))


def determined(known: Iterable[Tree], sources: Mapping[str, Source]) -> set[Tree]:
    """All columns that follow from these: of each table whose primary key is among them."""
    given = set(known)
    found = {one for one in given if one.kind == "ColumnRef"}
    for source in sources.values():
        key = {reference(source.name, column) for column in source.table.primary_key}
        if key and key <= given:
            found |= {reference(source.name, column.name) for column in source.table.columns}
    return found


def _primary(one: Tree, sources: Mapping[str, Source], whole: set[Tree]) -> bool:
    """Whether it is a column of a primary key that is there as a whole, or of a table whose key is not."""
    if one.kind != "ColumnRef":
        return False
    source, name = named(one)
    key = sources[source].table.primary_key
    if name in key:
        return True
    return not key or not {reference(source, column) for column in key} <= whole


def _needed(shape: Shape, baked: Sequence[Tree]) -> Iterator[Tree]:
    """The expressions over single rows of a group that a statement needs kept."""
    whole = determined(shape.keys, shape.sources)
    keys = tuple(one for one in shape.keys if _primary(one, shape.sources, whole) or not set(references(one)) <= whole)
    yield from keys
    for predicate in shape.predicates:
        if predicate not in baked:
            yield from _parts(predicate, shape.keys)
    for sort in shape.order:
        yield from _parts(sort, shape.keys)
    # Distinct values are counted again only where they are there, each in a row of its own.
    if not shape.grouped or any(one not in baked for one in shape.predicates):
        for measure in shape.measures():
            yield from (one for one in measure.trees("args") if measure.get("agg_distinct") and any(references(one)))
    # What follows from the key of a table that is always there is joined when the view is read.
    for one in (*(tree for _, tree in shape.outputs), *shape.having):
        for part in _parts(one, shape.keys):
            if not _joinable(part, shape.sources, whole):
                yield part


def _joinable(part: Tree, sources: Mapping[str, Source], whole: set[Tree]) -> bool:
    refs = [named(ref)[0] for ref in references(part)]
    return set(references(part)) <= whole and all(
        sources[name].table.primary_key
        and not sources[name].optional
        and {reference(name, column) for column in sources[name].table.primary_key} <= whole
        for name in refs
    )


def _parts(tree: Tree, keys: Sequence[Tree]) -> Iterator[Tree]:
    """The parts of an expression that have to be there to work it out: whole keys, else columns; no aggregates."""
    if tree in keys or tree.kind == "ColumnRef":
        yield tree
    elif not aggregate(tree):
        for one in tree.below():
            yield from _parts(one, keys)


def _names(definition: Definition) -> dict[Tree, str]:
    taken: set[str] = set()
    found: dict[Tree, str] = {}
    for one in (*definition.keys, *definition.attributes, *definition.measures):
        wishes = _wishes(one, measure=one in definition.measures)
        name = next(_cut(wish) for wish in wishes if _cut(wish) not in taken)
        taken.add(name)
        found[one] = name
    return found


def _wishes(one: Tree, *, measure: bool) -> Iterator[str]:
    if one.kind == "ColumnRef":
        source, column = named(one)
        second = f"{source}_{column}"
        # An id alone says nothing beside another table's columns.
        first = second if column == "id" else column
    elif measure:
        first = second = name_of(one)
    else:
        refs = list(references(one))
        first = second = f"{named(refs[0])[1]}_key"
    yield first
    yield second
    count = 1
    while True:
        count += 1
        yield f"{second}_{count}"


def _cut(name: str, room: int = NAME_BYTES_MAX - _DIGITS) -> str:
    return name.encode()[:room].decode(errors="ignore")


def _name(definition: Definition) -> str:
    tables = "_".join(name for name, _ in definition.graph.tables)
    by = "_".join(definition.key) if definition.keys else "all"
    digits = hashlib.sha256(definition.query.encode()).hexdigest()[:_DIGITS]
    # Room for the digits, and for "_key" of its unique index.
    return f"{_cut(f'{tables}_by_{by}', NAME_BYTES_MAX - _DIGITS - len('_key') - 1)}_{digits}"


def _select(definition: Definition) -> Tree:
    targets = [_target(name, tree) for tree, name in definition.names.items()]
    if not definition.keys:
        targets.insert(0, _target(ONLY, number(1)))
    item, left = _joined(definition)
    parts: list[tuple[str, Tree | str | tuple[Tree, ...]]] = [("target_list", tuple(targets)), ("from_clause", (item,))]
    condition = all_of((*left, *definition.baked))
    if condition is not None:
        parts.append(("where_clause", condition))
    if definition.keys:
        parts.append(("group_clause", definition.keys))
    parts += [("limit_option", "LIMIT_OPTION_DEFAULT"), ("op", "SETOP_NONE")]
    return Tree("SelectStmt", tuple(parts))


def _target(name: str, tree: Tree) -> Tree:
    return Tree("ResTarget", (("name", name), ("val", tree)))


def table(source: Source) -> Tree:
    """A table in FROM, with its schema, under its canonical name."""
    schema, name = source.table.name
    parts: tuple[tuple[str, Tree | str | int], ...] = (
        ("schemaname", schema), ("relname", name), ("inh", True), ("relpersistence", "p"),
    )  # fmt: skip
    if source.name != name:
        parts = (*parts, ("alias", Tree("Alias", (("aliasname", source.name),))))
    return Tree("RangeVar", parts)


def joined(left: Tree, right: Tree, on: tuple[Tree, ...], kind: str = "JOIN_INNER") -> Tree:
    """Both sides joined under these conditions; under none, each row with each."""
    parts: list[tuple[str, Tree | str]] = [("jointype", kind), ("larg", left), ("rarg", right)]
    condition = all_of(on)
    if condition is not None:
        parts.append(("quals", condition))
    return Tree("JoinExpr", tuple(parts))


def _joined(definition: Definition) -> tuple[Tree, tuple[Tree, ...]]:
    """FROM, each table joined as soon as a condition names it, and the conditions that found no place."""
    optional = {name for name, _ in definition.graph.outer}
    waiting = [name for name, _ in definition.graph.tables if name not in optional]
    conditions = sorted(definition.graph.joins, key=str)
    there = {waiting[0]}
    tree = table(definition.sources[waiting.pop(0)])
    while waiting:
        name = next((one for one in waiting if _ready(conditions, there, one)), waiting[0])
        waiting.remove(name)
        there.add(name)
        on = tuple(one for one in conditions if {named(ref)[0] for ref in references(one)} <= there)
        conditions = [one for one in conditions if one not in on]
        tree = joined(tree, table(definition.sources[name]), on)
    outer = list(definition.graph.outer)
    while outer:
        place = next((i for i, (name, some) in enumerate(outer) if _placed(some, {*there, name})), 0)
        name, some = outer.pop(place)
        there.add(name)
        tree = joined(tree, table(definition.sources[name]), tuple(sorted(some, key=str)), "JOIN_LEFT")
    return tree, tuple(conditions)


def _ready(conditions: Sequence[Tree], there: set[str], name: str) -> bool:
    return any(name in touched and touched <= {*there, name} for touched in map(_touched, conditions))


def _placed(on: Iterable[Tree], there: set[str]) -> bool:
    return all(_touched(one) <= there for one in on)


def _touched(tree: Tree) -> set[str]:
    return {named(ref)[0] for ref in references(tree)}
