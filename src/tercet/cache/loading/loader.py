"""A flight's work: leave to load, the load itself, and what is kept of it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from msgspec.structs import replace

from tercet.cache.encoding.codec import Undecodable
from tercet.cache.entry import THROTTLE_SECONDS, Ask, Held, Sight
from tercet.cache.loading.doubt import Doubt
from tercet.cache.loading.flight import Throttle, duplicate
from tercet.cache.shelf import LEASE_SECONDS
from tercet.cache.state import State, draw
from tercet.errors import StoreError, Uncacheable
from tercet.witness import Witness, current, watched

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tercet.cache.far import Far
    from tercet.cache.loading.flight import Flight
    from tercet.cache.near import Near
    from tercet.cache.shelf import Grant
    from tercet.cache.stats import Counts
    from tercet.clock import Clock

T = TypeVar("T")

# Misses of one call that come within this are loaded together: the answers to commands of one tick come
# within some hundred microseconds.
GATHER_SECONDS = 0.001

# Loads that one call for many runs at once where the loader takes them one by one: as many as a pool has
# connections, or they would only wait there, and hold others up.
LOADS_AT_ONCE = 16

# An entry that ends later than another by more than this is a newer one; by less, it may be the same one, seen
# by another clock.
NEWER_SECONDS = 0.01

# A load that began while a commit was perhaps not to be seen yet is joined for so long: visibility follows within
# milliseconds, and whoever asks after that is to see it.
DOUBT_SECONDS = 0.1

_log = logging.getLogger("tercet.cache")


class Loader:
    """Loads what is missing, once for all processes, and keeps it where nothing was dropped meanwhile."""

    def __init__(self, near: Near, far: Far, counts: Counts, clock: Clock) -> None:
        self._near, self._far, self._counts = near, far, counts
        self._now = clock.monotonic
        self.throttle = Throttle(clock.monotonic)

    async def fly(
        self,
        ask: Ask[T],
        load: Callable[[], Awaitable[T]],
        flight: Flight[Held[Any]],
        *,
        anew: bool = False,
        after: float = float("-inf"),
    ) -> Held[T]:
        """The value: as another process has just filled it, or as the loader makes it.

        `anew` loads it whatever is there; `after` is the end of an entry that is to be replaced by a newer one.
        """
        found, grant = await self._allowed(ask, flight, anew=anew, after=after)
        if found is not None:
            return found
        begun = self._now()
        doubt = self._doubt(ask, grant, flight)
        value = await self._loaded(ask, grant, load if doubt is None else doubt.watching(load))
        took = self._now() - begun
        try:
            body = ask.codec.encode(value, of=ask.label, key=ask.full or ask.name)
            new = Sight("loader", ask.codec, ask.codec.decode(body), body, State.FRESH)
        except (Uncacheable, Undecodable) as error:
            await self._far.give_back(ask, grant)
            if ask.codec.loose and isinstance(error, Uncacheable):
                raise
            # The loader's work is paid for, and its value is what an undecorated call would have returned.
            _log.warning("%s did not return what it declares (%s): handed on, not cached", ask.label, error)
            self._far.note("encode", error)
            return Held("loader", ask.codec, value, None)
        if doubt is not None and not doubt.settled():
            await self._refuse(ask, grant)
        else:
            await self._keep(ask, new, body, grant, flight, begun=begun, took=took, tell=anew)
        return new.held()

    def _doubt(self, ask: Ask[Any], grant: Grant | None, flight: Flight[Held[Any]]) -> Doubt | None:
        """What this load must be seen to have seen; None mostly, where nothing was told of its tags lately."""
        recent = self._near.recent
        if grant is None or not grant.records:
            records = recent.of(ask.tags)
        else:
            # Of a tag of which Redis knows nothing, it may have thrown that away.
            records = tuple(one for tag in (*ask.tags, "") for one in grant.records.get(tag) or recent.alone(tag))
        if not records:
            return None
        if not all(one.settled for one in records):
            flight.joined_until = self._now() + DOUBT_SECONDS
        return Doubt(records)

    async def _refuse(self, ask: Ask[Any], grant: Grant | None) -> None:
        """Keep nothing: the load may have been too early to see what its tags were dropped for."""
        await self._far.give_back(ask, grant)
        self._counts.late += 1
        self._far.noted("late fill refused", ask.label)

    async def _allowed(
        self, ask: Ask[T], flight: Flight[Held[Any]], *, anew: bool, after: float
    ) -> tuple[Held[T] | None, Grant | None]:
        """Leave to load; or what another process has filled meanwhile, which is waited for."""
        instead = None
        try:
            while True:
                at = self._now()
                grant = await self._far.lease(ask, anew=anew, instead=instead)
                if grant is None or grant.token is not None:
                    return None, grant
                if grant.frame is not None:
                    sight = await self._far.open(ask, grant.frame, grant.versions)
                    if sight is not None and _is_newer(sight, at, after):
                        return self._kept(ask, sight, flight, at), None
                    # Stale, or due, or of another type: a newer one is wanted.
                    instead = grant.frame
                    continue
                await self._far.wait(ask, grant)
                at = self._now()
                sight = await self._far.read(ask)
                if sight is not None and _is_newer(sight, at, after):
                    return self._kept(ask, sight, flight, at), None
        except StoreError as error:
            self._far.note("lease", error)
            return None, None

    def _kept(self, ask: Ask[T], sight: Sight[T], flight: Flight[Held[Any]], at: float) -> Held[T]:
        if flight.is_fresh():
            self._near.keep(ask, sight, at=at)
        return sight.held()

    async def _loaded(self, ask: Ask[T], grant: Grant | None, load: Callable[[], Awaitable[T]]) -> T:
        """The loader's value; the lease is renewed while it is made, and given back when it fails."""
        renewal = None if grant is None or grant.token is None else _Renewal(self._far, ask, grant.token)
        try:
            value = await load()
        except BaseException as error:
            if isinstance(error, Exception):
                self._counts.failed += 1
                wait = ask.policy.throttle
                self.throttle.failed(ask.name, error, THROTTLE_SECONDS if wait is None else wait)
            await self._far.give_back(ask, grant)
            raise
        finally:
            if renewal is not None:
                renewal.end()
        self._counts.loads += 1
        self.throttle.forget(ask.name)
        return value

    async def _keep(
        self,
        ask: Ask[T],
        new: Sight[T],
        body: bytes,
        grant: Grant | None,
        flight: Flight[Held[Any]],
        *,
        begun: float,
        took: float,
        tell: bool,
    ) -> None:
        """Keep what was loaded, unless something it depends on was dropped, here or elsewhere."""
        lifetime = ask.policy.lifetime(draw(), negative=new.value is None)
        # Nobody has confirmed it: it is as old as the beginning of its load.
        at, fresh = begun, True
        if grant is not None:
            try:
                at = self._now()
                fresh = await self._far.fill(ask, body, grant, lifetime=lifetime, took=took, tell=tell)
            except StoreError as error:
                self._far.note("fill", error)
                at = begun
        if not fresh or not flight.is_fresh():
            self._counts.late += 1
            self._far.noted("late fill refused", ask.label)
            return
        kept = replace(new, tags=ask.tags, size=len(body), left=lifetime, grace=ask.policy.stale, load_seconds=took)
        self._near.keep(ask, kept, at=at)


