"""`tercet advise --save`: the last advice as a migration that blocks nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.cli.advise_steps import day_of, step
from tercet.cli.keeping import last
from tercet.errors import UsageError
from tercet.migrations import Remark
from tercet.migrations.saving import save

if TYPE_CHECKING:
    from pathlib import Path

    from tercet.cli.screen import Screen

_TITLE = "What tercet advised"


def save_advice(folder: Path, into: Path, screen: Screen) -> None:
    """Write the advice that was shown last, all of it: drops last, and what no migration can do as comments."""
    kept = last(folder)
    day = day_of(kept)
    steps = [step(piece, day) for piece in sorted(kept.advice.pieces, key=lambda one: one.kind == "drop_index")]
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
