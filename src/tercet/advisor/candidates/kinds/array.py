"""Array: arrays that share or contain elements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.candidates.draft import Draft, Kind, key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.candidates.draft import Around
    from tercet.advisor.candidates.roles.scan import Scan


def drafts(scan: Scan, around: Around) -> Iterator[Draft]:
    """A GIN index of the elements, for && and @>."""
    del around
    for one in scan.by("contains", "overlap"):
        if one.term.type.endswith("[]"):
            yield Draft((key(one.term),), f"finds rows by the elements of {one.term.sql}", one.share, method="gin")


KIND = Kind("array", drafts)
