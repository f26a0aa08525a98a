"""The memory tier: what this process answers by itself, within bounds of entries and bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import msgspec

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

# Drops that are known one by one; what began before the oldest of them counts as dropped, which costs a load.
RECENT_MAX = 4_096

_EVER = float("inf")

# Before the names among the recent drops: no tag begins so.
_NAME = "\0"


class Slot:
    """One entry in memory: a `value` that nobody can change, or a `body` that is decoded for each."""

    __slots__ = (
        "body", "cells", "due", "epoch", "fresh", "index", "name", "newer", "older", "raw", "schema", "seen", "size",
        "spent", "tags", "until", "untrusted_until", "value",
    )  # fmt: skip

    name: str
    tags: tuple[str, ...]
    schema: bytes
    value: Any
    body: bytes | None
    size: int
    # All moments are of the monotonic clock. Until when it answers without a thought:
    until: float
    # the same, where nobody knows what others have dropped;
    untrusted_until: float
    # when to load it anew, before its end; its end; and the end of its being shown as stale.
    due: float
    fresh: float
    spent: float
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


class Times(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The moments of one entry, by the monotonic clock; see Slot."""

    until: float
    untrusted_until: float = _EVER
    due: float = _EVER
    fresh: float = _EVER
    spent: float = 0.0


class Memory:
    """Entries by name, the least useful going first (SIEVE: Zhang et al., NSDI 2024).

    A drop of a tag costs the same whatever carries it: the tag's cell dies, the epoch moves on, and an entry
    from an earlier epoch looks at its cells once when it is next asked for.
    """

    __slots__ = (
        "_bytes", "_bytes_max", "_cells", "_entries_max", "_forgot", "_hand", "_newest", "_now", "_oldest", "_recent",
        "by_name", "epoch", "evicted", "mark", "trusted_until",
    )  # fmt: skip

    def __init__(
        self, now: Callable[[], float], *, entries_max: int = MEMORY_ENTRIES, bytes_max: int = MEMORY_BYTES
    ) -> None:
        self._now = now
        self._entries_max, self._bytes_max = entries_max, bytes_max
        self.by_name: dict[str, Slot] = {}
        # A cell lives as long as an entry or a load depends on it: tags that nobody carries cost nothing.
        self._cells: WeakValueDictionary[str, Cell] = WeakValueDictionary()
        self._newest: Slot | None = None
        self._oldest: Slot | None = None
        self._hand: Slot | None = None
        self._bytes = 0
        self.epoch = 0
        # Until when it is known that nothing was dropped elsewhere; for ever, where there is no elsewhere.
        self.trusted_until = _EVER
        # Counts every drop: whoever reads or loads takes the mark before, and asks afterwards what it missed.
        self.mark = 0
        self._recent: dict[str, int] = {}
        self._forgot = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self.by_name)

    def __contains__(self, name: str) -> bool:
        return name in self.by_name

    @property
    def size_bytes(self) -> int:
        """Bytes in use, as the bound counts them."""
        return self._bytes

    def find(self, name: str) -> Slot | None:
        """The entry of this name, fresh or stale; None where there is none that could be shown."""
        slot = self.by_name.get(name)
        if slot is None:
            return None
        if slot.spent <= self._now() or not self.is_current(slot):
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

    def dropped_since(self, mark: int, name: str, tags: Iterable[str]) -> bool:
        """Whether this name or one of these tags was dropped since the mark; true where that is not known."""
        if mark == self.mark:
            return False
        recent = self._recent
        return (
            mark < self._forgot or recent.get(_NAME + name, 0) > mark or any(recent.get(tag, 0) > mark for tag in tags)
        )

    def put(
        self,
        name: str,
        *,
        schema: bytes,
        value: object,
        body: bytes | None,
        size: int,
        times: Times,
        tags: tuple[str, ...] = (),
        index: dict[object, Slot] | None = None,
        raw: object = None,
    ) -> None:
        """Keep an entry, in place of what has this name; what has ended or is too big is not kept."""
        old = self.by_name.get(name)
        if old is not None:
            self._remove(old)
        whole = size + len(name) + SLOT_BYTES
        too_big = whole > max(self._bytes_max // SHARE_OF_ONE, SLOT_BYTES) or self._entries_max < 1
        if too_big or max(times.until, times.spent) <= self._now():
            return
        while self.by_name and (len(self.by_name) >= self._entries_max or self._bytes + whole > self._bytes_max):
            self._evict()
        slot = Slot()
        slot.name, slot.schema, slot.value, slot.body, slot.size = name, schema, value, body, whole
        slot.until, slot.untrusted_until, slot.due = times.until, times.untrusted_until, times.due
        slot.fresh, slot.spent = times.fresh, max(times.until, times.spent)
        slot.tags, slot.cells = tags, self._cells_of(tags) if tags else ()
        slot.epoch, slot.seen = self.epoch, False
        slot.newer, slot.older = None, self._newest
        if self._newest is not None:
            self._newest.newer = slot
        self._newest = slot
        if self._oldest is None:
            self._oldest = slot
        slot.index = None
        slot.raw = None
        self.by_name[name] = slot
        self._bytes += whole
        if index is not None and raw is not None:
            self.place(slot, index, raw)

    def place(self, slot: Slot, index: dict[object, Slot], raw: object) -> None:
        """Let a function find this entry by its arguments alone."""
        if slot.index is None:
            slot.index, slot.raw = index, raw
            index[raw] = slot

    def drop(self, names: Iterable[str]) -> None:
        """Forget the entries of these names."""
        for name in names:
            self._remember(_NAME + name)
            slot = self.by_name.get(name)
            if slot is not None:
                self._remove(slot)

    def drop_tags(self, tags: Iterable[str]) -> None:
        """Make every entry that carries one of these tags invalid, at once."""
        for tag in tags:
            self._remember(tag)
            cell = self._cells.pop(tag, None)
            if cell is not None:
                cell.alive = False
                self.epoch += 1

    def drop_where(self, matches: Callable[[str], bool]) -> None:
        """Forget the entries whose names match; what is under way counts as dropped, whatever its name."""
        self._sweep()
        for slot in tuple(self.by_name.values()):
            if matches(slot.name):
                self._remove(slot)

    def clear(self) -> None:
        """Forget everything, and what is under way too."""
        self._sweep()
        for slot in tuple(self.by_name.values()):
            self._remove(slot)

    def _remember(self, what: str) -> None:
        self.mark += 1
        recent = self._recent
        recent.pop(what, None)
        recent[what] = self.mark
        if len(recent) > RECENT_MAX:
            oldest = next(iter(recent))
            self._forgot = recent.pop(oldest)

    def _sweep(self) -> None:
        self.mark += 1
        self._forgot = self.mark
        self._recent.clear()

    def _cells_of(self, tags: Iterable[str]) -> tuple[Cell, ...]:
        found = []
        for tag in tags:
            cell = self._cells.get(tag)
            if cell is None:
                cell = self._cells[tag] = Cell()
            found.append(cell)
        return tuple(found)

    def _evict(self) -> None:
        slot = self._hand or self._oldest
        while slot is not None and slot.seen:
            slot.seen = False
            slot = slot.newer or self._oldest
        if slot is not None:
            self.evicted += 1
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
        del self.by_name[slot.name]
        self._bytes -= slot.size
        if slot.index is not None:
            slot.index.pop(slot.raw, None)
            slot.index = None
        # A caller in the middle of a hit may still hold it.
        slot.until = slot.spent = -_EVER
