"""The OpenTelemetry edge, read back through the real SDK's in-memory exporters."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, Metric, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tercet.errors import ExtraMissing
from tercet.telemetry import (
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
    Telemetry,
    WireWrote,
)
from tercet.telemetry.otel import OpenTelemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "postgresql://shop:hunter2@db.internal/shop"


class Backend:
    """The SDK with its exporters in memory, and a hub whose events flow into it."""

    def __init__(self, *, spans: bool = True) -> None:
        self._reader = InMemoryMetricReader()
        self._exporter = InMemorySpanExporter()
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.telemetry = Telemetry()
        listener = OpenTelemetry(meter_provider=self.meters, tracer_provider=self.tracers, spans=spans)
        self.telemetry.listen(listener)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """The spans that have ended."""
        return self._exporter.get_finished_spans()

    @property
    def metrics(self) -> dict[str, Metric]:
        """The metrics recorded so far, by name."""
        data = self._reader.get_metrics_data()
        found = [] if data is None else data.resource_metrics
        return {
            metric.name: metric for resource in found for scope in resource.scope_metrics for metric in scope.metrics
        }

    def point(self, name: str) -> HistogramDataPoint | NumberDataPoint:
        """The only point of the metric."""
        (point,) = self.metrics[name].data.data_points
        assert isinstance(point, HistogramDataPoint | NumberDataPoint)
        return point

    def close(self) -> None:
        """End the SDK."""
        self.tracers.shutdown()
        self.meters.shutdown()


@pytest.fixture
def backend() -> Iterator[Backend]:
    """A backend of its own for each test."""
    backend = Backend()
    yield backend
    backend.close()


def histogram(backend: Backend, name: str) -> HistogramDataPoint:
    """The only point of a histogram in seconds."""
    assert backend.metrics[name].unit == "s"
    point = backend.point(name)
    assert isinstance(point, HistogramDataPoint)
    return point


def test_an_operation_on_a_store_is_a_client_operation_by_the_conventions(backend: Backend) -> None:
    """Name, unit, buckets and attributes are those that dashboards know."""
    backend.telemetry.tell(Operation("rollups", "refresh", 0.25, "ok", "postgres"))
    point = histogram(backend, "db.client.operation.duration")
    assert dict(point.attributes or {}) == {
        "db.system.name": "postgresql",
        "db.operation.name": "refresh",
        "tercet.room": "rollups",
    }
    assert (point.count, point.sum) == (1, 0.25)
    assert tuple(point.explicit_bounds) == (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)


@pytest.mark.parametrize(("store", "system"), [("postgres", "postgresql"), ("mongo", "mongodb"), ("redis", "redis")])
def test_each_store_has_the_name_that_the_conventions_give_it(backend: Backend, store: str, system: str) -> None:
    """The stores carry their well-known identifiers."""
    backend.telemetry.tell(Operation("stores", "ping", 0.001, "ok", store))  # type: ignore[arg-type]  # not a literal here
    assert (histogram(backend, "db.client.operation.duration").attributes or {})["db.system.name"] == system


def test_an_operation_on_no_store_is_not_counted_as_a_database_call(backend: Backend) -> None:
    """What tercet does by itself has a metric of its own."""
    backend.telemetry.tell(Operation("proof", "sample", 2.0, "ok"))
    assert set(backend.metrics) == {"tercet.operation.duration"}
    assert dict(histogram(backend, "tercet.operation.duration").attributes or {}) == {
        "tercet.room": "proof",
        "tercet.operation.name": "sample",
    }


def test_a_span_begins_and_ends_when_the_operation_did(backend: Backend) -> None:
    """Though it is told at its end, an operation's span covers the time it took."""
    before = time.time_ns()
    backend.telemetry.tell(Operation("rollups", "refresh", 0.25, "ok", "postgres"))
    after = time.time_ns()
    (span,) = backend.spans
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time - span.start_time == 250_000_000
    assert before <= span.end_time <= after
    assert (span.name, span.kind, span.status.status_code) == (
        "rollups refresh",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )


