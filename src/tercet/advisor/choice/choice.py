"""From candidates to the indexes worth having: what they are worth is weighed, not believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.choice.bounds import STATEMENT_SHARE_MIN, STATEMENT_SHARE_RUN
from tercet.advisor.choice.chosen import Choice, Outlook
from tercet.advisor.choice.fragility import fragile
from tercet.advisor.choice.ledger import Ledger
from tercet.advisor.choice.needless import needless
from tercet.advisor.choice.pruning import helpers, winners
from tercet.advisor.choice.search import Search
from tercet.advisor.choice.telling import tell
from tercet.advisor.choice.timing.ground import Ground
from tercet.advisor.choice.timing.reckoner import Reckoner
from tercet.advisor.choice.variants import variants
from tercet.advisor.choice.worth import Worth
from tercet.advisor.choice.writing import Writes
from tercet.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.candidate import Candidate
    from tercet.advisor.candidates import Finding
    from tercet.advisor.catalog import Catalog
    from tercet.advisor.choice.ledger import Names
    from tercet.advisor.choice.search import Place
    from tercet.advisor.choice.timing.speeds import Speeds
    from tercet.advisor.port import Progress, WhatIf
    from tercet.advisor.query import Query
    from tercet.clock import Clock

# Examples of one statement that the search plans each time; all of them are planned for what was found.
_EXAMPLES_QUICK, _EXAMPLES_THOROUGH = 1, 3
# What is told of each index that it was preferred to.
_REJECTED_QUICK, _REJECTED_THOROUGH = 1, 3


async def choose(
    queries: Sequence[Query],
    candidates: Sequence[Candidate],
    engine: WhatIf,
    catalog: Catalog,
    *,
    budget_bytes: int | None,
    thorough: bool,
    seconds: float,
    on_progress: Progress | None = None,
    window: float | None = None,
    suspects: Sequence[Finding] = (),
    speeds: Speeds | None = None,
    clock: Clock | None = None,
    run: bool = False,
) -> Choice:
    """The indexes that make the workload fastest within the budget, each of which earns its place.

    Quick asks the planner for its favourites and cuts them back; thorough goes on from there for as many `seconds`
    as it is given, or until nothing gets better: then it always finds the same. `window` is over how many
    seconds the calls of the queries were counted, None if nobody knows. `suspects` are what housekeeping has found:
    those are dropped without which no statement is slower. `run`: everything is run afterwards, so that what is in
    doubt may be picked. Nothing is changed.
    """
    clock = clock or SystemClock()
    since = clock.monotonic()
    room = _Room(clock, since + seconds, on_progress or _nobody)
    ledger = Ledger(
        queries, engine, Reckoner(Ground(catalog), speeds), examples=_EXAMPLES_THOROUGH if thorough else _EXAMPLES_QUICK
    )
    await ledger.begin()
    refused = await ledger.suppose(candidates)
    share = STATEMENT_SHARE_RUN if run else STATEMENT_SHARE_MIN
    worth = Worth(ledger, Writes(catalog, queries, window), share=share)
    search = Search(worth, budget_bytes=budget_bytes, late=room.late, tell=room.tell)
    pool, place = await (_thorough if thorough else _quick)(search, ledger, room)
    ended = not room.late()
    place = await search.earned(await search.repair(place))
    frail = await fragile(ledger, place[0])
    picked = await tell(search, worth, place, pool, frail, most=_REJECTED_THOROUGH if thorough else _REJECTED_QUICK)
    dropped = await needless(ledger, worth.writes, place[0], suspects)
    notes = (
        *_unplanned(ledger),
        *_slower(ledger, worth, place),
        *(f"{name} could not be tried: {why}" for name, why in sorted(refused.items())),
    )
    return Choice(
        picked,
        dropped,
        _outlooks(ledger, place),
        ms_before=worth.ms_before,
        ms_after=worth.ms(place[1].found),
        tried=ledger.tried,
        seconds=clock.monotonic() - since,
        budget_bytes=budget_bytes,
        ended=ended,
        notes=notes,
    )


@dataclass(slots=True)
class _Room:
    """The time that is left, and who is told."""

    clock: Clock
    until: float
    progress: Progress

    def late(self) -> bool:
        """Whether the time is over."""
        return self.clock.monotonic() >= self.until

    def tell(self, what: str) -> None:
        """Say what is being tried."""
        self.progress(what, 0, 0)


def _nobody(what: str, done: int, of: int) -> None:
    """Whom nobody listens to."""
    _ = what, done, of


async def _quick(search: Search, ledger: Ledger, room: _Room) -> tuple[Names, Place]:
    """What the planner picks for each statement, the best for its bytes first; then what became needless goes."""
    moves = await winners(ledger, room.progress)
    grown = await search.grow(await search.place(frozenset()), moves)
    return frozenset().union(*moves), await search.cut_back(await search.repair(grown))


async def _thorough(search: Search, ledger: Ledger, room: _Room) -> tuple[Names, Place]:
    """As quick, and grown from single ones and their variants too; both are made better, and the better one is it."""
    favourites = await winners(ledger, room.progress)
    nothing = await search.place(frozenset())
    first = await search.cut_back(await search.grow(nothing, favourites))
    pool = frozenset().union(*favourites)
    if room.late():
        return pool, first
    alone = await helpers(ledger, room.progress)
    pool = pool.union(*alone)
    more = variants([ledger.candidates[name] for name in sorted(pool)])
    await ledger.suppose(more)
    pool |= {one.name for one in more if one.name in ledger.candidates}
    moves = {
        **dict.fromkeys((frozenset({name}) for name in pool), float("inf")),
        **dict.fromkeys(favourites, float("inf")),
    }
    second = await search.cut_back(await search.grow(nothing, moves))
    ways = sorted((first, second), key=lambda place: (place[1].total, sorted(place[0])))
    better = [await search.repair(await search.better(way, pool)) for way in ways]
    return pool, min(better, key=lambda place: (place[1].total, sorted(place[0])))


def _outlooks(ledger: Ledger, place: Place) -> tuple[Outlook, ...]:
    return tuple(
        Outlook(query.fingerprint, before.ms, after.ms, query.calls, before.cost, after.cost, after.used)
        for at, (query, before, after) in enumerate(zip(ledger.queries, ledger.before, place[1].found, strict=True))
        if at not in ledger.refused
    )


def _slower(ledger: Ledger, worth: Worth, place: Place) -> tuple[str, ...]:
    return tuple(
        f"{ledger.queries[at].label or ledger.queries[at].fingerprint} may become slower: it is to be run to know."
        for at in worth.slower(place[1])
    )


def _unplanned(ledger: Ledger) -> tuple[str, ...]:
    return tuple(
        f"{ledger.queries[at].label or ledger.queries[at].fingerprint} could not be planned: {why}"
        for at, why in sorted(ledger.refused.items())
    )
