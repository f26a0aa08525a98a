"""What of the advice holds when the statements are run; the rest is withdrawn."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tercet.advisor.advice import Rewrite
from tercet.advisor.candidate import plain
from tercet.advisor.candidates import extensions
from tercet.advisor.flow.settling import Way, picked, settle
from tercet.advisor.flow.stand import table_of, tables_of
from tercet.advisor.verify.change import Bounds, Drop, Verdicts, title
from tercet.advisor.verify.verify import verify
from tercet.errors import StoreError
from tercet.sql import Index
from tercet.units import duration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from tercet.advisor.catalog import Catalog, Qualified
    from tercet.advisor.choice import Choice, Picked
    from tercet.advisor.flow.draft import Draft, Wishes
    from tercet.advisor.flow.stand import Stand
    from tercet.advisor.verify.change import Change, Held
    from tercet.advisor.verify.duel import Duel
    from tercet.advisor.verify.port import Place
    from tercet.sql import View

# Said of a unique index: why it is one, and what that asks of the program.
_RULE = (
    "unique, since a statement gains by that rule what no plain index gives: all rows were looked at and keep it, "
    "and from then on a row that breaks it is refused"
)


@dataclass(frozen=True, slots=True)
class Proved:
    """What came of running: of indexes and rewrites together, and of views by themselves."""

    verdicts: tuple[Verdicts, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known besides."""
        return tuple(note for one in self.verdicts for note in one.notes)

    def held(self, change: object) -> Held | None:
        """What became of a change."""
        return next((one for verdicts in self.verdicts for one in verdicts.changes if one.change == change), None)


async def prove(
    drafts: Sequence[Draft],
    choice: Choice,
    again: Callable[[Sequence[Way]], Awaitable[Choice]],
    stand: Stand,
    catalog: Catalog,
    wishes: Wishes,
) -> tuple[Way, Proved]:
    """Run before and after where the user has said; every other statement on the touched tables is watched.

    Where an index does not hold, it is chosen `again`. The way that did best comes back, without rules that the
    rows do not keep.
    """
    views = tuple(dict.fromkeys(draft.view for draft in drafts if draft.view is not None))
    if wishes.verify == "off" or not (_changes(drafts, choice) or views):
        return Way(_unruly(choice), picked(choice)), Proved()
    settling = _Settling(drafts, stand, catalog, wishes)
    verdicts = list[Verdicts]()
    try:
        if stand.builds:
            await settle(choice, settling.run, again, settling.ways, going=lambda: stand.allowance.left > 0)
            for view in views:
                verdicts.append(await settling.over(view))
        else:
            verdicts += await settling.read()
    except StoreError as error:
        stand.notes.append(f"not all was run, and what was not is told as it was planned: {error}")
    if not stand.allowance.left:
        most = duration(stand.allowance.seconds)
        stand.notes.append(
            f"running took the {most} that it may take: what was not run by then is told as planned only"
        )
    best = settling.best(Way(_unruly(choice), picked(choice)))
    return best, Proved((*([best.verdicts] if best.verdicts is not None else []), *verdicts))


