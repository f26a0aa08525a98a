"""Two answers compared as the question allows: as sets of rows, in order, and fair to ties under a LIMIT."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Outcome = Literal["same", "refuted", "undetermined"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the first statement answers: all its rows without its LIMIT, and which of them are tied.

    `ties` holds a text for each row that is the same for rows of equal order; None where there is no order, and
    rows may come in any. `start` and `stop` are what OFFSET and LIMIT take of them.
    """

    rows: tuple[str, ...]
    ties: tuple[str, ...] | None = None
    start: int = 0
    stop: int | None = None

    @property
    def window(self) -> tuple[int, int]:
        """The places that it takes, within what there is."""
        start = min(self.start, len(self.rows))
        stop = len(self.rows) if self.stop is None else min(self.stop, len(self.rows))
        return start, max(start, stop)

    @property
    def taken(self) -> tuple[str, ...]:
        """One answer that it may give."""
        start, stop = self.window
        return self.rows[start:stop]


def compare(asked: Asked, after: Sequence[str]) -> Outcome:
    """Whether other rows answer the same question.

    Rows tied in their order may come in any order among themselves. Where the window cuts through rows that are
    tied and differ, any of them may be there: if they are others than before, that is undetermined, not wrong.
    """
    start, stop = asked.window
    if len(after) != stop - start:
        return "refuted"
    loose = False
    place = 0
    for size in _group_sizes(asked):
        first, last = max(place, start), min(place + size, stop)
        if first < last:
            group, given = Counter(asked.rows[place : place + size]), Counter(after[first - start : last - start])
            if given - group:
                return "refuted"
            loose = loose or given != Counter(asked.rows[first:last])
        place += size
    return "undetermined" if loose else "same"


def _group_sizes(asked: Asked) -> list[int]:
    if asked.ties is None:
        return [len(asked.rows)]
    return [len(list(group)) for _, group in groupby(asked.ties)]
