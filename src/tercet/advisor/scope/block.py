"""A query with its names resolved: blocks, their sources and joins, keys, outputs and the blocks inside of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tercet.sql.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.catalog import Table

SourceKind = Literal["table", "subquery", "cte", "view", "function", "values"]
JoinKind = Literal["inner", "left", "right", "full", "cross"]
BlockKind = Literal["select", "values", "set", "insert", "update", "delete", "merge"]
Place = Literal["where", "on", "having", "output", "group", "order", "from", "limit", "set"]

# The kinds of tree that stand in resolved expressions in place of PostgreSQL's ColumnRef, and of a SubLink's query.
COLUMN = "Column"
BLOCK = "Block"
# The column that stands for a whole row ("t" where a value is expected, count(t.*)).
WHOLE_ROW = "*"


@dataclass(frozen=True, slots=True)
class Reference:
    """A column of a source of this block, or of the block `up` levels further out."""

    source: int
    column: str
    up: int = 0


def column(source: int, name: str, *, alias: str, shown: str = "", up: int = 0) -> Tree:
    """The tree of a resolved column; `alias` and `shown` are how the text names the source and the column."""
    parts = (("source", source), ("column", name), ("up", up), ("alias", alias), ("shown", shown or name))
    return Tree(COLUMN, parts)


def reference(tree: Tree | None) -> Reference | None:
    """What a resolved column refers to; None for every other tree."""
    if tree is None or tree.kind != COLUMN:
        return None
    (_, source), (_, name), (_, up), *_ = tree.parts
    return Reference(source, name, up)  # type: ignore[arg-type]  # as `column` has put them there


def references(tree: Tree) -> Iterator[Reference]:
    """Every column in a resolved tree, as often as it stands there; what subqueries use is theirs."""
    for one in tree.walk():
        if one.kind == COLUMN:
            found = reference(one)
            if found is not None:
                yield found


@dataclass(frozen=True, slots=True)
class Source:
    """What a block reads rows from; `number` is its place in the block's `sources`.

    `columns` are their names where they come from, `shown` those that this block knows them by ("t as a (x, y)"),
    `types` theirs as far as known. `nullable`: an outer join may put NULLs in place of its rows. `table` is that of
    kind "table"; `block` the query of a subquery, a view or a use of a WITH query (None inside of a recursive one's
    own text). `loose`: a function whose columns nobody knows; any name may be one of them.
    """

    number: int
    kind: SourceKind
    alias: str
    columns: tuple[str, ...]
    shown: tuple[str, ...]
    types: tuple[str | None, ...]
    table: Table | None = None
    block: Block | None = None
    cte: str = ""
    # A function's or VALUES' own trees.
    trees: tuple[Tree, ...] = ()
    lateral: bool = False
    nullable: bool = False
    # "from only t".
    only: bool = False
    sampled: bool = False
    loose: bool = False

    def type(self, name: str) -> str | None:
        """The type of one of its columns, if that is known."""
        return self.types[self.columns.index(name)] if name in self.columns else None

    def output(self, name: str) -> Output | None:
        """The output of its query that one of its columns is; None for what is of no query, and for a whole row."""
        at = self.columns.index(name) if self.block is not None and name in self.columns else None
        # SEARCH and CYCLE give a WITH query columns that its text does not have.
        if self.block is None or at is None or at >= len(self.block.outputs):
            return None
        return self.block.outputs[at]


@dataclass(frozen=True, slots=True)
class Join:
    """A JOIN of the FROM clause; `left` and `right` are the sources below it, `on` its conjuncts (USING's too)."""

    kind: JoinKind
    left: frozenset[int]
    right: frozenset[int]
    on: tuple[Tree, ...]
    using: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """A column of the answer: its name, and the expression that it is."""

    name: str
    tree: Tree


@dataclass(frozen=True, slots=True)
class Order:
    """One key of ORDER BY; `output` is the place of the answer's column that it is, if it is one."""

    tree: Tree
    descending: bool = False
    # As it works, whether it was written or is the usual (last going up, first going down).
    nulls_first: bool = False
    output: int | None = None
    # Whether NULLS FIRST or LAST was written.
    nulls_written: bool = False


@dataclass(frozen=True, slots=True)
class Sublink:
    """A subquery inside of an expression; Tree("Block") with its number stands for it there."""

    kind: Literal["exists", "any", "all", "scalar", "array", "row"]
    block: Block
    # Where in the block it stands.
    place: Place
    # What stands left of IN, ANY or ALL, and the operator between ("=" for IN).
    test: Tree | None = None
    operator: str = ""


@dataclass(frozen=True, slots=True)
class Cte:
    """A WITH query. PostgreSQL computes it apart unless it is used once, or told not to."""

    name: str
    block: Block
    uses: int
    recursive: bool = False
    materialized: Literal["", "always", "never"] = ""

    @property
    def inlined(self) -> bool:
        """Whether it is planned as a part of what uses it."""
        if self.recursive or self.block.kind in {"insert", "update", "delete", "merge"} or self.block.locking:
            return False
        return self.materialized == "never" or (self.materialized == "" and self.uses == 1)


@dataclass(frozen=True, slots=True)
class Block:
    """One query level. In its trees each ColumnRef has become Tree("Column"): read it with `reference`.

    `tree` is the text's own tree of it. `operation` with its two `operands` is a set operation, whose outputs are
    columns of the operands by name and place; an INSERT has its query as operand. Of UPDATE, DELETE and MERGE the
    target is the first source, and `assignments` what SET writes; their outputs are RETURNING's. `windows` are calls
    with OVER, each with its window written out; `aggregates` calls without. `grouping_sets` is None for a plain
    GROUP BY, and () has only aggregates over all rows as its meaning if `grouped` is true.
    """

    kind: BlockKind
    tree: Tree
    sources: tuple[Source, ...] = ()
    joins: tuple[Join, ...] = ()
    where: tuple[Tree, ...] = ()
    having: tuple[Tree, ...] = ()
    group: tuple[Tree, ...] = ()
    grouping_sets: tuple[tuple[Tree, ...], ...] | None = None
    order: tuple[Order, ...] = ()
    limit: Tree | None = None
    offset: Tree | None = None
    with_ties: bool = False
    distinct: bool = False
    distinct_on: tuple[Tree, ...] = ()
    outputs: tuple[Output, ...] = ()
    aggregates: tuple[Tree, ...] = ()
    windows: tuple[Tree, ...] = ()
    sublinks: tuple[Sublink, ...] = ()
    ctes: tuple[Cte, ...] = ()
    operation: Literal["", "union", "intersect", "except"] = ""
    all: bool = False
    operands: tuple[Block, ...] = ()
    rows: tuple[tuple[Tree, ...], ...] = ()
    assignments: tuple[Output, ...] = ()
    # The table that INSERT writes; of UPDATE, DELETE and MERGE it is the first source's.
    target: Table | None = None
    locking: bool = False
    # What this block, or one inside of it, uses of blocks further out, seen from here: `up` is at least 1.
    outer: frozenset[Reference] = field(default=frozenset())

    @property
    def correlated(self) -> bool:
        """Whether it depends on a row of a block further out."""
        return bool(self.outer)

    @property
    def grouped(self) -> bool:
        """Whether its rows are groups."""
        return bool(self.group or self.grouping_sets is not None or self.aggregates or self.having)

    def below(self) -> Iterator[Block]:
        """The blocks directly inside of it; a WITH query is told once, where it is written."""
        for cte in self.ctes:
            yield cte.block
        for source in self.sources:
            if source.block is not None and source.kind != "cte":
                yield source.block
        yield from self.operands
        for sublink in self.sublinks:
            yield sublink.block

    def walk(self) -> Iterator[Block]:
        """This block and all inside of it."""
        yield self
        for one in self.below():
            yield from one.walk()

    def output(self, name: str) -> Output | None:
        """The first column of the answer of this name."""
        return next((one for one in self.outputs if one.name == name), None)
