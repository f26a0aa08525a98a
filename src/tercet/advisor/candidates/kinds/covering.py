"""Covering: an index that carries all that a statement needs, so that the table itself is not read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.advisor.candidates.draft import SHARE_MAX, Draft, Kind
from tercet.sql import Expression

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.candidates.draft import Around
    from tercet.advisor.candidates.roles.scan import Scan

# More columns, or more bytes, make the index another copy of the table.
INCLUDE_MAX = 6
WIDTH_MAX = 120
# One that is nearly as large as the table is a second table.
COPY = 1.6
# Below this number of rows, fetching them from the table costs about as much as going down the index.
ROWS_MIN = 50
# What an entry takes besides its values: its header and its line pointer.
_ENTRY = 16
# Where the whole index is read instead of the table, it must be so much smaller.
_SMALLER = 2.0
_PAGE = 8192
# Where a column has never been looked at.
_WIDTH_UNKNOWN = 16.0


def drafts(scan: Scan, around: Around) -> Iterator[Draft]:
    """What was drafted before, with the columns that are missing for an index-only scan."""
    if scan.used is None:
        return
    for draft in around.made:
        plain = not any(isinstance(key.of, Expression) for key in draft.keys)
        if draft.method != "btree" or draft.include or not plain or draft.unique or draft.where:
            continue
        missing = _missing(scan, draft)
        if missing and len(missing) <= INCLUDE_MAX and _worth(scan, draft, missing):
            why = f"{draft.why}, and holds all columns that are needed{_heap(scan)}"
            yield replace(draft, include=missing, why=why)


def _missing(scan: Scan, draft: Draft) -> tuple[str, ...]:
    left = (scan.used or frozenset()) - set(draft.columns)
    return tuple(column.name for column in scan.table.columns if column.name in left)


def _worth(scan: Scan, draft: Draft, missing: tuple[str, ...]) -> bool:
    width = sum(_width(scan, name) for name in missing)
    if width > WIDTH_MAX or not narrow(scan, (*draft.columns, *missing), smaller=COPY):
        return False
    if draft.share > SHARE_MAX and not draft.repeated:
        return narrow(scan, (*draft.columns, *missing))
    few = draft.share * max(scan.table.rows, 0.0) < ROWS_MIN or (scan.limited and draft.ordered)
    return draft.repeated or not few


def narrow(scan: Scan, columns: tuple[str, ...], *, smaller: float = _SMALLER) -> bool:
    """Whether an index of these columns is so much smaller than the table; by itself, that reading all of it pays."""
    rows = max(scan.table.rows, 1.0)
    entry = _ENTRY + sum(_width(scan, name) for name in columns)
    return entry * smaller < scan.table.pages * _PAGE / rows


def _width(scan: Scan, name: str) -> float:
    column = scan.table.column(name)
    if column is None or column.statistics is None:
        return _WIDTH_UNKNOWN
    return column.statistics.width


def _heap(scan: Scan) -> str:
    table = scan.table
    if table.pages <= 0:
        return ""
    seen = table.all_visible_pages / table.pages
    return f"; {seen:.0%} of the table's pages are known to be visible to all, a VACUUM makes that more"


KIND = Kind("covering", drafts)
