"""Two ways of answering compared: are the rows the same, and how much faster is it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from tercet.errors import ProofFailed, UsageError
from tercet.proof.rows import row_checksums
from tercet.units import duration

if TYPE_CHECKING:
    from tercet.proof.sample import Sample

# The ends of the interval move by under 1 % between seeds with as many draws; each costs two random numbers.
RESAMPLES = 4_000

# The interval leaves out 2.5 % at each end.
_CONFIDENCE = 0.95

# Any number does, as long as it stays: the same samples must give the same verdict on every machine.
_SEED = 20_240_101

# From here a ratio is written without decimals, and in three figures: more are never true twice.
_WHOLE_FROM = 9.95
_FIGURES = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison came to; `ratio` is how many times faster `after` is, by medians.

    `low` and `high` hold the true ratio in 95 of 100 such comparisons (bootstrap); with few measurements they
    are far apart, and that is the point of them.
    """

    same_rows: bool
    ratio: float
    low: float
    high: float
    before_seconds: float
    after_seconds: float
    before_rows: int
    after_rows: int
    # The first row, from 0, that is another one or only on one side.
    differs_at: int | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """The two ends within which the ratio lies."""
        return self.low, self.high

    @property
    def sentence(self) -> str:
        """The verdict as a person would say it."""
        if not self.same_rows:
            sizes = "" if self.before_rows == self.after_rows else f" ({self.before_rows} and {self.after_rows} rows)"
            rows = f"not the same rows: they part at row {self.differs_at}{sizes}"
        else:
            rows = f"same {self.after_rows:,} {'row' if self.after_rows == 1 else 'rows'}".replace(",", "\u202f")
        faster = self.ratio >= 1
        ends = (self.low, self.high) if faster else (1 / self.high, 1 / self.low)
        return (
            f"{rows}; {times(self.ratio if faster else 1 / self.ratio)} {'faster' if faster else 'slower'} "
            f"({times(ends[0])} to {times(ends[1])}): "
            f"{duration(self.before_seconds)} → {duration(self.after_seconds)}"
        )

    def required(self, *, at_least: float = 1.0, surely: bool = False) -> Verdict:
        """This verdict, if the rows are the same and it is `at_least` so many times faster; else ProofFailed.

        With `surely`, the low end of the interval must reach it, not only the ratio of the medians.
        """
        if not self.same_rows:
            raise ProofFailed(
                f"Proof failed: {self.sentence}.",
                verdict=self,
                mend="Keep every condition, say where NULLs go, and order to the last tie.",
            )
        shown = self.low if surely else self.ratio
        if shown < at_least:
            raise ProofFailed(
                f"Proof failed: {times(at_least)} faster was asked for; {self.sentence}.",
                verdict=self,
                mend="Leave it as it is, or measure more often on a quieter machine." if surely else "",
            )
        return self


def compare(
    before: Sample[object],
    after: Sample[object],
    *,
    rows: tuple[Iterable[object], Iterable[object]] | None = None,
    resamples: int = RESAMPLES,
) -> Verdict:
    """The verdict on two samples of the same question; `rows` are their answers unless given.

    Everything is seeded, so the same samples give the same verdict. Raises UsageError for a time of zero,
    which no ratio can be made of: measure that in batches.
    """
    mine, theirs = (_rows(before.answer), _rows(after.answer)) if rows is None else rows
    first, second = row_checksums(mine), row_checksums(theirs)
    if before.best <= 0 or after.best <= 0:
        raise UsageError("A measurement is shorter than the clock can tell.", "Sample it with a larger batch.")
    low, high = _interval(before.seconds, after.seconds, resamples)
    return Verdict(
        same_rows=first == second,
        ratio=before.median / after.median,
        low=low,
        high=high,
        before_seconds=before.median,
        after_seconds=after.median,
        before_rows=len(first),
        after_rows=len(second),
        differs_at=_parting(first, second),
    )


def times(ratio: float) -> str:
    """A ratio as it is shown: "0.48×", "4.9×", "5 330×"."""
    if ratio < 1:
        return f"{ratio:.2g}×"
    if ratio < _WHOLE_FROM:
        return f"{ratio:.1f}".removesuffix(".0") + "×"
    rounded = round(ratio, _FIGURES - len(str(round(ratio))))
    return f"{rounded:,.0f}×".replace(",", "\u202f")


def _rows(answer: object) -> Iterable[object]:
    if not isinstance(answer, Iterable):
        mend = "Let the question return its rows, or give them as rows=(before, after)."
        raise UsageError(f"A sample's answer is a {type(answer).__name__}, not rows.", mend)
    return answer


def _parting(first: Sequence[str], second: Sequence[str]) -> int | None:
    return next((at for at, (one, two) in enumerate(zip_longest(first, second)) if one != two), None)


def _interval(before: Sequence[float], after: Sequence[float], resamples: int) -> tuple[float, float]:
    """The middle 95 % of the ratios of medians of resampled measurements (percentile bootstrap)."""
    draw = random.Random(_SEED)  # noqa: S311 - a repeatable draw is wanted, not a secret one
    one, two = sorted(before), sorted(after)
    ratios = sorted(_median(one, draw) / _median(two, draw) for _ in range(max(resamples, 1)))
    cut = (1 - _CONFIDENCE) / 2
    last = len(ratios) - 1
    return ratios[round(cut * last)], ratios[round((1 - cut) * last)]


def _median(ordered: Sequence[float], draw: random.Random) -> float:
    """The median of as many draws with replacement, without making them.

    The k-th smallest of n uniform numbers is Beta(k, n - k + 1) distributed, and draws are taken by such
    numbers; so the middle one can be drawn directly. An even number has two in the middle: the upper is,
    above the lower, the least of the n - k numbers left.
    """
    n = len(ordered)
    lower = (n + 1) // 2
    position = draw.betavariate(lower, n - lower + 1)
    value = ordered[min(int(position * n), n - 1)]
    if n % 2:
        return value
    position += (1 - position) * (1 - draw.random() ** (1 / (n - lower)))
    return (value + ordered[min(int(position * n), n - 1)]) / 2
