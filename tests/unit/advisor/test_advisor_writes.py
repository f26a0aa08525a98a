"""What an index costs those who write, by batches that were taken in turns."""

from __future__ import annotations

import pytest

from tercet.advisor.verify.writes import percent

STEADY = [50.0, *[10.0] * 11]


def test_what_every_pair_shows_is_told_as_the_median_shows_it() -> None:
    """The first batch has warmed what the others read, and one that somebody has disturbed moves nothing."""
    dearer = [10.0, *[12.0 + 0.01 * at for at in range(10)], 90.0]
    assert percent(STEADY, dearer, drops=False) == pytest.approx(20.5, abs=0.3)
    assert percent(STEADY, dearer, drops=True) == pytest.approx(-17.0, abs=0.3)


def test_what_may_be_chance_is_below_the_noise() -> None:
    """Half of the pairs say one thing and half the other; nothing at all is nothing."""
    shaken = [10.0, *[10.0 + (-1) ** at * (1 + at / 10) for at in range(11)]]
    assert percent(STEADY, shaken, drops=False) == 0.0
    assert percent(STEADY, STEADY, drops=False) == 0.0


def test_no_index_makes_a_write_cheaper() -> None:
    """Whatever the clock says: that is noise."""
    cheaper = [10.0, *[8.0 + 0.01 * at for at in range(11)]]
    assert percent(STEADY, cheaper, drops=False) == 0.0
    assert percent(STEADY, cheaper, drops=True) == 0.0