def _is_newer(sight: Sight[Any], at: float, after: float) -> bool:
    return sight.state is not State.STALE and at + sight.left > after + NEWER_SECONDS


class _Renewal:
    """Holds on to a lease at a third of its time, until the load has ended."""

    __slots__ = ("_ask", "_far", "_handle", "_loop", "_task", "_token")

    def __init__(self, far: Far, ask: Ask[Any], token: bytes) -> None:
        self._far, self._ask, self._token = far, ask, token
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._handle = self._loop.call_later(LEASE_SECONDS / 3, self._begin)

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._renew())

    async def _renew(self) -> None:
        if await self._far.renew(self._ask, self._token):
            self._handle = self._loop.call_later(LEASE_SECONDS / 3, self._begin)

    def end(self) -> None:
        """Let go of it."""
        self._handle.cancel()
        if self._task is not None:
            self._task.cancel()


class Bulk(Generic[T]):
    """The misses of one call: loaded together where the loader can, and some at a time where it cannot."""

    def __init__(
        self,
        load_one: Callable[[int], Awaitable[T]],
        load_many: Callable[[Sequence[int]], Awaitable[Mapping[int, T]]] | None,
    ) -> None:
        self._load_one, self._load_many = load_one, load_many
        self._gate = asyncio.Semaphore(LOADS_AT_ONCE)
        self._wanted: dict[int, asyncio.Future[Mapping[int, T]]] = {}
        # Who watches the loads for which they are wanted.
        self._watching: list[Witness] = []
        # The loop itself keeps tasks only weakly.
        self._tasks: set[asyncio.Task[None]] = set()

    async def want(self, number: int) -> T:
        """The value of this number, loaded with those of the others that are wanted now, or else by itself."""
        if self._load_many is not None:
            loop = asyncio.get_running_loop()
            if not self._wanted:
                loop.call_later(GATHER_SECONDS, self._fire, loop)
            place: asyncio.Future[Mapping[int, T]] = loop.create_future()
            self._wanted[number] = place
            witness = current()
            if witness is not None:
                self._watching.append(witness)
            found = await place
            if number in found:
                return found[number]
        async with self._gate:
            return await self._load_one(number)

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        wanted, self._wanted = self._wanted, {}
        watching, self._watching = self._watching, []
        task = loop.create_task(self._bring(wanted, watching))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bring(self, wanted: dict[int, asyncio.Future[Mapping[int, T]]], watching: Sequence[Witness]) -> None:
        witness = Witness()
        try:
            # One for all: this task has begun in one of those that wait, and only its witness would be told.
            with watched(witness) if watching else nullcontext():
                found = await self._load_many(tuple(wanted)) if self._load_many is not None else {}
        except Exception as error:  # noqa: BLE001 - whatever it is, it goes to all who wait
            for number, place in enumerate(wanted.values()):
                if not place.done():
                    place.set_exception(duplicate(error) if number else error)
            return
        except BaseException:
            for place in wanted.values():
                place.cancel()
            raise
        for one in watching:
            one.join(witness)
        for place in wanted.values():
            if not place.done():
                place.set_result(found)
