"""Candidates chosen together: each time the one that saves most of what is left, within the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.mongo.choice.draft import WORTH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tercet.advisor.mongo.choice.draft import Draft, Place, Tried

# Of two after which about the same is left (within a twentieth), the smaller one.
_AS_GOOD = 0.05
# What a person wants to look through, and what writers bear.
_INDEXES_MAX = 20


def choose(
    drafts: Sequence[Draft], tried: Sequence[Tried], ratios: Mapping[str, float], budget: int | None
) -> tuple[Tried, ...]:
    """The candidates that are worth it together."""
    picked: list[Tried] = []
    costs: dict[Place, float] = {}
    open_ = [one for one in tried if not one.rejected]
    room = float("inf") if budget is None else float(budget)
    while open_ and len(picked) < _INDEXES_MAX:
        gains = [(one, *_gain(drafts, costs, one)) for one in open_ if _size(one, ratios) <= room]
        best, left = max(((gain, left) for _, gain, left in gains), default=(0.0, 0.0))
        if best <= 0:
            break
        one = min((one for one, gain, _ in gains if gain >= best - left * _AS_GOOD),
                  key=lambda one: (_size(one, ratios), len(one.candidate.index.keys)))  # fmt: skip
        picked.append(one)
        open_.remove(one)
        room -= _size(one, ratios)
        for place, ms in one.costs.items():
            costs[place] = min(ms, costs.get(place, ms))
    return tuple(picked)


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