def test_a_span_stands_under_the_one_that_is_current(backend: Backend) -> None:
    """A request's span gets what was done for it as children."""
    with backend.tracers.get_tracer("shop").start_as_current_span("GET /top") as request:
        with backend.telemetry.operation("cache", "load"):
            pass
        wanted = request.get_span_context()
    child = next(span for span in backend.spans if span.name == "cache load")
    assert child.parent is not None
    assert (child.parent.trace_id, child.parent.span_id) == (wanted.trace_id, wanted.span_id)
    assert child.kind is SpanKind.INTERNAL


def test_an_error_is_recorded_by_its_class_and_its_text_never_comes_out(backend: Backend) -> None:
    """An address inside an error's text reaches neither metric nor span."""
    with pytest.raises(ConnectionError), backend.telemetry.operation("stores", "open", store="postgres"):
        raise ConnectionError(f"cannot reach {SECRET}")
    (span,) = backend.spans
    assert (span.attributes or {})["error.type"] == "ConnectionError"
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ConnectionError")
    assert (backend.point("db.client.operation.duration").attributes or {})["error.type"] == "ConnectionError"
    written = span.to_json() + "".join(metric.to_json() for metric in backend.metrics.values())
    assert "ConnectionError" in written
    assert "hunter2" not in written
    assert "db.internal" not in written


def test_a_cancelled_operation_is_no_error_of_the_store(backend: Backend) -> None:
    """A caller that went away leaves a span without an error status."""
    backend.telemetry.tell(Operation("cache", "load", 0.1, "cancelled", None, "CancelledError"))
    (span,) = backend.spans
    assert span.status.status_code is StatusCode.UNSET
    assert (span.attributes or {})["error.type"] == "CancelledError"


def test_without_spans_only_metrics_are_made() -> None:
    """The spans can be left out."""
    backend = Backend(spans=False)
    backend.telemetry.tell(Operation("cache", "load", 0.1, "ok"))
    assert (set(backend.metrics), backend.spans) == ({"tercet.operation.duration"}, ())
    backend.close()


def test_a_wait_for_a_connection_is_a_histogram_by_pool(backend: Backend) -> None:
    """A wait that ended well counts no timeout."""
    backend.telemetry.tell(ConnectionWaited("mongo", 0.02, "ok", 20))
    point = histogram(backend, "db.client.connection.wait_time")
    assert dict(point.attributes or {}) == {
        "db.client.connection.pool.name": "mongo",
        "db.system.name": "mongodb",
    }
    assert (point.count, point.sum) == (1, 0.02)
    assert "db.client.connection.timeouts" not in backend.metrics


def test_a_wait_that_timed_out_counts_as_a_timeout_too(backend: Backend) -> None:
    """An exhausted pool shows in the counter that alerts are made of."""
    for _ in range(3):
        backend.telemetry.tell(ConnectionWaited("postgres", 5.0, "timeout", 20))
    point = backend.point("db.client.connection.timeouts")
    assert isinstance(point, NumberDataPoint)
    assert point.value == 3
    waited = histogram(backend, "db.client.connection.wait_time")
    assert (waited.attributes or {})["error.type"] == "timeout"


def test_a_cache_read_is_told_by_tier_and_a_fast_one_has_a_bucket(backend: Backend) -> None:
    """Reads of a microsecond and of a millisecond are not in the same bucket."""
    backend.telemetry.tell(CacheRead("profiles", "memory", 8e-7, "ok"))
    backend.telemetry.tell(CacheRead("profiles", "memory", 8e-4, "ok"))
    point = histogram(backend, "tercet.cache.read.duration")
    assert dict(point.attributes or {}) == {"tercet.cache.name": "profiles", "tercet.cache.tier": "memory"}
    assert sorted(point.bucket_counts)[-2:] == [1, 1]


def test_a_limit_s_refusal_is_counted_with_its_name(backend: Backend) -> None:
    """Name, outcome and whether Redis was asked are its attributes."""
    backend.telemetry.tell(LimitChecked("login", "refused", checked=True))
    point = backend.point("tercet.limit.checks")
    assert isinstance(point, NumberDataPoint)
    assert dict(point.attributes or {}) == {
        "tercet.limit.name": "login",
        "tercet.limit.outcome": "refused",
        "tercet.limit.checked": True,
    }


