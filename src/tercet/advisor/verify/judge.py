"""What a duel proves, in a word and in a sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from tercet.advisor.advice import Proof
from tercet.advisor.verify.change import Outcome, Verified
from tercet.proof.verdict import times
from tercet.units import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.query import Query
    from tercet.advisor.verify.answer import Sameness
    from tercet.advisor.verify.change import Bounds
    from tercet.advisor.verify.duel import Duel
    from tercet.sql import Plan

# From here on the planner's guess of rows is worth a word: its choice rests on it.
_MISJUDGED = 10.0
# Below so many rows nothing hangs on a guess.
_ROWS_MATTER = 100.0


def outcome_of(duel: Duel, bounds: Bounds) -> Outcome:
    """The word for it."""
    if duel.answers is not None and duel.answers.same is False:
        return "different"
    if duel.paired is not None and duel.before is not None and duel.after is not None:
        if duel.paired.surely(bounds.gain):
            return "faster"
        lost = duel.after.median - duel.before.median
        return "slower" if duel.paired.surely_slower(bounds.loss) and lost >= bounds.loss_ms else "same"
    if duel.at_least is not None and duel.at_least >= bounds.gain:
        return "faster"
    if duel.at_most is not None and duel.at_most * bounds.loss <= 1:
        return "slower"
    return "unproved"


def judged(
    query: Query,
    duels: Sequence[Duel],
    bounds: Bounds,
    *,
    method: Literal["run", "sample"],
    estimate: tuple[float, float] | None = None,
    sql_after: str | None = None,
) -> Verified:
    """The verdict on a statement by its examples: the worst of them decides, the first is the one that is shown.

    An example that gets slower is a customer who waits; that others gain does not make up for it.
    """
    words = [outcome_of(one, bounds) for one in duels]
    for word in _WORST_FIRST:
        if word in words:
            break
    shown = duels[words.index(word)]
    answers = _telling(shown, duels)
    proof = Proof(
        method=method,
        same_rows=None if answers is None else answers.same,
        interval=_interval(shown),
        estimated_ms=estimate[1] if estimate is not None else None,
        buffers_before=shown.before.pages if shown.before is not None else None,
        buffers_after=shown.after.pages if shown.after is not None else None,
        sentence=answers.sentence if answers is not None else shown.why,
        rows=answers.rows if answers is not None else None,
    )
    return Verified(
        query.fingerprint,
        query.label,
        word,
        proof,
        _sentence(replace(shown, answers=answers), word, bounds, estimate),
        shown.before,
        shown.after,
        sql_after,
    )


def _telling(shown: Duel, duels: Sequence[Duel]) -> Sameness | None:
    """The answers that tell something: those of the duel that is shown, or of another one where they are empty."""
    if shown.answers is None or not shown.answers.empty:
        return shown.answers
    return next((one.answers for one in duels if one.answers is not None and not one.answers.empty), shown.answers)


# What is wrong counts first; that nothing changed for one value says little where another gained.
_WORST_FIRST: tuple[Outcome, ...] = ("different", "slower", "faster", "same", "unproved")


def untouched(query: Query) -> Verified:
    """The verdict where nothing has to be run: text and plan are what they were."""
    proof = Proof("plan", sentence="the same plan")
    sentence = "left as it was: the same plan"
    return Verified(query.fingerprint, query.label, "same", proof, sentence)


def unproved(query: Query, why: str) -> Verified:
    """The verdict where nothing could be run."""
    return Verified(
        query.fingerprint, query.label, "unproved", Proof("plan", sentence=why), f"not proved by running: {why}"
    )


def misjudged(plan: Plan | None) -> str:
    """Where the planner was furthest off, in a clause; "" where it was right enough."""
    if plan is None:
        return ""
    seen = [node for node in plan.walk() if node.misestimate and max(node.rows or 0, node.rows_planned) > _ROWS_MATTER]
    worst = max(seen, key=lambda node: max(node.misestimate or 1, 1 / (node.misestimate or 1)), default=None)
    off = worst.misestimate if worst is not None else None
    if worst is None or not off or 1 / _MISJUDGED < off < _MISJUDGED:
        return ""
    return f"{worst.title}: {worst.rows_planned:,.0f} rows planned, {worst.rows_per_loop:,.0f} came"


def _interval(duel: Duel) -> tuple[float, float] | None:
    return (duel.paired.low, duel.paired.high) if duel.paired is not None else None


def _sentence(duel: Duel, word: Outcome, bounds: Bounds, estimate: tuple[float, float] | None) -> str:
    """What a person would say of it."""
    if duel.before is None or duel.after is None:
        return f"not proved by running: {duel.why}"
    parts = []
    if duel.answers is not None:
        parts.append(duel.answers.sentence)
    if duel.paired is not None:
        parts.append(_told(duel, word))
    elif duel.at_least is not None:
        parts.append(
            f"at least {times(duel.at_least)} faster: it was cut off after {_ms(duel.before.best)} as it is, and takes "
            f"{_ms(duel.after.median)} now; the rows could not be compared"
        )
    elif duel.at_most is not None:
        parts.append(f"{_ms(duel.before.median)} as it is, and cut off after {_ms(duel.after.best)} with the change")
    else:
        parts.append(f"neither way ended within {bounds.statement_seconds:g} s, so nothing is known")
    if duel.before.pages is not None and duel.after.pages is not None:
        parts.append(f"{duel.before.pages:,} → {duel.after.pages:,} pages")
    if estimate is not None and duel.after.ended and min(estimate) > 0 and duel.paired is not None:
        parts.append(f"estimated {times(estimate[0] / estimate[1])}, measured {times(duel.paired.ratio)}")
    off = misjudged(duel.after.plan)
    return "; ".join((*parts, *([off] if off else [])))


def _told(duel: Duel, word: Outcome) -> str:
    paired, before, after = duel.paired, duel.before, duel.after
    if paired is None or before is None or after is None:
        return ""
    ratio, low, high = paired.ratio, paired.low, paired.high
    way = "faster"
    if ratio < 1:
        ratio, low, high, way = 1 / ratio, 1 / high, 1 / low, "slower"
    doubt = "" if word in {"faster", "slower", "different"} else ", which is within the bound or may be chance"
    return (
        f"{times(ratio)} {way} ({times(low)} to {times(high)} in {paired.pairs} "
        f"{'pair' if paired.pairs == 1 else 'pairs'}){doubt}: {_ms(before.median)} → {_ms(after.median)}"
    )


def _ms(ms: float) -> str:
    return duration(ms / 1000)
