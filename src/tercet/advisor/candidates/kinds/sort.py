"""Sort: the order in which rows are asked for, behind equalities that leave one value each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.advisor.candidates.draft import KEYS_MAX, Draft, Kind, joint, key, keys, named, terms
from tercet.advisor.candidates.roles.scan import Order

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tercet.advisor.candidates.draft import Around
    from tercet.advisor.candidates.roles.scan import Scan, Term
    from tercet.sql import Key


def drafts(scan: Scan, around: Around) -> Iterator[Draft]:
    """Equalities and then the order; under a LIMIT also the order alone, and a range behind it that only filters."""
    del around
    asked = [(scan.order, scan.limited)] if scan.order else []
    asked += [((Order(term),), True) for term in scan.extremes]
    for order, limited in asked:
        yield from _of(scan, order, limited=limited)


def _of(scan: Scan, order: Sequence[Order], *, limited: bool) -> Iterator[Draft]:
    fixed = (*terms(scan.single), *(term for link in scan.links if link.outer for term in link.terms))
    left = [one for one in order if one.term.of not in {term.of for term in fixed}]
    if not left or not all(one.term.plain for one in left):
        return
    sorted_by = ways(left)[:KEYS_MAX]
    lead = keys(term for term in fixed if term.plain)[: KEYS_MAX - len(sorted_by)]
    share = joint(scan.single, lead)
    said = f"gives the order by {named([one.term for one in left])}"
    if lead:
        yield Draft((*lead, *sorted_by), f"{said} among the rows that are asked for", share, ordered=True)
    if limited or not lead:
        yield Draft(sorted_by, f"{said}, so that the first rows are there at once", 1.0, ordered=limited)
    if limited:
        yield from _filtered(scan, (*lead, *sorted_by), said, share)


def _filtered(scan: Scan, led: tuple[Key, ...], said: str, share: float) -> Iterator[Draft]:
    """A range that is not the order's own column is looked at in the index, before the row is fetched."""
    held = {one.of for one in led}
    for one in scan.ranges[:1]:
        if one.term.of not in held and len(led) < KEYS_MAX:
            yield Draft((*led, key(one.term)), f"{said}, and filters by {one.term.sql}", share, ordered=True)


def ways(order: Sequence[Order]) -> tuple[Key, ...]:
    """The keys of an order; where all of it goes plainly down, plainly up: PostgreSQL reads an index backwards too."""
    if all(one.descending and one.nulls_first for one in order):
        return keys(_terms(order))
    return tuple(dict.fromkeys(_way(one) for one in order))


def _terms(order: Sequence[Order]) -> tuple[Term, ...]:
    return tuple(one.term for one in order)


def _way(one: Order) -> Key:
    usual = one.nulls_first == one.descending
    return replace(
        key(one.term), descending=one.descending, nulls=None if usual else "first" if one.nulls_first else "last"
    )


KIND = Kind("sort", drafts)
