"""What a condition asks of one source's rows, as far as an index could answer it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tercet.advisor.scope.block import reference

if TYPE_CHECKING:
    from tercet.advisor.scope.block import Place
    from tercet.sql.tree import Tree

Kind = Literal[
    "equal",  # key = value
    "in",  # key IN (values), key = ANY (one array)
    "range",  # lower and upper, or one of them
    "prefix",  # LIKE 'x%', ~ '^x', ^@, starts_with
    "pattern",  # every other LIKE, ILIKE, SIMILAR TO and regular expression, and pg_trgm's %
    "null",
    "not_null",
    "boolean",  # a column that is a condition itself; `negated` for NOT
    "search",  # tsvector @@ tsquery
    "contains",  # @> <@ && ? ?| ?& @? on arrays, jsonb, ranges; @@ on jsonb
    "join",  # key = something of other sources, or of a block further out
    "query",  # EXISTS, IN (SELECT …): `sublink`
    "or",  # `alternatives`
    "other",
]


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of a range."""

    tree: Tree
    inclusive: bool


@dataclass(frozen=True, slots=True)
class Predicate:
    """One or more conjuncts (`trees`) of a block, and what they ask.

    `key` is the side that is of one source, a column or an expression over its columns; `values` what it is compared
    with, which is the same for every row of the block (constants, parameters, subqueries that stand alone, and
    columns of blocks further out). `operator` is as if the key stood at the left. A join is told from both sides.
    """

    kind: Kind
    trees: tuple[Tree, ...]
    place: Place
    # Which of the block's joins it is ON.
    join: int | None = None
    # The source that it asks something of; None if it is of none, or of several.
    source: int | None = None
    # All that it needs.
    sources: frozenset[int] = frozenset()
    key: Tree | None = None
    operator: str = ""
    values: tuple[Tree, ...] = ()
    lower: Bound | None = None
    upper: Bound | None = None
    # Of a join: the other side, and its source if it is of one of this block.
    other: Tree | None = None
    other_source: int | None = None
    # Whether a column of a block further out takes part.
    correlated: bool = False
    alternatives: tuple[tuple[Predicate, ...], ...] = ()
    sublink: int | None = None
    negated: bool = False
    # Whether rows of `source` that do not fulfil it need not be read: not so where an outer join's ON speaks of the
    # side that is kept whole, nor in HAVING.
    narrows: bool = True
    # Whether each row that the block answers has passed it: not so of an outer join's ON.
    always: bool = True

    @property
    def column(self) -> str | None:
        """The key's name, if it is a plain column."""
        found = reference(self.key)
        return found.column if found is not None else None

    @property
    def other_column(self) -> str | None:
        """The other side's name, if that is a plain column."""
        found = reference(self.other)
        return found.column if found is not None else None

    @property
    def tree(self) -> Tree:
        """The first of its conjuncts, mostly the only one."""
        return self.trees[0]
