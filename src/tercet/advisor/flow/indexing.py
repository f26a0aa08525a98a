"""Which indexes to make, and which that are there to let go."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from tercet.advisor.advice import Rejected
from tercet.advisor.candidates import housekeeping
from tercet.advisor.choice import choose
from tercet.advisor.flow.rewriting import GAIN_MIN
from tercet.advisor.flow.settling import observed
from tercet.advisor.flow.thinking import thought_of
from tercet.advisor.port import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tercet.advisor.candidate import Candidate
    from tercet.advisor.candidates import Finding
    from tercet.advisor.catalog import Catalog
    from tercet.advisor.choice import Choice
    from tercet.advisor.flow.draft import Draft, Wishes
    from tercet.advisor.flow.settling import Way
    from tercet.advisor.port import Supposed, WhatIf


@dataclass(frozen=True, slots=True)
class Indexing:
    """What was chosen, of what, and what else was found about indexes."""

    choice: Choice
    candidates: tuple[Candidate, ...] = ()
    findings: tuple[Finding, ...] = ()
    # Of those indexes that are found missing, whatever the statements: their sizes by name.
    sizes: Mapping[str, Supposed] = field(default_factory=lambda: MappingProxyType({}))


async def indexes(
    drafts: Sequence[Draft], catalog: Catalog, engine: WhatIf, wishes: Wishes, window: float | None
) -> Indexing:
    """The choice for what the drafts ask; each gets its outlook, and loses a rewrite that gains nothing with it."""
    findings = housekeeping(catalog, [draft.query for draft in drafts])
    found = await _choose(drafts, catalog, engine, wishes, window, findings)
    taken_back = [draft for draft in drafts if _settle(draft)]
    if taken_back:
        found = await _choose(drafts, catalog, engine, wishes, window, findings)
    return found


async def again(
    drafts: Sequence[Draft],
    catalog: Catalog,
    engine: WhatIf,
    wishes: Wishes,
    window: float | None,
    found: Indexing,
    ways: Sequence[Way],
) -> Choice:
    """Chosen anew among the same indexes, with what came of running earlier choices; the statements stay."""
    known = {one.name: one for one in found.candidates}
    known |= {one.candidate.name: one.candidate for way in ways for one in way.choice.picked}
    rewritten = {draft.asked.fingerprint for draft in drafts if draft.rewrite is not None}
    return await choose(
        [draft.asked for draft in drafts], tuple(known.values()), engine, catalog,
        budget_bytes=wishes.budget_bytes, thorough=wishes.thorough, seconds=wishes.seconds,
        on_progress=wishes.progress, window=window, suspects=found.findings, run=wishes.runs,
        observed=observed(ways, rewritten),
    )  # fmt: skip


async def _choose(
    drafts: Sequence[Draft],
    catalog: Catalog,
    engine: WhatIf,
    wishes: Wishes,
    window: float | None,
    findings: tuple[Finding, ...],
) -> Indexing:
    asked = [draft.asked for draft in drafts]
    wishes.progress("thinking of indexes", 0, 0)
    candidates = await thought_of(asked, catalog, engine, wishes)
    choice = await choose(
        asked, candidates, engine, catalog,
        budget_bytes=wishes.budget_bytes, thorough=wishes.thorough, seconds=wishes.seconds,
        on_progress=wishes.progress, window=window, suspects=findings, run=wishes.runs,
    )  # fmt: skip
    for draft, query in zip(drafts, asked, strict=True):
        draft.outlook = choice.outlook(query.fingerprint)
    lacking = [one.index for one in findings if one.action == "create"]
    supposed = await engine.suppose(lacking) if lacking else {}
    sizes = {name: one for name, one in supposed.items() if not isinstance(one, Refused)}
    return Indexing(choice, candidates, findings, sizes)


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
