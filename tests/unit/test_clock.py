"""The clocks: the machine's, and the one that moves only when told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.clock import Clock, StoppedClock, SystemClock


def test_the_system_clock_knows_its_zone_and_never_runs_backwards() -> None:
    """The moment carries UTC; monotonic readings only grow."""
    clock: Clock = SystemClock()
    before = clock.monotonic()
    assert clock.now().utcoffset() == timedelta(0)
    assert clock.monotonic() >= before


def test_a_stopped_clock_stands_still_until_it_is_moved() -> None:
    """Two looks show the same time; an advance moves both faces alike."""
    start = datetime(2024, 2, 29, tzinfo=UTC)
    clock = StoppedClock(start)
    assert (clock.monotonic(), clock.now()) == (clock.monotonic(), clock.now()) == (0.0, start)
    clock.advance(90.5)
    assert (clock.monotonic(), clock.now()) == (90.5, start + timedelta(seconds=90.5))


@given(st.lists(st.integers(0, 10_000), max_size=10))
def test_a_stopped_clock_has_moved_by_the_sum_of_its_advances(steps: list[int]) -> None:
    """No advance is lost, and none counts twice."""
    clock = StoppedClock()
    began = clock.now()
    for step in steps:
        clock.advance(step)
    assert clock.monotonic() == sum(steps)
    assert clock.now() - began == timedelta(seconds=sum(steps))


def test_a_stopped_clock_refuses_to_go_backwards() -> None:
    """A negative advance is an error and moves nothing."""
    clock = StoppedClock()
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)
    assert clock.monotonic() == 0.0
