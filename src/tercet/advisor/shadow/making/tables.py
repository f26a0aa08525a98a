"""The tables of a shadow as values of a Catalog, so that sizes are worked out from what its planner knows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from tercet.advisor import catalog
from tercet.advisor.shadow.sizes import Size, btree, of_columns, size
from tercet.sql import Index, Key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.shadow.making.postgres import Link

# Where the columns of a relation begin in a row of the block "columns".
_COLUMN_AT = 11


@dataclass(frozen=True, slots=True)
class Keys:
    """An index of the shadow by its columns, expressions among them."""

    table: int
    columns: tuple[catalog.Column, ...]
    count: int
    unique: bool
    method: str
    # The numbers of the table's columns; 0 for an expression.
    numbers: tuple[int, ...]


@dataclass(slots=True)
class Tables:
    """Tables and indexes by their oids, as far as they were read."""

    master: Link
    by_oid: dict[int, catalog.Table] = field(default_factory=dict)
    indexes: dict[int, Keys] = field(default_factory=dict)

    async def read(self, oid: int | None = None) -> None:
        """Read one relation, or all of them."""
        found: dict[int, list[Sequence[Any]]] = {}
        for row in await self.master.rows("columns", oid):
            found.setdefault(row[0], []).append(row)
        for number, rows in found.items():
            _, kind, schema, name, pages, tuples, table, unique, keys, count, method = rows[0][:_COLUMN_AT]
            columns = tuple(_column(row[_COLUMN_AT:]) for row in rows)
            if kind == "r":
                self.by_oid[number] = catalog.Table(
                    (schema, name), oid=number, rows=tuples, pages=pages, columns=columns
                )
            else:
                numbers = tuple(int(one) for one in keys.split())
                self.indexes[number] = Keys(table, columns, count, unique, method, numbers)

    def columns(self, oid: int) -> tuple[catalog.Column, ...]:
        """The columns of an index with the statistics of the table's."""
        keys = self.indexes[oid]
        own = {column.number: column for column in self.by_oid[keys.table].columns}
        return tuple(own.get(number) or column for number, column in zip(keys.numbers, keys.columns, strict=True))

    def height(self, oid: int, leaves: int, rows: float) -> int:
        """The levels above the leaves of a B-tree that has so many of them."""
        keys = self.indexes[oid]
        table, columns = self.by_oid[keys.table], self.columns(oid)[: keys.count]
        prefixes = [of_columns(table, columns[: at + 1], rows) for at in range(len(columns))]
        if keys.unique:
            prefixes[-1] = rows
        return btree.height(leaves, columns, prefixes, rows)[0]

    def standing(self, oid: int, rows: float) -> Size:
        """What an index that is there would be if it were made anew."""
        keys = self.indexes[oid]
        table, columns = self.by_oid[keys.table], self.columns(oid)[: keys.count]
        named = catalog.Table(table.name, pages=table.pages, columns=columns)
        index = Index("standing", table.name, [Key(column.name) for column in columns], method=keys.method)
        return size(named, index, rows)


def _column(row: Sequence[Any]) -> catalog.Column:
    name, number, kind, category, not_null, alignment, length, nulls, width, distinct, common, shares, bounds, order = (
        row
    )
    statistics = None
    if nulls is not None:
        statistics = catalog.Statistics(
            nulls, width, distinct, _texts(common), tuple(shares or ()), _texts(bounds), order
        )
    return catalog.Column(
        name,
        number,
        kind,
        category,
        not_null,
        statistics=statistics,
        alignment=cast("Literal['c', 's', 'i', 'd']", alignment),
        length=length,
    )


def _texts(values: Sequence[Any] | None) -> tuple[str, ...]:
    """The values of an array; of an array of arrays none, whose sizes nobody asks for."""
    return tuple(value for value in values or () if isinstance(value, str))
