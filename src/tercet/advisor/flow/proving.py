"""What of the advice holds when the statements are run; the rest is withdrawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tercet.advisor.advice import Rewrite
from tercet.advisor.candidate import plain
from tercet.advisor.candidates import extensions
from tercet.advisor.flow.stand import table_of, tables_of
from tercet.advisor.verify.change import Drop, Verdicts
from tercet.advisor.verify.verify import verify
from tercet.errors import StoreError
from tercet.sql import Index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.catalog import Catalog, Qualified
    from tercet.advisor.choice import Choice, Picked
    from tercet.advisor.flow.draft import Draft, Wishes
    from tercet.advisor.flow.stand import Stand
    from tercet.advisor.verify.change import Change, Held
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
    drafts: Sequence[Draft], choice: Choice, stand: Stand, catalog: Catalog, wishes: Wishes
) -> tuple[Choice, Proved]:
    """Run before and after where the user has said; every other statement on the touched tables is watched.

    The choice comes back without rules that the rows do not keep.
    """
    views = tuple(dict.fromkeys(draft.view for draft in drafts if draft.view is not None))
    settled, verdicts = _unruly(choice), list[Verdicts]()
    if wishes.verify == "off" or not (_changes(drafts, choice) or views):
        return settled, Proved()
    try:
        settled = await _ruled(drafts, choice, stand, catalog)
        if stand.builds:
            await _built(drafts, settled, views, stand, catalog, wishes, verdicts)
        else:
            await _read(drafts, stand, catalog, wishes, verdicts)
    except StoreError as error:
        stand.notes.append(f"not all was run, and what was not is told as it was planned: {error}")
    return settled, Proved(tuple(verdicts))


async def _built(
    drafts: Sequence[Draft],
    choice: Choice,
    views: Sequence[View],
    stand: Stand,
    catalog: Catalog,
    wishes: Wishes,
    verdicts: list[Verdicts],
) -> None:
    """All of it, made in the copy."""
    changes = _changes(drafts, choice)
    watched = _watched(drafts, changes, catalog)
    answered = [draft for draft in drafts if draft.view is not None]
    needs = [one for change in changes if isinstance(change, Index) for one in extensions(change, catalog)]
    place = await stand.place([*watched, *answered], needs=dict.fromkeys(needs))
    if watched:
        verdicts.append(await _together(place, watched, changes, wishes))
    for view in views:
        found = await _over(place, [one for one in answered if one.view == view], view, wishes)
        verdicts.append(found)


async def _read(
    drafts: Sequence[Draft], stand: Stand, catalog: Catalog, wishes: Wishes, verdicts: list[Verdicts]
) -> None:
    """Where nothing is built, only other texts can be proved, and how quick they are only without new indexes."""
    rewritten = [draft for draft in drafts if draft.rewrite is not None]
    changes = [draft.rewrite for draft in rewritten if draft.rewrite is not None]
    if not changes:
        return
    found = await _together(await stand.place(rewritten), _watched(drafts, changes, catalog), changes, wishes)
    different = {one.fingerprint for one in found.statements if one.outcome == "different"}
    waiting = {draft.fingerprint for draft in rewritten if draft.forms[0].indexes} - different

    def told(held: Held) -> Held:
        early = isinstance(held.change, Rewrite) and held.change.fingerprint in waiting and held.state == "withdrawn"
        return replace(held, state="unproved", why=f"its indexes are not there yet: {held.why}") if early else held

    verdicts.append(replace(found, changes=tuple(told(one) for one in found.changes)))


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


async def _together(place: Place, drafts: Sequence[Draft], changes: Sequence[Change], wishes: Wishes) -> Verdicts:
    estimates = {
        draft.fingerprint: (draft.outlook.ms_before, draft.outlook.ms_after)
        for draft in drafts
        if draft.outlook is not None
    }
    queries = [draft.query for draft in drafts]
    found = await verify(
        place, queries, changes, estimates=estimates, figure=wishes.figure, on_progress=wishes.progress
    )
    for draft in drafts:
        draft.verified = found.statement(draft.fingerprint)
    return found


async def _over(place: Place, drafts: Sequence[Draft], view: View, wishes: Wishes) -> Verdicts:
    """A view with the statements that it answers, each as it is asked now against the same over the view."""
    changes: list[Change] = [view, *(draft.over_view for draft in drafts if draft.over_view is not None)]
    queries = [draft.query for draft in drafts]
    found = await verify(place, queries, changes, figure=wishes.figure, on_progress=wishes.progress)
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
