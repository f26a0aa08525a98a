"""Events become OpenTelemetry's metrics and spans, under the names of its database conventions."""

from __future__ import annotations

import time
from types import MappingProxyType
from typing import TYPE_CHECKING, assert_never

from tercet.errors import ExtraMissing
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
    Outcome,
    ServerChanged,
    SessionRefused,
    Store,
    WireWrote,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

try:
    from opentelemetry.metrics import Meter, MeterProvider, get_meter
    from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, TracerProvider, get_tracer
except ImportError as missing:
    raise ExtraMissing("OpenTelemetry", module="opentelemetry", extra="otel") from missing

_SCOPE = "tercet"

# The identifiers that the conventions give to these systems, so that existing dashboards know them.
_SYSTEM: dict[Store, str] = {"postgres": "postgresql", "mongo": "mongodb", "redis": "redis"}

# The boundaries that the conventions recommend for db.client.operation.duration.
_OPERATION_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
# A value in memory is found within a microsecond, one in Redis within a millisecond.
_CACHE_SECONDS = (1e-6, 1e-5, 1e-4, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
# An embedded server is up within 3 s when cold; what takes longer than a minute has failed.
_SERVER_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
# From a caller alone to a tick with all tasks of a busy process.
_CALLERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

# How a cache stands: the fields of CacheState, each with its unit and what it says.
_CACHE_GAUGES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "entries": ("{entry}", "Entries that this process keeps in memory."),
        "bytes": ("By", "Bytes that these entries take."),
        "evicted": ("{entry}", "Entries that had to make room since the cache was made."),
        "loading": ("{load}", "Loads under way."),
        "trusted": ("1", "1 while memory may answer by itself, because the bus is heard."),
        "bus_lag_seconds": ("s", "How far behind the last drop of another process was heard."),
        "undelivered": ("{drop}", "Drops that Redis does not know of yet."),
    },
)


