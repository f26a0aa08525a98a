"""Range: one range, behind the equalities; what stands behind a range finds nothing any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.candidates.draft import KEYS_MAX, Draft, Kind, joint, keys, named, terms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.candidates.draft import Around
    from tercet.advisor.candidates.roles.scan import Scan

# A third range of one table is seldom the best to walk along.
_RANGES_MAX = 2


def drafts(scan: Scan, around: Around) -> Iterator[Draft]:
    """Each of the narrowest ranges behind the equalities, and by itself."""
    del around
    equal = scan.equal[: KEYS_MAX - 1]
    for one in scan.ranges[:_RANGES_MAX]:
        if equal:
            made = keys(terms(equal), (one.term,))
            why = f"finds the rows by {named(terms(equal))} and walks the range of {one.term.sql}"
            yield Draft(made, why, joint((*equal, one), made))
        yield Draft(keys((one.term,)), f"walks the range of {one.term.sql}", one.share)


KIND = Kind("range", drafts)
