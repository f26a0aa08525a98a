"""Which text of a question is the quickest, found by running them against each other."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tercet.advisor.advice import Rejected
from tercet.advisor.allowance import Allowance
from tercet.advisor.candidates import extensions
from tercet.advisor.flow.rewriting import GAIN_MIN, SAVED_MS_MIN
from tercet.advisor.verify.building import Building
from tercet.advisor.verify.change import Bounds
from tercet.advisor.verify.runs import Runs
from tercet.advisor.verify.verify import verify
from tercet.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tercet.advisor.catalog import Catalog
    from tercet.advisor.flow.draft import Draft, Form, Wishes
    from tercet.advisor.flow.stand import Stand
    from tercet.advisor.verify.port import Place

# Enough to tell which text is the quickest; what is taken is proved with more.
_BOUNDS = Bounds(pairs=3, examples=1, budget_seconds=10.0, gain=1.0, loss=100.0, write_rows=0, each=False)
# For all statements together: those of the most time come first, and for the rest the planner's word counts.
_ALL_SECONDS = 120.0
# Below this, texts that the planner ranks wrongly differ by less than anybody waits for.
_SLOW_MS = 5.0


async def run_off(
    drafts: Sequence[Draft],
    stand: Stand,
    catalog: Catalog,
    wishes: Wishes,
    monotonic: Callable[[], float] = time.monotonic,
) -> bool:
    """Run the texts of each question against each other; True if another one than the planner's is the quickest.

    What the planner thinks of two texts says little about which of them is the quicker one. All indexes that are best
    for any of them are there meanwhile.
    """
    several = [one for one in drafts if len(one.forms) > 1 and _slow(one)]
    if not stand.builds or not several:
        return False
    allowance = Allowance(min(_ALL_SECONDS, stand.allowance.left), monotonic)
    changed = False
    try:
        for at, draft in enumerate(several):
            if not allowance.left:
                stand.notes.append(f"other texts of {len(several) - at} statements were not run: the time was up")
                break
            wishes.progress(f"running {len(draft.forms)} texts of {draft.label()}", at, len(several))
            first = draft.forms[0]
            needs = [one for form in draft.forms for index in form.indexes for one in extensions(index, catalog)]
            place = await stand.place(several, needs=dict.fromkeys(needs))
            _rank(draft, await _texts(draft, place, allowance, wishes))
            changed |= draft.forms[0] is not first
    except StoreError as error:
        stand.notes.append(f"other texts were not run: {error}")
    return changed


def _slow(draft: Draft) -> bool:
    own = next(form for form in draft.forms if form.rewrite is None)
    return own.ms is None or own.ms >= _SLOW_MS


@dataclass(frozen=True, slots=True)
class _Ran:
    """Milliseconds of the statement as it is and of the other text in one run; `why` where it is out."""

    own: float | None = None
    other: float | None = None
    why: str = ""
    unproved: bool = False


async def _texts(draft: Draft, place: Place, allowance: Allowance, wishes: Wishes) -> Mapping[Form, _Ran]:
    """Each other text against the statement as it is, all indexes that are best for any of them being there."""
    runs = Runs(place)
    building = Building(runs, allowance, wishes.progress)
    found: dict[Form, _Ran] = {}
    try:
        await building.build(tuple(dict.fromkeys(index for form in draft.forms for index in form.indexes)))
        for form in [one for one in draft.forms if one.rewrite is not None]:
            bounds = replace(_BOUNDS, total_seconds=allowance.left)
            found[form] = await _against(draft, form, place, bounds, wishes)
    finally:
        await asyncio.shield(building.clear())
    return found


async def _against(draft: Draft, form: Form, place: Place, bounds: Bounds, wishes: Wishes) -> _Ran:
    if form.rewrite is None:
        return _Ran()
    ran = await verify(place, [draft.query], [form.rewrite], bounds=bounds, figure=wishes.figure)
    (held,), one = ran.changes, ran.statement(draft.fingerprint)
    # Which of two texts is the quicker one is seen on empty answers too.
    timed = one is not None and one.proof.rows == 0 and held.state == "unproved"
    if one is None or not (held.state == "kept" or timed):
        return _Ran(why=held.why, unproved=held.state == "unproved")
    return _Ran(one.ms_before, one.ms_after)


def _rank(draft: Draft, found: Mapping[Form, _Ran]) -> None:
    """Put the quickest text first; the statement as it is stays unless another is worth it."""
    own = next(form for form in draft.forms if form.rewrite is None)
    if any(one.unproved for one in found.values()):
        # Then what the planner thinks is all there is, for the others too.
        return
    draft.ran = True
    took = {form: one.other for form, one in found.items() if one.other is not None}
    best = min(took, key=lambda form: took[form], default=own)
    mine = found[best].own if best is not own else None
    if mine is not None and (mine <= took[best] * GAIN_MIN or mine - took[best] < SAVED_MS_MIN):
        best = own
    for form, one in found.items():
        if form is best:
            continue
        told = f"{one.other:.3g} ms" if one.other is not None else one.why
        against = f", {took[best]:.3g} ms {best.words()}" if best in took else ""
        draft.rejected.append(Rejected(form.words(), f"run with the best indexes: {told}{against}"))
    draft.forms = [best] if best is own else [best, own]
