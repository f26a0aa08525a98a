"""One process of a service leads: it holds an advisory lock in the database that is read, on its own connection."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from tercet.changes.feeding.port import Lag
from tercet.changes.stream.statements import STATEMENTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tercet.changes.feeding.place import Place
    from tercet.changes.stream.postgres_line import Door, Line

# How often those who follow look whether they may lead, and whoever leads whether it still does.
LOOK_SECONDS = 1.0
# A server that takes longer over such a question is taken for gone. Whoever leads stops then; the server lets
# another one lead only when it has noticed the end of the connection, which is later.
ANSWER_SECONDS = 5.0
# From this share of what the server keeps at most, whoever runs it is warned.
WARN_SHARE = 0.5

ENDLESS = (
    "the server keeps what is not read without an end, and its disk may fill up: "
    "set max_slot_wal_keep_size (ALTER SYSTEM SET max_slot_wal_keep_size = '10GB')"
)
FAR_BEHIND = "more than half of what the server keeps at most is not read yet (max_slot_wal_keep_size)"
CUT_OFF_SOON = "the server is about to throw away what is not read yet (max_slot_wal_keep_size)"


class PostgresLeader:
    """Leads while it holds the place's lock; ends to lead with its connection, at once."""

    def __init__(self, door: Door, place: Place, slot: Callable[[], str]) -> None:
        self._door, self._place = door, place
        # The slot that is read now: a temporary one has another name each time.
        self._slot = slot
        self._line: Line | None = None
        self._backend: str | None = None

    async def lead(self, follows: Callable[[], None]) -> None:
        """Return once the lock is ours; it is tried every second or so."""
        try:
            while True:
                if self._line is None:
                    self._line = await self._door.line(replication=False, place=self._place.name)
                ((ours, backend),) = await self._line.query(
                    STATEMENTS["lead"], {"key": self._place.key}, within=ANSWER_SECONDS
                )
                if ours == "t":
                    self._backend = backend
                    return
                follows()
                # Not all at once: they were started together.
                await asyncio.sleep(LOOK_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311 - guards nothing
        except BaseException:
            self._drop()
            raise

    async def led(self, note: Callable[[Lag], None]) -> None:
        """Look after the lock, and tell how much the server keeps; a StoreError when the connection has ended."""
        try:
            while (line := self._line) is not None:
                (row,) = await line.query(STATEMENTS["lag"], {"slot": self._slot()}, within=ANSWER_SECONDS)
                if row[0] != self._backend:
                    return
                note(self._lag(row[1], *(None if value is None else int(value) for value in row[2:])))
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        # Nothing comes unasked but the end of the connection: it is looked at without delay.
                        await line.arrived()
                except TimeoutError:
                    pass
        finally:
            self._drop()

    async def close(self) -> None:
        """Let go of the lock, by the end of its connection; twice is fine."""
        self._drop()

    def _lag(self, wal: str | None, unread: int | None, kept: int | None, most: int | None) -> Lag:
        if not self._place.durable or wal is None:
            return Lag(unread, most)
        warning = ""
        if most is None:
            warning = ENDLESS
        elif wal == "unreserved":
            warning = CUT_OFF_SOON
        elif kept is not None and kept > most * WARN_SHARE:
            warning = FAR_BEHIND
        return Lag(unread, most, warning)

    def _drop(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()
