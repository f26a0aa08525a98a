"""Views that were advised, as what their policy says: refreshed, or kept by what writers do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, cast

from tercet.advisor.views.policy import REFRESH_SHARE_MAX, Policy
from tercet.errors import DefinitionMismatch, StoreError, TercetError, UsageError
from tercet.migrations import MakeRollup
from tercet.migrations.sqlstate import sqlstate
from tercet.rollups import Rollup, apply_view, planned, script, standing, taken_back
from tercet.rollups.keeper import EVERY_SECONDS_MIN
from tercet.sql import View, identifier
from tercet.sql.identifier import table_parts
from tercet.units import duration, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tercet.advisor import Advice, Piece
    from tercet.migrations import Database
    from tercet.rollups import Created, Standing
    from tercet.rollups.kept.ranges import Range
    from tercet.sql.identifier import Name

# From here on nobody minds a part of a second.
_WHOLE_SECONDS = 100.0
# No refresh comes more often than this, however quick it is.
_EVERY_SECONDS_MIN = 1.0
# Whoever has just seen a failure waits no longer for what it has left.
_LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is made for a view, by which policy; `note` says why that is another one than was advised."""

    what: View | Rollup
    policy: Policy
    note: str = ""

    @property
    def name(self) -> Name:
        """The parts of the name under which it is read."""
        return table_parts(self.what.name)

    @property
    def words(self) -> str:
        """What keeps it, in a few words."""
        if isinstance(self.what, Rollup):
            return "kept by triggers" if self.what.way == "triggers" else "kept by a log of changes, never behind"
        return {"once": "refreshed by hand", "plain": "refreshed"}.get(self.policy.way, "refreshed while it is read")

    @property
    def mark_on(self) -> str:
        """The quoted index that the advice's mark is put on: that of its key."""
        if isinstance(self.what, Rollup):
            return identifier(self.what.beside("kept_key"))
        return self.what.unique_index.qualified


def keeping(piece: Piece) -> Keeping:
    """What is to be made of a piece that is a view.

    Where its writers cannot keep it, whatever was advised, it is refreshed.
    """
    view, policy = cast("View", piece.value), piece.policy or Policy("once", "nobody has said how fresh it should be")
    try:
        return Keeping(planned(view, policy), policy)
    except UsageError as error:
        every = max(piece.refresh_seconds / REFRESH_SHARE_MAX, _EVERY_SECONDS_MIN) if piece.refresh_seconds else None
        why = f"{error.says} So it is refreshed, as often as that can be done"
        return Keeping(view, Policy("concurrently", why, every), why)


async def rollup_step(database: Database, rollup: Rollup, why: str, comment: str) -> MakeRollup:
    """The rollup as a step of a migration, for a database like this one."""
    made = await script(database, rollup)
    return MakeRollup(
        made.name, why, made.make, made.state, made.served, made.following, made.fill, made.finish,
        made.place, made.key, made.indexes, made.drop, comment,
    )  # fmt: skip


def declared(keeping: Keeping) -> list[str]:
    """The lines that declare it in a program and keep it there as its policy says."""
    what, policy = keeping.what, keeping.policy
    name = re.sub(r"\W", "_", table_parts(what.name)[-1]).upper()
    used = sorted({type(one).__name__ for one in _values(what)})
    rooms = {"tercet.rollups": {"Measure", "Parent", "Rollup"}, "tercet.sql": {"Expression", "Index", "Key", "View"}}
    lines = [
        f"from {room} import {', '.join(some)}"
        for room, names in rooms.items()
        if (some := [one for one in used if one in names])
    ]
    lines += [f"{name} = {_written(what)}"]
    if isinstance(what, Rollup) and what.way == "triggers":
        return [*lines, "# its triggers keep it: there is nothing to declare but this, for check and repair"]
    if policy.every is None:
        return [*lines, f"# after each load: await refresh_view(db.postgres, {name}), of tercet.rollups"]
    how = {"plain": ", concurrently=False", "concurrently": ", concurrently=True"}.get(policy.way, "")
    every = max(policy.every, EVERY_SECONDS_MIN)
    shown = f"{every:.0f}s" if every >= _WHOLE_SECONDS else f"{every:.3g}s"
    return [*lines, f'db.keep({name}, every="{shown}"{how if isinstance(what, View) else ""})']


