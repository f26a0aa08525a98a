"""Expression: what is computed of a column and then compared, sorted or grouped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.candidates.draft import KEYS_MAX, Draft, Kind, joint, keys, named, terms
from tercet.advisor.candidates.kinds.sort import ways
from tercet.advisor.candidates.roles.scan import SINGLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.candidates.draft import Around
    from tercet.advisor.candidates.roles.scan import Scan


def drafts(scan: Scan, around: Around) -> Iterator[Draft]:
    """Equalities, one range, an order or groups of expressions that never change their mind, with plain equalities."""
    del around
    yield from _found(scan)
    yield from _ordered(scan)


def _found(scan: Scan) -> Iterator[Draft]:
    equal = scan.by("equal", "any", "null", "yes")
    computed = tuple(one for one in equal if not one.term.plain)
    if computed:
        made = keys(terms(computed), terms(scan.equal))
        yield Draft(made, f"finds the rows by {named(terms(equal))}", joint(equal, made))
        if len(made) > len(computed):
            alone = keys(terms(computed))
            yield Draft(alone, f"finds the rows by {named(terms(computed))}", joint(computed, alone))
    for one in scan.by("range"):
        if computed or not one.term.plain:
            made = keys(terms(equal)[: KEYS_MAX - 1], (one.term,))
            yield Draft(made, f"walks the range of {one.term.sql}", joint((*equal, one), made))


def _ordered(scan: Scan) -> Iterator[Draft]:
    single = tuple(one for one in scan.by("equal", "null", "yes") if one.test in SINGLE)
    held = {one.term.of for one in single}
    order = tuple(one for one in scan.order if one.term.of not in held)
    group = tuple(term for term in scan.group if term.of not in held)
    lead = keys(terms(single))
    for sorted_by, found, said in (
        (ways(order), tuple(one.term for one in order), "gives the order by"),
        (keys(group), group, "gives the rows group by group:"),
    ):
        computed = any(not term.plain for term in (*found, *terms(single)))
        if found and computed and all(term.fit for term in found) and len(found) <= KEYS_MAX:
            before = lead[: KEYS_MAX - len(sorted_by)]
            where = " among the rows that are asked for" if before else ""
            yield Draft((*before, *sorted_by), f"{said} {named(found)}{where}", joint(single, before), ordered=True)


KIND = Kind("expression", drafts)
