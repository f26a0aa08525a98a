"""What lies below a plan: the tables and indexes by the names that it calls them."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tercet.sql.identifier import table_parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tercet.advisor.catalog import Catalog, Standing, Table
    from tercet.advisor.port import Supposed
    from tercet.sql import Index

# The size of a page, unless the server was built otherwise.
PAGE_BYTES = 8192

# What PostgreSQL starts with, in its own units.
_DEFAULTS = {
    "random_page_cost": 4.0,
    "seq_page_cost": 1.0,
    "cpu_tuple_cost": 0.01,
    "cpu_index_tuple_cost": 0.005,
    "cpu_operator_cost": 0.0025,
    # Pages.
    "shared_buffers": 16384.0,
    "effective_cache_size": 524288.0,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """An index as a plan's step sees it: how many pages, levels and rows, and whose order the table follows."""

    pages: float
    height: int
    tuples: float
    # Of the leading column with the order of rows in the table, 0 where nobody knows.
    correlation: float
    columns: tuple[str, ...] = ()

    @property
    def planned_correlation(self) -> float:
        """What the planner makes of it: it trusts an index of several columns less."""
        return self.correlation * (0.75 if len(self.columns) > 1 else 1.0)


class Ground:
    """Tables and indexes of one catalogue, and those that are only supposed."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._standing: dict[str, tuple[Table, Standing]] = {}
        # By name: the supposed ones, and those of the standing that were asked for.
        self._shapes: dict[str, Shape] = {}
        self._settings: dict[str, float] = {}
        for table in catalog.tables.values():
            for one in table.indexes:
                self._standing[one.index.name] = (table, one)

    def under(self, search_path: Sequence[str]) -> Ground:
        """The same ground, where a table's name without a schema means what it means under this search_path."""
        other = copy(self)
        other.catalog = replace(self.catalog, search_path=tuple(search_path))
        return other

    def learn(self, index: Index, supposed: Supposed) -> None:
        """From now on, plans may name this one."""
        table = self.table_of(index)
        pages = max(supposed.size_bytes / PAGE_BYTES, 1.0)
        tuples = supposed.tuples or max(table.rows if table else 0.0, 1.0)
        self._shapes[index.name] = _shape(index, table, pages, supposed.height, tuples)

    def table_of(self, index: Index) -> Table | None:
        """The table of an index, if the catalogue has it."""
        *schema, name = table_parts(index.table)
        return self.catalog.find(name, schema[0] if schema else None)

    def table(self, name: str | None, schema: str | None) -> Table | None:
        """The table that a step names."""
        return None if name is None else self.catalog.find(name, schema)

    def shape(self, name: str | None) -> Shape | None:
        """The index that a step names."""
        if name is None:
            return None
        if name not in self._shapes and name in self._standing:
            table, one = self._standing[name]
            self._shapes[name] = _shape(one.index, table, max(one.pages, 1), None, max(one.tuples, 1.0))
        return self._shapes.get(name)

    def setting(self, name: str) -> float:
        """A setting as a number, PostgreSQL's default where the catalogue does not tell it."""
        if name not in self._settings:
            try:
                self._settings[name] = float(self.catalog.settings[name])
            except (KeyError, ValueError):
                self._settings[name] = _DEFAULTS[name]
        return self._settings[name]

    @property
    def tables_bytes(self) -> int:
        """What all tables take, without indexes."""
        return sum(table.size_bytes or table.pages * PAGE_BYTES for table in self._real())

    def _real(self) -> Iterable[Table]:
        return (table for table in self.catalog.tables.values() if table.kind in {"r", "m"})


def _shape(index: Index, table: Table | None, pages: float, height: int | None, tuples: float) -> Shape:
    columns = tuple(key.of for key in index.keys if isinstance(key.of, str))
    first = index.keys[0].of
    column = table.column(first) if table and isinstance(first, str) else None
    known = column.statistics.correlation if column and column.statistics else None
    if height is None:
        # A level holds some hundred times as many pages as the one above it.
        height, left = 0, pages
        while left > 1:
            left, height = left / 300, height + 1
    return Shape(pages, height, tuples, known or 0.0, columns)
