"""How PostgreSQL lays rows of an index out: alignment, short values, and what a value of a type takes."""

from __future__ import annotations

import math
import random
from bisect import bisect
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.catalog import Column, Statistics

# Bytes of a page that items and their pointers may take: without the header and a B-tree's own end.
PAGE = 8192
ROOM = PAGE - 24 - 16
POINTER = 4
_HEADER = 8
# The bitmap of NULLs has room for all 32 columns of an index.
_HEADER_WITH_NULLS = 16
_MAXALIGN = 8
_ALIGNMENTS = {"c": 1, "s": 2, "i": 4, "d": 8}
# Longer values keep four bytes of length, and are aligned for it.
_SHORT_MAX = 127
_LONG_HEADER = 4
# An index compresses what is longer than this, to roughly half if it is text.
_COMPRESSED_FROM = 512

# So many rows are drawn to know the mean size of a tuple; it is off by well under a percent then.
_DRAWS = 400
_SEED = 5
# Columns whose draws are kept, a few kilobytes each: one column is drawn for every index that it is in.
_COLUMNS_MAX = 1000


def aligned(size: float, to: int = _MAXALIGN) -> int:
    """The next multiple at or above."""
    return -(-int(size) // to) * to


def tuples(columns: Sequence[Column]) -> list[int]:
    """The sizes of index tuples of these columns, drawn as the statistics say that values are spread."""
    drawn = list(zip(*(_values(column) for column in columns), strict=True)) if columns else [()] * _DRAWS
    # Few values differ in size, so few rows do.
    sizes = {row: _tuple(columns, row) for row in set(drawn)}
    return [sizes[row] for row in drawn]


def null_tuple(count: int) -> int:
    """The size of an index tuple in which every column is NULL."""
    return _HEADER_WITH_NULLS if count else _HEADER


def _tuple(columns: Sequence[Column], sizes: Sequence[int | None]) -> int:
    at = 0
    for column, size in zip(columns, sizes, strict=True):
        if size is None:
            continue
        long = column.length == -1 and size > _SHORT_MAX
        step = 1 if column.length == -1 and not long else _ALIGNMENTS[column.alignment]
        at = aligned(at, step) + size
    return aligned((_HEADER_WITH_NULLS if None in sizes else _HEADER) + at)


@lru_cache(maxsize=_COLUMNS_MAX)
def _values(column: Column) -> tuple[int | None, ...]:
    """So many sizes of values of a column, NULLs among them."""
    statistics = column.statistics
    nulls = statistics.null_fraction if statistics else 0.0
    sizes, shares = _known(column, statistics)
    if nulls <= 0 and min(sizes) == max(sizes):
        return (sizes[0],) * _DRAWS
    chance = random.Random(f"{_SEED} {column.name}")  # noqa: S311 - no secret: the same draws every time
    ends = list(accumulate(shares))
    last = len(sizes) - 1
    return tuple(
        None if chance.random() < nulls else sizes[bisect(ends, chance.random() * ends[-1], 0, last)]
        for _ in range(_DRAWS)
    )


def _known(column: Column, statistics: Statistics | None) -> tuple[list[int], list[float]]:
    """Sizes that occur and how often: of the common values and, each for as many rows, of the histogram's."""
    if column.length > 0:
        return [column.length], [1.0]
    if statistics is None:
        return [32], [1.0]
    values = [(one, share) for one, share in zip(statistics.common, statistics.common_frequencies, strict=False)]
    rest = max(0.0, 1.0 - statistics.null_fraction - sum(statistics.common_frequencies))
    values += [(one, rest / len(statistics.histogram)) for one in statistics.histogram]
    if column.category == "S":
        found = [_text(one) for one, _ in values]
    elif column.type.startswith("numeric"):
        found = [_numeric(one) for one, _ in values]
    else:
        found = []
    weights = [share for _, share in values]
    if not found or sum(weights) <= 0:
        return [max(1, round(statistics.width))], [1.0]
    return found, weights


def _text(value: str) -> int:
    length = len(value.encode()) + 1
    if length <= _SHORT_MAX:
        return length
    length += _LONG_HEADER - 1
    return length if length < _COMPRESSED_FROM else max(_COMPRESSED_FROM // 2, length // 2)


def _numeric(value: str) -> int:
    """Two bytes of head, two for each four decimal digits that are not all zero at an end, one of length."""
    whole, _, fraction = value.lstrip("-").partition(".")
    if not whole.isdigit():
        return 3
    whole = whole.lstrip("0")
    groups = [(whole.zfill(aligned(len(whole), 4)))[at : at + 4] for at in range(0, aligned(len(whole), 4), 4)]
    groups += [fraction.ljust(aligned(len(fraction), 4), "0")[at : at + 4] for at in range(0, len(fraction), 4)]
    while groups and groups[0] == "0000":
        groups.pop(0)
    while groups and groups[-1] == "0000":
        groups.pop()
    return 3 + 2 * len(groups)


def heap_tuple(columns: Sequence[Column]) -> int:
    """The mean size of a row of a table with these columns, with its pointer."""
    drawn = tuples(columns)
    # A row's head takes 24 bytes where that of an index takes 8.
    return math.ceil(sum(drawn) / len(drawn)) + 24 - _HEADER + POINTER
