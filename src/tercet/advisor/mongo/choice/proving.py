"""What was chosen, proved: everything run in pairs without and with all of it, answers compared, writes timed."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING

from tercet.advisor.mongo.choice.choose import choose
from tercet.advisor.mongo.choice.draft import WORTH
from tercet.advisor.mongo.choice.trying import dearer, times
from tercet.advisor.mongo.trial.mongo_desk import BUILD_ERRORS, RUN_ERRORS
from tercet.advisor.verify.paired import compare_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.mongo.choice.draft import Draft, Place, Tried
    from tercet.advisor.mongo.choice.trying import Trying
    from tercet.advisor.mongo.explained import Told
    from tercet.advisor.port import Progress

_PAIRS = 5
_PAIRS_QUICK = 2
# No more pairs of one query are begun after this.
_PAIRS_SECONDS = 5.0
# A choice that makes something dearer is made again without what was at fault, so often.
_ROUNDS = 4
# Documents of one batch of inserts, and how often it is done without and with an index.
_WRITTEN = 1_000
_WRITE_PAIRS = 3


@dataclass
class Pairs:
    """One example without and with what was chosen."""

    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    indexes: frozenset[str] = frozenset()


@dataclass
class Proved:
    """What stands: the indexes, and for each query how it fares with them."""

    picked: tuple[Tried, ...] = ()
    # Of each query: the form that is asked, and milliseconds without and with all of it, pair by pair.
    forms: dict[str, int] = field(default_factory=dict)
    before: dict[str, list[float]] = field(default_factory=dict)
    after: dict[str, list[float]] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)
    # The same by example, with the indexes that its plan uses: what one gains must not hide what another suffers.
    examples: dict[tuple[str, int], Pairs] = field(default_factory=dict)
    same: dict[str, bool | None] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    write_cost: dict[str, float] = field(default_factory=dict)

    def interval(self, fingerprint: str) -> tuple[float, float] | None:
        """Between how many and how many times faster it is."""
        if not self.before.get(fingerprint):
            return None
        paired = compare_pairs(self.before[fingerprint], self.after[fingerprint])
        return paired.low, paired.high


async def prove(
    trying: Trying, drafts: Sequence[Draft], tried: Sequence[Tried], budget: int | None, progress: Progress
) -> Proved:
    """Choose, run everything, and choose again without what does not hold."""
    for _ in range(_ROUNDS):
        picked = choose(drafts, tried, trying.ratios, budget)
        proved = await _stands(trying, drafts, picked, progress)
        if proved is not None:
            final = await _beside(trying, drafts, tried, proved, budget, progress)
            final.write_cost = await _writes(trying, final.picked)
            return final
    return Proved()


async def _beside(
    trying: Trying,
    drafts: Sequence[Draft],
    tried: Sequence[Tried],
    proved: Proved,
    budget: int | None,
    progress: Progress,
) -> Proved:
    """The others once more beside what was picked.

    What did harm alone may do none where the planner has something better; what did not show beside a slow join may
    show once that is quick.
    """
    for _ in range(_ROUNDS):
        again = [one for one in tried if _open(one, proved, drafts)]
        if not again or not proved.picked:
            break
        room = None if budget is None else budget - sum(
            int(one.size_bytes * trying.ratios.get(one.candidate.index.collection, 1.0)) for one in proved.picked
        )  # fmt: skip
        built = await _build(trying, proved.picked)
        try:
            second = [await trying.again(draft) for draft in drafts]
            found = await trying.all_of([one.candidate for one in again], second, progress)
        finally:
            await _take_away(trying, built)
        both = await _joined_by(trying, drafts, proved, choose(second, found, trying.ratios, room), progress)
        if both is None:
            break
        proved = both
    return proved


async def _joined_by(
    trying: Trying, drafts: Sequence[Draft], proved: Proved, more: Sequence[Tried], progress: Progress
) -> Proved | None:
    """How all fares with these as well, without those of them at fault; None if none can stay."""
    both = None
    while more and both is None:
        both = await _stands(trying, drafts, (*proved.picked, *more), progress, proved)
        if both is not None and _fallen_behind(drafts, more, both, proved):
            both = None
        stay = [one for one in more if not one.rejected]
        if both is None:
            # None of the new ones is at fault by itself, and what was there before stands without them.
            more = [] if len(stay) == len(more) else stay
    for one in proved.picked:
        one.rejected = ""
    return both


def _open(one: Tried, proved: Proved, drafts: Sequence[Draft]) -> bool:
    """Whether another look at this candidate may show something else, or it alone does better than all of these."""
    picked = [other.candidate for other in proved.picked]
    if one.candidate in picked or not one.size_bytes:
        return False
    if any(one.costs.get(place, ms) <= ms * (1 - WORTH) for place, ms in _reached(proved).items()):
        return True
    elsewhere = {other.index.collection for other in picked} - {one.candidate.index.collection}
    mates = [draft for draft in drafts if draft.fingerprint in one.candidate.helps]
    return one.harmful or any(elsewhere & draft.collections for draft in mates)


def _reached(proved: Proved) -> dict[Place, float]:
    return {(name, proved.forms[name], at): min(one.after) for (name, at), one in proved.examples.items()}


def _fallen_behind(drafts: Sequence[Draft], more: Sequence[Tried], both: Proved, proved: Proved) -> bool:
    """Mark those of the new ones by which a query is dearer than it was without them; whether there are any."""
    labels = {draft.fingerprint: draft.query.label for draft in drafts}
    found = False
    for place, now in both.examples.items():
        then = proved.examples.get(place)
        users = [one for one in more if one.candidate.index.called in now.indexes]
        if then is not None and users and dearer([min(then.after)], [min(now.after)]):
            for one in users:
                figures = times(min(then.after), min(now.after))
                one.rejected = f"{labels[place[0]]} is quicker by what is there already: {figures}"
                found = True
    return found


async def _stands(
    trying: Trying, drafts: Sequence[Draft], picked: Sequence[Tried], progress: Progress, known: Proved | None = None
) -> Proved | None:
    """How all fares with these; None, and those at fault are marked, if something is dearer or needless.

    What goes by the same indexes as in `known` is not judged again: the same question twice brings chance twice.
    """
    built = await _build(trying, picked)
    try:
        proved = await _run(trying, drafts, built, progress)
        if _at_fault(drafts, built, proved, known or Proved()):
            return None
    finally:
        await _take_away(trying, built)
    return proved


async def _take_away(trying: Trying, built: Sequence[Tried]) -> None:
    for one in built:
        with suppress(RUN_ERRORS):
            await trying.desk.drop(one.candidate.index.collection, one.candidate.index.called)


async def _build(trying: Trying, picked: Sequence[Tried]) -> tuple[Tried, ...]:
    built = []
    for one in picked:
        try:
            await trying.desk.build(one.candidate.index)
            built.append(one)
        except BUILD_ERRORS as error:
            one.rejected = f"it cannot be built beside the others: {error.details and error.details.get('errmsg')}"
    return tuple(built)


async def _run(trying: Trying, drafts: Sequence[Draft], built: Sequence[Tried], progress: Progress) -> Proved:
    proved = Proved(tuple(built))
    touched = {one.candidate.index.collection for one in built}
    # What each single try has shown says which form may be the better one; all of it is run.
    costs: dict[Place, float] = {}
    for one in built:
        for place, ms in one.costs.items():
            costs[place] = min(ms, costs.get(place, ms))
    for at, draft in enumerate(drafts):
        progress("proving what was chosen", at, len(drafts))
        form = draft.best_form(costs) if draft.runs else 0
        if draft.runs and (form or touched & draft.collections):
            await _pairs(trying, draft, form, built, proved)
    return proved


async def _pairs(trying: Trying, draft: Draft, form: int, built: Sequence[Tried], proved: Proved) -> None:
    name, desk = draft.fingerprint, trying.desk
    pairs = {example: Pairs() for one, example in draft.before if one == form}
    mine = [one for one in built if one.candidate.index.collection in draft.collections]
    proved.forms[name] = form
    ends = time.monotonic() + _PAIRS_SECONDS
    for pair in range(_PAIRS if trying.thorough else _PAIRS_QUICK):
        if pair and time.monotonic() > ends:
            break
        await _show(trying, mine, hidden=True)
        for example, one in pairs.items():
            one.before.append((await desk.cost(draft.forms[0].commands[example])).ms)
        await _show(trying, mine, hidden=False)
        for example, one in pairs.items():
            one.after.append((await desk.cost(draft.forms[form].commands[example])).ms)
    proved.before[name] = [fmean(each) for each in zip(*(one.before for one in pairs.values()), strict=True)]
    proved.after[name] = [fmean(each) for each in zip(*(one.after for one in pairs.values()), strict=True)]
    for example, one in pairs.items():
        told = await desk.explain(draft.forms[form].commands[example])
        one.indexes = told.indexes
        proved.told.setdefault(name, told)
        proved.examples[name, example] = one
    with_all = await desk.answer(draft.forms[form].commands[0])
    await _show(trying, mine, hidden=True)
    without = await desk.answer(draft.forms[0].commands[0]) if draft.before[0, 0].whole else None
    await _show(trying, mine, hidden=False)
    if with_all is None or without is None:
        proved.same[name], proved.rows[name] = None, 0
        draft.notes.append("its answers could not be compared: without the advice it takes too long")
        return
    proved.rows[name] = with_all[1]
    proved.same[name] = True if with_all == without else None if open_ended(draft) else False


def open_ended(draft: Draft) -> bool:
    """Whether more than one answer is right: a part is taken by an order that may leave ties."""
    command = draft.query.command
    words = str(command.pipeline)
    taking = command.limit or command.skip or any(f"'{w}'" in words for w in ("$limit", "$skip", "$first", "$last"))
    return bool(taking) or command.kind == "findAndModify" or "$sample" in words or "$$NOW" in words


async def _show(trying: Trying, built: Sequence[Tried], *, hidden: bool) -> None:
    for one in built:
        await trying.desk.show(one.candidate.index.collection, one.candidate.index.called, hidden=hidden)


def _at_fault(drafts: Sequence[Draft], built: Sequence[Tried], proved: Proved, known: Proved) -> bool:
    """Mark what makes a query dearer or is used by none; whether there was any."""
    found = False
    labels = {draft.fingerprint: draft.query.label for draft in drafts}
    for one in built:
        called = one.candidate.index.called
        users = {place: pairs for place, pairs in proved.examples.items() if called in pairs.indexes}
        for place, pairs in users.items():
            judged = place in known.examples and known.examples[place].indexes == pairs.indexes
            if not judged and dearer(pairs.before, pairs.after):
                figures = times(min(pairs.before), min(pairs.after))
                one.rejected = f"beside the others it makes {labels[place[0]]} dearer: {figures}"
        if not users and not one.rejected:
            one.rejected = "no plan uses it any more once the others are there"
        found = found or bool(one.rejected)
    return found


async def _writes(trying: Trying, picked: Sequence[Tried]) -> dict[str, float]:
    """How many percent dearer inserts become by each index, beside all others."""
    found: dict[str, float] = {}
    built = await _build(trying, picked)
    for one in built:
        index = one.candidate.index
        without: list[float] = []
        with_: list[float] = []
        try:
            for _ in range(_WRITE_PAIRS if trying.thorough else _PAIRS_QUICK):
                with_.append(await trying.desk.write_ms(index.collection, _WRITTEN))
                await trying.desk.drop(index.collection, index.called)
                without.append(await trying.desk.write_ms(index.collection, _WRITTEN))
                await trying.desk.build(replace(index, name=index.called))
        except RUN_ERRORS:
            # A unique index or a rule of the collection refuses copies: nothing is known then.
            continue
        found[index.called] = (min(with_) / min(without) - 1) * 100
    await _take_away(trying, built)
    return found
