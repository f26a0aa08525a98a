"""Hash: equality on long keys, of which a B-tree would hold every letter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.candidates.draft import Draft, Kind, key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.candidates.draft import Around
    from tercet.advisor.candidates.roles.scan import Scan

# A B-tree entry of a shorter key is hardly larger than a hash's.
WIDTH_MIN = 48
# Rows that hold the same value lie in the same bucket, one chain of pages: many of them make it slow.
SHARE_MAX = 0.001


def drafts(scan: Scan, around: Around) -> Iterator[Draft]:
    """One for each long column that is compared with one value."""
    del around
    for one in scan.equal:
        known = one.term.column.statistics if one.term.column is not None else None
        if one.test == "equal" and known is not None and known.width >= WIDTH_MIN and one.share <= SHARE_MAX:
            why = f"finds the rows by {one.term.sql} without holding its {known.width:.0f} bytes"
            yield Draft((key(one.term),), why, one.share, method="hash")


KIND = Kind("hash", drafts)
