"""The flow of one value: this process, then Redis, then the loader; and of a drop, the other way round."""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from tercet.cache.codec import Codec, Undecodable
from tercet.cache.entry import Entry, pack, unpack
from tercet.cache.flight import Flight, Flights
from tercet.errors import StoreError, StoreMissing, Uncacheable
from tercet.telemetry import CacheRead, Operation, Telemetry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tercet.cache.key import Key
    from tercet.cache.memory import Memory, Slot, Spot
    from tercet.cache.policy import Policy
    from tercet.cache.port import Shelf
    from tercet.cache.tags import Cell
    from tercet.clock import Clock
    from tercet.telemetry.event import Outcome

T = TypeVar("T")

Tier = Literal["memory", "redis", "loader"]
Versions = dict[str, bytes | None]

# Steps of the random number that spreads expiries; more than there are entries to spread.
_DRAW_BITS = 32

_log = logging.getLogger("tercet.cache")


@dataclass(frozen=True, slots=True)
class Ask(Generic[T]):
    """One value that is asked for: its key, what it depends on, its type, how long it lives."""

    key: Key
    tags: tuple[str, ...]
    codec: Codec[T]
    policy: Policy
    # Whose reads these are, for telemetry and errors; never a value.
    label: str
    spot: Spot | None = None


@dataclass(frozen=True, slots=True)
class Held(Generic[T]):
    """A value on its way to callers: the value itself where it cannot be changed, else its bytes for each anew."""

    tier: Tier
    codec: Codec[T]
    value: T | None
    body: bytes | None

    def take(self) -> T:
        """A value that is the caller's own."""
        if self.body is not None:
            return self.codec.decode(self.body)
        return self.value  # type: ignore[return-value]  # no body: the value is one of T, which may be None


@dataclass(frozen=True, slots=True)
class _Far(Generic[T]):
    """What Redis said: the entries that are valid, and the versions; None where it said nothing."""

    held: dict[str, Held[T]]
    versions: Versions | None


