"""How many of a table's rows a condition leaves, as its statistics tell."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tercet.advisor.catalog import Column, Statistics, Table

# What PostgreSQL itself assumes where it knows nothing (selfuncs.h): an equality, a closed range and a pattern.
EQUAL_UNKNOWN = 0.005
BETWEEN_UNKNOWN = 0.005
PATTERN_UNKNOWN = 0.005
# Of an open range it assumes a third; here it is to be tried, since its bound may be anything.
RANGE_UNKNOWN = 0.25
# A pattern with a beginning or a middle of this many letters; each letter leaves about a fifth.
_LETTER = 0.2


def distinct(column: Column, rows: float) -> float | None:
    """The number of values that a column has; None where nobody has counted."""
    known = column.statistics
    if known is None or known.distinct == 0:
        return None
    return known.distinct if known.distinct > 0 else max(1.0, -known.distinct * max(rows, 1.0))


def equal(column: Column | None, table: Table, value: str | None) -> float:
    """The share of rows that hold one value; without the value, of one that is neither frequent nor rare."""
    known = column.statistics if column is not None else None
    if column is None or known is None:
        return EQUAL_UNKNOWN
    values = distinct(column, table.rows)
    if value is not None and value in known.common:
        return known.common_frequencies[known.common.index(value)]
    if values is None:
        return EQUAL_UNKNOWN
    if value is None:
        return min(1.0, (1 - known.null_fraction) / max(values, 1.0))
    rest = max(0.0, 1 - known.null_fraction - sum(known.common_frequencies))
    others = values - len(known.common)
    return min(1.0, rest / others) if others >= 1 else 1 / max(table.rows, 1.0)


def null(column: Column | None) -> float:
    """The share of rows that hold no value."""
    known = column.statistics if column is not None else None
    return EQUAL_UNKNOWN if known is None else known.null_fraction


def between(column: Column | None, low: str | None, high: str | None, *, bounds: int = 2) -> float:
    """The share of rows between two values; `bounds` of them are asked, and None is one that nobody knows yet."""
    known = column.statistics if column is not None else None
    if column is None or known is None or (low is None and high is None):
        return BETWEEN_UNKNOWN if bounds > 1 else RANGE_UNKNOWN
    below = 0.0 if low is None else _below(column, known, low)
    above = 1.0 if high is None else _below(column, known, high)
    if below is None or above is None:
        return BETWEEN_UNKNOWN if bounds > 1 else RANGE_UNKNOWN
    return min(1.0, max(above - below, 0.0)) * (1 - known.null_fraction)


def pattern(literal: str) -> float:
    """The share of rows that hold a piece of text of this length somewhere."""
    return max(1e-5, _LETTER ** len(literal)) if literal else PATTERN_UNKNOWN


def _below(column: Column, known: Statistics, value: str) -> float | None:
    """The share of the values that are smaller, by the common ones and the histogram; None if they do not compare."""
    mark = _place(column, value)
    if mark is None:
        return None
    common = sum(
        frequency
        for one, frequency in zip(known.common, known.common_frequencies, strict=False)
        if (place := _place(column, one)) is not None and place < mark
    )
    steps = [place for one in known.histogram if (place := _place(column, one)) is not None]
    rest = max(0.0, 1 - sum(known.common_frequencies) - known.null_fraction)
    part = _position(steps, mark) if len(steps) > 1 else 0.5 if rest else 0.0
    return (common + part * rest) / max(1 - known.null_fraction, 1e-9)


def _position(steps: list[float], mark: float) -> float:
    if mark <= steps[0]:
        return 0.0
    if mark >= steps[-1]:
        return 1.0
    step = next(number for number, end in enumerate(steps[1:]) if mark <= end)
    low, high = steps[step], steps[step + 1]
    inside = (mark - low) / (high - low) if high > low else 0.5
    return (step + inside) / (len(steps) - 1)


def _place(column: Column, value: str) -> float | None:
    """A value as a number that keeps its order: of numbers and of days and times."""
    try:
        if column.category == "N":
            return float(value)
        if column.category == "D":
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return None