def test_a_server_that_came_up_is_told_with_its_time(backend: Backend) -> None:
    """Embedded servers are seen too."""
    backend.telemetry.tell(ServerChanged("redis", "started", 0.3))
    point = histogram(backend, "tercet.server.change.duration")
    assert dict(point.attributes or {}) == {"db.system.name": "redis", "tercet.server.state": "started"}


def test_what_a_cache_does_besides_is_counted(backend: Backend) -> None:
    """Stale values, callers who joined, and what is noted, by its name."""
    backend.telemetry.tell(CacheRead("profiles", "memory", 1e-6, "ok", stale=True))
    backend.telemetry.tell(CacheRead("profiles", "loader", 0.1, "ok", joined=True))
    backend.telemetry.tell(CacheNoted("drop kept", count=3))
    stale, joined = backend.point("tercet.cache.reads.stale"), backend.point("tercet.cache.reads.joined")
    noted = backend.point("tercet.cache.events")
    assert isinstance(stale, NumberDataPoint)
    assert isinstance(joined, NumberDataPoint)
    assert isinstance(noted, NumberDataPoint)
    assert (stale.value, joined.value, noted.value) == (1, 1, 3)
    assert dict(noted.attributes or {}) == {"tercet.cache.name": "", "tercet.cache.event": "drop kept"}


def test_how_a_cache_stands_is_the_last_that_was_told(backend: Backend) -> None:
    """Under its namespace; what is not known is not told."""
    backend.telemetry.tell(CacheState("shop", 5, 900, 0, 2, True, None, 0))
    backend.telemetry.tell(CacheState("shop", 7, 900, 0, 2, True, None, 0))
    point = backend.point("tercet.cache.entries")
    assert isinstance(point, NumberDataPoint)
    assert (point.value, dict(point.attributes or {})) == (7, {"tercet.cache.namespace": "shop"})
    assert "tercet.cache.bus_lag_seconds" not in backend.metrics


def test_callers_who_share_a_write_and_sessions_that_were_refused_are_told(backend: Backend) -> None:
    """A session's handle is no attribute."""
    backend.telemetry.tell(WireWrote(64))
    wrote = backend.point("tercet.wire.batch")
    assert isinstance(wrote, HistogramDataPoint)
    assert wrote.sum == 64
    backend.telemetry.tell(SessionRefused("misfit", "secret-handle"))
    point = backend.point("tercet.session.refusals")
    assert dict(point.attributes or {}) == {"tercet.session.reason": "misfit", "tercet.session.revoked": False}


def test_what_a_feed_has_told_and_how_it_stands_is_recorded(backend: Backend) -> None:
    """By its place; a lag that nobody knows is not told."""
    backend.telemetry.tell(ChangesHeard("orders", 3, 40, 0.001, 0.02))
    backend.telemetry.tell(FeedState("orders", "reading", resyncs=1))
    told = {
        name: backend.point(f"tercet.changes.{name}") for name in ("commits", "changes", "lag", "reading", "resyncs")
    }
    assert [point.value for point in told.values() if isinstance(point, NumberDataPoint)] == [3, 40, 1, 1]
    assert all(dict(point.attributes or {}) == {"tercet.changes.place": "orders"} for point in told.values())
    assert "tercet.changes.lag_bytes" not in backend.metrics
    backend.telemetry.tell(FeedState("orders", "reading", lag_bytes=7))
    lag = backend.point("tercet.changes.lag_bytes")
    assert isinstance(lag, NumberDataPoint)
    assert lag.value == 7


def test_an_event_of_a_kind_not_known_yet_is_passed_over(backend: Backend) -> None:
    """An older listener does not trip over a newer event."""
    backend.telemetry.tell(Event())
    assert (backend.metrics, backend.spans) == ({}, ())


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing package is told with the command that brings it."""
    monkeypatch.delitem(sys.modules, "tercet.telemetry.otel")
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'tercet\[otel\]'"):
        __import__("tercet.telemetry.otel")
