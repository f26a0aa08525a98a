"""Index advice carried out on the real database: made hidden, looked at, then shown; or taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bson import json_util
from pymongo.errors import OperationFailure

from tercet.advisor.advice import MongoChange
from tercet.advisor.mongo.explained import read
from tercet.advisor.mongo.trial.mongo_desk import spoken
from tercet.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymongo.asynchronous.database import AsyncDatabase

    from tercet.advisor.advice import Piece
    from tercet.advisor.mongo.explained import Told
    from tercet.advisor.mongo.shape import Command

# A look at one command on the real database.
_LOOK_MS = 30_000
_NOT_FOUND = 27


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a piece: whether it stands, and why; what commands read before and with it, if any were given."""

    done: bool
    why: str
    before: tuple[Told, ...] = ()
    after: tuple[Told, ...] = ()


async def apply(database: AsyncDatabase[dict[str, Any]], piece: Piece, *, commands: Sequence[Command] = ()) -> Applied:
    """Carry out an "index" or "drop_index" piece; twice is fine.

    An index is made hidden, so that no query of anybody's takes it yet. Then it is shown, each command is explained
    with it as the planner chooses, and it is taken away again if one of them reads more than before.
    Raises UsageError for a piece of another kind, and what PyMongo raises.
    """
    change = _change(piece)
    if piece.kind == "drop_index":
        await _drop(database, change)
        return Applied(True, f"{change.name} is gone")
    before = tuple([await _look(database, one) for one in commands])
    await _make(database, change)
    try:
        await _hide(database, change, hidden=False)
        after = tuple([await _look(database, one) for one in commands])
    except BaseException:
        await _drop(database, change)
        raise
    worse = next(
        (f"{_read(old):,} → {_read(new):,} keys and documents read" for old, new in zip(before, after, strict=True)
         if _read(new) > _read(old) and change.name in new.indexes), "",
    )  # fmt: skip
    if worse:
        await _drop(database, change)
        return Applied(False, f"it was taken away again: {worse}", before, after)
    return Applied(True, f"{change.name} is there", before, after)


async def undo(database: AsyncDatabase[dict[str, Any]], piece: Piece) -> Applied:
    """Take back what `apply` has done; twice is fine."""
    change = _change(piece)
    if piece.kind == "drop_index":
        await database.command({"createIndexes": change.collection, "indexes": [_spec(change)]})
        return Applied(True, f"{change.name} is there again")
    await _drop(database, change)
    return Applied(True, f"{change.name} is gone")


def _change(piece: Piece) -> MongoChange:
    if isinstance(piece.value, MongoChange) and piece.kind in {"index", "drop_index"}:
        return piece.value
    raise UsageError(
        f"A piece of kind {piece.kind} cannot be carried out on the database.",
        "Only indexes can; a rewrite is made in the program that asks.",
    )


def _spec(change: MongoChange) -> dict[str, Any]:
    spec: dict[str, Any] = json_util.loads(change.spec)
    return spec


async def _make(database: AsyncDatabase[dict[str, Any]], change: MongoChange) -> None:
    """Build it hidden; one that is there already must be the same."""
    spec = _spec(change)
    async for one in await database[change.collection].list_indexes():
        if one["name"] == change.name:
            if dict(one["key"]) != spec["key"]:
                raise UsageError(
                    f"{change.collection} has an index called {change.name} already, and it is another one.",
                    "Drop it, or ask for advice once more.",
                )
            return
    await database.command({"createIndexes": change.collection, "indexes": [{**spec, "hidden": True}]})


async def _hide(database: AsyncDatabase[dict[str, Any]], change: MongoChange, *, hidden: bool) -> None:
    await database.command({"collMod": change.collection, "index": {"name": change.name, "hidden": hidden}})


async def _drop(database: AsyncDatabase[dict[str, Any]], change: MongoChange) -> None:
    try:
        await database.command({"dropIndexes": change.collection, "index": change.name})
    except OperationFailure as error:
        if error.code != _NOT_FOUND:
            raise


async def _look(database: AsyncDatabase[dict[str, Any]], command: Command) -> Told:
    asked = {"explain": spoken(command), "verbosity": "executionStats", "maxTimeMS": _LOOK_MS}
    return read(await database.command(asked))


def _read(told: Told) -> int:
    return told.keys + told.docs
