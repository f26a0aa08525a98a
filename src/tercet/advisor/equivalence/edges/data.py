"""Small, mean data for the tables of a query: NULLs, ties, duplicates, empty groups, values around each constant."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from tercet.advisor.equivalence.edges.constants import asks_the_clock, constants, every_constant, touched
from tercet.advisor.equivalence.edges.pools import pool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tercet.advisor.catalog import Catalog, Column, Qualified, Table
    from tercet.advisor.equivalence.edges.constants import Place
    from tercet.sql.tree import Tree

Row = tuple[str | None, ...]

# Before a row whose keys are all taken is given up.
_TRIES = 12
# The most rows of a table by the number of tables: what many tables have in common multiplies.
_MOST = ((2, 500), (3, 150), (4, 40), (6, 16), (10_000, 8))
# How often a value near a constant is the constant itself: several equalities must hold at once in some row.
_EXACT = 0.5


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table, all its columns in their order, values as text."""

    table: Table
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class _Manner:
    """How one set of data is made: rows of a table that refers to nothing, and of one that refers to others."""

    parents: int
    children: int
    nulls: float
    # How many of a column's values are used: few make ties.
    values: int
    # Zero, negative numbers and the empty text too.
    extremes: bool = True
    # How often a column holds what a constant asks for.
    hits: float = 0.6
    # One table of several stays empty.
    without: bool = False


# From nothing to a few hundred rows: what differs on few rows is told with few rows.
MANNERS = (
    _Manner(0, 0, 0.0, 0),
    _Manner(1, 1, 0.0, 2, hits=0.9),
    _Manner(2, 3, 0.3, 2),
    _Manner(4, 3, 0.2, 3, hits=0.8),
    _Manner(6, 0, 0.2, 4),
    _Manner(6, 10, 0.2, 4, without=True),
    _Manner(8, 16, 0.1, 3, hits=0.95),
    _Manner(12, 25, 0.4, 6),
    _Manner(10, 20, 0.1, 5, without=True),
    _Manner(30, 60, 0.1, 30, extremes=False),
    _Manner(25, 80, 0.15, 5, hits=0.9),
    _Manner(60, 150, 0.15, 60),
    _Manner(90, 250, 0.05, 25, hits=0.8),
)


@dataclass(frozen=True, slots=True)
class Touching:
    """What queries say that rows are made by: their tables and their constants. The same for every seed."""

    tables: tuple[Table, ...]
    own: Mapping[Place, tuple[str, ...]]
    all: tuple[str, ...]
    now: bool

    @classmethod
    def of(cls, queries: Sequence[Tree], catalog: Catalog) -> Touching:
        """Of these queries."""
        tables, _ = touched(queries, catalog)
        return cls(tables, constants(queries, catalog), every_constant(queries), asks_the_clock(queries))


def edge_data(queries: Sequence[Tree], catalog: Catalog, seed: int) -> tuple[Rows, ...]:
    """Rows for every table that the queries touch, tables that others refer to first; the same for the same seed.

    They honour NOT NULL, keys and foreign keys as the catalog knows them. Seeds count from 0, where all tables
    are empty, and grow from a row to a few hundred; beyond len(MANNERS) they begin again with other values.
    """
    return data_for(Touching.of(queries, catalog), seed)


def data_for(touching: Touching, seed: int) -> tuple[Rows, ...]:
    """The same for queries that were looked at already."""
    maker = _Maker(touching, seed)
    spared, tables = maker.spared(touching.tables), in_order(touching.tables)
    for table in tables:
        maker.fill(table, spared=table.name == spared)
    return tuple(maker.made[table.name] for table in tables)


def in_order(tables: Sequence[Table]) -> tuple[Table, ...]:
    """The tables, each after those that it refers to; circles are broken somewhere."""
    by_name = {table.name: table for table in tables}
    done: dict[Qualified, Table] = {}

    def visit(table: Table, above: tuple[Qualified, ...]) -> None:
        for key in table.foreign_keys:
            target = by_name.get(key.target)
            if target is not None and target.name not in done and target.name not in above:
                visit(target, (*above, target.name))
        done.setdefault(table.name, table)

    for table in tables:
        visit(table, (table.name,))
    return tuple(done.values())


def labels_of(column: Column, words: Sequence[str]) -> tuple[str, ...]:
    """The labels that an enumeration is known to have; none for another type."""
    if column.category != "E":
        return ()
    known = column.statistics
    return tuple(dict.fromkeys((*(known.common if known else ()), *(known.histogram if known else ()), *words)))


