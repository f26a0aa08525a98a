"""A session shows nothing that is secret, and its rules are checked when they are said."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.errors import SettingInvalid
from tercet.sessions import Device, Session
from tercet.sessions.session import moment, rules

NOW = datetime(2024, 5, 1, tzinfo=UTC)
USUAL: dict[str, Any] = {"idle": "30m", "absolute": "14d", "grace": "10s", "replayed": "refuse"}


def session() -> Session[dict[str, str]]:
    """One with something secret in every place that may hold it."""
    return Session("secret-id", "handle", "secret-user", {"k": "secret-data"}, "Firefox", "secret-ip", NOW, NOW, NOW, 1)


def test_a_session_shows_neither_its_id_nor_whose_it_is() -> None:
    """A log line with a session in it lets nobody in."""
    for shown in (repr(session()), str(session()), f"{session()}", f"{[session()]}"):
        assert "secret" not in shown
        assert "handle" in shown


def test_a_device_has_no_id_and_does_not_show_an_address() -> None:
    """A list of devices can be logged."""
    device = Device("handle", "Firefox", "secret-ip", NOW, NOW)
    assert "secret" not in repr(device)
    assert not hasattr(device, "id")


def test_two_sessions_are_equal_only_when_they_are_one_object() -> None:
    """Comparing them would compare secrets."""
    one = session()
    assert one != copy.copy(one)


def test_the_rules_are_kept_in_milliseconds() -> None:
    """As the server counts; a use is written down once in a tenth of the idle time."""
    made = rules(**USUAL)
    assert (made.idle, made.absolute, made.grace, made.touch) == (1_800_000, 1_209_600_000, 10_000, 180_000)
    assert not made.revoke_replayed
    assert rules(**(USUAL | {"replayed": "revoke"})).revoke_replayed
    assert rules(**(USUAL | {"grace": 0})).grace == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("idle", "soon"),
        ("idle", 0),
        ("idle", "15d"),
        ("idle", None),
        ("absolute", -1),
        ("absolute", "20000d"),
        ("absolute", float("nan")),
        ("grace", "1h"),
        ("grace", True),
        ("replayed", "ignore"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_by_its_name(name: str, value: Any) -> None:
    """The sentence names the setting, what it was, and what would be right."""
    with pytest.raises(SettingInvalid) as refused:
        rules(**(USUAL | {name: value}))
    assert refused.value.name == name
    assert refused.value.where == "Sessions"


@given(st.integers(min_value=0, max_value=2**62))
def test_every_time_of_a_server_is_a_moment(ms: int) -> None:
    """A server's clock may be far beyond any calendar."""
    assert moment(ms).tzinfo is UTC


def test_a_moment_is_the_one_that_the_server_meant() -> None:
    """Milliseconds since 1970."""
    assert moment(1_714_521_600_000) == NOW
