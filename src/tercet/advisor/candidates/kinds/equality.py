"""Equality: the columns that are compared with values, the most selective first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.candidates.draft import KEYS_MAX, Draft, Kind, joint, keys, named, terms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.candidates.draft import Around
    from tercet.advisor.candidates.roles.scan import Scan


def drafts(scan: Scan, around: Around) -> Iterator[Draft]:
    """All equalities together, and the most selective one alone: it is smaller and may do as well."""
    del around
    found = scan.equal[:KEYS_MAX]
    for some in (found, found[:1])[: len(found)]:
        made = keys(terms(some))
        yield Draft(made, f"finds the rows by {named(terms(some))}", joint(some, made))


KIND = Kind("equality", drafts)
