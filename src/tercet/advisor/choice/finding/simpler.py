"""A simpler index where what the dearer one adds is not felt: a rule that values differ, or a column more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.advisor.candidate import plain
from tercet.advisor.choice.bounds import STATEMENT_MS_MIN

if TYPE_CHECKING:
    from tercet.advisor.candidate import Candidate
    from tercet.advisor.choice.finding.search import Place, Search
    from tercet.advisor.choice.ledger import Ledger, Names
    from tercet.sql import Index

# An index of half the size that does nearly the same is the better one, where memory is spared that anybody notices.
_TABLE_SHARE = 0.05
# So much of what a statement gains may be lost by that.
_LOST_MOST = 0.03
# Each costs a plan of each statement that may use it.
_ASKED_MOST = 4
# Between two conditions of a partial index.
_AND = " AND "


async def simplified(search: Search, ledger: Ledger, place: Place, *, thorough: bool) -> Place:
    """With a simpler index in place of each whose rule, columns or bytes earn nothing by themselves.

    That today's values differ is no rule of the data, and a column that nobody feels is in every write's way. What is
    felt by the plans that are known is not asked for; the thorough way asks for a few all the same.
    """
    for one in [ledger.candidates[name] for name in sorted(place[0])]:
        for trial in await _smaller(one, search, ledger, place):
            asked = await search.place(trial, place)
            if _nearly(search, ledger, place, asked):
                place = asked
                break
    for one in [ledger.candidates[name] for name in sorted(place[0])]:
        for trial in await _simpler(one, search, ledger, place, _ASKED_MOST if thorough else 0):
            asked = await search.place(trial, place)
            if _unfelt(search, place, asked):
                place = asked
                break
    return place


def _unfelt(search: Search, place: Place, trial: Place) -> bool:
    return search.fits(trial[1].size_bytes) and not search.worth.earns(place[1], trial[1])


def _nearly(search: Search, ledger: Ledger, place: Place, trial: Place) -> bool:
    """Whether every statement keeps nearly all that it has gained."""
    return search.fits(trial[1].size_bytes) and all(
        other.ms - one.ms <= max(_LOST_MOST * (before.ms - one.ms), STATEMENT_MS_MIN)
        for one, other, before in zip(place[1].found, trial[1].found, ledger.before, strict=True)
    )


async def _smaller(one: Candidate, search: Search, ledger: Ledger, place: Place) -> list[Names]:
    """In its place one that plans use and that takes half the room at most, the best first."""
    known, own = ledger.candidates, ledger.sizes[one.name].size_bytes
    table = ledger.reckoner.ground.table_of(one.index)
    least = max(own / 2, _TABLE_SHARE * table.size_bytes if table is not None else 0.0)
    found = [
        name for name in sorted(ledger.liked - place[0])
        if known[name].index.table == one.index.table and not known[name].index.unique
        and (known[name].ordered or not one.ordered) and own - ledger.sizes[name].size_bytes >= least
    ]  # fmt: skip
    with ledger.guessing():
        trials = [await search.place((place[0] - {one.name}) | {name}, place) for name in found]
    near = [trial for trial in trials if _nearly(search, ledger, place, trial)]
    return [using for using, _ in sorted(near, key=lambda trial: (trial[1].total, sorted(trial[0])))]


async def _simpler(one: Candidate, search: Search, ledger: Ledger, place: Place, asked: int) -> list[Names]:
    """In its place one that promises less, of most rows and the smallest first; and of a unique one the plain twin.

    Those of which nothing is felt by the plans that are known, and the first `asked` whatever they say.
    """
    known, others = ledger.candidates, place[0] - {one.name}
    found = [name for name, other in known.items() if _less(other.index, one)]
    found.sort(key=lambda name: (_conditions(known[name].index), ledger.sizes[name].size_bytes, name))
    with ledger.guessing():
        trials = [await search.place(others | {name}, place) for name in found]
    simpler = [trial[0] for at, trial in enumerate(trials) if at < asked or _unfelt(search, place, trial)]
    if not one.index.unique:
        return simpler
    twin = plain(one)
    same = [name for name, other in known.items() if replace(other.index, name=twin.name) == twin.index]
    same = same or ([] if await ledger.suppose([twin]) else [twin.name])
    return [*simpler, *(others | {name} for name in same)]


def _conditions(index: Index) -> int:
    return len((index.where or "").split(_AND))


def _less(other: Index, one: Candidate) -> bool:
    """Whether it has the first keys of this one, nothing else in it, and not one condition more."""
    index, keys = one.index, len(other.keys)
    held = {*index.include, *(key.of for key in index.keys)}
    fewer = {key.of for key in index.keys[keys:]} | set(index.include) > set(other.include)
    wider = other.where != index.where and f"({other.where})" in (index.where or "").split(_AND)
    return (
        (other.table, other.method, other.unique) == (index.table, index.method, False)
        and (other.where == index.where or wider)
        and other.keys == index.keys[:keys]
        and (fewer or wider)
        and set(other.include) <= held
        # Without its last keys, the rows would be sorted again: the more, the more of them tie.
        and (keys == len(index.keys) or not one.ordered)
    )
