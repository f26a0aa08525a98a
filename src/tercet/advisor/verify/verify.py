"""Claims proved by running: before against after on real rows, and what does not hold is withdrawn.

First all changes together, statement by statement. What makes a statement wrong, or another one slower, is taken out,
and the rest examined again, until nothing is left to take out. Then each by itself: a change whose absence changes
nothing is taken out as well. Last, what is left is examined once more, and what it costs to write is measured.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tercet.advisor.advice import Rewrite
from tercet.advisor.allowance import TIME_UP, Allowance
from tercet.advisor.verify.building import Building
from tercet.advisor.verify.change import Bounds, Drop, Held, Trial, Verdicts
from tercet.advisor.verify.examine import Examiner
from tercet.advisor.verify.paired import PAIRS_FOR_A_TEST
from tercet.advisor.verify.runs import Runs
from tercet.advisor.verify.writes import WriteCost, Writes
from tercet.errors import SqlInvalid
from tercet.sql import Statement, View
from tercet.sql.identifier import table_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tercet.advisor.port import Progress
    from tercet.advisor.query import Query
    from tercet.advisor.verify.building import Built
    from tercet.advisor.verify.change import Change
    from tercet.advisor.verify.duel import Duel
    from tercet.advisor.verify.examine import Examined
    from tercet.advisor.verify.port import Place
    from tercet.sql import Plan


async def verify(
    place: Place,
    queries: Sequence[Query],
    changes: Sequence[Change],
    *,
    bounds: Bounds | None = None,
    estimates: Mapping[str, tuple[float, float]] | None = None,
    figure: Callable[[Plan], float] | None = None,
    known: dict[object, Duel] | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    on_progress: Progress | None = None,
) -> Verdicts:
    """What of these changes holds when the statements are run; all of `queries` are guarded against getting slower.

    In a sandbox indexes and views are really made, and taken away at the end. Elsewhere everything is READ ONLY:
    rewrites are compared, all else stays unproved. `estimates` are (before, after) by fingerprint, in any unit, to be
    told beside what was measured. `figure` takes the time of a run from its plan (EXPLAIN's own, unless given). What is
    `known` of runs on the same rows is not run again, and what is run is added to it.
    """
    bounds = _gentle(bounds or Bounds(), place)
    began = monotonic()
    runs = Runs(place, figure=figure)
    allowance = Allowance(bounds.total_seconds, monotonic)
    building = Building(runs, allowance, on_progress, monotonic)
    costs: dict[int, WriteCost] = {}
    try:
        built = await building.build(changes)
        examiner = Examiner(runs, built, bounds, estimates or {}, allowance, {} if known is None else known)
        trial = _Proving(queries, built, examiner, on_progress)
        await trial.run()
        weighed = place.kind == "sandbox" and bounds.write_rows > 0
        if weighed:
            await _weigh(Writes(runs, bounds), built, trial.active, allowance, costs)
    finally:
        await asyncio.shield(building.clear())
    return Verdicts(
        place.kind,
        tuple(trial.results[query.fingerprint].verified for query in trial.queries),
        tuple(trial.held(at, costs.get(at, WriteCost(None, None))) for at in range(len(changes))),
        method="sample" if place.sampled else "run",
        runs=runs.count,
        seconds=monotonic() - began,
        notes=trial.notes(),
        trials=tuple(trial.trials),
    )


async def _weigh(
    writes: Writes, built: Sequence[Built], active: frozenset[int], allowance: Allowance, costs: dict[int, WriteCost]
) -> None:
    """What is left to be written costs, as far as there is time."""
    limit = allowance.limit()
    try:
        async with limit:
            await writes.measure(built, active, costs)
    except TimeoutError:
        if not limit.expired():
            raise


def _gentle(bounds: Bounds, place: Place) -> Bounds:
    """Others work there too: no more runs than a test needs."""
    return bounds if place.kind == "sandbox" else replace(bounds, pairs=min(bounds.pairs, PAIRS_FOR_A_TEST))


@dataclass
class _Proving:
    """The changes that nothing speaks against yet, and what speaks against the others."""

    given: Sequence[Query]
    built: Sequence[Built]
    examiner: Examiner
    on_progress: Progress | None
    results: dict[str, Examined] = field(default_factory=dict)
    withdrawn: dict[int, str] = field(default_factory=dict)
    # What could not be made, or not be looked at.
    left_out: dict[int, str] = field(default_factory=dict)
    # What stays with the others, though no run could be brought to an end that would prove it.
    doubted: dict[int, str] = field(default_factory=dict)
    helps: dict[int, tuple[str, ...]] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        # One query a fingerprint: that is what results are known by.
        self.queries = tuple({query.fingerprint: query for query in self.given}.values())
        for at, one in enumerate(self.built):
            if one.refused:
                self.left_out[at] = one.refused
            elif isinstance(one.change, Rewrite) and not self._known(one.change):
                self.left_out[at] = "its statement is not among those that were given"

    @property
    def active(self) -> frozenset[int]:
        """The changes that nothing speaks against so far."""
        return frozenset(range(len(self.built))) - self.withdrawn.keys() - self.left_out.keys()

    async def run(self) -> None:
        """Until nothing is left to take out."""
        await self._until_nobody_loses()
        # The largest first: of two that do the same, the smaller one stays.
        for at in sorted(self.active, key=lambda one: -self.built[one].size_bytes) if self.examiner.bounds.each else ():
            await self._alone(at)
        self._views()
        await self._until_nobody_loses()

    async def _until_nobody_loses(self) -> None:
        while True:
            await self._examine_all()
            fault = next(filter(None, map(self._fault, self.queries)), None)
            if fault is None:
                return
            at, why = fault
            self.withdrawn[at] = why

    async def _examine_all(self) -> None:
        for done, query in enumerate(self.queries):
            if self.on_progress is not None:
                self.on_progress(f"running {query.label or query.fingerprint}", done, len(self.queries))
            found = self.results[query.fingerprint] = await self.examiner.examine(query, self.active)
            self.trials.append(Trial(tuple(self.built[at].change for at in sorted(self.active)), found.verified))

    def _fault(self, query: Query) -> tuple[int, str] | None:
        """The change to take out for this statement's sake, and why."""
        found = self.results[query.fingerprint]
        told = found.verified
        rewrite = self._rewrite(query)
        if rewrite is not None and (told.outcome in {"different", "slower"} or _refused_after(found)):
            return rewrite, told.sentence
        if told.outcome != "slower":
            return None
        guilty = (found.uses | found.misses) & self.active
        if not guilty:
            return None
        at = min(guilty, key=self._gain)
        return at, f"it makes {query.label or query.sql} slower: {told.sentence}"

    async def _alone(self, at: int) -> None:
        """Take out what changes nothing by its absence; note whom it helps."""
        change = self.built[at].change
        if isinstance(change, Drop | View):
            return
        touched = [query for query in self.queries if self._concerns(at, query)]
        if not touched and any(one.cut for one in self.results.values()):
            self.doubted[at] = TIME_UP
            return
        if not touched:
            self.withdrawn[at] = "no statement's plan uses it"
            return
        found = [(query, await self.examiner.examine(query, self.active, self.active - {at})) for query in touched]
        faster = tuple(query.fingerprint for query, one in found if one.verified.outcome == "faster")
        if faster:
            self.helps[at] = faster
            return
        sentences = "; ".join(f"{query.label or query.sql}: {one.verified.sentence}" for query, one in found)
        if any(one.verified.outcome == "unproved" for _, one in found):
            self.doubted[at] = sentences
            return
        self.withdrawn[at] = f"without it nothing is slower by a tenth: {sentences}"
        await self._examine_all()

    def _views(self) -> None:
        """A view lives by the rewrites that read it."""
        for at in self.active:
            change = self.built[at].change
            if not isinstance(change, View):
                continue
            name = table_parts(change.name)[-1]
            readers = [one for one, built in enumerate(self.built) if _reads(built.change, name)]
            held = [one for one in readers if one in self.active]
            self.helps[at] = tuple(dict.fromkeys(print_ for one in held for print_ in self.helps.get(one, ())))
            if not readers:
                self.doubted[at] = "no rewrite reads it"
            elif not held:
                self.withdrawn[at] = "no rewrite that reads it held"

    def held(self, at: int, cost: WriteCost) -> Held:
        """What became of this change."""
        one = self.built[at]
        size = one.size_bytes
        if at in self.withdrawn:
            return Held(one.change, "withdrawn", self.withdrawn[at], (), size, one.seconds)
        doubt = self.left_out.get(at) or self.doubted.get(at) or self._unseen(one.change)
        if doubt:
            return Held(one.change, "unproved", doubt, (), size, one.seconds)
        helps = self.helps.get(at, ())
        why = (
            "nothing became slower without it"
            if isinstance(one.change, Drop)
            else "; ".join(self.results[name].verified.sentence for name in helps)
        )
        return Held(one.change, "kept", why, helps, size, one.seconds, cost.insert_percent, cost.update_percent)

    def _unseen(self, change: Change) -> str:
        """Why a rewrite is not proved though it ran: an empty answer shows nothing of its rows."""
        found = self.results.get(change.fingerprint) if isinstance(change, Rewrite) else None
        return found.verified.sentence if found is not None and found.verified.proof.rows == 0 else ""

    def notes(self) -> tuple[str, ...]:
        """What is to be known beside the verdicts."""
        return tuple(
            f"{query.label or query.sql}: slower, and no change among these is the cause ({found.verified.sentence})"
            for query in self.queries
            if (found := self.results[query.fingerprint]).verified.outcome == "slower"
        )

    def _concerns(self, at: int, query: Query) -> bool:
        change = self.built[at].change
        if isinstance(change, Rewrite):
            return change.fingerprint == query.fingerprint
        return at in self.results[query.fingerprint].uses

    def _gain(self, at: int) -> float:
        """Milliseconds that the statements which it concerns have won, by how often they are asked."""
        won = 0.0
        for query in self.queries:
            told = self.results[query.fingerprint].verified
            if self._concerns(at, query) and told.ms_before is not None and told.ms_after is not None:
                won += (told.ms_before - told.ms_after) * query.calls
        return won

    def _rewrite(self, query: Query) -> int | None:
        mine = [
            at
            for at in self.active
            if isinstance(change := self.built[at].change, Rewrite) and change.fingerprint == query.fingerprint
        ]
        return max(mine, default=None)

    def _known(self, change: Rewrite) -> bool:
        return any(query.fingerprint == change.fingerprint for query in self.queries)


def _refused_after(found: Examined) -> bool:
    return found.verified.outcome == "unproved" and "after the change" in found.verified.sentence


def _reads(change: Change, view: str) -> bool:
    """Whether this is a rewrite that reads a view of this name."""
    if not isinstance(change, Rewrite):
        return False
    try:
        reads = Statement(change.after).reads
    except SqlInvalid:
        return False
    return any(name.rpartition(".")[2].strip('"') == view for name in reads)
