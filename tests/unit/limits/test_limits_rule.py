"""The rule: exact in whole numbers, whatever the rate; never more than was allowed, never too early or too late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tercet.limits import Rate
from tercet.limits.gcra import drained, empty_us, fits, left, wait_us, weight

# Counts that do not divide their periods, bursts below and above the count, periods from 1 µs to a day.
rates = st.builds(
    Rate,
    count=st.integers(1, 2_000),
    period_us=st.one_of(st.integers(1, 2_000), st.integers(1_000_000, 86_400_000_000)),
    burst=st.integers(1, 3_000),
)


@st.composite
def met(draw: st.DrawFn) -> tuple[Rate, int, int]:
    """A rate, a level that it can have, and a cost that it can bear."""
    rate = draw(rates)
    return rate, draw(st.integers(0, rate.window)), draw(st.integers(1, rate.burst))


@given(met())
def test_a_call_conforms_after_exactly_its_wait_and_not_a_microsecond_earlier(case: tuple[Rate, int, int]) -> None:
    """The wait is neither too short nor too long."""
    rate, level, cost = case
    wait = wait_us(rate, level, cost)
    assert fits(rate, drained(rate, level, wait), cost)
    assert wait == 0 or not fits(rate, drained(rate, level, wait - 1), cost)
    assert (wait == 0) == fits(rate, level, cost)


@given(met())
def test_what_is_left_can_be_taken_and_one_more_cannot(case: tuple[Rate, int, int]) -> None:
    """`left` is the largest cost that conforms."""
    rate, level, _ = case
    assert left(rate, level) == 0 or fits(rate, level, left(rate, level))
    assert not fits(rate, level, left(rate, level) + 1)


@given(met())
def test_the_burst_is_there_again_after_exactly_its_time(case: tuple[Rate, int, int]) -> None:
    """And a microsecond earlier something is still used."""
    rate, level, _ = case
    until = empty_us(rate, level)
    assert drained(rate, level, until) == 0
    assert until == 0 or drained(rate, level, until - 1) > 0


@given(rates, st.integers(0, 3_000))
def test_a_weight_in_two_numbers_is_exact(rate: Rate, tokens: int) -> None:
    """Microseconds and parts of one say the same as the whole number they are made of."""
    us, parts = weight(rate, tokens)
    assert us * rate.count + parts == tokens * rate.period_us
    assert 0 <= parts < rate.count


@given(rates, st.lists(st.tuples(st.integers(0, 5_000_000), st.integers(1, 5)), max_size=60))
def test_no_stretch_of_time_sees_more_than_the_burst_and_what_came_back(
    rate: Rate, calls: list[tuple[int, int]]
) -> None:
    """Between any two moments at most burst + count * t / period passes: the promise of the docs."""
    level, now = 0, 0
    passed: list[tuple[int, int]] = []
    for gap, cost in calls:
        now += gap
        level = drained(rate, level, gap)
        if cost <= rate.burst and fits(rate, level, cost):
            level += cost * rate.period_us
            passed.append((now, cost))
    for first, (begun, _) in enumerate(passed):
        total = 0
        for ended, cost in passed[first:]:
            total += cost
            assert total * rate.period_us <= rate.window + (ended - begun) * rate.count


@given(met(), st.integers(-10_000_000, 10_000_000))
def test_a_level_is_never_below_nothing_or_above_the_burst(case: tuple[Rate, int, int], us: int) -> None:
    """Also when the clock goes backwards: nobody waits longer than for a burst."""
    rate, level, _ = case
    assert 0 <= drained(rate, level, us) <= rate.window


def test_a_caller_at_exactly_the_rate_is_never_refused() -> None:
    """Seven a second, evenly, for an hour: a seventh of a second is no whole microseconds, and nothing is lost."""
    rate = Rate.of("7/second", burst=2)
    level = at = 0
    for call in range(7 * 3_600):
        # The first microsecond at or after the call's share of the time.
        now = -(-call * rate.period_us // rate.count)
        level = drained(rate, level, now - at)
        at = now
        assert fits(rate, level, 1)
        level += rate.period_us
    assert at == 3_600_000_000 - 142_857
