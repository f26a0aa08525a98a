"""The way of most hits in Redis: one question, one look at the answer, and nothing else to be asked."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, overload

from tercet.cache.encoding.frame import unpack
from tercet.cache.entry import Ask, Sight
from tercet.cache.state import EARLY_MOST, State
from tercet.errors import StoreError, StoreMissing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tercet.cache.shelf import Versions
    from tercet.cache.tiers import Tiers

T = TypeVar("T")

_NO_VERSIONS: Versions = {}


class Outcome(Enum):
    """Why there is no value: Redis has none, does not answer, or has one that the long way must look at."""

    LACKING = "lacking"
    AWAY = "away"
    UNSURE = "unsure"


_LACKING, _AWAY, _UNSURE = Outcome.LACKING, Outcome.AWAY, Outcome.UNSURE


class Straight:
    """Reads of entries of which nothing is in memory or under way, while no drop is owed; the rest is the tiers'.

    The long way answers the same and asks for more. This one is what a hit in Redis costs, so it is written in
    few calls, and there is no coroutine between a caller and the wire but this.
    """

    def __init__(self, tiers: Tiers) -> None:
        self._tiers, self._far, self._near, self._counts = tiers, tiers.far, tiers.near, tiers.counts
        self._memory, self._telemetry = tiers.memory, tiers.telemetry
        self._here, self._under_way = tiers.memory.by_name, tiers.flights.under_way
        self._now, self._wall = tiers.clock.monotonic, tiers.clock.timestamp

    @overload
    async def fetch(self, ask: Ask[T], load: Callable[[], Awaitable[T]]) -> T: ...

    @overload
    async def fetch(self, ask: Ask[T], load: None = None) -> T | None: ...

    async def fetch(self, ask: Ask[T], load: Callable[[], Awaitable[T]] | None = None) -> T | None:
        """The value as Tiers.fetch gives it; without a loader, None where there is none."""
        tiers, tags, begun = self._tiers, ask.tags, self._now()
        if tiers.is_new(begun):
            await tiers.enter()
        found, shelf, delivery, versions = _UNSURE, self._far.shelf, self._far.delivery, _NO_VERSIONS
        if (
            shelf is not None
            and delivery is not None
            and delivery.quiet
            and ask.name not in self._here
            and ask.name not in self._under_way
        ):
            mark = self._memory.mark
            try:
                if tags:
                    (frame,), versions = await shelf.read((ask.name,), tags)
                else:
                    frame = await shelf.read_one(ask.name)
            except StoreMissing:
                # The long way draws the conclusion.
                pass
            except StoreError as error:
                self._far.note("read", error)
                found = _AWAY
            else:
                value = self._taken(ask, frame, versions, mark, begun)
                if not isinstance(value, Outcome):
                    return value
                found = value
        if load is not None:
            return await tiers.fetch(ask, load, outcome=found)
        sight = await tiers.look(ask) if found is _UNSURE else None
        return None if sight is None else sight.take()

    async def fetch_many(
        self,
        asks: Sequence[Ask[T]],
        load_one: Callable[[int], Awaitable[T]],
        load_many: Callable[[Sequence[int]], Awaitable[Mapping[int, T]]] | None = None,
    ) -> list[T]:
        """The values in the order asked; Redis is asked once for all, and only what is missing is loaded."""
        found = await self._read_many(asks)
        if Outcome not in set(map(type, found)):
            return found
        return await self._tiers.fetch_many(asks, found, load_one, load_many)

    async def find_many(self, asks: Sequence[Ask[Any]]) -> list[Any]:
        """The same without loading; an Outcome where there is none."""
        found = await self._read_many(asks)
        if Outcome in set(map(type, found)):
            await self._tiers.find_many(asks, found)
        return found

    async def _read_many(self, asks: Sequence[Ask[Any]]) -> list[Any]:
        """The values of these, and an Outcome where there is none; Redis is asked once."""
        tiers, begun, mark = self._tiers, self._now(), self._memory.mark
        if tiers.is_new(begun):
            await tiers.enter()
        found: list[Any] = [_UNSURE] * len(asks)
        shelf, delivery, here, under_way = self._far.shelf, self._far.delivery, self._here, self._under_way
        if shelf is None or delivery is None or not delivery.quiet:
            return found
        wanted = [place for place, ask in enumerate(asks) if ask.name not in here and ask.name not in under_way]
        names = [asks[place].name for place in wanted]
        tags = tuple(dict.fromkeys([tag for place in wanted for tag in asks[place].tags]))
        try:
            frames, versions = await shelf.read(names, tags)
        except StoreMissing:
            return found
        except StoreError as error:
            self._far.note("read", error)
            return [_AWAY] * len(asks)
        taken = self._taken
        for place, frame in zip(wanted, frames, strict=True):
            found[place] = taken(asks[place], frame, versions, mark, begun)
        return found

    def _taken(self, ask: Ask[T], frame: bytes | None, versions: Versions, mark: int, begun: float) -> T | Outcome:
        """The value in a frame that was read, which is kept in memory; or why the frame does not answer."""
        entry, codec, tags, policy = None if frame is None else unpack(frame), ask.codec, ask.tags, ask.policy
        if entry is None:
            return _LACKING if frame is None else _UNSURE
        readable = entry.schema == codec.schema or codec.reads(entry.schema)
        if not readable or entry.key != ask.full or entry.tags != tags:
            return _UNSURE
        # A new connection may lead to a server that has lost our drops, so it is asked again whether any is owed.
        delivery = self._far.delivery
        if delivery is None or not delivery.quiet or (tags and not entry.is_current(versions)):
            return _UNSURE
        left, took, body = entry.fresh_ms / 1000 - self._wall(), entry.load_seconds, entry.body
        if left <= 0.0 or left <= EARLY_MOST * policy.early * took:
            return _UNSURE
        try:
            value = codec.copy(body) if codec.unsigned else codec.decode(body, key=ask.full or ask.name)
        except Exception:  # noqa: BLE001 - bytes of another shape, or signed by somebody else: the long way says so
            return _UNSURE
        if policy.memory > 0.0 and not self._memory.dropped_since(mark, ask.name, tags):
            grace = (entry.spent_ms - entry.fresh_ms) / 1000
            sight = Sight("redis", codec, value, body, State.FRESH, True, tags, len(body), left, grace, took, True)
            self._near.keep(ask, sight, at=begun)
        self._counts.redis += 1
        if self._telemetry.heard:
            self._counts.told(ask, "redis", begun, "ok")
        return value
