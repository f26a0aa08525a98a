"""The Prometheus edge, read back as a server would scrape it."""

from __future__ import annotations

import sys

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tercet.errors import ExtraMissing, SettingInvalid
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
from tercet.telemetry.prometheus import Prometheus

SECRET = "redis://:hunter2@cache.internal:6379/0"


class Scraped:
    """A hub whose events flow into a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.telemetry = Telemetry()
        self.telemetry.listen(Prometheus(self.registry))

    @property
    def text(self) -> str:
        """What a scrape answers."""
        return generate_latest(self.registry).decode()

    def value(self, name: str, **labels: str) -> float | None:
        """One sample's value; None where there is none."""
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def scraped() -> Scraped:
    """A registry of its own for each test."""
    return Scraped()


def test_an_operation_is_observed_in_seconds_with_its_room_name_store_and_outcome(scraped: Scraped) -> None:
    """The sum and the count are what was told."""
    scraped.telemetry.tell(Operation("rollups", "refresh", 0.25, "ok", "postgres"))
    scraped.telemetry.tell(Operation("rollups", "refresh", 0.5, "ok", "postgres"))
    labels = {"room": "rollups", "operation": "refresh", "store": "postgres", "outcome": "ok"}
    assert scraped.value("tercet_operation_seconds_count", **labels) == 2
    assert scraped.value("tercet_operation_seconds_sum", **labels) == 0.75
    assert scraped.value("tercet_operation_seconds_bucket", **labels, le="0.25") == 1
    assert scraped.value("tercet_operation_seconds_bucket", **labels, le="0.5") == 2


def test_an_operation_on_no_store_has_an_empty_store_label(scraped: Scraped) -> None:
    """Prometheus treats an empty label as absent."""
    scraped.telemetry.tell(Operation("proof", "sample", 2.0, "ok"))
    assert scraped.value(
        "tercet_operation_seconds_count", room="proof", operation="sample", store="", outcome="ok"
    ) == 1  # fmt: skip


def test_a_failure_is_counted_by_the_class_of_its_error_and_its_text_never_comes_out(
    scraped: Scraped,
) -> None:
    """An address inside an error's text is not scraped."""
    with pytest.raises(ConnectionError), scraped.telemetry.operation("cache", "fetch", store="redis"):
        raise ConnectionError(f"cannot reach {SECRET}")
    labels = {"room": "cache", "operation": "fetch", "store": "redis"}
    assert scraped.value("tercet_operation_failures_total", **labels, error="ConnectionError") == 1
    assert scraped.value("tercet_operation_seconds_count", **labels, outcome="failed") == 1
    assert "hunter2" not in scraped.text
    assert "cache.internal" not in scraped.text


def test_a_failure_of_unknown_class_is_counted_under_its_outcome(scraped: Scraped) -> None:
    """No failure is lost for want of a class."""
    scraped.telemetry.tell(Operation("cache", "fetch", 0.1, "timeout", "redis"))
    assert (
        scraped.value(
            "tercet_operation_failures_total", room="cache", operation="fetch", store="redis", error="timeout"
        )
        == 1
    )


def test_a_wait_for_a_connection_shows_its_time_and_the_size_of_the_pool(scraped: Scraped) -> None:
    """Waits that ran out are told apart from those that ended well."""
    scraped.telemetry.tell(ConnectionWaited("postgres", 0.01, "ok", 20))
    scraped.telemetry.tell(ConnectionWaited("postgres", 5.0, "timeout", 24))
    assert scraped.value("tercet_connection_wait_seconds_count", store="postgres", outcome="ok") == 1
    assert scraped.value("tercet_connection_wait_seconds_sum", store="postgres", outcome="timeout") == 5.0
    assert scraped.value("tercet_connection_pool_size", store="postgres") == 24


def test_cache_reads_are_counted_by_tier(scraped: Scraped) -> None:
    """Hits and misses can be told apart, and their times too."""
    for tier, taken in (("memory", 5e-7), ("memory", 5e-7), ("loader", 0.2)):
        scraped.telemetry.tell(CacheRead("profiles", tier, taken, "ok"))  # type: ignore[arg-type]  # not literals here
    assert scraped.value("tercet_cache_reads_total", cache="profiles", tier="memory", outcome="ok") == 2
    assert scraped.value("tercet_cache_reads_total", cache="profiles", tier="loader", outcome="ok") == 1
    assert scraped.value("tercet_cache_read_seconds_bucket", cache="profiles", tier="memory", le="1e-06") == 2


def test_checks_of_limits_are_counted_by_what_came_out(scraped: Scraped) -> None:
    """What was decided without Redis can be told apart."""
    scraped.telemetry.tell(LimitChecked("login", "allowed", checked=True))
    scraped.telemetry.tell(LimitChecked("login", "refused", checked=True))
    scraped.telemetry.tell(LimitChecked("login", "allowed", checked=False))
    assert scraped.value("tercet_limit_checks_total", limit="login", outcome="allowed", checked="true") == 1
    assert scraped.value("tercet_limit_checks_total", limit="login", outcome="allowed", checked="false") == 1


def test_a_server_that_came_up_is_told_with_its_time(scraped: Scraped) -> None:
    """Embedded servers are seen too."""
    scraped.telemetry.tell(ServerChanged("mongo", "started", 1.2))
    assert scraped.value("tercet_server_change_seconds_sum", store="mongo", state="started") == 1.2


