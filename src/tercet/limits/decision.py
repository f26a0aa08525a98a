"""The answer to a check, made of the levels that its rates stood at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.limits.gcra import empty_us, left, wait_us
from tercet.limits.rate import US_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.limits.rate import Rate


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a call may go on, and when one may that may not.

    Of several rates it speaks of the one that matters: the one to wait for longest where the call was refused,
    the one with the least left where it was not.
    """

    allowed: bool
    # How many more may come right now.
    remaining: int
    # Seconds after which the same call passes; 0.0 where it has passed.
    retry_after: float
    # Seconds after which all of `limit` is there again, if nobody calls.
    reset_after: float
    # How many may come at once when nothing is used.
    limit: int
    # False: Redis did not answer, and the limit's own `when_away` has decided.
    checked: bool = True

    def __bool__(self) -> bool:
        """Whether it is allowed, so that `if await limit.check(key):` cannot mean anything else."""
        return self.allowed

    def headers(self) -> dict[str, str]:
        """The fields of an HTTP answer: RateLimit-Limit, -Remaining, -Reset, and Retry-After where it was refused.

        Whole seconds, rounded up: a client that waits as long is not too early.
        """
        told = {"Retry-After": str(_ceil(self.retry_after))} if not self.allowed else {}
        if not self.checked:
            return told
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(_ceil(self.reset_after)),
            **told,
        }


def decided(rates: Sequence[Rate], levels: Sequence[int], cost: int, *, allowed: bool) -> Decision:
    """The decision on these levels: those after the call where it passed, those it met where it did not."""
    rate, level = rates[0], levels[0]
    if len(rates) > 1:
        rate, level = _ruling(rates, levels, cost, allowed=allowed)
    return Decision(
        allowed,
        left(rate, level),
        0.0 if allowed else wait_us(rate, level, cost) / US_PER_SECOND,
        empty_us(rate, level) / US_PER_SECOND,
        rate.burst,
    )


def _ruling(rates: Sequence[Rate], levels: Sequence[int], cost: int, *, allowed: bool) -> tuple[Rate, int]:
    pairs = zip(rates, levels, strict=True)
    if allowed:
        return min(pairs, key=lambda pair: (left(*pair), -empty_us(*pair)))
    return max(pairs, key=lambda pair: wait_us(pair[0], pair[1], cost))


def _ceil(seconds: float) -> int:
    # In microseconds first: what a float has beyond them is no time.
    return -(-round(seconds * US_PER_SECOND) // US_PER_SECOND)
