"""The state machine: fresh, due, stale, spent, and nothing in between."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tercet.cache.state import State, early, state

SECONDS = st.floats(-1e6, 1e6)
SPANS = st.floats(0, 1e6)
DRAWS = st.floats(0, 1, exclude_max=True)


@given(SECONDS, SPANS, SPANS)
def test_an_entry_is_in_exactly_the_state_that_its_times_say(left: float, grace: float, before: float) -> None:
    """Fresh as long as something is left, stale within its grace, spent after it."""
    found = state(left=left, grace=grace, early=before)
    assert (found in {State.FRESH, State.DUE}) is (left > 0)
    assert (found is State.DUE) is (0 < left <= before)
    assert (found is State.STALE) is (left <= 0 and -left < grace)


@given(SECONDS, SPANS, SPANS, SPANS)
def test_time_only_ever_leads_on(left: float, grace: float, before: float, passed: float) -> None:
    """Fresh, due, stale, spent: no entry becomes better by waiting."""
    order = list(State)
    now, later = (state(left=one, grace=grace, early=before) for one in (left, left - passed))
    assert order.index(now) <= order.index(later)


@given(st.floats(0, 60), st.floats(0, 10), DRAWS)
def test_a_load_begins_earlier_the_longer_it_takes(load: float, beta: float, draw: float) -> None:
    """Never after the end; twice as early for twice the time; never at all without a beta."""
    moment = early(load, beta, draw)
    assert moment >= 0
    assert math.isclose(early(2 * load, beta, draw), 2 * moment, abs_tol=1e-9)
    assert early(load, 0, draw) == 0


def test_few_callers_are_early() -> None:
    """XFetch's law: a reader at t before the end loads with the probability exp(-t / (beta * delta))."""
    draws = [number / 10_000 for number in range(1, 10_000)]
    for before in (0.5, 1.0, 3.0):
        share = sum(early(1.0, 1.0, one) >= before for one in draws) / len(draws)
        assert math.isclose(share, math.exp(-before), rel_tol=0.01)
