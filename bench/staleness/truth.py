"""What is true, and what was acknowledged: a file that all processes of one run have in their memory.

Every number is eight bytes at a place of its own, which one process writes at a time: a key's version belongs to
the worker that owns the key, a slot's acknowledgements and counts to the worker in that slot. So nothing is
locked, and a process that is killed or frozen in the middle of anything leaves nothing half done for others.
Moments are of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

WORD = 8
# Where the versions begin.
_FIRST = 2
# Acknowledgements that are remembered of each key and slot. The bound has to be full of them before one is lost.
RING = 128

COUNTS = (
    "steps",
    # by what was done
    "read", "many", "get", "get_many", "peek", "refresh", "cancelled", "write", "write group", "set", "drop",
    "drop_tags", "drop_pattern", "clear", "clear_memory", "delivered",
    # by what came of it
    "values", "loads", "loads failed", "loads slow", "from memory", "from redis", "from loader", "stale shown",
    "errors", "after a set back",
    "drops acknowledged", "drops kept", "sets acknowledged", "sets kept", "excused", "older, within bound",
    "acknowledgements forgotten", "violations",
)  # fmt: skip
_PLACES = {name: place for place, name in enumerate(COUNTS)}
_FOREVER = float("inf")


class Truth:
    """Versions, acknowledgements and counts."""

    def __init__(self, path: Path, *, keys: int, slots: int) -> None:
        self._keys, self._slots = keys, slots
        # The stop word and a moment; versions; rings with a count each; counts; the worst age of each slot.
        self._acks = _FIRST + keys
        self._ring = 1 + 2 * RING
        self._counts = self._acks + slots * keys * self._ring
        self._worst = self._counts + slots * len(COUNTS)
        size = (self._worst + slots) * WORD
        with path.open("a+b") as file:
            file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)
        self._words = memoryview(self._map).cast("Q")
        self._moments = memoryview(self._map).cast("d")

    @property
    def stopped(self) -> bool:
        """Whether everybody is to end."""
        return self._words[0] != 0

    def stop(self) -> None:
        """Let everybody end."""
        self._words[0] = 1

    @property
    def set_back_at(self) -> float:
        """When Redis last came back without what it had acknowledged."""
        return self._moments[1]

    @set_back_at.setter
    def set_back_at(self, moment: float) -> None:
        self._moments[1] = moment

    def version(self, key: int) -> int:
        """The version that is true now."""
        return self._words[_FIRST + key]

    def bump(self, key: int) -> int:
        """Change what is true; only the owner of a key does."""
        version = self._words[_FIRST + key] + 1
        self._words[_FIRST + key] = version
        return version

    def acknowledge(self, slot: int, key: int, version: int, moment: float, *, bound: float) -> None:
        """From this moment on nothing older than this version may be believed for longer than the bound."""
        start = self._acks + (slot * self._keys + key) * self._ring
        count = self._words[start]
        place = start + 1 + 2 * (count % RING)
        if count >= RING and self._moments[place] > moment - 2 * bound:
            self.count(slot, "acknowledgements forgotten")
        # In this order: whoever reads meanwhile sees a moment that has not come yet.
        self._moments[place] = _FOREVER
        self._words[place + 1] = version
        self._moments[place] = moment
        self._words[start] = count + 1

    def age(self, key: int, version: int, moment: float) -> tuple[float, int]:
        """For how long something newer than this version had been acknowledged by then, and which."""
        earliest, newer = moment, version
        words, moments = self._words, self._moments
        for slot in range(self._slots):
            start = self._acks + (slot * self._keys + key) * self._ring
            for place in range(start + 1, start + 1 + 2 * min(words[start], RING), 2):
                found = words[place + 1]
                if found > version:
                    since = moments[place]
                    # Written anew meanwhile: what was there before no longer matters to this reader.
                    if since < earliest and words[place + 1] == found:
                        earliest, newer = since, found
        return moment - earliest, newer

    def count(self, slot: int, name: str, by: int = 1) -> None:
        """Count something in this slot."""
        self._words[self._counts + slot * len(COUNTS) + _PLACES[name]] += by

    def counted(self, name: str) -> int:
        """The count over all slots."""
        place = self._counts + _PLACES[name]
        return sum(self._words[place + slot * len(COUNTS)] for slot in range(self._slots))

    def seen(self, slot: int, age: float) -> None:
        """Remember the worst age that a read has shown."""
        place = self._worst + slot
        self._moments[place] = max(age, self._moments[place])

    @property
    def worst(self) -> float:
        """The worst age of all."""
        return max(self._moments[self._worst + slot] for slot in range(self._slots))
