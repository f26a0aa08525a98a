"""The memory tier: what this process answers by itself, within bounds of entries and bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from tercet.cache.encoding.tags import Cell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# A process that serves a small site knows all of its hot keys with this many; where values are not tiny, the
# bound of bytes comes first.
MEMORY_ENTRIES = 100_000

# Encoded values with their bookkeeping. Decoded objects are three to ten times as big as encoded ones, so
# this is some hundreds of MB at worst.
MEMORY_BYTES = 64 << 20

# What an entry costs beside its value and its name, measured: the slot, two dict entries, a tag of its own.
SLOT_BYTES = 700

# One value may take an eighth of the whole: a bigger one would sweep out a lot to be swept out itself.
SHARE_OF_ONE = 8


class Slot:
    """One entry in memory: a `value` that nobody can change, or a `body` that is decoded for each."""

    __slots__ = (
        "body", "cells", "epoch", "index", "name", "newer", "older", "raw", "schema", "seen", "size", "tags",
        "until", "untrusted_until", "value",
    )  # fmt: skip

    name: str
    tags: tuple[str, ...]
    schema: bytes
    value: Any
    body: bytes | None
    size: int
    # By the monotonic clock.
    until: float
    # Until when it answers though what was dropped elsewhere may not have been heard.
    untrusted_until: float
    # The memory's epoch at which the cells were last seen alive.
    epoch: int
    cells: tuple[Cell, ...]
    # SIEVE's mark: looked at since the hand came by.
    seen: bool
    # Where a function finds it by its arguments alone.
    index: dict[object, Slot] | None
    raw: object
    newer: Slot | None
    older: Slot | None


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a function finds an entry by its arguments: its index, and the arguments with their types."""

    index: dict[object, Slot]
    raw: object


class Memory:
    """Entries by name, the least useful going first (SIEVE: Zhang et al., NSDI 2024).

    A drop of a tag costs the same whatever carries it: the tag's cell dies, the epoch moves on, and an entry
    from an earlier epoch looks at its cells once when it is next asked for.
    """

    __slots__ = (
        "_bytes", "_bytes_max", "_cells", "_entries_max", "_hand", "_newest", "_now", "_oldest", "_slots",
        "drops", "epoch", "trusted_until",
    )  # fmt: skip

    def __init__(
        self, now: Callable[[], float], *, entries_max: int = MEMORY_ENTRIES, bytes_max: int = MEMORY_BYTES
    ) -> None:
        self._now = now
        self._entries_max, self._bytes_max = entries_max, bytes_max
        self._slots: dict[str, Slot] = {}
        # A cell lives as long as an entry or a load depends on it: tags that nobody carries cost nothing.
        self._cells: WeakValueDictionary[str, Cell] = WeakValueDictionary()
        self._newest: Slot | None = None
        self._oldest: Slot | None = None
        self._hand: Slot | None = None
        self._bytes = 0
        self.epoch = 0
        # Until when it is sure to have heard of everything that was dropped elsewhere.
        self.trusted_until = float("inf")
        # Counts every drop of a key or tag: who reads without a flight keeps nothing when it moved meanwhile.
        self.drops = 0

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def size_bytes(self) -> int:
        """Bytes in use, as the bound counts them."""
        return self._bytes

    def find(self, name: str) -> Slot | None:
        """The entry of this name, if it is valid now."""
        slot = self._slots.get(name)
        if slot is None:
            return None
        if slot.until <= self._now() or not self.is_current(slot):
            self._remove(slot)
            return None
        slot.seen = True
        return slot

    def is_current(self, slot: Slot) -> bool:
        """Whether nothing that the entry depends on was dropped here."""
        if slot.epoch != self.epoch:
            if not all(cell.alive for cell in slot.cells):
                return False
            slot.epoch = self.epoch
        return True

    def cells(self, tags: Iterable[str]) -> tuple[Cell, ...]:
        """The living cells of these tags; take them before the first look at what depends on them."""
        found = []
        for tag in tags:
            cell = self._cells.get(tag)
            if cell is None:
                cell = self._cells[tag] = Cell()
            found.append(cell)
        return tuple(found)

    def put(
        self,
        name: str,
        *,
        schema: bytes,
        value: object,
        body: bytes | None,
        size: int,
        until: float,
        tags: tuple[str, ...] = (),
        cells: tuple[Cell, ...] = (),
        spot: Spot | None = None,
    ) -> None:
        """Keep an entry, in place of what has this name; what is dead or too big already is not kept."""
        old = self._slots.get(name)
        if old is not None:
            self._remove(old)
        whole = size + len(name) + SLOT_BYTES
        too_big = whole > max(self._bytes_max // SHARE_OF_ONE, SLOT_BYTES) or self._entries_max < 1
        if too_big or until <= self._now() or not all(cell.alive for cell in cells):
            return
        while self._slots and (len(self._slots) >= self._entries_max or self._bytes + whole > self._bytes_max):
            self._evict()
        slot = Slot()
        slot.name, slot.schema, slot.value, slot.body, slot.size = name, schema, value, body, whole
        slot.until, slot.epoch, slot.seen = until, self.epoch, False
        slot.untrusted_until = float("inf")
        slot.tags, slot.cells = tags, cells
        slot.newer, slot.older = None, self._newest
        if self._newest is not None:
            self._newest.newer = slot
        self._newest = slot
        if self._oldest is None:
            self._oldest = slot
        slot.index = None
        slot.raw = None
        self._slots[name] = slot
        self._bytes += whole
        if spot is not None:
            self.place(slot, spot)

    def place(self, slot: Slot, spot: Spot) -> None:
        """Let a function find this entry by its arguments alone."""
        if slot.index is None:
            slot.index, slot.raw = spot.index, spot.raw
            spot.index[spot.raw] = slot

    def drop(self, names: Iterable[str]) -> None:
        """Forget the entries of these names."""
        self.drops += 1
        for name in names:
            slot = self._slots.get(name)
            if slot is not None:
                self._remove(slot)

    def drop_tags(self, tags: Iterable[str]) -> None:
        """Make every entry and every load that carries one of these tags invalid, at once."""
        self.drops += 1
        for tag in tags:
            cell = self._cells.pop(tag, None)
            if cell is not None:
                cell.alive = False
                self.epoch += 1

    def clear(self) -> None:
        """Forget everything."""
        for slot in tuple(self._slots.values()):
            self._remove(slot)

    def _evict(self) -> None:
        slot = self._hand or self._oldest
        while slot is not None and slot.seen:
            slot.seen = False
            slot = slot.newer or self._oldest
        if slot is not None:
            self._hand = slot.newer
            self._remove(slot)

    def _remove(self, slot: Slot) -> None:
        if self._hand is slot:
            self._hand = slot.newer
        if slot.newer is not None:
            slot.newer.older = slot.older
        else:
            self._newest = slot.older
        if slot.older is not None:
            slot.older.newer = slot.newer
        else:
            self._oldest = slot.newer
        slot.newer = slot.older = None
        del self._slots[slot.name]
        self._bytes -= slot.size
        if slot.index is not None:
            slot.index.pop(slot.raw, None)
            slot.index = None
        # A caller in the middle of a hit may still hold it.
        slot.until = float("-inf")
