"""What a cache counts, and what it can say of one entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from tercet.cache.entry import Tier


class Counts:
    """What has happened since the cache was made; plain numbers, for the hot path."""

    __slots__ = ("failed", "flushed", "joined", "late", "loads", "memory", "redis", "stale")

    def __init__(self) -> None:
        # Answers out of memory and out of Redis; loads that brought a value, and those that failed.
        self.memory = self.redis = self.loads = self.failed = 0
        # Answers that were stale; callers who waited for somebody else's load.
        self.stale = self.joined = 0
        # Values that were not kept, as what they depend on was dropped meanwhile.
        self.late = 0
        # How often memory was forgotten, as drops may have been missed.
        self.flushed = 0


@dataclass(frozen=True, slots=True)
class Stats:
    """How a cache does in this process, since it was made."""

    # Answers by tier; `loads` are calls of loaders that brought a value, `failed` those that raised.
    memory_hits: int
    redis_hits: int
    loads: int
    failed: int
    stale_served: int
    joined: int
    late_fills_refused: int
    flushed: int
    # Memory as it is now.
    entries: int
    bytes: int
    evicted: int
    loading: int
    # Whether memory may answer by itself, and how far behind others' drops the last message of the bus was.
    trusted: bool
    bus_lag_seconds: float | None
    # Drops that Redis does not know of yet.
    undelivered: int

    @property
    def hit_ratio(self) -> float:
        """The part of reads that no loader had to answer; 0 before the first read."""
        hits = self.memory_hits + self.redis_hits
        return hits / (hits + self.loads + self.failed) if hits or self.loads or self.failed else 0.0


@dataclass(frozen=True, slots=True)
class Copy:
    """An entry as one tier has it."""

    tier: Tier
    state: str
    # Seconds that it is fresh (negative: since when it has not been), and that it may be shown after that.
    left: float
    grace: float
    bytes: int
    tags: tuple[str, ...]
    # When it was loaded, how long that took, and whether each tag still has the version of that time: only
    # Redis knows.
    created: datetime | None = None
    load_seconds: float | None = None
    current: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where an entry is, how old it is there, what it depends on, and who is loading it."""

    key: str
    copies: tuple[Copy, ...]
    # Who holds the lease to load it, in words; and whether this process is loading it.
    holder: str | None
    loading: bool
    # The class of the error that is answered instead of a load, for a moment.
    throttled: str | None
    # Why Redis could not be asked, if it could not.
    away: str | None = None
