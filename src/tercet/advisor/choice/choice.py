"""From candidates to the indexes worth having: what they are worth is weighed, not believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.choice.bounds import STATEMENT_SHARE_MIN, STATEMENT_SHARE_RUN
from tercet.advisor.choice.chosen import Choice, Outlook
from tercet.advisor.choice.finding.passed import passed_over
from tercet.advisor.choice.finding.pruning import helpers, promising, remaining, winners
from tercet.advisor.choice.finding.rounds import in_rounds, mended
from tercet.advisor.choice.finding.search import Search
from tercet.advisor.choice.finding.simpler import simplified
from tercet.advisor.choice.finding.variants import variants
from tercet.advisor.choice.fragility import fragile
from tercet.advisor.choice.ledger import Ledger
from tercet.advisor.choice.needless import needless
from tercet.advisor.choice.telling import tell
from tercet.advisor.choice.timing.ground import Ground
from tercet.advisor.choice.timing.reckoner import Reckoner
from tercet.advisor.choice.worth import Worth
from tercet.advisor.choice.writing import Writes
from tercet.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tercet.advisor.candidate import Candidate
    from tercet.advisor.candidates import Finding
    from tercet.advisor.catalog import Catalog
    from tercet.advisor.choice.finding.search import Place
    from tercet.advisor.choice.ledger import Names
    from tercet.advisor.choice.observation import Observation
    from tercet.advisor.choice.timing.speeds import Speeds
    from tercet.advisor.port import Progress, WhatIf
    from tercet.advisor.query import Query
    from tercet.clock import Clock

# Examples of one statement that the search plans each time; all of them are planned for what was found.
_EXAMPLES_QUICK, _EXAMPLES_THOROUGH = 1, 3
# EXPLAINs of each statement after which the search ends, so that it finds the same on slow machines and on fast ones:
# a second or two of a shadow for twenty statements, or a quarter of a minute. What is told of the indexes comes on top.
EXPLAINS_QUICK, EXPLAINS_THOROUGH = 20, 100
# Candidates of each statement that the quick way makes known to the engine, each of which costs as much as two plans.
_KNOWN_QUICK = 12
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
    observed: Sequence[Observation] = (),
    clock: Clock | None = None,
    run: bool = False,
) -> Choice:
    """The indexes that make the workload fastest within the budget, each of which earns its place.

    Quick asks the planner for its favourites and puts them together; thorough asks for each candidate and for more
    made of them. Both end after a number of EXPLAINs, so that they always find the same, or, if it comes to the
    worst, after so many `seconds`. `window` is over how many seconds the calls of the queries were counted, None if
    nobody knows. `suspects` are what housekeeping has found: those are dropped without which no statement is slower.
    `run`: everything is run afterwards, so that what is in doubt may be picked. `observed` is what came of running
    earlier choices. Nothing is changed.
    """
    clock = clock or SystemClock()
    since = clock.monotonic()
    ledger = Ledger(
        queries, engine, Reckoner(Ground(catalog), speeds), examples=_EXAMPLES_THOROUGH if thorough else _EXAMPLES_QUICK
    )
    most = len(ledger.queries) * (EXPLAINS_THOROUGH if thorough else EXPLAINS_QUICK)
    room = _Room(clock, since + seconds, ledger, most, on_progress or _nobody)
    await ledger.begin()
    ran = frozenset().union(*(one.indexes for one in observed))
    refused = await ledger.suppose(candidates if thorough else promising(candidates, _KNOWN_QUICK, ran))
    await ledger.observe(observed)
    share = STATEMENT_SHARE_RUN if run else STATEMENT_SHARE_MIN
    worth = Worth(ledger, Writes(catalog, queries, window), share=share)
    search = Search(worth, budget_bytes=budget_bytes, late=room.late, tell=room.tell)
    pool, place = await (_thorough if thorough else _quick)(search, ledger, room)
    ended = clock.monotonic() < room.until
    place = await search.earned(await simplified(search, ledger, place, thorough=thorough))
    frail = await fragile(ledger, place[0])
    picked = await tell(search, worth, place, pool, frail, most=_REJECTED_THOROUGH if thorough else _REJECTED_QUICK)
    dropped = await needless(ledger, worth.writes, place[0], suspects)
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
        notes=(*_unplanned(ledger), *_slower(ledger, worth, place), *_refused(refused)),
        passed=await passed_over(search, ledger, place),
    )


@dataclass(slots=True)
class _Room:
    """The time that is left, and who is told."""

    clock: Clock
    until: float
    ledger: Ledger
    most: int
    progress: Progress

    def late(self) -> bool:
        """Whether enough was asked, or the time is over, which is the last resort."""
        return self.asked() or self.clock.monotonic() >= self.until

    def asked(self) -> bool:
        """Whether no more may be asked; over what is known, the search goes on."""
        return self.ledger.asking and self.ledger.tried >= self.most

    def tell(self, what: str) -> None:
        """Say what is being tried."""
        self.progress(what, 0, 0)


def _nobody(what: str, done: int, of: int) -> None:
    """Whom nobody listens to."""
    _ = what, done, of


async def _quick(search: Search, ledger: Ledger, room: _Room) -> tuple[Names, Place]:
    """What the planner picks for each statement, put together in rounds."""
    moves = await winners(ledger, room.progress)
    search.worth.remains(await remaining(ledger))
    moves |= await helpers(ledger, ledger.liked_by, room.progress, room.late)
    place = await in_rounds(search, ledger, moves, room.late, await search.place(frozenset()))
    return frozenset().union(*moves), place


async def _thorough(search: Search, ledger: Ledger, room: _Room) -> tuple[Names, Place]:
    """As quick, then with what helps alone and its variants too."""
    favourites = await winners(ledger, room.progress)
    search.worth.remains(await remaining(ledger))
    place = await in_rounds(search, ledger, favourites, room.late, await search.place(frozenset()))
    pool = frozenset().union(*favourites)
    alone = await helpers(ledger, ledger.meant_for, room.progress, room.late)
    pool = pool.union(*alone)
    more = variants([ledger.candidates[name] for name in sorted(pool)])
    await ledger.suppose(more)
    varied = await helpers(ledger, ledger.meant_for, room.progress, room.late)
    pool = pool.union(*varied)
    moves = {**alone, **varied, **favourites}
    place = await in_rounds(search, ledger, moves, room.late, place)
    # What two do together that neither does alone, only the planner can tell.
    return pool, await mended(search, ledger, await search.better(place, pool))


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


def _refused(refused: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{name} could not be tried: {why}" for name, why in sorted(refused.items()))


def _unplanned(ledger: Ledger) -> tuple[str, ...]:
    return tuple(
        f"{ledger.queries[at].label or ledger.queries[at].fingerprint} could not be planned: {why}"
        for at, why in sorted(ledger.refused.items())
    )
