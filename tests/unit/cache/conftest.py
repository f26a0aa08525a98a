"""A shelf in memory, with a switch to take it away, and the tiers on top of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tercet.cache.encoding.codec import Codec
from tercet.cache.encoding.frame import unpack
from tercet.cache.entry import Ask, Layers, policy
from tercet.cache.memory import Memory
from tercet.cache.moments.span import settled, told
from tercet.cache.shelf import BusState, Drop, Globs, Grant
from tercet.cache.straight import Outcome
from tercet.cache.tiers import Tiers
from tercet.clock import StoppedClock
from tercet.errors import StoreUnreachable
from tercet.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tercet.cache.moments import Record, Span
    from tercet.cache.shelf import Versions


class Twin:
    """What the shelf promises, kept in two dicts; several tiers may share one, as processes do."""

    # Nobody's drops here say whose they are: each is heard by all.
    origin = b"twin"

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.leases: dict[str, bytes] = {}
        self.tags: dict[str, bytes] = {}
        # What tags were dropped for; under the empty name what all were.
        self.records: dict[str, list[Record]] = {}
        self.listeners: dict[int, tuple[Callable[[Drop | None], None], Callable[[float], None]]] = {}
        self.watchers: list[Callable[[], None]] = []
        self.away = False
        self.deaf = False
        self.mute = False
        self.reads = 0
        self.number = 0
        self.changed = asyncio.Event()

    def _check(self) -> None:
        if self.away:
            raise StoreUnreachable("redis", reason="the test says so")

    def _new(self) -> bytes:
        self.number += 1
        return str(self.number).encode()

    def _stir(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def read_one(self, name: str, *, big: bool = False) -> bytes | None:
        self._check()
        self.reads += 1
        await asyncio.sleep(0)
        return self.entries.get(name)

    async def read(
        self, names: Sequence[str], tags: Sequence[str], *, big: bool = False
    ) -> tuple[Sequence[bytes | None], Versions]:
        self._check()
        self.reads += 1
        await asyncio.sleep(0)
        return [self.entries.get(name) for name in names], {tag: self.tags.get(tag) for tag in tags}

    async def versions(self, tags: Sequence[str]) -> Versions:
        self._check()
        return {tag: self.tags.setdefault(tag, self._new()) for tag in tags}

    async def lease(self, name: str, tags: Sequence[str], *, anew: bool = False, instead: bytes | None = None) -> Grant:
        versions = await self.versions(tags)
        frame, holder = self.entries.get(name), self.leases.get(name)
        entry = None if frame is None else unpack(frame)
        if entry is not None and frame != instead and not anew and entry.is_current(versions):
            return Grant(frame, None, None, versions)
        if holder is not None and not anew:
            return Grant(None, None, holder, versions)
        self.leases[name] = token = self._new()
        records = {tag: tuple(self.records[tag]) for tag in (*tags, "") if tag in self.records}
        return Grant(None, token, None, versions, records)

    async def renew(self, name: str, token: bytes) -> bool:
        return self.leases.get(name) == token

    async def release(self, name: str, token: bytes) -> None:
        self._check()
        if self.leases.get(name) == token:
            del self.leases[name]
            self._stir()

    async def fill(
        self, name: str, frame: bytes, seconds: float, tags: Sequence[str], token: bytes, *, tell: bool = False
    ) -> tuple[bool, Versions]:
        self._check()
        kept = self.leases.get(name) == token
        if kept:
            del self.leases[name]
            self.entries[name] = frame
            self._stir()
        return kept, {tag: self.tags.get(tag) for tag in tags}

    async def wait(self, name: str, holder: bytes, seconds: float) -> None:
        while self.leases.get(name) == holder:
            await self.changed.wait()

    async def write(self, name: str, frame: bytes, seconds: float, tags: Sequence[str]) -> tuple[bool, Versions]:
        self._check()
        self.leases.pop(name, None)
        self.entries[name] = frame
        self._tell(Drop(names=(name,)))
        return True, {tag: self.tags.get(tag) for tag in tags}

    async def drop(self, drop: Drop) -> None:
        self._check()
        if self.mute:
            raise StoreUnreachable("redis", reason="the test says so")
        if drop.moments:
            for tag in drop.tags if drop.tags and not drop.everything else ("",):
                self.records[tag] = told(self.records.get(tag, []), drop.moments, 0)
        for name in list(self.entries.keys() | self.leases.keys()):
            if drop.everything or name in drop.names or Globs(drop.patterns).match(name):
                self.entries.pop(name, None)
                self.leases.pop(name, None)
        for tag in [*self.tags] if drop.everything else drop.tags:
            self.tags.pop(tag, None)
        self._stir()
        self._tell(drop)

    async def settle(self, tags: Sequence[str], source: bytes, through: int, spans: Sequence[Span]) -> None:
        self._check()
        for tag in (*tags, ""):
            if tag in self.records:
                self.records[tag] = settled(self.records[tag], source, through, spans)

    async def holder(self, name: str) -> str | None:
        return "somebody" if name in self.leases else None

    def follow(self, hear: Callable[[Drop | None], None], trusted: Callable[[float], None]) -> None:
        who = id(hear.__self__)  # type: ignore[attr-defined]  # a bound method
        if who not in self.listeners:
            self.listeners[who] = (hear, trusted)
            trusted(float("inf"))

    def trust(self, until: float) -> None:
        """Tell everybody until when the bus is known to be whole."""
        for _, trusted in self.listeners.values():
            trusted(until)

    def _tell(self, drop: Drop) -> None:
        if not self.deaf:
            for hear, _ in self.listeners.values():
                hear(drop)

    def watch(self, connected: Callable[[], None]) -> None:
        """There are no connections but those that a test makes up."""
        self.watchers.append(connected)

    def connect(self) -> None:
        """As if there were a new connection, to whatever server."""
        for connected in self.watchers:
            connected()

    def report(self, figures: Callable[[], object]) -> None:
        """Nobody looks."""

    async def tried(self) -> None:
        """It is heard at once."""

    @property
    def bus(self) -> BusState:
        return BusState()

    async def close(self) -> None:
        """Nothing is under way."""


@dataclass
class Bench:
    """One process with its clock; `source` counts and fails as a test wants it."""

    shelf: Twin | None
    clock: StoppedClock
    tiers: Tiers
    value: Any = 1
    error: Exception | None = None
    loads: int = 0
    takes: float = 0.0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    _codec: Codec[Any] = field(default_factory=lambda: Codec(Any, of="a test"))

    def ask(self, name: str = "a", *tags: str, **words: Any) -> Ask[Any]:
        """How the value of this name is asked for."""
        rules = policy("x", {"ttl": 100, "jitter": 0, "early": 0, **words}, layers=Layers.of(None))
        return Ask(f"k:{name}", "", tags, self._codec, rules, "test")

    async def load(self) -> Any:
        """The value as it is when the load begins."""
        self.loads += 1
        value, error = self.value, self.error
        await self.gate.wait()
        self.clock.advance(self.takes)
        if error is not None:
            raise error
        return value

    async def fetch(self, name: str = "a", *tags: str, **words: Any) -> Any:
        """Ask for it, loading what is missing."""
        return await self.tiers.straight.fetch(self.ask(name, *tags, **words), self.load)

    async def found(self, *asks: Ask[Any]) -> list[Any]:
        """What there is of these, asked at once and without loading; None is nothing."""
        return [None if isinstance(one, Outcome) else one for one in await self.tiers.straight.find_many(asks)]

    async def settled(self) -> None:
        """Wait until nothing is being loaded."""
        while len(self.tiers.flights):
            await asyncio.sleep(0)

    def restarted(self) -> Bench:
        """Another process on the same shelf, with the same clock."""
        return bench_of(self.shelf, self.clock)


def bench_of(shelf: Twin | None, clock: StoppedClock) -> Bench:
    """A process whose loads end at once."""
    memory = Memory(clock.monotonic)
    made = Bench(shelf, clock, Tiers(memory, shelf, clock=clock, telemetry=Telemetry()))
    made.gate.set()
    return made


@pytest.fixture
def alone() -> Bench:
    """A cache in memory only."""
    return bench_of(None, StoppedClock(datetime.now(UTC)))


@pytest.fixture
async def bench() -> Bench:
    """A cache with a shelf."""
    return bench_of(Twin(), StoppedClock(datetime.now(UTC)))


@pytest.fixture(params=["memory", "shelf"])
async def each(request: pytest.FixtureRequest) -> Bench:
    """Both, one after the other."""
    return bench_of(Twin() if request.param == "shelf" else None, StoppedClock(datetime.now(UTC)))