def instead(piece: Piece, advice: Advice) -> Iterator[str]:
    """The statements that are asked of it from now on."""
    for one in advice.statements:
        if piece.number in one.pieces and one.sql_after:
            yield f"ask it instead, for {one.label or one.fingerprint}:"
            yield from (f"   {line}" for line in one.sql_after.splitlines())


def kept_words(one: Standing) -> str:
    """How old it is and who keeps it, in a few words."""
    age = "its age is not known" if one.age is None else f"{duration(one.age)} old"
    match one.policy, one.state:
        case "triggers", "kept":
            return "never behind, kept by triggers"
        case "log", ("kept" | "by hand" | "never" | "overdue"):
            who = ", and nobody merges it" if one.every is None else ""
            merged = f"was merged {duration(one.refreshed or 0)} ago"
            return f"never behind, its log has {size(one.log_bytes)} and {merged}{who}"
        case _, "kept":
            return f"{age}, kept every {duration(one.every or 0)}"
        case _, "by hand" | "never":
            return f"{age}, and nobody keeps it"
        case _:
            return f"{age}, {one.state}: {one.reason}".rstrip(": ")


async def is_there(database: Database, name: str) -> bool:
    """Whether a view or rollup of this quoted name is there, or any part of it."""
    return any(one.name == name for one in await standing(database))


async def make(
    database: Database, keeping: Keeping, view: View, told: Callable[[int], None], aside: Callable[[str], None]
) -> Created:
    """Make it; where that fails, tell what there is of it by then, and how that goes on or goes away."""
    ranges = 0

    def on_range(_: Range) -> None:
        nonlocal ranges
        ranges += 1
        told(ranges)

    try:
        return await apply_view(database, view, keeping.policy, on_range=on_range)
    except DefinitionMismatch:
        # That is somebody else's, and nothing of ours is there.
        raise
    except BaseException as error:
        await _tell_what_remains(database, keeping, aside)
        if isinstance(error, TercetError) or sqlstate(error) is None:
            raise
        said = str(error.__cause__ or error).partition("\n")[0]
        mend = "Mend what it says, and say the same --apply again."
        raise StoreError("postgres", f"PostgreSQL cannot make {keeping.what.qualified}: {said}.", mend) from error


async def _tell_what_remains(database: Database, keeping: Keeping, aside: Callable[[str], None]) -> None:
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            found = [one for one in await standing(database) if one.name == keeping.what.qualified]
    except Exception:  # noqa: BLE001 - the first error is the one to show
        aside("what there is of it is not known: tercet health tells, once the database answers")
    else:
        for line in _remains(keeping, found):
            aside(line)


def _remains(keeping: Keeping, found: Sequence[Standing]) -> Iterator[str]:
    if not found:
        yield "nothing of it was made"
        return
    rollup = isinstance(keeping.what, Rollup)
    has = "its tables and triggers are there, and it is not filled to the end" if found[0].state == "half filled" else (
        "it is there and can be read; its indexes may not all be"
    )  # fmt: skip
    yield f"{keeping.what.qualified} was begun: {has}"
    yield "to go on where it was, say the same --apply again; to take it away:"
    yield from (f"   {one};" for one in taken_back(keeping.name, rollup=rollup))


def _values(value: object) -> Iterator[object]:
    """The value and all values in it."""
    if isinstance(value, tuple):
        for one in value:
            yield from _values(one)
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _values(one)
    elif is_dataclass(value):
        yield value
        for part in fields(value):
            if part.init:
                yield from _values(getattr(value, part.name))


def _written(value: object) -> str:
    """A value as Python makes it, without what it has by default."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_written, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_written(one)}' for key, one in value.items())}}}"
    if not is_dataclass(value):
        return repr(value)
    parts = []
    for part in fields(value):
        own = getattr(value, part.name)
        usual = part.default_factory() if part.default_factory is not MISSING else part.default
        if part.init and own != usual:
            parts.append(f"{part.name}={_written(own)}")
    return f"{type(value).__name__}({', '.join(parts)})"
