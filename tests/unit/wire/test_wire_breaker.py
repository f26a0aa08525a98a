"""The breaker: closed, open, mended; and how long between tries."""

from __future__ import annotations

import pytest

from tercet.clock import StoppedClock
from tercet.errors import StoreUnreachable
from tercet.wire.breaker import PAUSE_SECONDS, PAUSE_SECONDS_MAX, Breaker


def _gone() -> StoreUnreachable:
    return StoreUnreachable("redis", reason="it has gone")


def test_a_breaker_opens_once_and_mends_once() -> None:
    """Tripping and mending say whether they changed anything, so that each is told once."""
    breaker = Breaker(StoppedClock())
    states = [breaker.is_open]
    assert (breaker.trip(_gone), breaker.trip(_gone), breaker.opened) == (True, False, 1)
    states.append(breaker.is_open)
    assert (breaker.mend(), breaker.mend()) == (True, False)
    states.append(breaker.is_open)
    assert states == [False, True, False]


def test_every_refused_caller_gets_an_error_of_its_own() -> None:
    """A raised error carries its caller's traceback, which is nobody else's business."""
    breaker = Breaker(StoppedClock())
    breaker.trip(_gone)
    first, second = breaker.refusal(), breaker.refusal()
    assert first is not second
    assert str(first) == str(second)


def test_a_closed_breaker_has_no_refusal() -> None:
    """Asking for one is a mistake of ours."""
    with pytest.raises(RuntimeError):
        Breaker(StoppedClock()).refusal()


def test_an_open_breaker_knows_for_how_long() -> None:
    """Its time is the clock that was handed in."""
    clock = StoppedClock()
    breaker = Breaker(clock)
    assert breaker.open_for() == 0.0
    breaker.trip(_gone)
    clock.advance(2.5)
    breaker.trip(_gone)
    assert breaker.open_for() == 2.5


def test_pauses_grow_to_a_bound_and_begin_again_after_mending() -> None:
    """Each try waits up to twice as long as the one before, and never longer than the bound."""
    breaker = Breaker(StoppedClock())
    bounds = [PAUSE_SECONDS * 2**n for n in range(10)]
    for bound in bounds:
        most = min(bound, PAUSE_SECONDS_MAX)
        assert most / 2 <= breaker.pause() <= most
    breaker.trip(_gone)
    breaker.mend()
    assert breaker.pause() <= PAUSE_SECONDS
