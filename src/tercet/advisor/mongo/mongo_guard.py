"""Watches over a change of indexes: what commands read and take on the real database, before it and with it."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

from tercet.advisor.mongo.choice.draft import SLOWER
from tercet.advisor.mongo.trial.mongo_desk import Desk
from tercet.advisor.verify.paired import compare_pairs
from tercet.units import duration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pymongo.asynchronous.database import AsyncDatabase

    from tercet.advisor.mongo.explained import Told
    from tercet.advisor.mongo.shape import Command

# One look at a command on the real database; what takes longer is known to take longer.
_LOOK_MS = 10_000
# No more commands are looked at after this: an index that is shown already waits for the verdict.
_LOOKS_SECONDS = 120.0
# So many are needed for a test.
_PAIRS = 5
# Less than this is the way to the server and back; what is so quick is judged by what it reads.
_CLOCK_MS = 2.0
_RUNS = 3
_QUICK_MS = 100.0


@dataclass(frozen=True, slots=True)
class Look:
    """One command as things stand: its plan with what that reads, and milliseconds; None if it takes too long."""

    told: Told
    ms: float | None

    @property
    def read(self) -> int:
        """Keys and documents together."""
        return self.told.keys + self.told.docs


class Guard:
    """The commands that an index must not make dearer."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], commands: Sequence[Command]) -> None:
        self._desk = Desk(database, run_ms=_LOOK_MS)
        self._commands = commands
        self._known: list[tuple[Command, Look]] = []
        self.before: list[Told] = []
        self.after: list[Told] = []

    async def begin(self) -> None:
        """Look at each as things stand, as far as there is time; one that the server refuses is not looked at."""
        ends = time.monotonic() + _LOOKS_SECONDS
        for command in self._commands:
            if time.monotonic() > ends:
                break
            with suppress(OperationFailure):
                look = await self._look(command)
                self._known.append((command, look))
                self.before.append(look.told)

    async def worse(self, name: str, change: Callable[[bool], Awaitable[None]]) -> str:
        """What is dearer now of those that the index is used by, "" if nothing; `change(False)` makes it as before."""
        for command, old in self._known:
            new = await self._look(command)
            self.after.append(new.told)
            if name in old.told.indexes | new.told.indexes:
                found = _reads_more(old, new) or await self._slower(command, old, new, change)
                if found:
                    return found
        return ""

    def left(self) -> str:
        """How many were not looked at, as the end of a sentence."""
        count = len(self._commands) - len(self._known)
        return f"; {count} of {len(self._commands)} commands could not be looked at in time" if count else ""

    async def _look(self, command: Command) -> Look:
        ms = await self._desk.wall_ms(command)
        return Look(await self._desk.explain(command, run=ms is not None), ms)

    async def _slower(self, command: Command, old: Look, new: Look, change: Callable[[bool], Awaitable[None]]) -> str:
        """The figures if it is slower indeed; others work on this server, so both ways are run in turn."""
        if old.ms is None or new.ms is None or not _later(old.ms, new.ms):
            return ""
        before, after = [], []
        for _ in range(_PAIRS):
            await change(False)
            before.append(await self._quickest(command))
            await change(True)
            after.append(await self._quickest(command))
        if _later(min(before), min(after)) and compare_pairs(before, after).surely_slower(SLOWER):
            return f"{duration(min(before) / 1e3)} → {duration(min(after) / 1e3)}"
        return ""

    async def _quickest(self, command: Command) -> float:
        """After a change of its indexes the server plans anew, once: what is quick is run again."""
        found = [await self._desk.wall_ms(command) or float(_LOOK_MS)]
        while len(found) < _RUNS and found[-1] < _QUICK_MS:
            found.append(await self._desk.wall_ms(command) or float(_LOOK_MS))
        return min(found)


def _later(before: float, after: float) -> bool:
    return after > before * SLOWER and after - before > _CLOCK_MS


def _reads_more(old: Look, new: Look) -> str:
    if new.ms is None:
        return "" if old.ms is None else f"it takes longer than {duration(_LOOK_MS / 1e3)} now"
    if old.told.ran and new.told.ran and new.read > old.read:
        return f"{old.read:,} → {new.read:,} keys and documents read"
    return ""
