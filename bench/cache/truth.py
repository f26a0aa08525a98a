"""The truth that caches are compared with: versions in memory that processes share, what was seen, and the check.

A write takes the next version of a key and then drops the key in the cache; when the drop is acknowledged, its
version and the moment are noted. A read notes the moment before it was asked and the version that came. A read is
wrong when a newer version had been acknowledged longer before it than the bound. Clocks are time.monotonic, which is
one clock for all processes of a Linux machine.
"""

from __future__ import annotations

import fcntl
import mmap
import struct
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_WORD = struct.Struct("<q")

# What happened (read, acknowledged), to which key, with which version, when.
_EVENT = struct.Struct("<cxxxiqd")
READ, ACKNOWLEDGED = b"r", b"a"

# Events that a process keeps before it writes them. A killed one loses them: fewer reads checked, none checked wrongly.
_EVENTS_KEPT = 256


class Register:
    """The version of each key and the number of steps of each process, in a file that all of them have mapped."""

    def __init__(self, path: Path, keys: int, processes: int) -> None:
        self._keys = keys
        size = (keys + processes) * _WORD.size
        if not path.exists():
            path.write_bytes(bytes(size))
        self._file = path.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), size)

    def version(self, key: int) -> int:
        """The version of a key now, as a database would answer."""
        found: int = _WORD.unpack_from(self._map, key * _WORD.size)[0]
        return found

    def write(self, key: int) -> int:
        """The next version, which is the current one when this returns; a killed writer leaves no lock behind."""
        offset = key * _WORD.size
        fcntl.lockf(self._file, fcntl.LOCK_EX, _WORD.size, offset)
        try:
            made = self.version(key) + 1
            _WORD.pack_into(self._map, offset, made)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, _WORD.size, offset)
        return made

    def step(self, process: int, steps: int) -> None:
        """Add to the steps of a process, which only this process does."""
        offset = (self._keys + process) * _WORD.size
        _WORD.pack_into(self._map, offset, _WORD.unpack_from(self._map, offset)[0] + steps)

    def steps(self, process: int) -> int:
        """The steps of a process so far, of those before it in its place too."""
        found: int = _WORD.unpack_from(self._map, (self._keys + process) * _WORD.size)[0]
        return found

    def close(self) -> None:
        """Give the file back."""
        self._map.close()
        self._file.close()


class Journal:
    """What one process has seen, in a file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._kept: list[bytes] = []

    def note(self, what: bytes, key: int, version: int, moment: float) -> None:
        """Keep one event."""
        self._kept.append(_EVENT.pack(what, key, version, moment))
        if len(self._kept) >= _EVENTS_KEPT or what == ACKNOWLEDGED:
            self.flush()

    def flush(self) -> None:
        """Write what is kept, in one piece."""
        self._file.write(b"".join(self._kept))
        self._kept.clear()

    def close(self) -> None:
        """Write what is kept and give the file back."""
        self.flush()
        self._file.close()


@dataclass(frozen=True, slots=True)
class Stale:
    """A read that saw what had been invalidated before."""

    key: int
    version: int
    newer: int
    seconds: float
    journal: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What the check found: how many reads, how stale the stalest, which were so for longer than the bound."""

    reads: int
    acknowledged: int
    stale_reads: int
    stalest_seconds: float
    violations: tuple[Stale, ...]


def check(journals: Sequence[Path], bound: float) -> Checked:
    """Compare every read with every acknowledgement."""
    order: dict[int, _Acknowledged] = {}
    noted: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for path in journals:
        for what, key, version, moment in events(path):
            if what == ACKNOWLEDGED:
                noted[key].append((version, moment))
    for key, found in noted.items():
        order[key] = _Acknowledged(found)
    reads = stale = 0
    stalest = 0.0
    violations: list[Stale] = []
    for path in journals:
        for what, key, version, moment in events(path):
            if what != READ:
                continue
            reads += 1
            newer = order[key].after(version) if key in order else None
            if newer is None or newer[1] >= moment:
                continue
            stale += 1
            seconds = moment - newer[1]
            stalest = max(stalest, seconds)
            if seconds > bound:
                violations.append(Stale(key, version, newer[0], seconds, path.name))
    return Checked(reads, sum(map(len, noted.values())), stale, stalest, tuple(violations))


class _Acknowledged:
    """The acknowledged versions of a key, with the earliest moment from which each or a newer one was known."""

    def __init__(self, found: Iterable[tuple[int, float]]) -> None:
        ordered = sorted(found)
        self._versions = [version for version, _ in ordered]
        self._first = list(ordered)
        for index in range(len(ordered) - 2, -1, -1):
            self._first[index] = min(self._first[index], self._first[index + 1], key=lambda one: one[1])

    def after(self, version: int) -> tuple[int, float] | None:
        """The first acknowledgement of a version newer than this, and its moment."""
        index = bisect_right(self._versions, version)
        return self._first[index] if index < len(self._first) else None


def events(path: Path) -> Iterator[tuple[bytes, int, int, float]]:
    """The whole events of a journal; a killed process may have left a part of one."""
    body = path.read_bytes()
    yield from _EVENT.iter_unpack(body[: len(body) - len(body) % _EVENT.size])
