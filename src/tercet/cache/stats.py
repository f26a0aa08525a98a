"""What a cache counts, and what it can say of one entry."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tercet.cache.state import State
from tercet.errors import StoreError
from tercet.telemetry import CacheRead, CacheState, Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from tercet.cache.entry import Ask, Sight, Tier
    from tercet.cache.tiers import Tiers
    from tercet.telemetry.event import Outcome


class Counts:
    """What has happened since the cache was made; plain numbers, for the hot path."""

    __slots__ = (
        "_now", "_telemetry", "early", "failed", "flushed", "joined", "late", "loads", "memory", "redis", "stale",
    )  # fmt: skip

    def __init__(self, telemetry: Telemetry, now: Callable[[], float]) -> None:
        self._telemetry, self._now = telemetry, now
        # Answers out of memory and out of Redis; loads that brought a value, and those that failed.
        self.memory = self.redis = self.loads = self.failed = 0
        # Answers that were stale; callers who waited for somebody else's load.
        self.stale = self.joined = 0
        # Loads that were begun before the end of what they replace.
        self.early = 0
        # Values that were not kept, as what they depend on was dropped meanwhile.
        self.late = 0
        # How often memory was forgotten, as drops may have been missed.
        self.flushed = 0

    def shown(self, ask: Ask[Any], sight: Sight[Any], begun: float) -> None:
        """Somebody was given this, having asked at the moment `begun`."""
        if sight.decoded:
            self.redis += 1
        else:
            self.memory += 1
        if sight.state is State.STALE:
            self.stale += 1
        if self._telemetry.heard:
            self.told(ask, sight.tier, begun, "ok", stale=sight.state is State.STALE)

    def told(
        self,
        ask: Ask[Any],
        tier: Tier,
        begun: float,
        outcome: Outcome,
        *,
        stale: bool = False,
        joined: bool = False,
    ) -> None:
        """Tell who listens how a read has ended."""
        if self._telemetry.heard:
            taken = self._now() - begun
            self._telemetry.tell(CacheRead(ask.label, tier, taken, outcome, stale, joined))


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
    early_refreshes: int
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
    # Followings whose relay is not heard: until it is, memory answers no longer than it is trusted.
    relays_silent: int = 0

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
    # How its body is packed there, "zlib" or "zstd"; empty where it is not.
    packing: str = ""


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
    # The followings whose relay is not heard, so that what they would drop may be older than it should.
    relays_silent: tuple[str, ...] = ()


def stats_of(tiers: Tiers) -> Stats:
    """What was counted, and how it stands now."""
    counts, memory, shelf, delivery = tiers.counts, tiers.memory, tiers.far.shelf, tiers.far.delivery
    return Stats(
        memory_hits=counts.memory,
        redis_hits=counts.redis,
        loads=counts.loads,
        failed=counts.failed,
        stale_served=counts.stale,
        joined=counts.joined,
        late_fills_refused=counts.late,
        flushed=counts.flushed,
        early_refreshes=counts.early,
        entries=len(memory),
        bytes=memory.size_bytes,
        evicted=memory.evicted,
        loading=len(tiers.flights),
        trusted=tiers.near.trusted,
        bus_lag_seconds=shelf.bus.lag_seconds if shelf is not None else None,
        undelivered=delivery.pending if delivery is not None else 0,
        relays_silent=len(tiers.near.recent.silent),
    )


def report_of(tiers: Tiers, namespace: str) -> dict[str, float | None]:
    """How it stands, for other processes; who listens to telemetry is told too."""
    stats = stats_of(tiers)
    if tiers.telemetry.heard:
        tiers.telemetry.tell(
            CacheState(
                namespace,
                entries=stats.entries,
                bytes=stats.bytes,
                evicted=stats.evicted,
                loading=stats.loading,
                trusted=stats.trusted,
                bus_lag_seconds=stats.bus_lag_seconds,
                undelivered=stats.undelivered,
            )
        )
    return asdict(stats)


async def explanation_of(tiers: Tiers, key: str, names: Sequence[str]) -> Explanation:
    """Where one entry is, and in what state; under the first of these names that says anything."""
    for name in names:
        found = await _explained(tiers, key, name)
        if found.copies or found.holder or found.loading or found.throttled:
            break
    return found


async def _explained(tiers: Tiers, key: str, name: str) -> Explanation:
    near, away, far, holder = tiers.near.examine(name), None, None, None
    try:
        far, holder = await tiers.far.examine(name)
    except StoreError as error:
        away = str(error)
    failed = tiers.loader.throttle.error(name)
    return Explanation(
        key,
        tuple(one for one in (near, far) if one is not None),
        holder,
        tiers.flights.find(name) is not None,
        type(failed).__name__ if failed is not None else None,
        away,
        tiers.near.recent.silent,
    )
