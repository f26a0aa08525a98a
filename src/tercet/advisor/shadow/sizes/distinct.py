"""How many distinct values a column has, and how many combinations several have together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tercet.advisor.catalog import Column, Table

# What the planner itself assumes where nobody has looked.
_UNKNOWN = 200.0


def of_column(column: Column, rows: float) -> float:
    """The distinct values of a column, without NULL."""
    statistics = column.statistics
    if statistics is None or statistics.distinct == 0:
        return min(_UNKNOWN, max(rows, 1.0))
    found = -statistics.distinct * rows if statistics.distinct < 0 else statistics.distinct
    return min(max(found, 1.0), max(rows, 1.0))


def of_columns(
    table: Table, columns: Sequence[Column], rows: float, known: Mapping[frozenset[str], float] | None = None
) -> float:
    """The distinct combinations in so many of a table's rows: as many as are known, else as chance leaves.

    So many rows fall on the product's places by chance; columns that depend on each other have fewer, which only
    extended statistics or a sample can tell: `known`, as a share of the table's rows.
    """
    rows = max(rows, 1.0)
    whole = max(table.rows, rows)
    names = frozenset(column.name for column in columns)
    if any(names >= set(key) for key in table.unique_keys):
        return rows
    found = _of_whole(columns, whole, known or {})
    if rows >= whole:
        return found
    # Of a part of the rows a combination is missing if none of its rows is among them.
    return min(rows, max(1.0, -found * math.expm1(whole / found * math.log1p(-rows / whole))))


def _of_whole(columns: Sequence[Column], rows: float, known: Mapping[frozenset[str], float]) -> float:
    exact = known.get(frozenset(column.name for column in columns))
    if exact is not None:
        return min(max(exact * rows, 1.0), rows)
    least, places = 1.0, 1.0
    for column in columns:
        single = known.get(frozenset((column.name,)))
        one = single * rows if single is not None else of_column(column, rows)
        least, places = max(least, one), places * one
    if len(columns) == 1 or places <= 1:
        return min(places, rows)
    met = places * -math.expm1(-rows / places)
    return min(max(least, met), rows)
