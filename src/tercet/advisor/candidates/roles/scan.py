"""What one table is asked for in one place of a statement, by the role that each column plays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tercet.sql import Expression

if TYPE_CHECKING:
    from tercet.advisor.catalog import Column, Table

Test = Literal[
    "equal", "any", "null", "yes", "range", "not_null", "unlike", "like", "ilike", "regex", "search",
    "contains", "has", "overlap",
]  # fmt: skip

# What an index finds by going down once for each value …
EQUALITIES = frozenset({"equal", "any", "null", "yes"})
# … and those of them that leave one value, so that what follows in the index lies in order.
SINGLE = frozenset({"equal", "null", "yes"})


@dataclass(frozen=True, slots=True)
class Term:
    """What can be a key: a column, or an expression over columns of one table.

    `fit` tells whether an index may hold it: an expression must be immutable.
    """

    of: str | Expression
    columns: frozenset[str]
    type: str = ""
    column: Column | None = None
    fit: bool = True

    @property
    def plain(self) -> bool:
        """Whether it is a column as it is."""
        return self.column is not None

    @property
    def sql(self) -> str:
        """As a person reads it."""
        return self.of.sql if isinstance(self.of, Expression) else self.of


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that all rows of the scan must hold; `share` of the table's rows do, as far as statistics tell.

    `sql` is how it stands in an index's WHERE, and None where it does not stay the same from call to call.
    """

    test: Test
    term: Term
    share: float
    sql: str | None = None
    # The constant, where there is one: a pattern, a value. None with $1.
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """One key of an ORDER BY; `nulls_first` is worked out where the statement does not say it."""

    term: Term
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """Terms that are compared with another source's columns, all of them with the same source.

    `outer` is a source of the statement around this one: a correlated subquery.
    """

    terms: tuple[Term, ...]
    other: str
    outer: bool = False


@dataclass(frozen=True, slots=True)
class Scan:
    """One table in one place of one statement."""

    table: Table
    query: str
    weight: float
    conditions: tuple[Condition, ...] = ()
    links: tuple[Link, ...] = ()
    # Only where all keys of the ORDER BY are of this table.
    order: tuple[Order, ...] = ()
    limited: bool = False
    group: tuple[Term, ...] = ()
    # What min and max are asked of.
    extremes: tuple[Term, ...] = ()
    # All columns that the statement needs of the table; None if it needs the rows themselves.
    used: frozenset[str] | None = None
    # Those of them that stand in one place only.
    once: frozenset[str] = frozenset()
    # Where it stands, for the reason that is given.
    place: str = field(default="", compare=False)

    @property
    def equal(self) -> tuple[Condition, ...]:
        """Equalities of plain columns, the most selective first."""
        return self._by_share(EQUALITIES, plain=True)

    @property
    def ranges(self) -> tuple[Condition, ...]:
        """Ranges of plain columns, the most selective first."""
        return self._by_share(frozenset({"range"}), plain=True)

    @property
    def single(self) -> tuple[Condition, ...]:
        """Equalities of plain columns that leave one value."""
        return self._by_share(SINGLE, plain=True)

    def by(self, *tests: Test) -> tuple[Condition, ...]:
        """The conditions of these tests whose term an index may hold, expressions too."""
        return self._by_share(frozenset(tests), plain=False)

    def _by_share(self, tests: frozenset[str], *, plain: bool) -> tuple[Condition, ...]:
        found: dict[str, Condition] = {}
        for one in self.conditions:
            if one.test in tests and one.term.fit and (one.term.plain or not plain):
                found.setdefault(one.term.sql, one)
        return tuple(sorted(found.values(), key=lambda one: (one.share, one.term.sql)))
