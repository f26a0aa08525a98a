"""The flow of one value: this process, then Redis, then the loader; and of a drop, the other way round."""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from tercet.cache.entry import Ask, Held, Sight
from tercet.cache.far import Far
from tercet.cache.loading.flight import Flight, Flights
from tercet.cache.loading.loader import Bulk, Loader
from tercet.cache.near import Near
from tercet.cache.shelf import TRUST_SECONDS, Drop
from tercet.cache.state import State, draw
from tercet.cache.stats import Counts
from tercet.cache.straight import Outcome, Straight
from tercet.errors import LoadTimeout, StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tercet.cache.memory import Memory
    from tercet.cache.shelf import Shelf
    from tercet.clock import Clock
    from tercet.telemetry import Telemetry

T = TypeVar("T")

# How long the first caller of an event loop waits for the bus: a connection and two round trips take some
# milliseconds; a server that does not answer is not waited for twice.
FIRST_SECONDS = 0.25


class Tiers:
    """Memory, shelf and loader as one; without a shelf, memory and loader.

    What is promised: after a drop has returned True, no process shows anything older for longer than
    TRUST_SECONDS, whatever loads are under way, and this one not at all.
    """

    def __init__(self, memory: Memory, shelf: Shelf | None, *, clock: Clock, telemetry: Telemetry) -> None:
        self.memory = memory
        self.clock = clock
        self.telemetry = telemetry
        self.counts = Counts(telemetry, clock.monotonic)
        self.far = Far(shelf, clock=clock, telemetry=telemetry)
        self.near = Near(memory, clock.monotonic, alone=shelf is None)
        self.flights: Flights[Held[Any]] = Flights(memory, clock.monotonic)
        self.loader = Loader(self.near, self.far, self.counts, clock)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._silent = False
        self.straight = Straight(self)

    # ---- reads ----

    async def fetch(
        self,
        ask: Ask[T],
        load: Callable[[], Awaitable[T]],
        *,
        anew: bool = False,
        outcome: Outcome = Outcome.UNSURE,
    ) -> T:
        """The value, from the nearest tier that has it; `anew` loads it whatever they have.

        The load runs in a task of the cache's own. Whoever is cancelled while waiting leaves it running for
        the others; with nobody left it may still end within ORPHAN_SECONDS. What has ended is shown while it
        is loaded anew, and where that fails, as long as its policy says. `outcome` is what Redis has said already.
        """
        begun = self.clock.monotonic()
        if self.is_new(begun):
            await self.enter()
        if anew:
            return await self._land(ask, load, None, begun, anew=True)
        sight, away = await self._seen(ask, outcome)
        if sight is not None and self._answers(sight, away=away):
            if sight.state is State.FRESH:
                return self._give(ask, sight, begun)
            return await self._revived(ask, load, sight, begun)
        return await self._land(ask, load, sight, begun)

    async def fetch_many(
        self,
        asks: Sequence[Ask[T]],
        values: list[Any],
        load_one: Callable[[int], Awaitable[T]],
        load_many: Callable[[Sequence[int]], Awaitable[Mapping[int, T]]] | None = None,
    ) -> list[T]:
        """These values, with those in place of an Outcome that memory or Redis has, or that are loaded."""
        begun, missing = self.clock.monotonic(), []
        sights, away = await self._look_many(asks, values)
        for number, sight in sights.items():
            if sight is not None and sight.state is State.FRESH and self._answers(sight, away=away):
                values[number] = sight.take()
                self.counts.shown(asks[number], sight, begun)
            else:
                missing.append(number)
        if not missing:
            return values
        bulk = Bulk(load_one, load_many)

        async def bring(number: int) -> None:
            ask, sight, loads = asks[number], sights[number], partial(bulk.want, number)
            if sight is not None and self._answers(sight, away=away):
                values[number] = await self._revived(ask, loads, sight, begun)
            else:
                values[number] = await self._land(ask, loads, sight, begun)

        await asyncio.gather(*map(bring, missing))
        return values

    async def find_many(self, asks: Sequence[Ask[Any]], values: list[Any]) -> None:
        """Put what memory and Redis have that is not stale in place of an Outcome, without loading; or LACKING."""
        begun = self.clock.monotonic()
        sights, away = await self._look_many(asks, values)
        for number, sight in sights.items():
            if sight is None or sight.state is State.STALE or not self._answers(sight, away=away):
                values[number] = Outcome.LACKING
            else:
                values[number] = sight.take()
                self.counts.shown(asks[number], sight, begun)

    async def look(self, ask: Ask[T]) -> Sight[T] | None:
        """What memory or Redis has of this that is not stale, without loading."""
        begun = self.clock.monotonic()
        if self.is_new(begun):
            await self.enter()
        sight = self.near.see(ask)
        if sight is None or not sight.settled:
            found, away = await self._look(ask)
            sight = found if not away else sight if sight is not None and self._answers(sight, away=True) else None
        if sight is None or sight.state is State.STALE:
            return None
        self.counts.shown(ask, sight, begun)
        return sight

    # ---- writes ----

    async def put(self, ask: Ask[T], value: T) -> bool:
        """Write a value over whatever is there, here at once and then on the shelf.

        False when Redis could not be told: then nobody is shown what it has under this key until it is.
        Raises Uncacheable.
        """
        if self.is_new(self.clock.monotonic()):
            await self.enter()
        drop = Drop(names=(ask.name,))
        body = ask.codec.encode(value, of=ask.label, key=ask.full or ask.name)
        shown = ask.codec.decode(body)
        lifetime = ask.policy.lifetime(draw(), negative=value is None)
        self._drop_here(drop)
        fresh, delivered = True, True
        mark, at = self.memory.mark, self.clock.monotonic()
        try:
            fresh = await self.far.write(ask, body, lifetime=lifetime)
        except StoreError as error:
            self.far.note("write", error)
            delivered = await self.far.drop(drop)
        except BaseException:
            self._drop_here(drop)
            raise
        fresh = fresh and not self.memory.dropped_since(mark, ask.name, ask.tags)
        # Again: a load that was let in while Redis was asked has read what was there before.
        self._drop_here(drop)
        if fresh:
            size, grace = len(body), ask.policy.stale
            sight = Sight("loader", ask.codec, shown, body, State.FRESH, True, ask.tags, size, lifetime, grace)
            self.near.keep(ask, sight, at=at)
        return delivered

    async def drop(self, drop: Drop) -> bool:
        """Drop entries and tags, here at once and then on the shelf; False when that is still to come."""
        if not drop:
            return True
        self._enter()
        self._drop_here(drop)
        try:
            return await self.far.drop(drop)
        finally:
            # Again: while that was on its way, somebody may have read the old value into memory.
            self._drop_here(drop)

    async def close(self) -> None:
        """Cancel what is under way, forget what is in memory, give the shelf's own client back."""
        tasks = self.flights.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self.memory.clear()
        self._loop = None
        await self.far.close()

    # ---- behind ----

    def is_new(self, now: float) -> bool:
        """Whether this is another event loop, or one in which the bus is not heard."""
        return self._silent or get_running_loop() is not self._loop or self.memory.trusted_until <= now

    async def enter(self) -> None:
        """Be in this event loop, follow the bus there, and wait for its first word."""
        if self._enter():
            await self._listen()

    def _enter(self) -> bool:
        """Be in this event loop, and follow the bus there; whether its first word is to be waited for."""
        loop = self.flights.here()
        known = loop is self._loop
        if known and self.near.trusted:
            return self._silent
        self._loop = loop
        if self.far.shelf is not None:
            # Again where trust is missing: on a Tercet that is not open yet the bus ends as soon as it begins.
            self.far.shelf.follow(self._hear, self._trust)
            self._silent = self._silent or not known
        return self._silent

    async def _listen(self) -> None:
        """Wait for the first word of the bus: what is kept before it would be forgotten with it."""
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                if self.far.shelf is not None:
                    await self.far.shelf.tried()
        except TimeoutError:
            pass
        self._silent = False

    def _hear(self, drop: Drop | None) -> None:
        if drop is None:
            self.counts.flushed += 1
        elif drop.drops and self.far.shelf is not None and drop.origin == self.far.shelf.origin:
            # It was dropped here before others were told, and again after: what is kept by now is newer.
            return
        self._drop_here(drop)

    def _trust(self, until: float) -> None:
        self.near.trust(until)

    def _drop_here(self, drop: Drop | None) -> None:
        self.near.drop(drop)
        self.loader.throttle.dropped(drop)

    def _answers(self, sight: Sight[Any], *, away: bool) -> bool:
        """Whether this may be shown: it is settled, or Redis is away and nothing is known against it."""
        if sight.settled:
            return True
        return away and sight.state is not State.STALE and self.near.trusted

    async def _seen(self, ask: Ask[T], outcome: Outcome) -> tuple[Sight[T] | None, bool]:
        """What memory has of this, or Redis, and whether that did not answer; `outcome` is what is known already."""
        sight = self.near.see(ask)
        if outcome in {Outcome.LACKING, Outcome.AWAY}:
            return sight, outcome is Outcome.AWAY
        if (sight is not None and sight.settled) or self.flights.find(ask.name) is not None:
            return sight, False
        found, away = await self._look(ask)
        # Redis has the last word, unless it does not answer: what it has no more may have been dropped.
        return (sight if away else found), away

    async def _look(self, ask: Ask[T]) -> tuple[Sight[T] | None, bool]:
        """What Redis has of this, and whether it did not answer; what is valid is kept in memory."""
        if not self.far.there:
            return None, True
        mark, at = self.memory.mark, self.clock.monotonic()
        try:
            sight = await self.far.read(ask)
        except StoreError as error:
            self.far.note("read", error)
            return None, True
        self._check_alone()
        if sight is not None and not self.memory.dropped_since(mark, ask.name, sight.tags):
            self.near.keep(ask, sight, at=at)
        return sight, False

    async def _look_many(
        self, asks: Sequence[Ask[T]], values: Sequence[object]
    ) -> tuple[dict[int, Sight[T] | None], bool]:
        """What memory and Redis have of those whose value is an Outcome yet, and whether Redis did not answer."""
        see = self.near.see
        sights = {place: see(asks[place]) for place, one in enumerate(values) if type(one) is Outcome}
        wanted = [
            place
            for place, one in sights.items()
            if (one is None or not one.settled) and values[place] is Outcome.UNSURE
        ]
        away = not self.far.there or any(one is Outcome.AWAY for one in values)
        if not wanted or away:
            return sights, away
        mark, at = self.memory.mark, self.clock.monotonic()
        try:
            found = await self.far.read_many([asks[place] for place in wanted])
        except StoreError as error:
            self.far.note("read", error)
            return sights, True
        self._check_alone()
        for place, sight in zip(wanted, found, strict=True):
            # Redis has the last word: what it has no more may have been dropped.
            sights[place] = sight
            if sight is not None and not self.memory.dropped_since(mark, asks[place].name, sight.tags):
                self.near.keep(asks[place], sight, at=at)
        return sights, False

    def _check_alone(self) -> None:
        if not self.far.there and not self.near.alone:
            self.near.settle_alone()

    async def _revived(self, ask: Ask[T], load: Callable[[], Awaitable[T]], sight: Sight[T], begun: float) -> T:
        """The value of what is due or stale, which is loaded anew behind, or in time."""
        self._behind(ask, load, sight)
        if sight.state is State.DUE or ask.policy.soft_timeout == 0.0:
            return self._give(ask, sight, begun)
        return await self._land(ask, load, sight, begun)

    def _behind(self, ask: Ask[T], load: Callable[[], Awaitable[T]], sight: Sight[T]) -> None:
        """Load anew what is due or stale, for nobody in particular."""
        if self.loader.throttle.error(ask.name) is None and self.flights.find(ask.name) is None:
            after = self.clock.monotonic() + sight.left
            self.flights.launch(ask.name, ask.tags, partial(self.loader.fly, ask, load, after=after))
            if sight.state is State.DUE:
                self.counts.early += 1
                self.far.noted("early refresh", ask.label)

    async def _land(
        self,
        ask: Ask[T],
        load: Callable[[], Awaitable[T]],
        spare: Sight[T] | None,
        begun: float,
        *,
        anew: bool = False,
    ) -> T:
        """Wait for a load, of one's own or of somebody else's, as long as the policy says."""
        flight = None if anew else self._joinable(ask)
        joined = flight is not None
        if flight is None:
            known = None if anew else self.loader.throttle.error(ask.name)
            if known is not None and (spare is not None or ask.policy.throttle is not None):
                return await self._instead(ask, spare, known, begun)
            flight = self.flights.launch(ask.name, ask.tags, partial(self.loader.fly, ask, load, anew=anew))
        else:
            self.counts.joined += 1
        settled = spare is not None and spare.settled
        limit = ask.policy.soft_timeout if settled else ask.policy.hard_timeout
        place = flight.board(self.flights.here())
        try:
            if limit is None:
                landing = await place
            else:
                async with asyncio.timeout(limit):
                    landing = await place
        except TimeoutError:
            late = LoadTimeout(ask.label, limit=limit or 0.0)
            return await self._instead(ask, spare if settled else None, late, begun)
        except asyncio.CancelledError:
            self.counts.told(ask, "loader", begun, "cancelled")
            raise
        if landing.error is not None:
            return await self._instead(ask, spare, landing.error, begun)
        if landing.value is None:
            raise asyncio.CancelledError("the load was cancelled from inside")
        if landing.value.codec.schema != ask.codec.schema:
            # Somebody else was loading this key as another type.
            return await self.fetch(ask, load)
        self.counts.told(ask, landing.value.tier, begun, "ok", joined=joined)
        value: T = landing.value.take()
        return value

    def _joinable(self, ask: Ask[Any]) -> Flight[Held[Any]] | None:
        """A load under way that is new enough to wait for."""
        flight = self.flights.find(ask.name)
        if flight is None or self.near.trusted or self.clock.monotonic() < flight.begun + TRUST_SECONDS:
            return flight
        return None

    async def _instead(self, ask: Ask[T], spare: Sight[T] | None, error: Exception, begun: float) -> T:
        """What has ended, where loading it anew failed; what nobody vouches for, as `stale` allows; or the error."""
        if spare is not None and not spare.settled:
            found, away = await self._look(ask)
            spare = found if not away else spare if ask.policy.stale else None
        if spare is None:
            self.counts.told(ask, "loader", begun, "failed")
            raise error
        self.far.note("stale instead of an error", error)
        return self._give(ask, spare, begun)

    def _give(self, ask: Ask[T], sight: Sight[T], begun: float) -> T:
        self.counts.shown(ask, sight, begun)
        return sight.take()