class _Maker:
    def __init__(self, touching: Touching, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 - the same data each time is the point
        self.manner = MANNERS[seed % len(MANNERS)]
        self.made: dict[Qualified, Rows] = {}
        self.own, self.all, self.now = touching.own, touching.all, touching.now
        self.most = next(most for count, most in _MOST if count >= len(touching.tables))

    def spared(self, tables: Sequence[Table]) -> Qualified | None:
        """The table that is to stay empty this time, if there is to be one."""
        return self.random.choice(tables).name if self.manner.without and len(tables) > 1 else None

    def fill(self, table: Table, *, spared: bool) -> None:
        refers = any(key.target in self.made for key in table.foreign_keys)
        wanted = 0 if spared else self.manner.children if refers else self.manner.parents
        wanted = min(wanted, self.most)
        pools = {column.name: self._pool(table, column) for column in table.columns}
        rows: list[dict[str, str | None]] = []
        taken: set[tuple[object, ...]] = set()
        for number in range(1, wanted + 1):
            for _ in range(_TRIES):
                row = self._row(table, pools, number)
                if row is None:
                    break
                marks = _marks(table, row)
                if not taken & marks:
                    taken |= marks
                    rows.append(row)
                    break
        # Nothing may rest on the order in which rows happen to lie.
        self.random.shuffle(rows)
        names = [column.name for column in table.columns]
        self.made[table.name] = Rows(table, tuple(tuple(row[name] for name in names) for row in rows))

    def _pool(self, table: Table, column: Column) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What the column's own constants ask for, and all that it may hold."""
        words = self.own.get((table.name, column.name), ())
        labels = labels_of(column, self.all if column.category == "E" else ())
        usual = pool(column.type, (), now=self.now, labels=labels)
        if not self.manner.extremes:
            usual = tuple(one for one in usual if one.strip() and not one.startswith("-") and one.strip("0.") != "")
        near = tuple(one for one in pool(column.type, words, now=self.now) if one not in usual or one in words)
        near = near if words else ()
        if labels:
            near = tuple(word for word in words if word in labels)
        if near:
            return near, (*near, *usual)
        few = self.random.sample(usual, min(len(usual), max(1, self.manner.values)))
        return (), tuple(few)

    def _row(
        self, table: Table, pools: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]], number: int
    ) -> dict[str, str | None] | None:
        row: dict[str, str | None] = {}
        for column in table.columns:
            near, usual = pools[column.name]
            value = self._value(near, usual, self.own.get((table.name, column.name), ()))
            if not column.not_null and (value is None or self.random.random() < self.manner.nulls):
                value = None
            elif value is None:
                return None
            row[column.name] = value
        self._serial(table, row, number)
        return row if self._refer(table, row) else None

    def _value(self, near: tuple[str, ...], usual: tuple[str, ...], words: tuple[str, ...]) -> str | None:
        if near and self.random.random() < self.manner.hits:
            exact = [one for one in near if one in words] if self.random.random() < _EXACT else ()
            return self.random.choice(exact or near)
        return self.random.choice(usual) if usual else None

    def _serial(self, table: Table, row: dict[str, str | None], number: int) -> None:
        """A key of one number counts from 1 mostly, so that others meet it; one of text is told apart."""
        for key in dict.fromkeys((table.primary_key, *table.unique_keys)):
            if len(key) != 1 or row.get(key[0]) is None:
                continue
            column = table.column(key[0])
            if column is None or any(key[0] in one.columns for one in table.foreign_keys):
                continue
            if column.type in {"smallint", "integer", "bigint"} or column.type.startswith("numeric"):
                if self.random.random() < self.manner.hits or number > _TRIES:
                    row[key[0]] = str(number)
            elif column.type == "uuid":
                row[key[0]] = f"00000000-0000-4000-8000-{number:012x}"
            elif column.category == "S" and number > _TRIES:
                row[key[0]] = f"{(row[key[0]] or '')[:4]}{number}"

    def _refer(self, table: Table, row: dict[str, str | None]) -> bool:
        """Let foreign keys hold values of rows that are there, or NULL."""
        for key in table.foreign_keys:
            target = self.made.get(key.target)
            if target is None:
                continue  # not touched, or the table itself: then whatever dangles is taken away at the end
            nullable = [name for name in key.columns if (one := table.column(name)) is not None and not one.not_null]
            if target.rows and not (nullable and self.random.random() < self.manner.nulls):
                # Few parents have many children, and some none.
                reach = max(1, int(len(target.rows) * self.random.choice((0.2, 0.8, 0.8))))
                chosen = target.rows[self.random.randrange(reach)]
                at = {column.name: place for place, column in enumerate(target.table.columns)}
                for mine, theirs in zip(key.columns, key.target_columns, strict=True):
                    row[mine] = chosen[at[theirs]]
            elif nullable:
                row.update(dict.fromkeys(nullable[:1]))
            else:
                return False
        return True


def _marks(table: Table, row: Mapping[str, str | None]) -> set[tuple[object, ...]]:
    """What no other row may have: its value of each key, where no part of it is NULL."""
    found: set[tuple[object, ...]] = set()
    for key in {table.primary_key, *table.unique_keys} - {()}:
        values = tuple(row[name] for name in key)
        if None not in values:
            found.add((key, values))
    return found
