"""Range: one range, behind the equalities; a second behind it leaves rows out before they are fetched."""

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
    """Each of the narrowest ranges behind the equalities, and by itself; and the two together."""
    del around
    equal = scan.equal[: KEYS_MAX - 1]
    for one in scan.ranges[:_RANGES_MAX]:
        if equal:
            made = keys(terms(equal), (one.term,))
            why = f"finds the rows by {named(terms(equal))} and walks the range of {one.term.sql}"
            yield Draft(made, why, joint((*equal, one), made))
        yield Draft(keys((one.term,)), f"walks the range of {one.term.sql}", one.share)
    both = scan.ranges[:_RANGES_MAX]
    if len(both) == _RANGES_MAX:
        first, second = both
        made = keys(terms(equal[: KEYS_MAX - _RANGES_MAX]), terms(both))
        why = f"walks the range of {first.term.sql}, and looks at {second.term.sql} before it fetches a row"
        yield Draft(made, why, joint((*equal, *both), made))


KIND = Kind("range", drafts)
