"""Index advice carried out on the real database: made hidden, looked at, then shown; or taken back."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pymongo
from bson import json_util
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

from tercet.advisor.advice import MongoChange
from tercet.advisor.mongo.mongo_guard import Guard
from tercet.advisor.mongo.workload.folding import command_of
from tercet.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymongo.asynchronous.database import AsyncDatabase

    from tercet.advisor.advice import Piece
    from tercet.advisor.mongo.explained import Told
    from tercet.advisor.mongo.shape import Command

# No such index, no such collection.
_NOT_FOUND = (27, 26)
# Another index of the same collection is being built: until then none can be shown, hidden or dropped.
_BUILDING = 12_587
# A cancelled build is looked at so often, until the server says that nothing of it is under way.
_LOOK_SECONDS = 0.1
# A transaction that has written to the collection keeps others from showing, hiding or dropping an index. It ends after
# a minute unless the server was told otherwise; while such a request waits, so does everybody behind it.
PATIENCE_SECONDS = 90.0
_LOCK_MS = 1_000
_PAUSE_SECONDS = 1.0
# A server that does not even say that it was too long does not answer.
_ANSWER_SECONDS = 30.0
_TOO_LONG = 50
_JSON = json_util.JSONOptions(tz_aware=True)


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a piece: whether it stands, and why; what commands read before and with it, if any were given."""

    done: bool
    why: str
    before: tuple[Told, ...] = ()
    after: tuple[Told, ...] = ()


async def apply(
    database: AsyncDatabase[dict[str, Any]], piece: Piece, *, commands: Sequence[Command] | None = None
) -> Applied:
    """Carry out an "index" or "drop_index" piece; twice is fine, and after any end in the middle it goes on from there.

    An index is made hidden, so that no query of anybody's takes it yet. Then it is shown, and each command is run as
    the planner chooses: if one reads more than before or is slower, it is taken away again. One that is to go is hidden
    first, and shown again if it is missed. `commands` are those that the advice was made for, unless others are given.

    Cancelled, it takes away what it has begun. If the server goes away the answer says what remains there.
    Raises UsageError for a piece of another kind, and what PyMongo raises when the server refuses.
    """
    change = _change(piece)
    given = [one for one in map(_command, change.commands) if one is not None] if commands is None else commands
    work = _LettingGo if piece.kind == "drop_index" else _Making
    return await _told(work(database, change, Guard(database, given)))


async def undo(database: AsyncDatabase[dict[str, Any]], piece: Piece) -> Applied:
    """Take back what `apply` has done, or what an `apply` that was killed has left; twice is fine."""
    change = _change(piece)
    nobody = Guard(database, ())
    if piece.kind == "drop_index":
        return await _told(_Making(database, change, nobody, "is there again"))
    return await _told(_LettingGo(database, change, nobody))


