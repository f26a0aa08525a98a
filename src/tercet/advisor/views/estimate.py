"""How many rows a view would hold, by the statistics of its tables."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING

from tercet.advisor.views.statement.shape import called, fixed, named, references

if TYPE_CHECKING:
    from tercet.advisor.catalog import Column, Table
    from tercet.advisor.views.definition import Definition
    from tercet.sql import Tree

# Of a table that was never analysed, and of a column of which nothing is known (the planner's own guess).
_ROWS_UNKNOWN = 1_000.0
_DISTINCT_UNKNOWN = 200.0
# What a condition leaves of which nothing is known (the planner's own guess for a range).
_SHARE_UNKNOWN = 1 / 3
# The months of a year and its quarters, on average.
_UNIT_SECONDS = {
    "second": 1.0, "minute": 60.0, "hour": 3_600.0, "day": 86_400.0, "week": 604_800.0, "month": 2_629_746.0,
    "quarter": 7_889_238.0, "year": 31_556_952.0,
}  # fmt: skip


def view_rows(definition: Definition) -> float:
    """The number of rows, at least one."""
    whole: set[str] = set()
    rows = 1.0
    for name, source in definition.sources.items():
        columns = {named(key)[1] for key in definition.keys if key.kind == "ColumnRef" and named(key)[0] == name}
        if source.table.primary_key and set(source.table.primary_key) <= columns:
            whole.add(name)
            rows *= table_rows(source.table)
    for key in definition.keys:
        if key.kind != "ColumnRef" or named(key)[0] not in whole:
            rows *= _distinct(key, definition)
    # A key of an outer join's first table has its rows even where the other has none.
    share = math.prod(_share(one, definition) for one in definition.baked)
    return max(min(rows, base_rows(definition)) * share, 1.0)


def base_rows(definition: Definition) -> float:
    """The rows of what is joined, taken as those of its largest table: joins mostly follow keys."""
    return max(table_rows(source.table) for source in definition.sources.values())


def table_rows(table: Table) -> float:
    """The rows of a table as it was last analysed."""
    return table.rows if table.rows >= 0 else _ROWS_UNKNOWN


def column_distinct(column: Column | None, rows: float) -> float:
    """The number of values of a column."""
    if column is None or column.statistics is None or column.statistics.distinct == 0:
        return min(_DISTINCT_UNKNOWN, rows)
    distinct = column.statistics.distinct
    return max(distinct if distinct > 0 else -distinct * rows, 1.0)


def _distinct(key: Tree, definition: Definition) -> float:
    found = 1.0
    for ref in dict.fromkeys(references(key)):
        source, name = named(ref)
        table = definition.sources[source].table
        found *= column_distinct(table.column(name), table_rows(table))
        unit = _unit(key)
        if unit is not None:
            found = min(found, _moments(table.column(name), unit))
    return found


def _unit(key: Tree) -> float | None:
    """The seconds of the unit to which an expression cuts a moment."""
    for one in key.walk():
        if one.kind == "FuncCall" and called(one) == "date_trunc":
            text = one.trees("args")[0].tree("sval")
            return _UNIT_SECONDS.get(text.text("sval").lower()) if text is not None else None
        if one.kind == "TypeCast":
            into = one.tree("type_name")
            if into is not None and into.trees("names")[-1].text("sval") == "date":
                return _UNIT_SECONDS["day"]
    return None


def _moments(column: Column | None, unit: float) -> float:
    """How many units lie between the first and the last value that statistics know."""
    values = () if column is None or column.statistics is None else column.statistics.histogram
    try:
        first, last = (datetime.fromisoformat(values[place]) for place in (0, -1))
        return (last - first).total_seconds() / unit + 1
    except (IndexError, ValueError, TypeError):
        # Nothing is known, or it lies outside of what Python's calendar holds.
        return math.inf


def _share(predicate: Tree, definition: Definition) -> float:
    """The share of rows that an equality leaves."""
    column = fixed(predicate)
    if column is None or column.kind != "ColumnRef":
        return _SHARE_UNKNOWN
    source, name = named(column)
    table = definition.sources[source].table
    found = table.column(name)
    text = next((inner.text("sval") for one in predicate.walk() if (inner := one.tree("sval"))), "")
    if found is not None and found.statistics is not None and text in found.statistics.common:
        return found.statistics.common_frequencies[found.statistics.common.index(text)]
    return 1 / column_distinct(found, table_rows(table))
