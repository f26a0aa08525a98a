"""What this process was told of commits: for which tags, which of them whole, and that their relays are there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tercet.cache.moments.span import WINDOW_SECONDS, Record, Span, settled, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tercet.cache.shelf.port import Drop

# Tags whose moments are known one by one; past it, those of all tags are taken as one, which refuses more fills
# for a minute and never keeps what is old.
TAGS_MAX = 10_000

# Commits that were told whole, of which somebody may still ask; who asks later waits for nothing, as long as he said.
TOLD_MAX = 20_000

# A relay says every second that it is there. Three of these may be late before it counts as silent.
RELAY_SILENCE_SECONDS = 3.0

_EVER = float("inf")


class Recent:
    """Moments by tag, for as long as a load may not see them; in one process, by its own clock."""

    __slots__ = ("_every", "_now", "_relays", "_tags", "_told", "_waiting", "lags")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        # In the order in which they were last told: the first is the first to be forgotten.
        self._tags: dict[str, list[Record]] = {}
        # What holds for every tag.
        self._every: list[Record] = []
        # The commits told whole, with the tags that were dropped for them; None where these are not known.
        self._told: dict[Span, tuple[str, ...] | None] = {}
        self._waiting: dict[Span, set[asyncio.Future[None]]] = {}
        # When each relay that is followed here was last heard.
        self._relays: dict[str, float] = {}
        self.lags: dict[str, float] = {}

    def hear(self, drop: Drop) -> None:
        """Remember what a drop says of commits."""
        if drop.moments:
            self._remember(drop)
        for span in drop.told:
            self._told.pop(span, None)
            self._told[span] = drop.tags or None
            for place in self._waiting.get(span, ()):
                if not place.done():
                    place.set_result(None)
        while len(self._told) > TOLD_MAX:
            del self._told[next(iter(self._told))]
        if drop.beat is not None:
            self.lags[drop.beat.name] = drop.beat.lag_seconds
            if drop.beat.name in self._relays:
                self._relays[drop.beat.name] = self._now()

    def of(self, tags: Sequence[str]) -> tuple[Record, ...]:
        """What these tags were dropped for lately."""
        if not self._tags and not self._every:
            return ()
        return tuple(one for tag in (*tags, "") for one in self.alone(tag)) if tags else ()

    def alone(self, tag: str) -> tuple[Record, ...]:
        """The same of one tag without what holds for all, and that under the empty name."""
        held = self._tags.get(tag) if tag else self._every
        if not held:
            return ()
        after = int((self._now() - WINDOW_SECONDS) * 1000)
        return tuple(one for one in held if one.told_ms > after)

    def settle(self, tags: Iterable[str], source: bytes, through: int, spans: Sequence[Span]) -> None:
        """The store shows all up to there, and these spans."""
        for tag in tags:
            if tag in self._tags:
                self._tags[tag] = settled(self._tags[tag], source, through, spans)
        self._every = settled(self._every, source, through, spans)

    async def whole(self, span: Span, within: float) -> bool:
        """Return once a commit was told whole; False when that was not in so many seconds."""
        if span in self._told:
            return True
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(span, set())
        waiting.add(place)
        try:
            await asyncio.wait([place], timeout=within)
        finally:
            waiting.discard(place)
            if not waiting:
                self._waiting.pop(span, None)
        return place.done()

    def tags_of(self, span: Span) -> tuple[str, ...] | None:
        """The tags that were dropped for a commit, or None where they are not known."""
        return self._told.get(span)

    # ---- relays

    def expect(self, name: str) -> None:
        """From now on this relay is to be heard."""
        self._relays[name] = self._now()

    def forget(self, name: str) -> None:
        """It is no longer followed here."""
        self._relays.pop(name, None)
        self.lags.pop(name, None)

    @property
    def until(self) -> float:
        """Until when all relays that are followed here count as heard."""
        return min(self._relays.values()) + RELAY_SILENCE_SECONDS if self._relays else _EVER

    @property
    def silent(self) -> tuple[str, ...]:
        """Those that do not, now."""
        since = self._now() - RELAY_SILENCE_SECONDS
        return tuple(name for name, heard in self._relays.items() if heard <= since)

    def _remember(self, drop: Drop) -> None:
        now = int(self._now() * 1000)
        if drop.everything or drop.patterns or drop.names:
            self._every = told(self._every, drop.moments, now)
        for tag in drop.tags:
            self._tags[tag] = told(self._tags.pop(tag, ()), drop.moments, now)
        after = now - int(WINDOW_SECONDS * 1000)
        while self._tags:
            oldest = next(iter(self._tags))
            if self._tags[oldest][-1].told_ms > after:
                break
            del self._tags[oldest]
        if len(self._tags) > TAGS_MAX:
            everything, self._tags = self._tags, {}
            for records in everything.values():
                self._every = told(self._every, [Span(one.source, one.first, one.last) for one in records], now)
