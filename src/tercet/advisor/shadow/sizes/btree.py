"""The size of a B-tree as CREATE INDEX would leave it: nine tenths full, equal keys sharing an entry."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tercet.advisor.shadow.sizes.layout import POINTER, ROOM, aligned, null_tuple, tuples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.catalog import Column

# A leaf is closed when less than a tenth of the page is left; the last tuple of it begins the next one.
_LEAF_ROOM = ROOM - 2 * POINTER - 819
# A page above the leaves is closed at seven tenths.
_INNER_ROOM = ROOM - 2 * POINTER - 2457
# A posting list with its key takes at most a tenth of a page.
_POSTING_MAX = 808
_TID = 6
# With more than this a group, how many it is exactly makes no difference to its mean size.
_SPREAD_MAX = 60.0
_INNER_TUPLE_MIN = 16


def leaf_pages(columns: Sequence[Column], rows: float, distinct: float, *, shared: bool) -> int:
    """How many leaves hold so many rows of so many distinct keys; `shared` says whether equal keys share an entry.

    `columns` are those of the keys and those that are carried along.
    """
    if rows < 1:
        return 1
    sizes = tuples(columns)
    mean = sum(sizes) / len(sizes)
    if not shared or distinct >= rows:
        return _leaves(rows * (mean + POINTER), sizes)
    total = 0.0
    groups, rest = list(_common(columns, rows)), rows
    for number in groups:
        total += _group(mean, number)
        rest -= number
    nulls = _all_null(columns) * rows
    if nulls >= 1:
        total += _group(null_tuple(len(columns)), nulls)
        rest -= nulls
    rest = max(rest, 0.0)
    others = min(max(distinct - len(groups) - (nulls >= 1), 1.0 if rest >= 1 else 0.0), rest)
    if others >= 1:
        spread = {size: _spread(size, rest / others) for size in set(sizes)}
        total += others * sum(spread[size] for size in sizes) / len(sizes)
    return _leaves(total, sizes if total >= rows * mean else [])


def height(pages: int, columns: Sequence[Column], distinct: Sequence[float], rows: float) -> tuple[int, int]:
    """The levels above the leaves and how many pages they have; `distinct` is that of each longer prefix."""
    if pages <= 1:
        return 0, 0
    # What tells two neighbouring leaves apart is kept above: as many columns as are needed, then the row's place.
    needed = next((at + 1 for at, number in enumerate(distinct) if number >= pages), len(distinct))
    sizes = tuples(columns[:needed])
    inner = max(_INNER_TUPLE_MIN, sum(sizes) / len(sizes))
    if distinct and distinct[-1] < min(pages * 2, rows):
        inner += 8
    fan = max(2, math.floor(_INNER_ROOM / (inner + POINTER)))
    levels, above, here = 0, 0, pages
    while here > 1:
        here = math.ceil(here / fan)
        above += here
        levels += 1
    return levels, above


def _leaves(total: float, sizes: Sequence[int]) -> int:
    room = float(_LEAF_ROOM)
    if sizes and min(sizes) == max(sizes):
        # All alike: what is left of a page too short for one more is lost.
        room = math.floor(_LEAF_ROOM / (sizes[0] + POINTER)) * (sizes[0] + POINTER)
    elif sizes:
        room -= (sum(sizes) / len(sizes) + POINTER) / 2
    return max(1, math.ceil(total / room))


def _common(columns: Sequence[Column], rows: float) -> tuple[float, ...]:
    """The rows of each frequent value, if it is one column's index."""
    if len(columns) != 1 or columns[0].statistics is None:
        return ()
    return tuple(share * rows for share in columns[0].statistics.common_frequencies)


def _all_null(columns: Sequence[Column]) -> float:
    share = 1.0
    for column in columns:
        share *= column.statistics.null_fraction if column.statistics else 0.0
    return share


def _group(key: float, number: float) -> float:
    """What so many rows of one key take, with their pointers."""
    if number < 1.5:  # noqa: PLR2004 - the middle between one row, which is no list, and two
        return key + POINTER
    whole = max(2, int((_POSTING_MAX - key) // _TID))
    full, rest = divmod(number, whole)
    taken = full * (aligned(key + _TID * whole) + POINTER)
    if rest >= 1:
        taken += (aligned(key + _TID * rest) if rest > 1 else key) + POINTER
    return taken


def _spread(key: float, mean: float) -> float:
    """The mean of what a group takes, if the rows fall on the keys by chance: each has one, and more by Poisson."""
    if mean > _SPREAD_MAX:
        return _group(key, mean)
    more, chance, total, number = mean - 1.0, math.exp(1.0 - mean), 0.0, 1
    left = 1.0
    while left > 1e-6 and number < 4 * _SPREAD_MAX:  # noqa: PLR2004 - what is left weighs nothing
        total += chance * _group(key, number)
        left -= chance
        chance *= more / number
        number += 1
    return total
