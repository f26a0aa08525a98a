"""Merged: one index for what two statements would want two for."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from tercet.advisor.candidates.draft import KEYS_MAX, Draft, Kind, Made
from tercet.advisor.candidates.kinds.covering import INCLUDE_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tercet.advisor.catalog import Catalog, Table

# Of each table only the drafts that come first are paired: pairs grow with the square.
DRAFTS_MAX = 24


def made(table: Table, found: Sequence[Made], catalog: Catalog) -> Iterator[Made]:
    """Pairs of drafts for different statements that begin alike: the longer keys first, the other's behind them."""
    del table, catalog
    plain = [one for one in found if one.draft.method == "btree" and not one.draft.unique][:DRAFTS_MAX]
    for one, other in combinations(plain, 2):
        if one.queries != other.queries and one.draft.where == other.draft.where:
            draft = _merged(one.draft, other.draft)
            if draft is not None and draft not in {one.draft, other.draft}:
                yield Made(draft, one.queries | other.queries)


def _merged(one: Draft, other: Draft) -> Draft | None:
    if one.keys[0] != other.keys[0]:
        return None
    first, second = (one, other) if len(one.keys) >= len(other.keys) else (other, one)
    held = {key.of for key in first.keys}
    keys = (*first.keys, *(key for key in second.keys if key.of not in held))
    names = {key.of for key in keys}
    include = tuple(name for name in dict.fromkeys((*first.include, *second.include)) if name not in names)
    if len(keys) > KEYS_MAX or len(include) > INCLUDE_MAX:
        return None
    if keys == first.keys and set(include) <= set(first.include):
        return None  # the first alone serves both
    return replace(first, keys=keys, include=include, why=f"{first.why}; and {second.why}")


KIND = Kind("merged", of_table=made)
