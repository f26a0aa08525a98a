"""What of the advice holds when the statements are run; the rest is withdrawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.advice import Rejected
from tercet.advisor.flow.rewriting import GAIN_MIN
from tercet.advisor.sandbox import copy
from tercet.advisor.verify.change import Bounds, Drop
from tercet.advisor.verify.port import Live
from tercet.advisor.verify.verify import verify
from tercet.sql import Index
from tercet.sql.identifier import table_parts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tercet.advisor.catalog import Catalog, Qualified
    from tercet.advisor.choice.chosen import Choice
    from tercet.advisor.flow.draft import Draft, Form, Wishes
    from tercet.advisor.port import Database
    from tercet.advisor.query import Query
    from tercet.advisor.sandbox import Sandbox
    from tercet.advisor.verify.change import Change, Held, Verdicts
    from tercet.advisor.verify.port import Place
    from tercet.sql import View

# Enough to tell which text is the quickest; what is taken is proved with more.
_RUN_OFF = Bounds(pairs=3, examples=1, budget_seconds=10.0, gain=1.0, loss=100.0)


@dataclass(frozen=True, slots=True)
class Proved:
    """What came of running: of indexes and rewrites together, and of views by themselves."""

    verdicts: tuple[Verdicts, ...] = ()
    notes: tuple[str, ...] = ()
    taken_bytes: int = 0
    taken_seconds: float = 0.0
    sampled: bool = False

    def held(self, change: object) -> Held | None:
        """What became of a change."""
        for verdicts in self.verdicts:
            for one in verdicts.changes:
                if one.change == change:
                    return one
        return None


class Stand:
    """Where statements are run: made when it is first needed, once."""

    def __init__(
        self, database: Database, replica: Database | None, drafts: Sequence[Draft], catalog: Catalog, wishes: Wishes
    ) -> None:
        self._database, self._replica, self._drafts = database, replica, drafts
        self._catalog, self._wishes = catalog, wishes
        self._sandbox: Sandbox | None = None

    @property
    def builds(self) -> bool:
        """Whether indexes and views can be made there."""
        return self._wishes.runs

    async def place(self) -> Place:
        """The copy with every table that the statements touch, or the database that is only read."""
        if not self.builds:
            if self._wishes.verify == "replica" and self._replica is not None:
                return Live(self._replica, "replica")
            return Live(self._database, "production")
        if self._sandbox is None:
            tables = frozenset().union(*(tables_of(draft.query, self._catalog) for draft in self._drafts))
            self._sandbox = await copy(self._database, self._catalog, tables, on_progress=self._wishes.progress)
        return self._sandbox

    def told(self, verdicts: Sequence[Verdicts]) -> Proved:
        """What came of it, with what the copy took."""
        sandbox = self._sandbox
        notes = (*(sandbox.notes if sandbox is not None else ()), *(note for one in verdicts for note in one.notes))
        taken = sandbox.taken if sandbox is not None else None
        return Proved(
            tuple(verdicts), notes, taken.bytes if taken else 0, taken.seconds if taken else 0.0,
            sandbox is not None and sandbox.sampled,
        )  # fmt: skip

    async def close(self) -> None:
        """Take the copy away, if one was made."""
        if self._sandbox is not None:
            await self._sandbox.close()


async def run_off(drafts: Sequence[Draft], stand: Stand, wishes: Wishes) -> None:
    """Run the texts of each question against each other, each with the indexes that are best for it.

    What the planner thinks of two texts says little about which of them is the quicker one.
    """
    if not stand.builds:
        return
    for draft in [one for one in drafts if len(one.forms) > 1]:
        wishes.progress(f"running {len(draft.forms)} texts of {draft.label()}", 0, len(draft.forms))
        took: dict[Form, float] = {}
        for at, form in enumerate(draft.forms):
            changes: list[Change] = [*form.indexes, *([form.rewrite] if form.rewrite is not None else [])]
            if not changes:
                continue
            found = await verify(await stand.place(), [draft.query], changes, bounds=_RUN_OFF)
            ran = found.statement(draft.fingerprint)
            if ran is not None and ran.outcome != "different" and ran.ms_after is not None:
                took[form] = ran.ms_after
            wishes.progress(f"running {len(draft.forms)} texts of {draft.label()}", at + 1, len(draft.forms))
        _rank(draft, took)


def _rank(draft: Draft, took: Mapping[Form, float]) -> None:
    """Put the quickest text first; the statement as it is stays unless another is worth it."""
    own = next(form for form in draft.forms if form.rewrite is None)
    best = min(took, key=lambda form: took[form], default=None)
    if best is None:
        return
    draft.ran = True
    if own in took and took[own] <= took[best] * GAIN_MIN:
        best = own
    for form in draft.forms:
        if form is not best and form.rewrite is not None:
            ms = f"{took[form]:.3g} ms with its best indexes" if form in took else "it could not be run"
            draft.rejected.append(Rejected(form.words(), f"run: {ms}, {took[best]:.3g} ms {best.words()}"))
    draft.forms = [best] if best is own else [best, own]


async def prove(drafts: Sequence[Draft], choice: Choice, stand: Stand, catalog: Catalog, wishes: Wishes) -> Proved:
    """Run before and after where the user has said; every other statement on the touched tables is watched."""
    first = _changes(drafts, choice)
    views = tuple(dict.fromkeys(draft.view for draft in drafts if draft.view is not None))
    if wishes.verify == "off" or not (first or views):
        return Proved()
    verdicts: list[Verdicts] = []
    place = await stand.place()
    if first:
        touched = _touched(drafts, first, catalog)
        watched = [draft for draft in drafts if tables_of(draft.query, catalog) & touched]
        verdicts.append(await _together(place, watched, first, wishes))
    for view in views:
        answered = [draft for draft in drafts if draft.view == view]
        verdicts.append(await _over(place, answered, view, wishes))
    return stand.told(verdicts)


async def _together(place: Place, drafts: Sequence[Draft], changes: Sequence[Change], wishes: Wishes) -> Verdicts:
    estimates = {
        draft.fingerprint: (draft.outlook.ms_before, draft.outlook.ms_after)
        for draft in drafts
        if draft.outlook is not None
    }
    queries = [draft.query for draft in drafts]
    found = await verify(place, queries, changes, estimates=estimates, on_progress=wishes.progress)
    for draft in drafts:
        draft.verified = found.statement(draft.fingerprint)
    return found


async def _over(place: Place, drafts: Sequence[Draft], view: View, wishes: Wishes) -> Verdicts:
    """A view with the statements that it answers, each as it is asked now against the same over the view."""
    changes: list[Change] = [view, *(draft.over_view for draft in drafts if draft.over_view is not None)]
    found = await verify(place, [draft.query for draft in drafts], changes, on_progress=wishes.progress)
    for draft in drafts:
        draft.view_verified = found.statement(draft.fingerprint)
    return found


def _changes(drafts: Sequence[Draft], choice: Choice) -> tuple[Change, ...]:
    """The indexes, the drops and the rewrites."""
    return (
        *(one.candidate.index for one in choice.picked),
        *(Drop(one.standing.index) for one in choice.dropped),
        *(draft.rewrite for draft in drafts if draft.rewrite is not None),
    )


def _touched(drafts: Sequence[Draft], changes: Sequence[Change], catalog: Catalog) -> frozenset[Qualified]:
    """The tables whose statements may become quicker or slower."""
    found: set[Qualified] = set()
    for change in changes:
        index = change.index if isinstance(change, Drop) else change
        if isinstance(index, Index):
            parts = table_parts(index.table)
            table = catalog.find(parts[-1], parts[0] if len(parts) > 1 else None)
            found |= {table.name} if table is not None else set()
    for draft in drafts:
        if draft.rewrite is not None:
            found |= tables_of(draft.query, catalog)
    return frozenset(found)


def tables_of(query: Query, catalog: Catalog) -> frozenset[Qualified]:
    """The tables that a statement names, as far as the catalog knows them."""
    found = set()
    for name in query.statement.tables:
        schema, _, plain = name.rpartition(".")
        table = catalog.find(plain.strip('"'), schema.strip('"') or None)
        if table is not None:
            found.add(table.name)
    return frozenset(found)
