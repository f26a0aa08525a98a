"""Candidates chosen together: each time the one that saves most of what is left, within the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.mongo.choice.draft import WORTH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tercet.advisor.mongo.choice.draft import Draft, Place, Tried

# Of two after which about the same is left (within a twentieth), the smaller one, unless a single query is worse off.
_AS_GOOD = 0.05
# What a person wants to look through, and what writers bear.
_INDEXES_MAX = 20


def choose(
    drafts: Sequence[Draft], tried: Sequence[Tried], ratios: Mapping[str, float], budget: int | None
) -> tuple[Tried, ...]:
    """The candidates that are worth it together."""
    picked: list[Tried] = []
    costs: dict[Place, float] = {}
    before = {(draft.fingerprint, *place): cost.ms for draft in drafts for place, cost in draft.before.items()}
    open_ = [one for one in tried if not one.rejected]
    room = float("inf") if budget is None else float(budget)
    while open_ and len(picked) < _INDEXES_MAX:
        gains = [(one, *_gain(drafts, costs, one)) for one in open_ if _size(one, ratios) <= room]
        top, best, left = max(gains, key=lambda gain: gain[1], default=(None, 0.0, 0.0))
        if top is None or best <= 0:
            break
        alike = [
            one for one, gain, _ in gains if gain >= best - left * _AS_GOOD and _as_good({**before, **costs}, one, top)
        ]
        one = min(alike, key=lambda one: (_size(one, ratios), len(one.candidate.index.keys)))
        picked.append(one)
        open_.remove(one)
        room -= _size(one, ratios)
        for place, ms in one.costs.items():
            costs[place] = min(ms, costs.get(place, ms))
    return tuple(picked)


def _as_good(now: Mapping[Place, float], one: Tried, top: Tried) -> bool:
    """Whether no query waits for it so much longer than for the other one that this would be worth an index."""
    return all(
        min(one.costs.get(place, ms), ms) * (1 - WORTH) <= top.costs[place]
        for place, ms in now.items()
        if top.costs.get(place, ms) < ms
    )


def _size(one: Tried, ratios: Mapping[str, float]) -> float:
    return one.size_bytes * ratios.get(one.candidate.index.collection, 1.0)


def _gain(drafts: Sequence[Draft], costs: Mapping[Place, float], one: Tried) -> tuple[float, float]:
    """What it saves over all calls beyond what is picked, and what is left of those queries; nothing below a tenth."""
    together = {**costs, **{place: min(ms, costs.get(place, ms)) for place, ms in one.costs.items()}}
    helped = {place[0] for place in one.costs}
    total = left = 0.0
    worth = False
    for draft in drafts:
        if draft.runs and draft.fingerprint in helped:
            before, after = draft.ms(costs), draft.ms(together)
            worth = worth or after <= before * (1 - WORTH)
            total += draft.weigh(before - after)
            left += draft.weigh(after)
    return (total, left) if worth else (0.0, 0.0)