class _Work:
    """One change of one index."""

    def __init__(
        self, database: AsyncDatabase[dict[str, Any]], change: MongoChange, guard: Guard, done: str = ""
    ) -> None:
        self.database, self.change, self.guard, self.done = database, change, guard, done
        # What is to be said if the server goes away now.
        self.remains = ""

    async def run(self) -> Applied:
        """Do it."""
        raise NotImplementedError

    async def hidden(self) -> bool | None:
        """Whether it is hidden; None if it is not there. Raises UsageError if the name is another index's."""
        async for one in await self.database[self.change.collection].list_indexes():
            if one["name"] == self.change.name:
                if list(one["key"].items()) != list(_spec(self.change)["key"].items()):
                    raise UsageError(
                        f"{self.change.collection} has an index called {self.change.name} already, and it is another "
                        "one.",
                        "Drop it, or ask for advice once more.",
                    )
                return bool(one.get("hidden"))
        return None

    async def hide(self, hidden: bool) -> None:
        """Let the planner see it, or not."""
        index = {"name": self.change.name, "hidden": hidden}
        await self._gently({"collMod": self.change.collection, "index": index})

    async def drop(self) -> None:
        """Take it away, also while it is being built."""
        try:
            await self._gently({"dropIndexes": self.change.collection, "index": self.change.name})
        except OperationFailure as error:
            if error.code not in _NOT_FOUND:
                raise

    async def _gently(self, asked: dict[str, Any]) -> None:
        """Ask for what wants the collection for itself, behind whose request everybody else's would wait."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                # Without the client's own limit, which would take the place of this one.
                with pymongo.timeout(0):
                    async with asyncio.timeout(_ANSWER_SECONDS):
                        await self.database.command({**asked, "maxTimeMS": _LOCK_MS})
            except OperationFailure as error:
                if error.code != _TOO_LONG or time.monotonic() > ends:
                    raise
            else:
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    def told(self, why: str, *, done: bool = True) -> Applied:
        """With what was seen."""
        left = self.guard.left() if done else ""
        return Applied(done, why + left, tuple(self.guard.before), tuple(self.guard.after))


class _Making(_Work):
    async def run(self) -> Applied:
        name = self.change.name
        found = await self.hidden()
        if found is False:
            return Applied(True, f"{name} {self.done or 'is there'}")
        await self.guard.begin()
        self.remains = f"the server builds {name} on, or will when it is back: hidden, so that no query takes it"
        await self._build(ours=found is None)
        self.remains = f"{name} is there, hidden, unless it could be taken away again"
        try:
            await self.hide(False)
            self.remains = f"{name} is there, and was not looked at to the end"
            worse = await self.guard.worse(name, lambda on: self.hide(not on))
        except BaseException as error:
            if not isinstance(error, (ConnectionFailure, TimeoutError)):
                await asyncio.shield(self._undone(ours=found is None))
            raise
        if worse:
            await self.hide(True)
            await self.drop()
            return self.told(f"{name} was taken away again: {worse}", done=False)
        return self.told(f"{name} {self.done or 'is there'}")

    async def _build(self, *, ours: bool) -> None:
        """Build it, or wait for a build that somebody's killed `apply` has left; a day is not too long."""
        building = asyncio.ensure_future(self._created())
        try:
            await asyncio.shield(building)
        except asyncio.CancelledError:
            await asyncio.shield(self._aborted(building, ours=ours))
            raise

    async def _created(self) -> None:
        spec = {**_spec(self.change), "hidden": True}
        # None would be the client's own limit, by which the server would end the build.
        with pymongo.timeout(0):
            await self.database.command({"createIndexes": self.change.collection, "indexes": [spec]})

    async def _aborted(self, building: asyncio.Future[None], *, ours: bool) -> None:
        """End a build of ours: a request that is still on its way is over only when it was answered."""
        if not ours:
            building.cancel()
            await asyncio.wait({building})
            return
        while not building.done():
            with suppress(PyMongoError, TimeoutError):
                await self.drop()
            await asyncio.wait({building}, timeout=_LOOK_SECONDS)
        if building.exception() is None:
            await self._undone(ours=True)

    async def _undone(self, *, ours: bool) -> None:
        with suppress(PyMongoError, TimeoutError):
            await (self.drop() if ours else self.hide(True))


class _LettingGo(_Work):
    async def run(self) -> Applied:
        name = self.change.name
        found = await self.hidden()
        if found is False:
            await self.guard.begin()
            if self.guard.before:
                missed = await self._missed()
                if missed:
                    return self.told(f"{name} was left: without it {missed}", done=False)
        self.remains = f"{name} may be there still" if found is False else f"{name} may be there still, hidden"
        await self.drop()
        return self.told(f"{name} is gone")

    async def _missed(self) -> str:
        self.remains = f"{self.change.name} may be hidden: --apply lets it go, undo shows it"
        try:
            await self.hide(True)
            missed = await self.guard.worse(self.change.name, self.hide)
        except BaseException as error:
            if not isinstance(error, (ConnectionFailure, TimeoutError)):
                await asyncio.shield(self.hide(False))
            raise
        if missed:
            await self.hide(False)
        return missed


async def _told(work: _Work) -> Applied:
    """Do it; a server that goes away in the middle, or is busy with another index, is told with what remains."""
    try:
        return await work.run()
    except (ConnectionFailure, TimeoutError) as error:
        if not work.remains:
            raise
        return work.told(
            f"the server does not answer ({str(error) or 'in time'}): {work.remains}. Apply it again, or undo it",
            done=False,
        )
    except OperationFailure as error:
        if error.code not in {_BUILDING, _TOO_LONG}:
            raise
        busy = "another index of {} is being built" if error.code == _BUILDING else "a transaction has {} in hand"
        why = f"{busy.format(work.change.collection)}: {work.remains}. Apply it again when that has ended"
        return work.told(why, done=False)


def _change(piece: Piece) -> MongoChange:
    if isinstance(piece.value, MongoChange) and piece.kind in {"index", "drop_index"}:
        return piece.value
    raise UsageError(
        f"A piece of kind {piece.kind} cannot be carried out on the database.",
        "Only indexes can; a rewrite is made in the program that asks.",
    )


def _spec(change: MongoChange) -> dict[str, Any]:
    spec: dict[str, Any] = json_util.loads(change.spec, json_options=_JSON)
    return spec


def _command(text: str) -> Command | None:
    return command_of(json_util.loads(text, json_options=_JSON))
