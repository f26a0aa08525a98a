"""Which indexes to make, and which that are there to let go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.advice import Rejected
from tercet.advisor.candidates import propose
from tercet.advisor.choice import choose
from tercet.advisor.flow.rewriting import GAIN_MIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.catalog import Catalog
    from tercet.advisor.choice.chosen import Choice
    from tercet.advisor.flow.draft import Draft, Wishes
    from tercet.advisor.port import WhatIf


async def indexes(
    drafts: Sequence[Draft], catalog: Catalog, engine: WhatIf, wishes: Wishes, window: float | None
) -> Choice:
    """The choice for what the drafts ask; each gets its outlook, and loses a rewrite that gains nothing with it."""
    choice = await _choose(drafts, catalog, engine, wishes, window)
    taken_back = [draft for draft in drafts if _settle(draft)]
    if taken_back:
        choice = await _choose(drafts, catalog, engine, wishes, window)
    return choice


async def _choose(
    drafts: Sequence[Draft], catalog: Catalog, engine: WhatIf, wishes: Wishes, window: float | None
) -> Choice:
    asked = [draft.asked for draft in drafts]
    wishes.progress("thinking of indexes", 0, 0)
    choice = await choose(
        asked, propose(asked, catalog), engine, catalog,
        budget_bytes=wishes.budget_bytes, thorough=wishes.thorough, seconds=wishes.seconds,
        on_progress=wishes.progress, window=window, run=wishes.runs,
    )  # fmt: skip
    for draft, query in zip(drafts, asked, strict=True):
        draft.outlook = choice.outlook(query.fingerprint)
    return choice


def _settle(draft: Draft) -> bool:
    """Whether a rewrite was taken back: under the budget its indexes were not to be had."""
    own = next((form for form in draft.forms if form.rewrite is None), None)
    if draft.rewrite is None or own is None or draft.ran or draft.outlook is None:
        return False
    before = draft.query.ms or own.before
    if before is None or draft.outlook.ms_after * GAIN_MIN <= before:
        return False
    draft.rejected.append(Rejected(draft.forms[0].words(), "with the indexes that were picked it gains nothing"))
    draft.forms = [own]
    return True
