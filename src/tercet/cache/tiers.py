"""The flow of one value: this process, then Redis, then the loader; and of a drop, the other way round."""

from __future__ import annotations

import asyncio
import logging
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from tercet.cache.encoding.codec import Undecodable
from tercet.cache.entry import Ask, Held, Tier, Versions, held
from tercet.cache.far import Far, Kept
from tercet.cache.flight import Flight, Flights
from tercet.cache.memory import Spot
from tercet.errors import StoreError, Uncacheable
from tercet.telemetry import CacheRead, Telemetry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tercet.cache.encoding.tags import Cell
    from tercet.cache.memory import Memory, Slot
    from tercet.cache.port import Shelf
    from tercet.clock import Clock
    from tercet.telemetry.event import Outcome

T = TypeVar("T")

# Steps of the random number that spreads expiries; more than there are entries to spread.
_DRAW_BITS = 32

_log = logging.getLogger("tercet.cache")


class Tiers:
    """Memory, shelf and loader as one; without a shelf, memory and loader.

    What is promised: after a drop has returned, this process shows nothing older, and another one shows it
    for the policy's `memory` seconds at most. For entries with tags this holds whatever loads are under way
    anywhere. For entries without, a load that another process began before the drop may still put the old
    value on the shelf, where it stays for its ttl.
    """

    def __init__(self, memory: Memory, shelf: Shelf | None, *, clock: Clock, telemetry: Telemetry) -> None:
        self.memory = memory
        self.clock = clock
        self.telemetry = telemetry
        self._far = Far(shelf, clock=clock, telemetry=telemetry)
        self._flights: Flights[Held[Any]] = Flights()

    async def fetch(self, ask: Ask[T], load: Callable[[], Awaitable[T]], *, anew: bool = False) -> T:
        """The value, from the nearest tier that has it; `anew` loads it whatever they have.

        The load runs in a task of the cache's own. Whoever is cancelled while waiting leaves it running for
        the others; with nobody left it may still end within ORPHAN_SECONDS. A loader's error goes to all who
        wait and is not kept.
        """
        begun = self.clock.monotonic()
        if not anew:
            near = self._near(ask)
            if near is not None:
                self._tell(ask, "memory", begun, "ok")
                return near.take()
        place = self._flights.join(
            ask.name,
            lambda: self.memory.cells(ask.tags),
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
        if landing.value.codec.schema != ask.codec.schema:
            # Somebody else was loading this key as another type.
            return await self.fetch(ask, load)
        self._tell(ask, landing.value.tier, begun, "ok")
        value: T = landing.value.take()
        return value

    async def fetch_many(
        self,
        asks: Sequence[Ask[T]],
        load_one: Callable[[int], Awaitable[T]],
        load_many: Callable[[Sequence[int]], Awaitable[Mapping[int, T]]] | None,
    ) -> list[T]:
        """The values in the order asked; Redis is asked once for all, and only what is missing is loaded.

        The numbers that loaders are given are places in `asks`; what `load_many` leaves out, `load_one` loads.
        """
        found = await self.look(asks)
        missing = [number for number, one in enumerate(found) if one is None]
        loaded: Mapping[int, T] = await load_many(missing) if load_many is not None and missing else {}

        async def load(number: int) -> T:
            return loaded[number] if number in loaded else await load_one(number)

        rest = await asyncio.gather(*(self.fetch(asks[number], partial(load, number)) for number in missing))
        values = dict(zip(missing, rest, strict=True))
        return [values[number] if one is None else one.take() for number, one in enumerate(found)]

    async def look(self, asks: Sequence[Ask[T]], *, keep: bool = True) -> list[Held[T] | None]:
        """What memory and Redis have of these, without loading; Redis is asked once for all, or twice."""
        begun = self.clock.monotonic()
        found: list[Held[T] | None] = [self._near(ask) for ask in asks]
        missing = [ask for ask, one in zip(asks, found, strict=True) if one is None]
        if missing and self._far.there:
            drops = self.memory.drops
            kept, _ = await self._ask_far(
                missing, lambda: keep and self.memory.drops == drops, at=self.clock.monotonic()
            )
            found = [one or kept.get(ask.name) for ask, one in zip(asks, found, strict=True)]
        if self.telemetry.heard:
            for ask, one in zip(asks, found, strict=True):
                if one is not None:
                    self._tell(ask, one.tier, begun, "ok")
        return found

    async def put(self, ask: Ask[T], value: T) -> None:
        """Write a value over whatever is there, here at once and then on the shelf.

        Raises Uncacheable, and a StoreError when it did not reach the shelf: others may then show the old
        value.
        """
        name = ask.name
        body = ask.codec.encode(value, of=ask.label, key=ask.full or ask.name)
        new = held("loader", ask.codec, ask.codec.decode(body), body)
        self._drop_here((name,), ())
        cells = self.memory.cells(ask.tags)
        lifetime = ask.policy.lifetime(_draw())
        fresh = True
        at = self.clock.monotonic()
        try:
            versions = await self._far.versions(ask.tags)
            at = self.clock.monotonic()
            # Versions that could not be read are none: then this write fails too, and says why.
            fresh = await self._far.write(ask, body, versions or {}, lifetime=lifetime, took=0.0)
        finally:
            # Again: a load that was let in while Redis was asked has read what was there before.
            self._drop_here((name,), ())
            if fresh:
                self._keep(ask, new, len(body), at + self._stay(ask, lifetime), ask.tags, cells)

    async def drop(self, names: Sequence[str], tags: Sequence[str]) -> bool:
        """Drop entries and tags, here at once and then on the shelf.

        Raises StoreUnreachable when it did not reach the shelf; here it is done even so.
        """
        if not names and not tags:
            return True
        self._drop_here(names, tags)
        if self._far.there:
            try:
                await self._far.drop(names, tags)
            finally:
                # Again: while that was on its way, somebody may have read the old value into memory.
                self._drop_here(names, tags)
        return True

    async def close(self) -> None:
        """Cancel what is under way, forget what is in memory, give the shelf's own client back."""
        tasks = self._flights.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self.memory.clear()
        await self._far.close()

    def _drop_here(self, names: Sequence[str], tags: Sequence[str]) -> None:
        for name in names:
            self._flights.refuse(name)
        self.memory.drop(names)
        self.memory.drop_tags(tags)

    async def _fly(
        self, ask: Ask[T], load: Callable[[], Awaitable[T]], flight: Flight[Held[Any]], *, anew: bool
    ) -> Held[T]:
        """One flight: Redis or else the loader; the value is kept if nothing it depends on was dropped."""
        versions: Versions | None = {}
        if not anew:
            kept, versions = await self._ask_far([ask], flight.is_fresh, at=self.clock.monotonic())
            found = kept.get(ask.name)
            if found is not None:
                return found
        if versions is not None and any(versions.get(tag) is None for tag in ask.tags):
            versions = await self._far.versions(ask.tags)
        begun = self.clock.monotonic()
        value = await load()
        took = self.clock.monotonic() - begun
        try:
            body = ask.codec.encode(value, of=ask.label, key=ask.full or ask.name)
            new = held("loader", ask.codec, ask.codec.decode(body), body)
        except (Uncacheable, Undecodable) as error:
            if ask.codec.loose and isinstance(error, Uncacheable):
                raise
            # The loader's work is paid for, and its value is what an undecorated call would have returned.
            _log.warning("%s did not return what it declares (%s): handed on, not cached", ask.label, error)
            self._far.note("encode", error)
            return Held("loader", ask.codec, value, None)
        if not await self._fill(ask, new, body, versions, took, flight):
            self._far.note("late fill refused")
        return new

    async def _fill(
        self,
        ask: Ask[T],
        new: Held[T],
        body: bytes,
        versions: Versions | None,
        took: float,
        flight: Flight[Held[Any]],
    ) -> bool:
        """Keep what was loaded; False when it was dropped, here or elsewhere, while it was loaded."""
        if not flight.is_fresh():
            return False
        lifetime = ask.policy.lifetime(_draw())
        # From before the write: the versions that it brings back were current at this moment or later.
        at = self.clock.monotonic()
        if versions is not None:
            try:
                kept = await self._far.write(ask, body, versions, lifetime=lifetime, took=took, wanted=flight.is_fresh)
                if not kept:
                    return False
            except StoreError as error:
                self._far.note("fill", error)
        if not flight.is_fresh():
            return False
        self._keep(ask, new, len(body), at + self._stay(ask, lifetime), ask.tags, flight.cells)
        return True

    async def _ask_far(
        self, asks: Sequence[Ask[T]], is_fresh: Callable[[], bool], *, at: float
    ) -> tuple[dict[str, Held[T]], Versions | None]:
        """Ask Redis; what is valid is kept in memory, where nothing was dropped in the meantime."""
        cells: dict[str, Cell] = {}

        def watch(tags: Sequence[str]) -> None:
            cells.update(zip(tags, self.memory.cells(tags), strict=True))

        answer = await self._far.read(asks, watch)
        for ask in asks:
            kept: Kept[T] | None = answer.kept.get(ask.name)
            if kept is not None and is_fresh():
                stay = min(ask.policy.in_memory(_draw()), kept.left)
                under = tuple(cells[tag] for tag in kept.tags)
                self._keep(ask, kept.held, kept.size, at + stay, kept.tags, under)
        return {name: kept.held for name, kept in answer.kept.items()}, answer.versions

    def _near(self, ask: Ask[T]) -> Held[T] | None:
        slot = self.memory.find(ask.name)
        if slot is None or not set(ask.tags) <= set(slot.tags):
            return None
        if slot.schema != ask.codec.schema:
            return _as_other(slot, ask)
        spot = _spot(ask)
        if spot is not None:
            self.memory.place(slot, spot)
        return Held("memory", ask.codec, slot.value, slot.body)

    def _stay(self, ask: Ask[T], lifetime: float) -> float:
        """Seconds in memory; all its life where memory is the only tier, as nobody else could drop it."""
        return min(ask.policy.in_memory(_draw()), lifetime) if self._far.there else lifetime

    def _keep(
        self,
        ask: Ask[T],
        new: Held[T],
        size: int,
        until: float,
        tags: tuple[str, ...],
        cells: tuple[Cell, ...],
    ) -> None:
        self.memory.put(
            ask.name,
            schema=ask.codec.schema,
            value=new.value,
            body=new.body,
            size=size,
            until=until,
            tags=tags,
            cells=cells,
            spot=_spot(ask),
        )

    def _tell(self, ask: Ask[Any], tier: Tier, begun: float, outcome: Outcome) -> None:
        if self.telemetry.heard:
            self.telemetry.tell(CacheRead(ask.label, tier, self.clock.monotonic() - begun, outcome))


def _as_other(slot: Slot, ask: Ask[T]) -> Held[T] | None:
    """What a slot of another type holds for this asker: something only if its bytes can be read as theirs."""
    if slot.body is None or not ask.codec.reads(slot.schema):
        return None
    try:
        ask.codec.decode(slot.body)
    except Undecodable:
        return None
    return Held("memory", ask.codec, None, slot.body)


def _spot(ask: Ask[Any]) -> Spot | None:
    return None if ask.index is None or ask.raw is None else Spot(ask.index, ask.raw)


def _draw() -> float:
    return secrets.randbits(_DRAW_BITS) / (1 << _DRAW_BITS)
