"""Group: rows that come in the order of their groups need no hash table and no sort."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.candidates.draft import KEYS_MAX, Draft, Kind, joint, keys, named, terms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.candidates.draft import Around
    from tercet.advisor.candidates.roles.scan import Scan


def drafts(scan: Scan, around: Around) -> Iterator[Draft]:
    """The grouping columns behind equalities; one range behind them is filtered in the index."""
    del around
    lead = terms(scan.single)
    group = tuple(term for term in scan.group if term.of not in {one.of for one in lead})
    if not group or not all(term.plain for term in group) or len(group) > KEYS_MAX:
        return
    before = keys(lead)[: KEYS_MAX - len(group)]
    made = (*before, *keys(group))
    said = f"gives the rows group by group ({named(group)})"
    share = joint(scan.single, before)
    yield Draft(made, said, share, ordered=True)
    ranges = [one for one in scan.ranges if one.term.of not in {key.of for key in made}]
    if ranges and len(made) < KEYS_MAX:
        yield Draft((*made, *keys((ranges[0].term,))), f"{said}, filtered by {ranges[0].term.sql}", share, ordered=True)


KIND = Kind("group", drafts)
