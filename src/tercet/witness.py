"""What a load has seen of the stores it read: whether a change that is known of is in what it returns.

A change can be told before its rows can be read: PostgreSQL hands a commit on once it is in the log, and other
transactions see it a moment later; a replica sees it later still. Whoever loads in between reads what was there
before, and nothing would ever correct it. So whoever keeps what was loaded asks the load's witness.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Moment:
    """When something was committed, by its store's own count."""

    # Whose count: "pg:" and PostgreSQL's system identifier, which its replicas share, or "mongo:" and the id of the
    # replica set.
    source: str
    # PostgreSQL: the transaction's 64-bit id. MongoDB: the cluster time, its seconds in the upper 32 bits.
    at: int


class Seen(Protocol):
    """What one read could see."""

    @property
    def source(self) -> str:
        """Whose count this is by; see Moment."""
        ...

    def sees(self, at: int) -> bool:
        """Whether what was committed at this moment was there to be read."""
        ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot of PostgreSQL, as pg_current_snapshot() tells it."""

    source: str
    # Every transaction below is over; at and beyond xmax none had begun to be visible; xip are those between that ran.
    xmin: int
    xmax: int
    xip: frozenset[int] = frozenset()

    def sees(self, at: int) -> bool:
        """Whether this transaction's rows are in the snapshot."""
        return at < self.xmin or (at < self.xmax and at not in self.xip)

    @classmethod
    def read(cls, source: str, text: str) -> Snapshot:
        """A snapshot out of PostgreSQL's own text, "xmin:xmax:xip,xip"; raises ValueError."""
        xmin, xmax, xip = text.split(":")
        return cls(source, int(xmin), int(xmax), frozenset(map(int, filter(None, xip.split(",")))))


@dataclass(frozen=True, slots=True)
class Through:
    """Everything up to a moment, as MongoDB counts."""

    source: str
    at_last: int

    def sees(self, at: int) -> bool:
        """Whether that is not later."""
        return at <= self.at_last


class Witness:
    """Collects what the reads of one load could see; the stores tell it while the load runs."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: list[Seen] = []

    def note(self, seen: Seen) -> None:
        """One read, or a transaction's first, could see this."""
        self._seen.append(seen)

    def join(self, other: Witness) -> None:
        """What another has seen was part of this load."""
        self._seen += other._seen

    def sees(self, moment: Moment) -> bool | None:
        """Whether every read of that store saw this; None when none was noted, so that nobody knows."""
        answers = [seen.sees(moment.at) for seen in self._seen if seen.source == moment.source]
        return all(answers) if answers else None


_current: ContextVar[Witness | None] = ContextVar("tercet_witness", default=None)


def current() -> Witness | None:
    """Whoever watches what this task reads, if somebody does: a store tells it what a read could see."""
    return _current.get()


@contextmanager
def watched(witness: Witness) -> Iterator[Witness]:
    """Let this witness watch what the block reads, in this task and in those that it starts."""
    token = _current.set(witness)
    try:
        yield witness
    finally:
        _current.reset(token)
