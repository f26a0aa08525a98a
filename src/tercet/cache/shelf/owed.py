"""Drops that Redis does not know of yet, merged: what they mean does not depend on their order or number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.cache.moments.span import folded
from tercet.cache.shelf.glob import Globs
from tercet.cache.shelf.port import Drop

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tercet.cache.moments.span import Span

# So many names, tags and patterns are kept apart. Past it they become one drop of everything, which says more
# than they do and never less; it costs the cache its content and not the process its memory.
DELIVERIES_MAX = 20_000

# So many moments are kept apart; more of them become one span a store, which asks loads for more and never for less.
MOMENTS_MAX = 1_000


class Owed:
    """A bag of drops: what is put in twice must be taken out twice."""

    __slots__ = ("_everything", "_globs", "_moments", "_names", "_patterns", "_tags", "empty")

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._tags: dict[str, int] = {}
        self._patterns: dict[str, int] = {}
        self._everything = 0
        # Of all drops in it together: a part that is delivered with more moments than its own asks for more.
        self._moments: dict[Span, None] = {}
        self._globs = Globs(())
        # Whether there is nothing in it: every read asks that.
        self.empty = True

    def __len__(self) -> int:
        return len(self._names) + len(self._tags) + len(self._patterns) + bool(self._everything)

    def add(self, drop: Drop) -> None:
        """Put one in."""
        _count(self._names, drop.names, 1)
        _count(self._tags, drop.tags, 1)
        _count(self._patterns, drop.patterns, 1)
        self._everything += drop.everything
        if drop.moments:
            self._remember(drop.moments)
        if drop.patterns:
            self._globs = Globs(self._patterns)
        self.empty = len(self) == 0

    def remove(self, drop: Drop) -> None:
        """Take one out again."""
        _count(self._names, drop.names, -1)
        _count(self._tags, drop.tags, -1)
        _count(self._patterns, drop.patterns, -1)
        self._everything -= drop.everything
        if drop.patterns:
            self._globs = Globs(self._patterns)
        self._settled()

    def take(self, other: Owed) -> None:
        """Put in all that another one holds, and leave that empty."""
        for part in other.parts():
            self.add(part)
        other.clear()

    def settle(self, part: Drop) -> None:
        """Take out all that a part of this one was about, however often it was put in."""
        if part.everything:
            self.clear()
            return
        for counts, texts in ((self._names, part.names), (self._tags, part.tags), (self._patterns, part.patterns)):
            for text in texts:
                counts.pop(text, None)
        self._globs = Globs(self._patterns)
        self._settled()

    def bound(self) -> None:
        """Make it one drop of everything where it holds more than is kept apart."""
        if len(self) > DELIVERIES_MAX:
            moments = tuple(self._moments)
            self.clear()
            self.add(Drop(everything=True, moments=moments))

    def clear(self) -> None:
        """Empty it."""
        self._names, self._tags, self._patterns = {}, {}, {}
        self._everything = 0
        self._moments = {}
        self._globs = Globs(())
        self.empty = True

    def parts(self) -> Iterator[Drop]:
        """All there is as drops that can be delivered one without the other; one alone where it is everything."""
        moments = tuple(self._moments)
        if self._everything:
            yield Drop(everything=True, moments=moments)
            return
        # Moments are of tags; what has none is delivered without them, or they would be those of all tags.
        if self._names:
            yield Drop(names=tuple(self._names), tags=() if moments else tuple(self._tags))
        if self._tags and (moments or not self._names):
            yield Drop(tags=tuple(self._tags), moments=moments)
        if self._patterns:
            yield Drop(patterns=tuple(self._patterns))

    def _remember(self, moments: Iterable[Span]) -> None:
        self._moments.update(dict.fromkeys(moments))
        if len(self._moments) > MOMENTS_MAX:
            self._moments = dict.fromkeys(folded(self._moments))

    def _settled(self) -> None:
        self.empty = len(self) == 0
        if not self._tags and not self._everything:
            self._moments = {}

    def covers(self, name: str, tags: Iterable[str], full: str = "") -> bool:
        """Whether one of them is about this entry."""
        return (
            self._everything > 0
            or name in self._names
            or (bool(self._tags) and not self._tags.keys().isdisjoint(tags))
            or (bool(self._patterns) and self._globs.match(name, full))
        )


def _count(counts: dict[str, int], texts: Iterable[str], by: int) -> None:
    for text in texts:
        left = counts.get(text, 0) + by
        if left > 0:
            counts[text] = left
        else:
            counts.pop(text, None)
