"""What statements took when they were run, and what that says of plans that were not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# One run does not make a plan a thousand times better or worse than it was reckoned; a value that was lucky does.
_CORRECTION_MOST = 100.0


@dataclass(frozen=True, slots=True)
class Observation:
    """One statement as it was run with indexes that were proposed, and beside it without them, on the same rows.

    `indexes` are the names of all that were there. Milliseconds of one call; what counts is how they relate.
    """

    fingerprint: str
    indexes: frozenset[str]
    ms: float
    ms_before: float

    @property
    def ratio(self) -> float:
        """What it takes of what it took."""
        return self.ms / self.ms_before if self.ms_before > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Lesson:
    """How many times longer a statement took than was reckoned, by a plan that uses these supposed indexes."""

    needs: frozenset[str]
    times: float

    @classmethod
    def of(cls, needs: frozenset[str], measured: float, reckoned: float) -> Lesson:
        """What a run teaches."""
        times = measured / reckoned if reckoned > 0 and measured > 0 else 1.0
        return cls(needs, min(max(times, 1.0 / _CORRECTION_MOST), _CORRECTION_MOST))


def correction(lessons: Sequence[Lesson], needs: frozenset[str]) -> float:
    """By how much a plan with these indexes is to be corrected: as the one that was run most like it was.

    The same indexes take the lesson whole, others as much of it as they share; what shares nothing takes none.
    """
    likest, times = 0.0, 1.0
    for one in lessons:
        alike = len(one.needs & needs) / len(one.needs | needs) if one.needs | needs else 0.0
        if alike >= likest and alike > 0:
            likest, times = alike, one.times
    return float(times**likest)
