"""`tercet advise --save`: the last advice as a migration that blocks nobody."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.cli.advise_steps import day_of, step
from tercet.cli.advise_views import declared, instead, keeping, rollup_step
from tercet.cli.keeping import last
from tercet.cli.opening import opened, place_of, settings_of
from tercet.errors import UsageError
from tercet.migrations import MakeView, Remark
from tercet.migrations.saving import save
from tercet.rollups import Rollup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tercet.advisor import Piece
    from tercet.advisor.report import Kept
    from tercet.cli.screen import Screen
    from tercet.migrations import Step
    from tercet.sql import View

_TITLE = "What tercet advised"


def save_advice(address: str | None, folder: Path, into: Path, screen: Screen) -> None:
    """Write the advice that was shown last, all of it: drops last, and what no migration can do as comments.

    Where a view is to be kept by what writers do, its database is asked for the types of its columns; nothing else is.
    """
    kept = last(folder)
    day = day_of(kept)
    pieces = sorted(kept.advice.pieces, key=lambda one: one.kind.startswith("drop"))
    steps = [_told(step(piece, day), piece, kept) for piece in pieces]
    rollups = {at: keeping(piece).what for at, piece in enumerate(pieces) if isinstance(steps[at], MakeView)}
    if any(isinstance(one, Rollup) for one in rollups.values()):
        steps = asyncio.run(_asked(address, folder, kept, steps, rollups))
    done = [one for one in steps if not isinstance(one, Remark)]
    if not done:
        mend = "What there is to do is done in the program: tercet advise --explain NUMBER" if steps else ""
        raise UsageError("The last advice has nothing that a migration could do.", mend or "Ask anew: tercet advise")
    notes = (f"Advised for {kept.place} on {day.isoformat()}, from {kept.advice.source}.",)
    saved = save(steps, into, title=_TITLE, made=day.isoformat(), notes=notes)
    screen.result(str(saved.path))
    if saved.note:
        screen.aside(saved.note)
    said = len(steps) - len(done)
    if said:
        screen.aside(f"{said} of {len(steps)} pieces are comments in it: they are done in the program")
    if not saved.existed:
        screen.aside("run it with: alembic upgrade head" if saved.down_revision or not saved.note else "look it over")


def _told(todo: Step, piece: Piece, kept: Kept) -> Step:
    """A view's step says how it is kept up and asked from then on."""
    if not isinstance(todo, MakeView):
        return todo
    plan = keeping(piece)
    lines = [todo.why, plan.note, "To keep it up, in the program:", *(f"    {line}" for line in declared(plan))]
    return replace(todo, why="\n".join(filter(None, (*lines, *instead(piece, kept.advice)))))


async def _asked(
    address: str | None, folder: Path, kept: Kept, steps: Sequence[Step], rollups: Mapping[int, View | Rollup]
) -> list[Step]:
    """The steps with rollups as the statements that make them on a database like the one that was advised."""
    settings = await settings_of(address, folder)
    if place_of(settings) != kept.place:
        mend = "Its column types are needed for a view that its writers keep: give its URL beside --save."
        raise UsageError(f"The last advice is for {kept.place}, and not for {place_of(settings)}.", mend)
    found = list(steps)
    async with opened(settings) as db:
        for at, what in rollups.items():
            todo = steps[at]
            if isinstance(what, Rollup) and isinstance(todo, MakeView):
                found[at] = await rollup_step(db.postgres, what, todo.why, todo.comment)
    return found
