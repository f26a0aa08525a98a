"""Rates: read as people write them, exact, and refused in words when they cannot be meant."""

from __future__ import annotations

import pytest

from tercet.errors import SettingInvalid
from tercet.limits import Rate

SECOND = 1_000_000


@pytest.mark.parametrize(
    ("text", "count", "period_us"),
    [
        ("100/minute", 100, 60 * SECOND),
        ("10/second", 10, SECOND),
        ("10 per second", 10, SECOND),
        ("1_000/hour", 1_000, 3_600 * SECOND),
        (" 5 / day ", 5, 86_400 * SECOND),
        ("3/week", 3, 604_800 * SECOND),
        ("500/15m", 500, 900 * SECOND),
        ("500 per 15 minutes", 500, 900 * SECOND),
        ("7/h", 7, 3_600 * SECOND),
        ("7/1h 30m", 7, 5_400 * SECOND),
        ("2/250ms", 2, 250_000),
        ("1/sec", 1, SECOND),
    ],
)
def test_a_rate_is_read_as_people_write_it(text: str, count: int, period_us: int) -> None:
    """Words, units and durations alike; the burst is the count."""
    assert Rate.of(text) == Rate(count, period_us, count)


@pytest.mark.parametrize(
    "text", ["", "100", "100/", "/minute", "100/minuet", "1.5/second", "-1/second", "100/0s", "ten/second", "1 per"]
)
def test_a_text_that_is_no_rate_is_refused_with_one_that_is(text: str) -> None:
    """The error shows how a rate is written, or what is wrong with its period."""
    with pytest.raises(SettingInvalid, match=r"100/minute|1 µs or more"):
        Rate.of(text)


@pytest.mark.parametrize("text", [None, 100, 1.5, ["100/minute"]])
def test_what_is_no_text_is_no_rate_either(text: str) -> None:
    """Anything else is refused in the same words."""
    with pytest.raises(SettingInvalid, match="100/minute"):
        Rate.of(text)


@pytest.mark.parametrize("burst", [0, -1, 1.5, True, "5", 1_000_000_001])
def test_a_burst_that_cannot_be_is_refused(burst: int) -> None:
    """It is a whole number from one on."""
    with pytest.raises(SettingInvalid, match="burst"):
        Rate.of("10/second", burst=burst)


def test_nothing_at_all_is_no_rate() -> None:
    """A count of zero would never pass, and is no way to switch something off."""
    with pytest.raises(SettingInvalid, match="sets count to 0"):
        Rate.of("0/second")


def test_a_burst_comes_back_within_ten_years() -> None:
    """Beyond it a number in a script would no longer be exact."""
    with pytest.raises(SettingInvalid, match="ten years"):
        Rate.of("1/day", burst=4_000)
    assert Rate.of("1_000_000_000/week").window == 1_000_000_000 * 604_800 * SECOND


def test_equal_rates_are_written_alike_and_others_are_not() -> None:
    """The text is part of a key: it tells rates apart by count, period and burst."""
    assert str(Rate.of("60/1m")) == str(Rate.of("60 per minute")) == "60/60s"
    assert str(Rate.of("60/minute", burst=5)) == "60/60s+5"
    assert str(Rate.of("60/minute", burst=60)) == "60/60s"
    assert str(Rate.of("2/1500us")) == "2/1500us"


def test_a_rate_that_is_one_already_keeps_its_burst_unless_another_is_given() -> None:
    """So several rates of a limit can each have their own."""
    rate = Rate.of("10/second", burst=20)
    assert Rate.of(rate) is rate
    assert Rate.of(rate, burst=5) == Rate(10, SECOND, 5)
