"""Two ways of answering timed in pairs: how much faster one is, and whether that may be chance.

Pairs are compared by the logarithm of their ratio, so that twice as fast and twice as slow weigh the same and a pair
that the machine has slowed down as a whole stays a fair one. The test is Wilcoxon's signed-rank test in its exact form
(F. Wilcoxon, Individual comparisons by ranking methods, 1945); the estimate and its interval are those of Hodges and
Lehmann that belong to it: the median of all Walsh averages, and two of them as far from the ends as the same
distribution says (M. Hollander, D. Wolfe, Nonparametric Statistical Methods, 3.1 to 3.3). Nothing in it is drawn.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# A difference that chance would bring in one of twenty comparisons is no proof.
CHANCE_MAX = 0.05
# With fewer pairs not even all of them in agreement come below that (1/16 with four).
PAIRS_FOR_A_TEST = 5
# Then all have to agree, and by more than what a busy machine makes of nothing.
AGREED_RATIO = 1.25


@dataclass(frozen=True, slots=True)
class Paired:
    """What pairs of measurements came to; `ratio` is how many times faster the second is.

    `low` and `high` are the ends of its interval: of 95 %, or as near as so few pairs allow. `chance` is how likely
    pairs this much in favour of the side that won would be if there were no difference; None with too few of them.
    """

    pairs: int
    ratio: float
    low: float
    high: float
    chance: float | None
    # The weakest pair, seen from the side that won.
    weakest: float

    def surely(self, ratio: float) -> bool:
        """Whether the second is faster by so much, and not by chance."""
        return self.ratio >= ratio and self._sure(faster=True)

    def surely_slower(self, ratio: float) -> bool:
        """Whether the second is slower by so much, and not by chance."""
        return self.ratio * ratio <= 1 and self._sure(faster=False)

    @property
    def clear(self) -> bool:
        """Whether all of them agree, by more than what a busy machine makes of nothing."""
        return self.weakest >= AGREED_RATIO

    def settled(self, ratio: float) -> bool:
        """Whether more pairs would say the same: it is clear, or none of them differs by as much as counts."""
        return self.clear or (self.low * ratio > 1 and self.high < ratio)

    def _sure(self, *, faster: bool) -> bool:
        if (self.ratio >= 1) is not faster:
            return False
        if self.chance is None:
            return self.clear
        return self.chance <= CHANCE_MAX


def compare_pairs(before: Sequence[float], after: Sequence[float]) -> Paired:
    """The comparison of measurements that were taken side by side; all are above zero."""
    logs = [math.log(one / two) for one, two in zip(before, after, strict=True)]
    if not logs:
        raise ValueError("there are no pairs")
    walsh = sorted((logs[i] + logs[j]) / 2 for i in range(len(logs)) for j in range(i, len(logs)))
    estimate = statistics.median(walsh)
    ways = _ways(len(logs))
    cut = _cut(ways)
    side = 1 if estimate >= 0 else -1
    chance = _chance([side * one for one in logs], ways) if len(logs) >= PAIRS_FOR_A_TEST else None
    return Paired(
        pairs=len(logs),
        ratio=math.exp(estimate),
        low=math.exp(walsh[cut]),
        high=math.exp(walsh[-1 - cut]),
        chance=chance,
        weakest=math.exp(min(side * one for one in logs)),
    )


def _ways(count: int) -> list[int]:
    """In how many of the 2^n choices of signs the positive ranks add up to 0, 1, 2 …"""
    ways = [1]
    for rank in range(1, count + 1):
        longer = [*ways, *([0] * rank)]
        for total, number in enumerate(ways):
            longer[total + rank] += number
        ways = longer
    return ways


def _cut(ways: Sequence[int]) -> int:
    """How many Walsh averages lie outside of the interval at each end."""
    allowed = CHANCE_MAX / 2 * sum(ways)
    below = 0
    for total, number in enumerate(ways):
        below += number
        if below > allowed:
            return total
    return 0


def _chance(logs: Sequence[float], ways: Sequence[int]) -> float:
    """The share of all choices of signs in which the positive ranks add up to as much as here.

    Equal values share the mean of their ranks, rounded against the claim; pairs without a difference count for the
    other side.
    """
    ordered = sorted(logs, key=abs)
    total = 0.0
    at = 0
    while at < len(ordered):
        end = at
        while end < len(ordered) and abs(ordered[end]) == abs(ordered[at]):
            end += 1
        rank = (at + 1 + end) / 2
        total += sum(rank for one in ordered[at:end] if one > 0)
        at = end
    return sum(ways[math.floor(total) :]) / sum(ways)
