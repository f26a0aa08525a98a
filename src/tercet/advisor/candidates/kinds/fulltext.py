"""Full text: words that are searched for with @@."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.candidates.draft import Draft, Kind, key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.candidates.draft import Around
    from tercet.advisor.candidates.roles.scan import Scan


def drafts(scan: Scan, around: Around) -> Iterator[Draft]:
    """A GIN index of a tsvector, a column or to_tsvector with its configuration said."""
    del around
    for one in scan.by("search"):
        if one.term.type == "tsvector":
            yield Draft((key(one.term),), f"finds the words in {one.term.sql}", one.share, method="gin")


KIND = Kind("fulltext", drafts)