def test_what_a_cache_does_besides_is_counted(scraped: Scraped) -> None:
    """Stale values, callers who joined, late fills, early refreshes, drops that were owed."""
    tell = scraped.telemetry.tell
    tell(CacheRead("profiles", "memory", 1e-6, "ok", stale=True))
    tell(CacheRead("profiles", "loader", 0.1, "ok", joined=True))
    tell(CacheRead("profiles", "redis", 0.001, "ok"))
    assert scraped.value("tercet_cache_stale_reads_total", cache="profiles") == 1
    assert scraped.value("tercet_cache_joined_reads_total", cache="profiles") == 1
    tell(CacheNoted("late fill refused", "profiles"))
    tell(CacheNoted("early refresh", "profiles"))
    tell(CacheNoted("drop kept", count=3))
    tell(CacheNoted("drop delivered", count=2))
    for cache, event, count in (
        ("profiles", "late fill refused", 1),
        ("profiles", "early refresh", 1),
        ("", "drop kept", 3),
        ("", "drop delivered", 2),
    ):
        assert scraped.value("tercet_cache_events_total", cache=cache, event=event) == count


def test_how_a_cache_stands_is_the_last_that_was_told(scraped: Scraped) -> None:
    """Each namespace by itself; what is not known is not told."""
    for entries, lag in ((5, None), (7, 0.25)):
        scraped.telemetry.tell(CacheState("shop", entries, 900, 1, 2, True, lag, 3))
    scraped.telemetry.tell(CacheState("quiet", 0, 0, 0, 0, False, None, 0))
    told = ("entries", "bytes", "evicted", "loading", "trusted", "bus_lag_seconds", "undelivered")
    shop = [scraped.value(f"tercet_cache_{name}", namespace="shop") for name in told]
    assert shop == [7, 900, 1, 2, 1, 0.25, 3]
    assert scraped.value("tercet_cache_trusted", namespace="quiet") == 0
    assert scraped.value("tercet_cache_bus_lag_seconds", namespace="quiet") is None


def test_callers_who_share_a_write_and_sessions_that_were_refused_are_counted(scraped: Scraped) -> None:
    """A session's handle is no label."""
    scraped.telemetry.tell(WireWrote(64))
    assert scraped.value("tercet_wire_batch_callers_sum") == 64
    scraped.telemetry.tell(SessionRefused("replayed", "secret-handle", revoked=True))
    assert scraped.value("tercet_session_refusals_total", reason="replayed", revoked="true") == 1
    assert "secret-handle" not in scraped.text


def test_what_a_feed_has_told_and_how_it_stands_is_recorded(scraped: Scraped) -> None:
    """Commits and rows are counted, the state is the last one, and a lag that nobody knows is left as it was."""
    scraped.telemetry.tell(ChangesHeard("orders", 3, 40, 0.001, 0.02))
    assert scraped.value("tercet_changes_commits_total", place="orders") == 3
    assert scraped.value("tercet_changes_changes_total", place="orders") == 40
    assert scraped.value("tercet_changes_lag_seconds_sum", place="orders") == 0.02
    scraped.telemetry.tell(FeedState("orders", "reading", lag_bytes=512, resyncs=1))
    assert scraped.value("tercet_changes_reading", place="orders") == 1
    scraped.telemetry.tell(FeedState("orders", "away", resyncs=2))
    told = [scraped.value(f"tercet_changes_{name}", place="orders") for name in ("reading", "lag_bytes", "resyncs")]
    assert told == [0, 512, 2]


def test_every_metric_has_a_name_of_ours_and_a_help_text(scraped: Scraped) -> None:
    """A scrape can be parsed, and each family explains itself."""
    scraped.telemetry.tell(Operation("cache", "fetch", 0.1, "failed", "redis", "OSError"))
    scraped.telemetry.tell(CacheRead("profiles", "redis", 0.001, "ok"))
    families = list(text_string_to_metric_families(scraped.text))
    assert families
    for family in families:
        assert family.name.startswith("tercet_")
        assert family.documentation.endswith(".")


def test_an_event_of_a_kind_not_known_yet_is_passed_over(scraped: Scraped) -> None:
    """An older listener does not trip over a newer event."""
    before = scraped.text
    scraped.telemetry.tell(Event())
    assert scraped.text == before


def test_one_listener_serves_two_hubs() -> None:
    """Two Tercets in one process share a listener, and their figures add up."""
    registry, one, two = CollectorRegistry(), Telemetry(), Telemetry()
    listener = Prometheus(registry)
    one.listen(listener)
    two.listen(listener)
    for telemetry in (one, two):
        telemetry.tell(ServerChanged("redis", "started", 0.5))
    labels = {"store": "redis", "state": "started"}
    assert registry.get_sample_value("tercet_server_change_seconds_count", labels) == 2


def test_a_second_listener_on_the_same_registry_is_refused_with_a_way_out() -> None:
    """The registry would refuse the names; the error says what to do."""
    registry = CollectorRegistry()
    Prometheus(registry)
    with pytest.raises(SettingInvalid, match="share one Prometheus"):
        Prometheus(registry)


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing package is told with the command that brings it."""
    monkeypatch.delitem(sys.modules, "tercet.telemetry.prometheus")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'tercet\[prometheus\]'"):
        __import__("tercet.telemetry.prometheus")
