"""Join: the columns by which another table, or the statement around, finds rows here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.candidates.draft import KEYS_MAX, Draft, Kind, joint, keys, named, terms
from tercet.advisor.candidates.roles.share import EQUAL_UNKNOWN, equal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.candidates.draft import Around
    from tercet.advisor.candidates.roles.scan import Link, Scan, Term


def drafts(scan: Scan, around: Around) -> Iterator[Draft]:
    """For each table on the other side: its columns, with the equalities behind and before them, and with a range."""
    del around
    for link in scan.links:
        linked = tuple(term for term in link.terms if term.fit)[:KEYS_MAX]
        if linked:
            yield from _of(scan, link, _by_share(scan, linked))


def _of(scan: Scan, link: Link, linked: tuple[Term, ...]) -> Iterator[Draft]:
    whose = "the statement around" if link.outer else link.other
    said = f"finds the rows of {whose} by {named(linked)}"
    share = _share(scan, linked)
    yield Draft(keys(linked), said, share, repeated=True)
    found = terms(scan.equal)
    if found:
        behind, before = keys(linked, found), keys(found, linked)
        less = share * joint(scan.equal, behind)
        yield Draft(behind, f"{said} and then by {named(found)}", less, repeated=True)
        if before != behind:
            yield Draft(before, f"{said} among those by {named(found)}", less, repeated=True)
    for one in scan.ranges[:1]:
        made = keys(linked, (one.term,))
        yield Draft(made, f"{said} and the range of {one.term.sql}", share * joint((one,), made), repeated=True)


def _share(scan: Scan, linked: tuple[Term, ...]) -> float:
    share = 1.0
    for term in linked:
        share *= equal(term.column, scan.table, None) if term.column is not None else EQUAL_UNKNOWN
    return share


def _by_share(scan: Scan, linked: tuple[Term, ...]) -> tuple[Term, ...]:
    return tuple(sorted(linked, key=lambda term: (_share(scan, (term,)), term.sql)))


KIND = Kind("join", drafts)
