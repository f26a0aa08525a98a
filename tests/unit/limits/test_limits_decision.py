"""Decisions: of several rates the one that matters, and fields of an HTTP answer that are never too early."""

from __future__ import annotations

from tercet.limits import Decision, Rate
from tercet.limits.decision import decided

FAST = Rate.of("10/second")
SLOW = Rate.of("100/hour")


def used(rate: Rate, tokens: int) -> int:
    """The level at which so many are used."""
    return tokens * rate.period_us


def test_a_decision_that_passed_speaks_of_the_rate_with_the_least_left() -> None:
    """The next refusal will be that one's."""
    assert decided([FAST, SLOW], [used(FAST, 1), used(SLOW, 95)], 1, allowed=True) == Decision(
        True, remaining=5, retry_after=0.0, reset_after=95 * 36.0, limit=100
    )


def test_of_two_rates_with_the_same_left_it_is_the_one_that_takes_longer() -> None:
    """The other one will have more again soon."""
    assert decided([FAST, SLOW], [used(FAST, 5), used(SLOW, 95)], 1, allowed=True).limit == 100


def test_a_refusal_speaks_of_the_rate_to_wait_for_longest() -> None:
    """Whoever waits as long passes all of them."""
    refused = decided([FAST, SLOW], [used(FAST, 10), used(SLOW, 100)], 2, allowed=False)
    assert refused == Decision(False, remaining=0, retry_after=72.0, reset_after=3600.0, limit=100)


def test_a_refused_cost_leaves_what_is_there_for_smaller_ones() -> None:
    """Three are left, four are refused, and the wait is that of the fourth."""
    refused = decided([FAST], [used(FAST, 7)], 4, allowed=False)
    assert (refused.remaining, refused.retry_after) == (3, 0.1)


def test_a_decision_is_as_true_as_it_is_allowed() -> None:
    """`if await limit.check(key)` says what it looks like."""
    assert decided([FAST], [0], 1, allowed=True)
    assert not decided([FAST], [used(FAST, 10)], 1, allowed=False)


def test_headers_are_whole_seconds_rounded_up() -> None:
    """A client that comes back after Retry-After is not too early."""
    refused = Decision(False, remaining=0, retry_after=0.100001, reset_after=59.2, limit=100)
    assert refused.headers() == {
        "RateLimit-Limit": "100",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "60",
        "Retry-After": "1",
    }
    passed = Decision(True, remaining=99, retry_after=0.0, reset_after=2.0, limit=100)
    assert passed.headers() == {"RateLimit-Limit": "100", "RateLimit-Remaining": "99", "RateLimit-Reset": "2"}


def test_headers_of_a_call_that_nobody_counted_claim_nothing() -> None:
    """What is left is not known then; only when to come back is said."""
    assert Decision(True, 0, 0.0, 0.0, 100, checked=False).headers() == {}
    assert Decision(False, 0, 1.0, 1.0, 100, checked=False).headers() == {"Retry-After": "1"}
