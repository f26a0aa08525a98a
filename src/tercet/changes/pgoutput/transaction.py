"""A transaction being read: its changes and messages, handed on in parts where there are many."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from tercet.changes.change import Change, Commit, Message
from tercet.changes.pgoutput.message import MESSAGE_FACTS, NUMBER, TRANSACTIONAL, TRUNCATE_FACTS, broken, string
from tercet.witness import Moment

if TYPE_CHECKING:
    from tercet.changes.pgoutput.catalog import Catalog

# So many changes of one transaction are handed on at once: to read them takes some 10 ms, for which all else in the
# event loop waits.
PART_CHANGES = 2_000
# Or fewer, when they are of so many bytes: what a listener is handed has to fit into memory a few times over.
PART_BYTES = 16 << 20

Commits: TypeAlias = tuple[Commit, ...]

_NEVER = Moment("", 0)
_NO_TIME = datetime.min.replace(tzinfo=UTC)


class Transaction:
    """Collects what the transaction says from `begin` to `end`; each answer is what is to be handed on now."""

    __slots__ = ("_at", "_catalog", "_changes", "_messages", "_moment", "_part", "_parted", "_position", "_size")

    def __init__(self, catalog: Catalog, part: int) -> None:
        self._catalog, self._part = catalog, part
        self._changes: list[Change] = []
        self._messages: list[Message] = []
        self._size = 0
        self._parted = False
        self._moment, self._at, self._position = _NEVER, _NO_TIME, 0

    def begin(self, moment: Moment, at: datetime, position: int) -> None:
        """It begins; `position` is where its commit stands, from where it would be sent again as a whole."""
        self._moment, self._at, self._position = moment, at, position
        self._parted = False

    def insert(self, data: bytes, at: int) -> Commits:
        """An Insert message, from behind its kind (and transaction)."""
        plan = self._catalog.plan(data, at)
        if plan is None:
            return ()
        self._changes.append(plan.insert(data, at + 4))
        return self._grown(len(data))

    def update(self, data: bytes, at: int) -> Commits:
        """An Update message."""
        plan = self._catalog.plan(data, at)
        if plan is None:
            return ()
        self._changes.append(plan.update(data, at + 4))
        return self._grown(len(data))

    def delete(self, data: bytes, at: int) -> Commits:
        """A Delete message."""
        plan = self._catalog.plan(data, at)
        if plan is None:
            return ()
        self._changes.append(plan.delete(data, at + 4))
        return self._grown(len(data))

    def truncate(self, data: bytes, at: int) -> Commits:
        """A Truncate message: one change for each of its tables."""
        count, _options = TRUNCATE_FACTS.unpack_from(data, at)
        at += TRUNCATE_FACTS.size
        for place in range(at, at + count * NUMBER.size, NUMBER.size):
            plan = self._catalog.plan(data, place)
            if plan is not None:
                self._changes.append(plan.truncate)
        return self._grown(len(data))

    def message(self, data: bytes, at: int) -> Commits:
        """A Message that belongs to the transaction."""
        flags, _position = MESSAGE_FACTS.unpack_from(data, at)
        prefix, at = string(data, at + MESSAGE_FACTS.size)
        if not (flags & TRANSACTIONAL and self._catalog.wanted.message(prefix)):
            return ()
        begin = at + NUMBER.size
        end = begin + NUMBER.unpack_from(data, at)[0]
        if end > len(data):
            raise broken("a message that ends within its content")
        self._messages.append(Message(prefix, data[begin:end]))
        return self._grown(len(data))

    def end(self, position: int, at: datetime) -> Commits:
        """It is committed; nothing, where it had nothing that is wanted."""
        if not (self._changes or self._messages or self._parted):
            return ()
        self._at, self._position = at, position
        return (self._taken(last=True),)

    def _grown(self, size: int) -> Commits:
        self._size += size
        if self._size < PART_BYTES and len(self._changes) + len(self._messages) < self._part:
            return ()
        self._parted = True
        return (self._taken(last=False),)

    def _taken(self, *, last: bool) -> Commit:
        taken = Commit(self._moment, self._position, self._at, tuple(self._changes), tuple(self._messages), last)
        self._changes, self._messages, self._size = [], [], 0
        return taken