class Tiers:
    """Memory, shelf and loader as one; without a shelf, memory and loader.

    What is promised: after a drop has returned, this process shows nothing older, and another one shows it for the
    policy's `memory` seconds at most. For entries with tags this holds whatever loads are under way anywhere. For
    entries without, a load that another process began before the drop may still put the old value on the shelf.
    """

    def __init__(self, memory: Memory, shelf: Shelf | None, *, clock: Clock, telemetry: Telemetry) -> None:
        self.memory = memory
        self.clock = clock
        self.telemetry = telemetry
        self.flights: Flights[Held[Any]] = Flights()
        self._shelf = shelf

    async def fetch(self, ask: Ask[T], load: Callable[[], Awaitable[T]], *, anew: bool = False) -> T:
        """The value, from the nearest tier that has it; `anew` loads it whatever they have.

        The load runs in a task of the cache's own. Whoever is cancelled while waiting leaves it running for the
        others; with nobody left it may still end within ORPHAN_SECONDS. A loader's error goes to all who wait and
        is not kept.
        """
        begun = self.clock.monotonic()
        if not anew:
            held = self._near(ask)
            if held is not None:
                self._tell(ask, "memory", begun, "ok")
                return held.take()
        memory = self.memory
        place = self.flights.join(
            ask.key.name,
            lambda: memory.cells(ask.tags),
            lambda flight: self._fly(ask, load, flight, anew=anew),
            anew=anew,
        )
        try:
            landing = await place
        except asyncio.CancelledError:
            self._tell(ask, "loader", begun, "cancelled")
            raise
        if landing.error is not None:
            self._tell(ask, "loader", begun, "failed")
            raise landing.error
        if landing.value is None:
            raise asyncio.CancelledError("the load was cancelled from inside")
        self._tell(ask, landing.value.tier, begun, "ok")
        value: T = landing.value.take()
        return value

    async def look(self, asks: Sequence[Ask[T]], *, keep: bool = True) -> list[Held[T] | None]:
        """What memory and Redis have of these, without loading; Redis is asked once for all, and at most twice."""
        begun = self.clock.monotonic()
        found: list[Held[T] | None] = [self._near(ask) for ask in asks]
        missing = [ask for ask, held in zip(asks, found, strict=True) if held is None]
        if missing:
            far = await self._far(missing, None if not keep else _Watch(self.memory))
            found = [held or far.held.get(ask.key.name) for ask, held in zip(asks, found, strict=True)]
        if self.telemetry.heard:
            for ask, held in zip(asks, found, strict=True):
                if held is not None:
                    self._tell(ask, held.tier, begun, "ok")
        return found

    async def put(self, ask: Ask[T], value: T) -> None:
        """Write a value over whatever is there, here at once and then on the shelf.

        Raises Uncacheable, and a StoreError when it did not reach the shelf: others may then show the old value.
        """
        body = ask.codec.encode(value, of=ask.label)
        held = Held("loader", ask.codec, ask.codec.decode(body) if ask.codec.immutable else None, body)
        memory = self.memory
        self.flights.refuse(ask.key.name)
        memory.drop((ask.key.name,))
        watch = _Watch(memory)
        cells = memory.cells(ask.tags)
        shelf = self._shelf
        lifetime = ask.policy.lifetime(_draw())
        at = self.clock.monotonic()
        if shelf is not None:
            try:
                versions = await shelf.versions(ask.tags) if ask.tags else {}
                at = self.clock.monotonic()
                await shelf.write(
                    ask.key.name, self._frame(ask, body, versions, lifetime, 0.0), lifetime, ask.tags
                )
            except StoreMissing:
                self._shelf = None
        # Again: a load that was let in while Redis was asked has read what was there before.
        self.flights.refuse(ask.key.name)
        if watch.is_fresh():
            self._keep(ask, held, len(body), at + self._stay(ask, lifetime), cells)

    async def drop(self, names: Sequence[str], tags: Sequence[str]) -> None:
        """Drop entries and tags, here at once and then on the shelf.

        Raises StoreUnreachable when it did not reach the shelf; here it is done even so.
        """
        if not names and not tags:
            return
        self._drop_here(names, tags)
        if self._shelf is None:
            return
        try:
            await self._shelf.drop(names, tags)
        except StoreMissing:
            self._shelf = None
        finally:
            # Again: while that was on its way, somebody may have read the old value from Redis into memory.
            self._drop_here(names, tags)

    async def close(self) -> None:
        """Cancel what is under way, forget what is in memory, give the shelf's own client back."""
        tasks = self.flights.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self.memory.clear()
        if self._shelf is not None:
            await self._shelf.close()

    def _drop_here(self, names: Sequence[str], tags: Sequence[str]) -> None:
        for name in names:
            self.flights.refuse(name)
        self.memory.drop(names)
        self.memory.drop_tags(tags)

    async def _fly(
        self, ask: Ask[T], load: Callable[[], Awaitable[T]], flight: Flight[Held[Any]], *, anew: bool
    ) -> Held[T]:
        """One flight: Redis, or else the loader, and the value kept where nothing it depends on was dropped."""
        versions: Versions | None = {}
        if not anew:
            far = await self._far([ask], flight)
            held = far.held.get(ask.key.name)
            if held is not None:
                return held
            versions = far.versions
        if versions is not None and any(versions.get(tag) is None for tag in ask.tags):
            versions = await self._versions(ask)
        begun = self.clock.monotonic()
        value = await load()
        took = self.clock.monotonic() - begun
        try:
            body = ask.codec.encode(value, of=ask.label)
            returned = ask.codec.decode(body)
        except (Uncacheable, Undecodable) as error:
            if ask.codec.loose and isinstance(error, Uncacheable):
                raise
            # The loader's work is paid for, and its value is what an undecorated call would have returned.
            _log.warning(
                "%s did not return what it declares (%s): it is handed on, not cached", ask.label, error
            )
            self._note("encode", error)
            return Held("loader", ask.codec, value, None)
        fixed = ask.codec.immutable
        fresh: Held[T] = Held("loader", ask.codec, returned if fixed else None, None if fixed else body)
        await self._fill(ask, fresh, body, versions, took, flight)
        return fresh

    async def _fill(
        self,
        ask: Ask[T],
        held: Held[T],
        body: bytes,
        versions: Versions | None,
        took: float,
        flight: Flight[Held[Any]],
    ) -> None:
        if not flight.is_fresh():
            self._note("late fill refused")
            return
        lifetime = ask.policy.lifetime(_draw())
        # From before the write: the versions it brings back were current at this moment or later.
        at = self.clock.monotonic()
        shelf = self._shelf
        if shelf is not None and versions is not None:
            frame = self._frame(ask, body, versions, lifetime, took)
            try:
                now = await shelf.write(ask.key.name, frame, lifetime, ask.tags)
            except StoreError as error:
                self._note("fill", error)
            else:
                if any(now.get(tag) != versions[tag] for tag in ask.tags):
                    # Dropped by another process while it was loaded: on the shelf it is invalid, and here unwanted.
                    self._note("late fill refused")
                    return
        if flight.is_fresh():
            self._keep(ask, held, len(body), at + self._stay(ask, lifetime), flight.cells)
        else:
            self._note("late fill refused")

    async def _far(self, asks: Sequence[Ask[T]], guard: Flight[Held[Any]] | _Watch | None) -> _Far[T]:
        """Ask Redis; with a guard, what is valid is kept in memory as long as the guard saw no drop."""
        shelf = self._shelf
        if shelf is None:
            return _Far({}, None)
        wanted = tuple(dict.fromkeys(tag for ask in asks for tag in ask.tags))
        cells = dict(zip(wanted, self.memory.cells(wanted), strict=True))
        at = self.clock.monotonic()
        try:
            frames, versions = await shelf.read([ask.key.name for ask in asks], wanted)
            entries = [self._entry(ask, frame) for ask, frame in zip(asks, frames, strict=True)]
            more = tuple({tag for entry in entries if entry for tag in entry.tags if tag not in versions})
            if more:
                # Its writer gave it tags that this reader does not know. Cells first, then versions: see drop.
                cells.update(zip(more, self.memory.cells(more), strict=True))
                versions |= (await shelf.read((), more))[1]
        except StoreMissing:
            self._shelf = None
            return _Far({}, None)
        except StoreError as error:
            self._note("read", error)
            return _Far({}, None)
        held: dict[str, Held[T]] = {}
        for ask, entry in zip(asks, entries, strict=True):
            if entry is None or not entry.is_current(versions):
                continue
            opened = self._opened(ask, entry)
            if opened is None:
                continue
            held[ask.key.name] = opened
            if guard is not None and guard.is_fresh():
                left = entry.expires_ms / 1000 - self.clock.now().timestamp()
                stay = min(ask.policy.in_memory(_draw()), left)
                self._keep(ask, opened, len(entry.body), at + stay, tuple(cells[tag] for tag in entry.tags))
        return _Far(held, versions)

    def _entry(self, ask: Ask[T], frame: bytes | None) -> Entry | None:
        if frame is None:
            return None
        entry = unpack(frame)
        if entry is None:
            self._note("decode", Undecodable())
            _log.warning("an entry of %s is not readable and counts as a miss", ask.label)
            return None
        # Another key under this digest, another shape of the type, or tags that it is not protected by.
        fits = (
            entry.key == ask.key.full and ask.codec.reads(entry.schema) and set(ask.tags) <= set(entry.tags)
        )
        return entry if fits else None

    def _opened(self, ask: Ask[T], entry: Entry) -> Held[T] | None:
        try:
            value = ask.codec.decode(entry.body)
        except Undecodable as error:
            self._note("decode", error)
            _log.warning(
                "an entry of %s holds no value of its type (%s) and counts as a miss", ask.label, error
            )
            return None
        fixed = ask.codec.immutable
        return Held("redis", ask.codec, value if fixed else None, None if fixed else entry.body)

    def _near(self, ask: Ask[T]) -> Held[T] | None:
        slot = self.memory.find(ask.key.name)
        if slot is None:
            return None
        if ask.spot is not None:
            self.memory.place(slot, ask.spot)
        return _held(slot, ask)

    async def _versions(self, ask: Ask[T]) -> Versions | None:
        if self._shelf is None:
            return None
        try:
            return await self._shelf.versions(ask.tags)
        except StoreMissing:
            self._shelf = None
        except StoreError as error:
            self._note("versions", error)
        return None

    def _frame(self, ask: Ask[T], body: bytes, versions: Versions, lifetime: float, took: float) -> bytes:
        created = int(self.clock.now().timestamp() * 1000)
        return pack(
            Entry(
                schema=ask.codec.schema,
                key=ask.key.full,
                created_ms=created,
                expires_ms=created + int(lifetime * 1000),
                load_seconds=took,
                tags=ask.tags,
                versions=tuple(versions[tag] or b"" for tag in ask.tags),
                body=body,
            )
        )

    def _stay(self, ask: Ask[T], lifetime: float) -> float:
        """Seconds in memory; all its life where memory is the only tier, as nobody else could drop it."""
        return lifetime if self._shelf is None else min(ask.policy.in_memory(_draw()), lifetime)

    def _keep(self, ask: Ask[T], held: Held[T], size: int, until: float, cells: tuple[Cell, ...]) -> None:
        fixed = ask.codec.immutable
        self.memory.put(
            ask.key.name,
            schema=ask.codec.schema,
            value=held.value if fixed else None,
            body=None if fixed else held.body,
            size=size,
            until=until,
            cells=cells,
            spot=ask.spot,
        )

    def _tell(self, ask: Ask[Any], tier: Tier, begun: float, outcome: Outcome) -> None:
        if self.telemetry.heard:
            self.telemetry.tell(CacheRead(ask.label, tier, self.clock.monotonic() - begun, outcome))

    def _note(self, name: str, error: BaseException | None = None) -> None:
        if self.telemetry.heard:
            outcome: Outcome = "ok" if error is None else "failed"
            kind = None if error is None else type(error).__name__
            self.telemetry.tell(Operation("cache", name, 0.0, outcome, "redis", kind))


class _Watch:
    """Sees whether anything at all was dropped since it was made: enough for who reads without a flight."""

    __slots__ = ("_drops", "_memory")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._drops = memory.drops

    def is_fresh(self) -> bool:
        return self._memory.drops == self._drops


def _held(slot: Slot, ask: Ask[T]) -> Held[T] | None:
    """What a slot holds for this asker: a slot of another type only if its bytes can be read as this one."""
    if slot.schema == ask.codec.schema:
        return Held("memory", ask.codec, slot.value, slot.body)
    if slot.body is None or not ask.codec.reads(slot.schema):
        return None
    try:
        ask.codec.decode(slot.body)
    except Undecodable:
        return None
    return Held("memory", ask.codec, None, slot.body)


def _draw() -> float:
    return secrets.randbits(_DRAW_BITS) / (1 << _DRAW_BITS)
