"""A simpler index where what the dearer one adds is not felt: a rule that values differ, or a column more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.advisor.candidate import plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tercet.advisor.candidate import Candidate
    from tercet.advisor.choice.finding.search import Place, Search
    from tercet.advisor.choice.ledger import Ledger
    from tercet.sql import Index

# Whose last keys give the order: without them it would be sorted again, the more the more rows tie.
_ORDERED = "sort"


async def simplified(search: Search, ledger: Ledger, place: Place) -> Place:
    """With a simpler index in place of each whose rule or whose columns earn nothing by themselves.

    That today's values differ is no rule of the data, and a column that nobody feels is in every write's way.
    """
    for one in [ledger.candidates[name] for name in sorted(place[0])]:
        async for name in _simpler(one, ledger):
            trial = await search.place((place[0] - {one.name}) | {name}, place)
            if search.fits(trial[1].size_bytes) and not search.worth.earns(place[1], trial[1]):
                place = trial
                break
    return place


async def _simpler(one: Candidate, ledger: Ledger) -> AsyncIterator[str]:
    """Those that the engine knows and that promise less, the smallest first; of a unique one its plain twin at last."""
    known = [name for name, other in ledger.candidates.items() if _less(other.index, one)]
    for name in sorted(known, key=lambda name: (ledger.sizes[name].size_bytes, name)):
        yield name
    if one.index.unique:
        twin = plain(one)
        same = [name for name, other in ledger.candidates.items() if replace(other.index, name=twin.name) == twin.index]
        if same or not await ledger.suppose([twin]):
            yield same[0] if same else twin.name


def _less(other: Index, one: Candidate) -> bool:
    """Whether it has the first keys of this one, and carries nothing else than this one does."""
    index = one.index
    held = {*index.include, *(key.of for key in index.keys)}
    keys = len(other.keys)
    return (
        (other.table, other.method, other.where, other.unique) == (index.table, index.method, index.where, False)
        and other.keys == index.keys[:keys]
        and {key.of for key in index.keys[keys:]} | set(index.include) > set(other.include)
        and set(other.include) <= held
        and (keys == len(index.keys) or one.kind != _ORDERED)
    )
