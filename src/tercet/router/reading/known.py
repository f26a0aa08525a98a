"""What was last read of sources that may show it when their store does not answer: bounded, in this process."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.clock import Clock
    from tercet.router.key import Key
    from tercet.router.plan import Source

# Beyond it what was not read for longest is forgotten. Some 10 MB of small values.
KNOWN_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Kept:
    """The values of a source's fields, and how many seconds ago they were read."""

    values: Mapping[str, object]
    age: float


class LastKnown:
    """Keeps the last values of sources that are declared with `stale=…`, and of no others."""

    __slots__ = ("_clock", "_kept")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[Source, Key], tuple[float, Mapping[str, object]]] = OrderedDict()

    def keep(self, source: Source, key: Key, values: Mapping[str, object]) -> None:
        """These were read just now."""
        if source.stale is None:
            return
        self._kept[source, key] = (self._clock.monotonic(), values)
        self._kept.move_to_end((source, key))
        if len(self._kept) > KNOWN_MAX:
            self._kept.popitem(last=False)

    def forget(self, source: Source, key: Key) -> None:
        """There is nothing any more."""
        if source.stale is not None:
            self._kept.pop((source, key), None)

    def recall(self, source: Source, key: Key) -> Kept | None:
        """What was last read, unless it is older than was declared."""
        if source.stale is None or (found := self._kept.get((source, key))) is None:
            return None
        age = self._clock.monotonic() - found[0]
        return Kept(found[1], age) if age <= source.stale else None