class OpenTelemetry:
    """A listener that records each event as metrics, and each operation as a span too.

    `db.telemetry.listen(OpenTelemetry())` uses the providers that the program has set; others can be handed
    in, and `spans=False` leaves the spans out. One listener serves any number of Tercets.

    An operation is told when it has ended, so its span has the right times and stands under the span that was
    current then, and has no children of its own. An error is recorded by its class, never by its text.
    """

    __slots__ = (
        "_cache_duration",
        "_cache_events",
        "_cache_state",
        "_changes",
        "_feed_lag",
        "_feed_lag_bytes",
        "_feed_reading",
        "_feed_resyncs",
        "_joined",
        "_limit_checks",
        "_operation_duration",
        "_server_duration",
        "_session_refusals",
        "_stale",
        "_store_duration",
        "_tracer",
        "_wait_time",
        "_wait_timeouts",
        "_wire_batch",
    )

    def __init__(
        self,
        *,
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
        spans: bool = True,
    ) -> None:
        meter = get_meter(_SCOPE, meter_provider=meter_provider)
        self._tracer = get_tracer(_SCOPE, tracer_provider=tracer_provider) if spans else None
        self._store_duration = meter.create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="How long an operation on a store took.",
            explicit_bucket_boundaries_advisory=_OPERATION_SECONDS,
        )
        self._operation_duration = meter.create_histogram(
            "tercet.operation.duration",
            unit="s",
            description="How long an operation that is not one store's took.",
            explicit_bucket_boundaries_advisory=_OPERATION_SECONDS,
        )
        self._wait_time = meter.create_histogram(
            "db.client.connection.wait_time",
            unit="s",
            description="How long a caller waited for a connection out of the pool.",
            explicit_bucket_boundaries_advisory=_OPERATION_SECONDS,
        )
        self._wait_timeouts = meter.create_counter(
            "db.client.connection.timeouts",
            unit="{timeout}",
            description="How often no connection came free in time.",
        )
        self._cache_duration = meter.create_histogram(
            "tercet.cache.read.duration",
            unit="s",
            description="How long it took to read a cached value, by the tier that had it.",
            explicit_bucket_boundaries_advisory=_CACHE_SECONDS,
        )
        self._make_cache(meter)
        self._make_rooms(meter)
        self._make_feeds(meter)

    def _make_cache(self, meter: Meter) -> None:
        self._stale = meter.create_counter(
            "tercet.cache.reads.stale",
            unit="{read}",
            description="Values that were shown after their end, while they were loaded anew or because that failed.",
        )
        self._joined = meter.create_counter(
            "tercet.cache.reads.joined",
            unit="{read}",
            description="Callers who waited for a load that somebody else had begun.",
        )
        self._cache_events = meter.create_counter(
            "tercet.cache.events",
            unit="{event}",
            description="Late fills that were refused, early refreshes, drops that were kept and delivered later.",
        )
        self._cache_state = {
            name: meter.create_gauge(f"tercet.cache.{name}", unit=unit, description=text)
            for name, (unit, text) in _CACHE_GAUGES.items()
        }

    def _make_rooms(self, meter: Meter) -> None:
        self._wire_batch = meter.create_histogram(
            "tercet.wire.batch",
            unit="{caller}",
            description="How many callers shared one write to Redis.",
            explicit_bucket_boundaries_advisory=_CALLERS,
        )
        self._session_refusals = meter.create_counter(
            "tercet.session.refusals",
            unit="{session}",
            description="Sessions that were there and were not handed out.",
        )
        self._limit_checks = meter.create_counter(
            "tercet.limit.checks",
            unit="{check}",
            description="Calls that a limit let through or refused.",
        )
        self._server_duration = meter.create_histogram(
            "tercet.server.change.duration",
            unit="s",
            description="How long an embedded server took to come up or go down.",
            explicit_bucket_boundaries_advisory=_SERVER_SECONDS,
        )

    def _make_feeds(self, meter: Meter) -> None:
        self._changes = {
            name: meter.create_counter(f"tercet.changes.{name}", unit=f"{{{name[:-1]}}}", description=text)
            for name, text in (
                ("commits", "Commits that a listener has taken care of."),
                ("changes", "Rows and messages in these commits."),
            )
        }
        self._feed_lag = meter.create_histogram(
            "tercet.changes.lag",
            unit="s",
            description="From a commit, by the server's clock, until its listener has taken care of it.",
            explicit_bucket_boundaries_advisory=_OPERATION_SECONDS,
        )
        self._feed_reading = meter.create_gauge(
            "tercet.changes.reading", unit="1", description="1 while this process reads the feed of this place."
        )
        self._feed_lag_bytes = meter.create_gauge(
            "tercet.changes.lag_bytes", unit="By", description="What the server keeps for this place."
        )
        self._feed_resyncs = meter.create_gauge(
            "tercet.changes.resyncs", unit="{resync}", description="How often changes may have been missed."
        )

    def __call__(self, event: Event) -> None:
        """Record one event; kinds that are not known yet are passed over."""
        match event:
            case Operation():
                self._record_operation(event)
            case ConnectionWaited():
                self._record_wait(event)
            case CacheRead():
                self._record_read(event)
            case CacheNoted() | CacheState():
                self._record_cache(event)
            case ChangesHeard() | FeedState():
                self._record_feed(event)
            case WireWrote():
                self._wire_batch.record(event.callers)
            case SessionRefused():
                refused = {"tercet.session.reason": event.reason, "tercet.session.revoked": event.revoked}
                self._session_refusals.add(1, refused)
            case LimitChecked():
                self._limit_checks.add(1, _limit_attributes(event))
            case ServerChanged():
                attributes = {"db.system.name": _SYSTEM[event.store], "tercet.server.state": event.state}
                self._server_duration.record(event.seconds, attributes)
            case _:
                pass

    def _record_read(self, event: CacheRead) -> None:
        name = {"tercet.cache.name": event.cache}
        attributes = name | {"tercet.cache.tier": event.tier} | _error_type(event.outcome, None)
        self._cache_duration.record(event.seconds, attributes)
        if event.stale:
            self._stale.add(1, name)
        if event.joined:
            self._joined.add(1, name)

    def _record_cache(self, event: CacheNoted | CacheState) -> None:
        if isinstance(event, CacheNoted):
            self._cache_events.add(event.count, {"tercet.cache.name": event.cache, "tercet.cache.event": event.what})
            return
        for name, gauge in self._cache_state.items():
            value = getattr(event, name)
            if value is not None:
                gauge.set(value, {"tercet.cache.namespace": event.namespace})

    def _record_feed(self, event: ChangesHeard | FeedState) -> None:
        place = {"tercet.changes.place": event.place}
        if isinstance(event, ChangesHeard):
            self._changes["commits"].add(event.commits, place)
            self._changes["changes"].add(event.changes, place)
            self._feed_lag.record(event.lag_seconds, place)
            return
        self._feed_reading.set(int(event.state in {"reading", "retrying"}), place)
        self._feed_resyncs.set(event.resyncs, place)
        if event.lag_bytes is not None:
            self._feed_lag_bytes.set(event.lag_bytes, place)

    def _record_operation(self, event: Operation) -> None:
        attributes = {"tercet.room": event.room} | _error_type(event.outcome, event.error)
        if event.store is None:
            attributes["tercet.operation.name"] = event.name
            self._operation_duration.record(event.seconds, attributes)
        else:
            attributes["db.system.name"] = _SYSTEM[event.store]
            attributes["db.operation.name"] = event.name
            self._store_duration.record(event.seconds, attributes)
        if self._tracer is not None:
            _draw_span(self._tracer, event, attributes)

    def _record_wait(self, event: ConnectionWaited) -> None:
        attributes = {"db.client.connection.pool.name": event.store, "db.system.name": _SYSTEM[event.store]}
        if event.outcome == "timeout":
            self._wait_timeouts.add(1, attributes)
        self._wait_time.record(event.seconds, attributes | _error_type(event.outcome, None))


def _draw_span(tracer: Tracer, event: Operation, attributes: dict[str, str]) -> None:
    ended = time.time_ns()
    span = tracer.start_span(
        f"{event.room} {event.name}",
        kind=SpanKind.INTERNAL if event.store is None else SpanKind.CLIENT,
        attributes=attributes,
        start_time=ended - round(event.seconds * 1e9),
    )
    if event.outcome in {"failed", "timeout"}:
        span.set_status(Status(StatusCode.ERROR, event.error))
    span.end(end_time=ended)


def _limit_attributes(event: LimitChecked) -> dict[str, str | bool]:
    return {
        "tercet.limit.name": event.limit,
        "tercet.limit.outcome": event.outcome,
        "tercet.limit.checked": event.checked,
    }


def _error_type(outcome: Outcome, error: str | None) -> dict[str, str]:
    """The attribute that the conventions want if, and only if, something did not end well."""
    match outcome:
        case "ok":
            return {}
        case "failed" | "timeout" | "cancelled":
            return {"error.type": error or outcome}
        case _:
            assert_never(outcome)
