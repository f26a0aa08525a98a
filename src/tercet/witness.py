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

    def sees_all(self, first: int, last: int) -> bool:
        """Whether that holds for every moment from the first to the last."""
        ...

    @property
    def through(self) -> int:
        """The moment up to which it holds for all."""
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

    def sees_all(self, first: int, last: int) -> bool:
        """Whether the rows of each transaction from the first to the last are."""
        return last < self.xmin or (last < self.xmax and not any(first <= one <= last for one in self.xip))

    @property
    def through(self) -> int:
        """The last transaction before the oldest that ran."""
        return self.xmin - 1

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

    def sees_all(self, first: int, last: int) -> bool:  # noqa: ARG002 - what is before the last counts as the last
        """Whether the last of them is not later."""
        return last <= self.at_last

    @property
    def through(self) -> int:
        """The same moment."""
        return self.at_last


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
        return self.sees_all(moment.source, moment.at, moment.at)

    def sees_all(self, source: str, first: int, last: int) -> bool | None:
        """The same for every moment of one store from the first to the last."""
        answers = [seen.sees_all(first, last) for seen in self._seen if seen.source == source]
        return all(answers) if answers else None

    @property
    def sources(self) -> frozenset[str]:
        """The stores of which something was noted."""
        return frozenset(seen.source for seen in self._seen)


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
