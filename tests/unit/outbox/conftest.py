"""A book that is a list: what PostgreSQL keeps for an outbox, on a clock that moves only when told to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from tercet.changes.outbox.delivery import State, Work
from tercet.clock import StoppedClock
from tercet.errors import StoreUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tercet.changes.outbox.event import Envelope
    from tercet.changes.outbox.port import Barred


@dataclass
class Row:
    """A row of what is parked."""

    work: Work
    due: float
    token: str | None = None
    until: float = 0.0


class ListBook:
    """Does what postgres.py does; it can be away."""

    def __init__(self, clock: StoppedClock) -> None:
        self._clock = clock
        self.rows: list[Row] = []
        self.table: list[tuple[int, bytes]] = []
        self.kept: list[bytes] = []
        self.known: dict[str, Sequence[str]] = {}
        # Asked before each write: True is a server that is away.
        self.away: Callable[[], bool] = lambda: False

    def _reach(self) -> None:
        if self.away():
            raise StoreUnreachable("postgres", reason="it is a list that is away")

    async def emit(self, _transaction: Any, events: Sequence[tuple[Envelope, bytes]]) -> None:
        self.table += ((len(self.table), content) for _, content in events)

    async def keep(self, envelopes: Sequence[tuple[Envelope, bytes]]) -> None:
        self.kept += (content for _, content in envelopes)

    async def barred(self, works: Sequence[Work], known: Mapping[str, Sequence[str]]) -> Barred:
        self._reach()
        return (
            {row.work.lane for row in self.rows if row.work.state != "dead"},
            {(row.work.consumer, row.work.id) for row in self.rows if row.work.state == "dead"},
            {name: types for name, types in self.known.items() if known.get(name) != types},
        )

    async def park(self, works: Sequence[Work], token: str, lease: float) -> None:
        self._reach()
        there = {(row.work.consumer, row.work.id) for row in self.rows}
        now = self._clock.monotonic()
        for one in works:
            if (one.consumer, one.id) not in there:
                state: State = "dead" if one.state == "dead" else "waiting"
                row = Row(replace(one, state=state, leased=False), now + one.wait)
                if one.leased:
                    row.token, row.until = token, now + lease
                self.rows.append(row)

    async def claim(self, consumers: Sequence[str], types: Sequence[str], token: str, lease: float) -> Sequence[Work]:
        self._reach()
        now, heads = self._clock.monotonic(), dict[tuple[str, str], Row]()
        alive = [row for row in self.rows if row.work.state != "dead"]
        for row in alive:
            heads.setdefault(row.work.lane, row)
        free = {
            lane
            for lane, row in heads.items()
            if row.due <= now
            and (row.token is None or row.until <= now)
            and (lane[0] in consumers or (not lane[0] and row.work.type in types))
        }
        taken = [row for row in alive if row.work.lane in free]
        for row in taken:
            row.token, row.until = token, now + lease
        return [replace(row.work, state="waiting", leased=True) for row in taken]

    async def settle(self, works: Sequence[Work], token: str) -> None:
        self._reach()
        ours = {(row.work.consumer, row.work.id): row for row in self.rows if row.token == token}
        for one in works:
            row = ours.get((one.consumer, one.id))
            if row is None:
                continue
            if one.state == "done":
                self.rows.remove(row)
                continue
            row.token = None
            if one.state in {"failed", "dead"}:
                row.due = self._clock.monotonic() + one.wait
            row.work = replace(one, state="dead" if one.state == "dead" else "waiting", leased=False)

    async def claim_table(self, token: str, lease: float) -> Sequence[tuple[int, bytes]]:
        del token, lease
        return list(self.table)

    async def release_table(self, numbers: Sequence[int], token: str) -> None:
        del token
        self.table = [row for row in self.table if row[0] not in numbers]

    async def renew(self, tokens: Sequence[str], lease: float) -> None:
        for row in self.rows:
            if row.token in tokens:
                row.until = self._clock.monotonic() + lease

    async def enrol(self, consumers: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        self.known |= consumers
        return self.known

    async def prune(self, *, kept: float | None, inbox: float) -> None:
        del kept, inbox


@pytest.fixture
def clock() -> StoppedClock:
    """Time that stands still until it is moved."""
    return StoppedClock()


@pytest.fixture
def book(clock: StoppedClock) -> ListBook:
    """An empty list."""
    return ListBook(clock)


@pytest.fixture(scope="session")
def new_book() -> Callable[[StoppedClock], ListBook]:
    """Makes lists, for tests that need many."""
    return ListBook
