"""The way of most hits in Redis: one question, one look at the answer, and nothing else to be asked."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from tercet.cache.encoding.codec import Undecodable
from tercet.cache.encoding.frame import unpack
from tercet.cache.entry import Ask, Sight
from tercet.cache.state import EARLY_MOST, State
from tercet.errors import StoreError, StoreMissing

if TYPE_CHECKING:
    from tercet.cache.far import Far
    from tercet.cache.loading.flight import Flights
    from tercet.cache.near import Near
    from tercet.cache.stats import Counts
    from tercet.clock import Clock

T = TypeVar("T")


class Outcome(Enum):
    """Why there is no value: Redis has none, does not answer, or has one that the long way must look at."""

    LACKING = "lacking"
    AWAY = "away"
    UNSURE = "unsure"


class Straight:
    """Reads of entries without tags, of which nothing is in memory or under way, while no drop is owed.

    The long way answers the same and asks for more; this spares a hit some third of the work.
    """

    def __init__(self, near: Near, far: Far, flights: Flights[Any], counts: Counts, clock: Clock) -> None:
        self._near, self._far, self._flights, self._counts = near, far, flights, counts
        self._memory = near.memory
        self._wall = clock.timestamp

    def may(self, ask: Ask[Any]) -> bool:
        """Whether this entry can be asked for in this way."""
        far = self._far
        return not (
            ask.tags
            or ask.name in self._memory
            or far.shelf is None
            or far.owes
            or self._flights.find(ask.name) is not None
        )

    async def read(self, ask: Ask[T], at: float) -> T | Outcome:
        """The value, which is kept in memory; or why there is none."""
        shelf, mark = self._far.shelf, self._memory.mark
        if shelf is None:
            return Outcome.AWAY
        try:
            frame = await shelf.read_one(ask.name)
        except StoreMissing:
            # The long way draws the conclusion.
            return Outcome.UNSURE
        except StoreError as error:
            self._far.note("read", error)
            return Outcome.AWAY
        if frame is None:
            return Outcome.LACKING
        taken = self._taken(ask, frame, mark, at)
        return taken  # noqa: RET504 - a checker would look for the type of both in one line

    def _taken(self, ask: Ask[T], frame: bytes, mark: int, at: float) -> T | Outcome:
        entry, codec = unpack(frame), ask.codec
        # A new connection may lead to a server that has lost our drops, so it is asked again whether any is owed.
        if entry is None or entry.tags or entry.schema != codec.schema or entry.key != ask.full or self._far.owes:
            return Outcome.UNSURE
        left, took = entry.fresh_ms / 1000 - self._wall(), entry.load_seconds
        if left <= EARLY_MOST * ask.policy.early * took or left <= 0.0:
            return Outcome.UNSURE
        body = entry.body
        try:
            value = codec.decode(body, key=ask.full or ask.name)
        except Undecodable:
            return Outcome.UNSURE
        if ask.policy.memory > 0.0 and not self._memory.dropped_since(mark, ask.name, ()):
            grace = (entry.spent_ms - entry.fresh_ms) / 1000
            sight = Sight("redis", codec, value, body, State.FRESH, True, (), len(body), left, grace, took, True)
            self._near.keep(ask, sight, at=at)
        self._counts.redis += 1
        self._counts.told(ask, "redis", at, "ok")
        return value
