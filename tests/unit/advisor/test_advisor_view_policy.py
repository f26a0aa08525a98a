"""How a view is kept up: the arithmetic of refresh time, changes and the age that is tolerated."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.advisor.views import policy
from tercet.errors import SettingInvalid

_times = st.floats(min_value=0, max_value=1e6)


def test_what_does_not_change_is_never_refreshed_by_itself() -> None:
    """Nothing is scheduled."""
    assert policy(15.0, 0.0, 60.0).way == "once"


def test_a_refresh_that_is_short_beside_the_age_goes_on_schedule() -> None:
    """15 s of refresh within an hour, by so many changes that a log would cost more."""
    found = policy(15.0, 10_000.0, 3_600.0)
    assert (found.way, found.every) == ("concurrently", 3_585.0)
    assert found.core == pytest.approx(15 / 3_585)
    assert "a refresh takes 15 s" in found.why


def test_a_log_is_cheaper_where_little_changes() -> None:
    """A refresh each minute costs a quarter of a core, a few changes a second nearly nothing."""
    found = policy(15.0, 5.0, 60.0)
    assert found.way == "delta"
    assert found.core < 0.001


def test_the_balance_of_log_and_refresh_is_where_it_was_measured() -> None:
    """15 s of refresh a minute cost as much as some 580,000 changes a minute."""
    rate = 580_000 / 60
    assert policy(15.0, rate * 0.8, 75.0).way == "delta"
    assert policy(15.0, rate * 1.2, 75.0).way == "concurrently"


def test_readers_who_may_wait_or_hardly_do_get_a_plain_refresh() -> None:
    """It is cheaper."""
    assert policy(15.0, 1e6, 3_600.0, readers_wait=True).way == "plain"
    assert policy(0.01, 1e6, 60.0).way == "plain"


def test_no_age_at_all_takes_triggers() -> None:
    """They cost each write a little."""
    found = policy(15.0, 100.0, 0.0)
    assert found.way == "triggers"
    assert found.write_ms == pytest.approx(0.27)


def test_what_cannot_be_added_up_is_refreshed_as_often_as_can_be() -> None:
    """And it is said that the wish is not met."""
    found = policy(15.0, 100.0, 10.0, additive=False)
    assert (found.way, found.every) == ("concurrently", 60.0)
    assert "more than a quarter of the 10 s" in found.why


@given(_times, _times, _times, st.booleans(), st.booleans())
def test_whatever_is_scheduled_keeps_within_the_age(
    refresh: float, rate: float, age: float, additive: bool, readers_wait: bool
) -> None:
    """Unless it says that it cannot."""
    found = policy(refresh, rate, age, additive=additive, readers_wait=readers_wait)
    assert found.core >= 0
    if found.way in {"plain", "concurrently"} and "more than" not in found.why:
        assert found.every is not None
        assert found.every + refresh <= age * (1 + 1e-9)


@pytest.mark.parametrize("wrong", [-1.0, math.nan])
def test_a_number_that_cannot_be_is_refused(wrong: float) -> None:
    """By its name."""
    with pytest.raises(SettingInvalid, match="refresh_seconds"):
        policy(wrong, 1.0, 1.0)
    with pytest.raises(SettingInvalid, match="tolerated_age"):
        policy(1.0, 1.0, wrong)