@dataclass(slots=True)
class _Settling:
    """Choices that are made in the copy and run there, all statements that they might touch being watched."""

    drafts: Sequence[Draft]
    stand: Stand
    catalog: Catalog
    wishes: Wishes
    ways: list[Way] = field(default_factory=list)
    # What was run for one of them is not run for the next.
    known: dict[object, Duel] = field(default_factory=dict)

    async def run(self, choice: Choice) -> Way:
        """One of them."""
        names, choice = picked(choice), await _ruled(self.drafts, choice, self.stand, self.catalog)
        changes = _changes(self.drafts, choice)
        watched = _watched(self.drafts, changes, self.catalog)
        if not watched:
            return Way(choice, names)
        place = await self._place(watched, changes)
        return Way(choice, names, await self._together(place, watched, changes, choice))

    async def read(self) -> Sequence[Verdicts]:
        """Where nothing is built, only other texts are proved, and how quick they are only without new indexes."""
        rewritten = [draft for draft in self.drafts if draft.rewrite is not None]
        changes = [draft.rewrite for draft in rewritten if draft.rewrite is not None]
        if not changes:
            return ()
        watched = _watched(self.drafts, changes, self.catalog)
        found = await self._together(await self.stand.place(rewritten), watched, changes)
        for draft in watched:
            draft.verified = found.statement(draft.fingerprint)
        different = {one.fingerprint for one in found.statements if one.outcome == "different"}
        waiting = {draft.fingerprint for draft in rewritten if draft.forms[0].indexes} - different
        return (replace(found, changes=tuple(_early(held, waiting) for held in found.changes)),)

    async def over(self, view: View) -> Verdicts:
        """A view with the statements that it answers."""
        answered = [draft for draft in self.drafts if draft.view == view]
        return await _over(await self._place(answered, ()), answered, view, self.stand, self.wishes)

    def best(self, unrun: Way) -> Way:
        """The way that saves most, in which the drafts then are; what the others had to withdraw is noted."""
        best = max(self.ways, key=lambda way: way.saved, default=unrun)
        told_of = [one.candidate.index for one in best.choice.picked]
        for way in self.ways:
            gone = [one for one in way.withdrawn if one.change not in told_of]
            told = [f"withdrawn after running: {title(one.change)}: {one.why}" for one in gone]
            self.stand.notes += [note for note in told if note not in self.stand.notes]
        for draft in self.drafts:
            draft.outlook = best.choice.outlook(draft.asked.fingerprint)
            draft.verified = best.verdicts.statement(draft.fingerprint) if best.verdicts is not None else draft.verified
        return best

    async def _together(
        self, place: Place, drafts: Sequence[Draft], changes: Sequence[Change], choice: Choice | None = None
    ) -> Verdicts:
        outlooks = {
            draft.fingerprint: choice.outlook(draft.asked.fingerprint) if choice is not None else draft.outlook
            for draft in drafts
        }
        estimates = {who: (one.ms_before, one.ms_after) for who, one in outlooks.items() if one is not None}
        return await verify(
            place, [draft.query for draft in drafts], changes,
            bounds=Bounds(total_seconds=self.stand.allowance.left), estimates=estimates,
            figure=self.wishes.figure, known=self.known, on_progress=self.wishes.progress,
        )  # fmt: skip

    async def _place(self, drafts: Sequence[Draft], changes: Sequence[Change]) -> Place:
        """Where these run, for which the copy is made with the tables of all that will be."""
        views = [draft for draft in self.drafts if draft.view is not None]
        needs = [one for change in changes if isinstance(change, Index) for one in extensions(change, self.catalog)]
        return await self.stand.place([*drafts, *views], needs=dict.fromkeys(needs))


def _early(held: Held, waiting: Collection[str]) -> Held:
    """What was withdrawn of a statement whose indexes are still to come has not been refuted."""
    if isinstance(held.change, Rewrite) and held.change.fingerprint in waiting and held.state == "withdrawn":
        return replace(held, state="unproved", why=f"its indexes are not there yet: {held.why}")
    return held


async def _ruled(drafts: Sequence[Draft], choice: Choice, stand: Stand, catalog: Catalog) -> Choice:
    """The choice with those unique indexes as plain ones whose values are not proved to be all different."""
    return replace(choice, picked=tuple([await _proved(one, drafts, stand, catalog) for one in choice.picked]))


async def _proved(one: Picked, drafts: Sequence[Draft], stand: Stand, catalog: Catalog) -> Picked:
    index = one.candidate.index
    if not index.unique:
        return one
    watched = _watched(drafts, (index,), catalog)
    if watched and await stand.all_different(index, await stand.place(watched)):
        return replace(one, candidate=replace(one.candidate, why=f"{one.candidate.why}; {_RULE}"))
    return _plain(one)


def _unruly(choice: Choice) -> Choice:
    """The choice with plain indexes in place of unique ones."""
    return replace(choice, picked=tuple(map(_plain, choice.picked)))


def _plain(one: Picked) -> Picked:
    return replace(one, candidate=plain(one.candidate)) if one.candidate.index.unique else one


async def _over(place: Place, drafts: Sequence[Draft], view: View, stand: Stand, wishes: Wishes) -> Verdicts:
    """A view with the statements that it answers, each as it is asked now against the same over the view."""
    changes: list[Change] = [view, *(draft.over_view for draft in drafts if draft.over_view is not None)]
    queries = [draft.query for draft in drafts]
    bounds = Bounds(total_seconds=stand.allowance.left)
    found = await verify(place, queries, changes, bounds=bounds, figure=wishes.figure, on_progress=wishes.progress)
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


def _watched(drafts: Sequence[Draft], changes: Sequence[Change], catalog: Catalog) -> list[Draft]:
    """The statements that name a table of which something is changed."""
    touched: set[Qualified] = set()
    for change in changes:
        index = change.index if isinstance(change, Drop) else change
        if isinstance(index, Index) and (table := table_of(index, catalog)) is not None:
            touched.add(table)
    rewritten = {draft.fingerprint for draft in drafts if draft.rewrite in changes}
    return [
        draft
        for draft in drafts
        if not draft.refused and (draft.fingerprint in rewritten or tables_of(draft.query, catalog) & touched)
    ]
