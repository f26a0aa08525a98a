"""BRIN: the smallest and greatest value of each stretch of pages, for a column that grows along the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.candidates.draft import SHARE_MAX, Draft, Kind, key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.candidates.draft import Around
    from tercet.advisor.candidates.roles.scan import Scan

# pages_per_range is 128: a table of fewer than 16 stretches has nothing to skip.
PAGES_MIN = 16 * 128
CORRELATION_MIN = 0.9


def drafts(scan: Scan, around: Around) -> Iterator[Draft]:
    """One for each range over a column whose order is the table's own."""
    del around
    if scan.table.pages < PAGES_MIN:
        return
    for one in scan.ranges:
        known = one.term.column.statistics if one.term.column is not None else None
        follows = abs(known.correlation or 0.0) if known is not None else 0.0
        if follows > CORRELATION_MIN and one.share <= SHARE_MAX:
            why = f"skips the pages outside the range of {one.term.sql}, which the table follows by {follows:.2f}"
            yield Draft((key(one.term),), why, one.share, method="brin")


KIND = Kind("brin", drafts)
