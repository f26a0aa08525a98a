"""When people sign up and order: hours, weekdays and months have their weights, and the shop grows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from tercet_shop import figures

if TYPE_CHECKING:
    from tercet_shop.assemble import Ints
    from tercet_shop.dice import Floats

HOUR = 3_600
DAY = 86_400
# The shop's life: whole seconds since 1970; the end is not part of it.
BEGIN = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
END = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())

# Three times as many people sign up on the last day as on the first: a shop that grows, but is no rocket.
# Chosen, not fitted: the file is one year of a shop whose customers it does not show signing up.
GROWTH = 3.0
# 1970-01-01 was a Thursday.
_THURSDAY = 3


class Calendar:
    """A way to spread moments over the shop's life: from a share of all weight to a second, and back."""

    __slots__ = ("_edges", "_shares")

    def __init__(self, weights: Floats) -> None:
        self._edges = BEGIN + np.arange(len(weights) + 1, dtype=np.float64) * HOUR
        self._shares = np.concatenate(([0.0], np.cumsum(weights))) / weights.sum()

    def moments(self, shares: Floats) -> Ints:
        """The second by which each share of the weight has passed."""
        seconds = np.interp(shares, self._shares, self._edges).astype(np.int64)
        inside: Ints = np.minimum(seconds, END - 1)
        return inside

    def shares(self, moments: Ints) -> Floats:
        """The share of the weight that has passed at each second."""
        passed: Floats = np.interp(moments, self._edges, self._shares)
        return passed


def signups() -> Calendar:
    """When users come: at the hours at which the shop is busy, more of them each year."""
    hours = np.arange(BEGIN, END, HOUR)
    growth = 1 + (GROWTH - 1) * (hours - BEGIN) / (END - BEGIN)
    return Calendar(np.array(figures.HOURS)[hours // HOUR % 24] * growth)


def ordering() -> Calendar:
    """When a user orders, as far as hours, weekdays and months say."""
    hours = np.arange(BEGIN, END, HOUR)
    days = hours // DAY
    months = days.astype("M8[D]").astype("M8[M]").astype(np.int64) % 12
    return Calendar(
        np.array(figures.HOURS)[hours // HOUR % 24]
        * np.array(figures.WEEKDAYS)[(days + _THURSDAY) % 7]
        * np.array(figures.MONTHS)[months]
    )
