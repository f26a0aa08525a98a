"""Which statements are better answered by a view: those that stay slow, whatever the indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.port import Refused
from tercet.advisor.views.gain import gain
from tercet.advisor.views.propose import propose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.catalog import Catalog
    from tercet.advisor.flow.draft import Draft, Wishes
    from tercet.advisor.port import WhatIf
    from tercet.advisor.views.candidate import Gain, ViewCandidate

# A statement that an index brings below this waits for nothing that people notice; a view is always a little old.
SLOW_MS = 20.0
# A view is one more thing to keep, and old: it must be worth several indexes.
GAIN_MIN = 5.0


async def views(drafts: Sequence[Draft], catalog: Catalog, engine: WhatIf, wishes: Wishes) -> tuple[ViewCandidate, ...]:
    """The views worth having, that which saves most first; each draft is answered by one at most."""
    slow = [draft for draft in drafts if draft.query.reading and _slow(draft)]
    if not slow:
        return ()
    queries = [draft.query for draft in slow]
    by = {draft.fingerprint: draft for draft in slow}
    found = []
    candidates = propose(queries, catalog)
    for at, candidate in enumerate(candidates):
        wishes.progress(f"planning with the view {candidate.name}", at, len(candidates))
        gains = await gain(candidate, engine, queries)
        if not isinstance(gains, Refused):
            found.append((candidate, gains))
    taken = []
    for candidate, gains in sorted(found, key=lambda one: -_saved(one[1], by)):
        worth = [one for one in gains if by[one.fingerprint].view is None and _worth(one, by[one.fingerprint])]
        if worth:
            taken.append(candidate)
            _take(candidate, worth, by)
    return tuple(taken)


def _slow(draft: Draft) -> bool:
    ms = draft.outlook.ms_after if draft.outlook is not None else draft.query.ms
    return ms is None or ms >= SLOW_MS


def _view_ms(one: Gain, draft: Draft) -> float:
    """What it takes over the view: the time of the statement, in proportion to the costs."""
    before = draft.query.ms or (draft.outlook.ms_before if draft.outlook is not None else one.before)
    return before * one.after / one.before if one.before else before


def _worth(one: Gain, draft: Draft) -> bool:
    now = draft.outlook.ms_after if draft.outlook is not None else one.before
    return _view_ms(one, draft) * GAIN_MIN <= now


def _saved(gains: Sequence[Gain], by: dict[str, Draft]) -> float:
    return sum(
        max(0.0, (by[one.fingerprint].query.ms or one.before) - _view_ms(one, by[one.fingerprint]))
        * by[one.fingerprint].query.calls
        for one in gains
    )


def _take(candidate: ViewCandidate, worth: Sequence[Gain], by: dict[str, Draft]) -> None:
    for one in worth:
        draft = by[one.fingerprint]
        draft.view = candidate.view
        draft.over_view = next(each.rewrite for each in candidate.answers if each.fingerprint == one.fingerprint)
        draft.view_ms = _view_ms(one, draft)
