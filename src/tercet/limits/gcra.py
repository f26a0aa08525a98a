"""The rule: the generic cell rate algorithm, in whole numbers.

GCRA is the algorithm by which ATM networks policed their cells (ITU-T Recommendation I.371, annex A; the
"virtual scheduling" form). It keeps one number, the theoretical arrival time: the moment at which a caller
that goes on at exactly the rate would have used up nothing. What it lies ahead of now is the *level*: how much
of the burst is used. A call adds its cost to it and conforms if the sum is not above the burst; time takes
from it. So any stretch of time t sees at most burst + count * t / period calls, and at most `burst` at once.

A level is counted in units of 1 µs / count. One token weighs period_us of them and one microsecond weighs
`count`, so every rate is exact, 7 a second as well as 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tercet.limits.rate import Rate


def drained(rate: Rate, level: int, us: int) -> int:
    """The level after so many microseconds; never more than a full burst, whatever the clock did."""
    return min(max(level - us * rate.count, 0), rate.window)


def fits(rate: Rate, level: int, cost: int) -> bool:
    """Whether a call of this cost conforms now."""
    return level + cost * rate.period_us <= rate.window


def left(rate: Rate, level: int) -> int:
    """How many tokens could be taken now."""
    return (rate.window - level) // rate.period_us


def wait_us(rate: Rate, level: int, cost: int) -> int:
    """In how many microseconds a call of this cost conforms, and not a microsecond earlier; 0 is now."""
    return max(0, _up(level + cost * rate.period_us - rate.window, rate.count))


def empty_us(rate: Rate, level: int) -> int:
    """In how many microseconds the whole burst is there again."""
    return _up(level, rate.count)


def weight(rate: Rate, tokens: int) -> tuple[int, int]:
    """What so many tokens weigh: whole microseconds, and parts of 1 / count of one."""
    return divmod(tokens * rate.period_us, rate.count)


def _up(number: int, by: int) -> int:
    """The quotient, rounded up."""
    return -(-number // by)
