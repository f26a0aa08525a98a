"""What a process says of itself: when it is said, and that nothing is hurt by it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from tercet.cache.shelf import census as module
from tercet.cache.shelf.census import RESTING_SECONDS, TOLD_SECONDS, Census
from tercet.cache.shelf.layout import Layout
from tercet.clock import StoppedClock
from tercet.errors import StoreUnreachable


class Wire:
    """Takes down what is said, or is away."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.away = False

    async def run(self, _script: object, _keys: object, words: list[object]) -> None:
        if self.away:
            raise StoreUnreachable("redis", reason="the test says so")
        self.said.append(words[0])


class Bench:
    """A census with a clock that stands, and a figure."""

    def __init__(self) -> None:
        self.wire, self.clock = Wire(), StoppedClock(datetime.now(UTC))
        self.census = Census(cast("Any", self.wire), Layout("tercet"), clock=self.clock)
        self.figure = 0
        self.census.figures = lambda: {"figure": self.figure}

    async def after(self, seconds: float) -> int:
        """How often it has been said, this much later."""
        self.clock.advance(seconds)
        await self.census.tell()
        return len(self.wire.said)


async def test_what_changes_is_said_every_other_second_and_no_more_often() -> None:
    """However often it is asked, and however much happens meanwhile."""
    bench = Bench()
    assert await bench.after(0) == 1
    bench.figure += 1
    assert await bench.after(TOLD_SECONDS / 2) == 1
    assert await bench.after(TOLD_SECONDS / 2) == 2


async def test_what_does_not_change_is_said_again_before_it_no_longer_counts() -> None:
    """A process that rests is still there, and is heard of half as often."""
    bench = Bench()
    assert await bench.after(0) == 1
    assert await bench.after(TOLD_SECONDS) == 1
    assert await bench.after(RESTING_SECONDS - TOLD_SECONDS) == 2
    assert RESTING_SECONDS + TOLD_SECONDS < module.GONE_SECONDS


async def test_a_redis_that_is_away_hurts_nobody_and_is_told_when_it_is_back() -> None:
    """What could not be said is not taken for said."""
    bench = Bench()
    bench.wire.away = True
    assert await bench.after(0) == 0
    bench.wire.away = False
    assert await bench.after(TOLD_SECONDS / 2) == 0
    assert await bench.after(TOLD_SECONDS / 2) == 1


async def test_a_forked_child_speaks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that was made before the fork is two caches after it."""
    bench = Bench()
    await bench.after(0)
    bench.figure += 1
    await bench.after(TOLD_SECONDS)
    pid = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    bench.figure += 1
    await bench.after(TOLD_SECONDS)
    first, second, child = bench.wire.said
    assert first == second != child


async def test_nothing_is_said_without_figures() -> None:
    """A shelf that nobody reports on is silent."""
    bench = Bench()
    bench.census.figures = None
    assert await bench.after(60) == 0
