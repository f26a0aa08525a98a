"""The search in rounds: over the plans that are known, then the engine is asked whether what was found is so."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tercet.advisor.choice.finding.search import Place, Search
    from tercet.advisor.choice.ledger import Ledger, Names

# Each round asks once for each statement at most, and what it learns is known in the next. Of one statement the first
# is the last; of TPC-H's 19 together, the quick way took three to ten, and the thorough way once all twelve.
ROUNDS_MOST = 12


async def in_rounds(
    search: Search, ledger: Ledger, moves: Mapping[Names, float], late: Callable[[], bool], start: Place
) -> Place:
    """The best set that was asked for, found by asking for few.

    Nothing is asked while a set is put together: each statement is thought to have the best of the plans that are
    known. Then all are planned with that set; where that teaches a new plan, the next round knows it.
    """
    pool = frozenset().union(*moves)
    best = start
    for _ in range(ROUNDS_MOST):
        with ledger.guessing():
            place = await _put_together(search, moves, pool, (frozenset(), start[0], best[0]))
        before = ledger.tried
        place = await search.place(place[0])
        best = min(best, place, key=lambda one: (one[1].total, sorted(one[0])))
        if ledger.tried == before or late():
            break
        start = place
    return await mended(search, ledger, best)


async def mended(search: Search, ledger: Ledger, place: Place) -> Place:
    """Without statements that lose too much, as far as that is worth it; each way is thought through before asking."""
    for _ in range(ROUNDS_MOST):
        with ledger.guessing():
            using, _ = await search.repair(place)
        if using == place[0]:
            return place
        place = await search.place(using)
    return place


async def _put_together(search: Search, moves: Mapping[Names, float], pool: Names, starts: tuple[Names, ...]) -> Place:
    """Grown from nothing, from what was found last, and from the best so far; the best of them is bettered."""
    ways = [await search.grow(await search.place(using), moves) for using in dict.fromkeys(starts)]
    ends = [await search.cut_back(await search.repair(way)) for way in ways]
    best = min(ends, key=lambda one: (one[1].total, sorted(one[0])))
    return await search.earned(await search.better(best, pool))
