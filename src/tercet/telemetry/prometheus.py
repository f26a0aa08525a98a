"""Events become Prometheus' metrics, in base units and under names that begin with tercet_."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from tercet.errors import ExtraMissing, SettingInvalid
from tercet.telemetry.event import (
    CacheNoted,
    CacheRead,
    CacheState,
    ChangesHeard,
    ConnectionWaited,
    Event,
    FeedState,
    LimitChecked,
    Operation,
    ServerChanged,
    SessionRefused,
    WireWrote,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
except ImportError as missing:
    raise ExtraMissing("Prometheus", module="prometheus_client", extra="prometheus") from missing

# From a Redis answer on the same machine (0.1 ms) to a report that should not be waited for (30 s).
_OPERATION_SECONDS = (
    1e-4,
    5e-4,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)
# A value in memory is found within a microsecond, one in Redis within a millisecond.
_CACHE_SECONDS = (1e-6, 1e-5, 1e-4, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
# An embedded server is up within 3 s when cold; what takes longer than a minute has failed.
_SERVER_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
# From a caller alone to a tick with all tasks of a busy process.
_CALLERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

# How a cache stands: the fields of CacheState, and what each says.
_CACHE_GAUGES: Mapping[str, str] = MappingProxyType(
    {
        "entries": "Entries that this process keeps in memory.",
        "bytes": "Bytes that these entries take.",
        "evicted": "Entries that had to make room since the cache was made.",
        "loading": "Loads under way.",
        "trusted": "1 while memory may answer by itself, because the bus is heard.",
        "bus_lag_seconds": "How far behind the last drop of another process was heard.",
        "undelivered": "Drops that Redis does not know of yet.",
    },
)


class Prometheus:
    """A listener that records each event in a registry, the process' own unless another is given.

    `db.telemetry.listen(Prometheus())` is all; how the registry is served is the program's choice. A registry
    holds these metrics once: several Tercets in one process share one listener, or raise SettingInvalid.
    """

    __slots__ = (
        "_cache",
        "_changes",
        "_commits",
        "_events",
        "_failures",
        "_feeds",
        "_joined",
        "_lag",
        "_limits",
        "_operations",
        "_pool",
        "_reads",
        "_refused",
        "_servers",
        "_stale",
        "_state",
        "_waits",
        "_writes",
    )

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = REGISTRY if registry is None else registry
        try:
            self._register_stores(registry)
            self._register_cache(registry)
            self._register_rooms(registry)
            self._register_feeds(registry)
        except ValueError as twice:
            raise SettingInvalid(
                "registry",
                where="Prometheus()",
                shown="one that holds tercet's metrics already",
                wanted="a registry of its own, or let several Tercets share one Prometheus",
            ) from twice

    def _register_stores(self, registry: CollectorRegistry) -> None:
        self._operations = Histogram(
            "tercet_operation_seconds",
            "How long an operation took.",
            ("room", "operation", "store", "outcome"),
            buckets=_OPERATION_SECONDS,
            registry=registry,
        )
        self._failures = Counter(
            "tercet_operation_failures",
            "Operations that raised, by the class of the error.",
            ("room", "operation", "store", "error"),
            registry=registry,
        )
        self._waits = Histogram(
            "tercet_connection_wait_seconds",
            "How long a caller waited for a connection out of the pool.",
            ("store", "outcome"),
            buckets=_OPERATION_SECONDS,
            registry=registry,
        )
        self._pool = Gauge(
            "tercet_connection_pool_size",
            "How many connections the pool may have, as of the last wait.",
            ("store",),
            registry=registry,
        )

    def _register_cache(self, registry: CollectorRegistry) -> None:
        self._reads = Counter(
            "tercet_cache_reads",
            "Values asked of a cache, by the tier that had them; tier=loader is a miss.",
            ("cache", "tier", "outcome"),
            registry=registry,
        )
        self._cache = Histogram(
            "tercet_cache_read_seconds",
            "How long it took to read a cached value.",
            ("cache", "tier"),
            buckets=_CACHE_SECONDS,
            registry=registry,
        )
        self._stale = Counter(
            "tercet_cache_stale_reads",
            "Values that were shown after their end, while they were loaded anew or because that failed.",
            ("cache",),
            registry=registry,
        )
        self._joined = Counter(
            "tercet_cache_joined_reads",
            "Callers who waited for a load that somebody else had begun.",
            ("cache",),
            registry=registry,
        )
        self._events = Counter(
            "tercet_cache_events",
            "Late fills that were refused, early refreshes, drops that were kept and delivered later.",
            ("cache", "event"),
            registry=registry,
        )
        self._state = {
            name: Gauge(f"tercet_cache_{name}", text, ("namespace",), registry=registry)
            for name, text in _CACHE_GAUGES.items()
        }

    def _register_rooms(self, registry: CollectorRegistry) -> None:
        self._writes = Histogram(
            "tercet_wire_batch_callers",
            "How many callers shared one write to Redis.",
            (),
            buckets=_CALLERS,
            registry=registry,
        )
        self._refused = Counter(
            "tercet_session_refusals",
            "Sessions that were there and were not handed out.",
            ("reason", "revoked"),
            registry=registry,
        )
        self._limits = Counter(
            "tercet_limit_checks",
            "Calls that a limit let through or refused; checked=false is without Redis.",
            ("limit", "outcome", "checked"),
            registry=registry,
        )
        self._servers = Histogram(
            "tercet_server_change_seconds",
            "How long an embedded server took to come up or go down.",
            ("store", "state"),
            buckets=_SERVER_SECONDS,
            registry=registry,
        )

    def _register_feeds(self, registry: CollectorRegistry) -> None:
        place = ("place",)
        self._commits = Counter(
            "tercet_changes_commits", "Commits that a listener has taken care of.", place, registry=registry
        )
        self._changes = Counter(
            "tercet_changes_changes", "Rows and messages in these commits.", place, registry=registry
        )
        self._lag = Histogram(
            "tercet_changes_lag_seconds",
            "From a commit, by the server's clock, until its listener has taken care of it.",
            place,
            buckets=_OPERATION_SECONDS,
            registry=registry,
        )
        self._feeds = {
            name: Gauge(f"tercet_changes_{name}", text, place, registry=registry)
            for name, text in (
                ("reading", "1 while this process reads the feed of this place."),
                ("lag_bytes", "What the server keeps for this place."),
                ("resyncs", "How often changes may have been missed."),
            )
        }

    def __call__(self, event: Event) -> None:
        """Record one event; kinds that are not known yet are passed over."""
        match event:
            case Operation():
                self._record_operation(event)
            case ConnectionWaited():
                self._waits.labels(event.store, event.outcome).observe(event.seconds)
                self._pool.labels(event.store).set(event.size)
            case CacheRead():
                self._record_read(event)
            case CacheNoted() | CacheState():
                self._record_cache(event)
            case ChangesHeard() | FeedState():
                self._record_feed(event)
            case WireWrote():
                self._writes.observe(event.callers)
            case SessionRefused():
                self._refused.labels(event.reason, str(event.revoked).lower()).inc()
            case LimitChecked():
                self._limits.labels(event.limit, event.outcome, str(event.checked).lower()).inc()
            case ServerChanged():
                self._servers.labels(event.store, event.state).observe(event.seconds)
            case _:
                pass

    def _record_feed(self, event: ChangesHeard | FeedState) -> None:
        if isinstance(event, ChangesHeard):
            self._commits.labels(event.place).inc(event.commits)
            self._changes.labels(event.place).inc(event.changes)
            self._lag.labels(event.place).observe(event.lag_seconds)
            return
        self._feeds["reading"].labels(event.place).set(event.state in {"reading", "retrying"})
        self._feeds["resyncs"].labels(event.place).set(event.resyncs)
        if event.lag_bytes is not None:
            self._feeds["lag_bytes"].labels(event.place).set(event.lag_bytes)

    def _record_operation(self, event: Operation) -> None:
        store = event.store or ""
        self._operations.labels(event.room, event.name, store, event.outcome).observe(event.seconds)
        if event.outcome != "ok":
            self._failures.labels(event.room, event.name, store, event.error or event.outcome).inc()

    def _record_read(self, event: CacheRead) -> None:
        self._reads.labels(event.cache, event.tier, event.outcome).inc()
        self._cache.labels(event.cache, event.tier).observe(event.seconds)
        if event.stale:
            self._stale.labels(event.cache).inc()
        if event.joined:
            self._joined.labels(event.cache).inc()

    def _record_cache(self, event: CacheNoted | CacheState) -> None:
        if isinstance(event, CacheNoted):
            self._events.labels(event.cache, event.what).inc(event.count)
            return
        for name, gauge in self._state.items():
            value = getattr(event, name)
            if value is not None:
                gauge.labels(event.namespace).set(value)
