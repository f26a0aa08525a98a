"""Events as they come become commits: those of one transaction are one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tercet.changes.change import Change, Commit
from tercet.changes.mongo.event import Event, brings, change_of
from tercet.witness import Moment

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from tercet.changes.mongo.scope import Scope

# Seconds stand above the count within a second.
_SECONDS_SHIFT = 32


class Gathering:
    """Takes batches of events, and gives the commits that are whole.

    A transaction's events come one after the other, and a batch may end between two of them: the last transaction
    of a batch is held until the next one shows that it was over. One with more events than a batch is told in parts.
    """

    __slots__ = ("_changes", "_last", "_ready", "_scope", "_source", "_transaction", "replaced")

    def __init__(self, scope: Scope, source: str) -> None:
        self._scope, self._source = scope, source
        self._changes: list[Change] = []
        self._ready: list[Commit] = []
        self._transaction: Hashable = None
        # The newest event of the transaction that is held, if one is.
        self._last: Event | None = None
        # The collection that was given new contents, document by document untold; nothing is taken after that.
        self.replaced: str | None = None

    @property
    def holds(self) -> bool:
        """Whether there is a transaction of which more may come."""
        return self._last is not None

    def add(self, events: Sequence[Event], *, end: str | None) -> list[Commit]:
        """The commits that are whole now; `end` is where the stream stands after these events, if that is known."""
        if self._last is not None and (not events or _transaction(events[0]) != self._transaction):
            self._tell(end if not events else None, last=True)
        elif self._last is not None:
            self._tell(None, last=False)
        for event in events:
            if (table := brings(event, self._scope)) is not None:
                self.replaced = table
                break
            self._take(event)
        ended = end is not None and bool(events) and end != events[-1]["_id"]["_data"]
        if self._last is not None and (self.replaced is not None or self._transaction is None or ended):
            self._tell(end if self.replaced is None else None, last=True)
        ready, self._ready = self._ready, []
        return ready

    def _take(self, event: Event) -> None:
        transaction = _transaction(event)
        if self._last is not None and (transaction is None or transaction != self._transaction):
            self._tell(None, last=True)
        change = change_of(event, self._scope)
        if change is not None:
            self._changes.append(change)
            self._transaction, self._last = transaction, event

    def _tell(self, end: str | None, *, last: bool) -> None:
        """What is held is a commit, or a part of one."""
        event = self._last
        if event is None:
            return
        stamp = event["clusterTime"]
        self._ready.append(
            Commit(
                Moment(self._source, stamp.time << _SECONDS_SHIFT | stamp.inc),
                end if end is not None else event["_id"]["_data"],
                _when(event),
                tuple(self._changes),
                last=last,
            )
        )
        self._changes, self._last = [], None


def _transaction(event: Event) -> Hashable:
    """Which transaction an event is of; None where it is one of its own."""
    number = event.get("txnNumber")
    return None if number is None else (_bytes_of(event["lsid"]["id"]), number)


def _bytes_of(identifier: Any) -> bytes:
    """A session's id, whichever of its two forms the driver was told to give."""
    return bytes(getattr(identifier, "bytes", identifier))


def _when(event: Event) -> datetime:
    """When it was committed; servers before 6.0 tell the second only."""
    wall = event.get("wallTime")
    if isinstance(wall, datetime):
        return wall if wall.tzinfo is not None else wall.replace(tzinfo=UTC)
    return datetime.fromtimestamp(event["clusterTime"].time, UTC)
