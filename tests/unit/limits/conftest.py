"""A Redis that is a dict: it counts by the rule itself, on a clock that moves only when told to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tercet.clock import StoppedClock
from tercet.errors import StoreUnreachable
from tercet.limits import Limits
from tercet.telemetry import Telemetry
from tercet.wire import Script


class Model:
    """What take.lua does, in whole numbers of a microsecond's parts; it can be away, and it can be slow."""

    def __init__(self, clock: StoppedClock) -> None:
        self._clock = clock
        # For each key and rate the moment at which nothing will be used, in microseconds and parts.
        self._until: dict[bytes, list[tuple[int, int]]] = {}
        self.asked: list[tuple[bytes, ...]] = []
        self.away = False
        # Set: a question is not answered before this happens.
        self.gate: asyncio.Event | None = None

    @property
    def now_us(self) -> int:
        """The clock, in microseconds."""
        return round(self._clock.monotonic() * 1_000_000)

    async def run(self, script: Script, keys: Sequence[bytes], words: Sequence[bytes] = ()) -> object:
        """Take the first amount that fits into every rate."""
        assert script.name == "take"
        self.asked.append(tuple(words))
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise StoreUnreachable("redis", reason="it is a model that is away")
        tries, *numbers = map(int, words)
        width = 3 + 2 * tries
        rates = [numbers[start : start + width] for start in range(0, len(numbers), width)]
        now, levels = self.now_us, []
        kept = self._until.get(keys[0], [(0, 0)] * len(rates))
        for (count, us, parts, *_), (until_us, until_parts) in zip(rates, kept, strict=True):
            # Parts of another count round up to the next microsecond.
            level = (until_us - now) * count + min(count, until_parts)
            levels.append(min(max(level, 0), us * count + parts))
        got = 0
        for number in range(tries):
            after = [
                level + rate[3 + 2 * number] * rate[0] + rate[4 + 2 * number]
                for rate, level in zip(rates, levels, strict=True)
            ]
            if all(one <= rate[1] * rate[0] + rate[2] for rate, one in zip(rates, after, strict=True)):
                got, levels = number + 1, after
                break
        pairs = [divmod(level, rate[0]) for rate, level in zip(rates, levels, strict=True)]
        if got:
            self._until[keys[0]] = [(now + us, parts) for us, parts in pairs]
        return [got, *(number for pair in pairs for number in pair)]

    async def call(self, *words: bytes) -> object:
        """Forget a key."""
        command, key = words
        assert command == b"UNLINK"
        if self.away:
            raise StoreUnreachable("redis", reason="it is a model that is away")
        return int(self._until.pop(key, None) is not None)


@pytest.fixture
def clock() -> StoppedClock:
    """The time of the model and of the limits."""
    return StoppedClock()


@pytest.fixture
def model(clock: StoppedClock) -> Model:
    """A Redis that counts by the rule."""
    return Model(clock)


@pytest.fixture
def telemetry() -> Telemetry:
    """Where checks are told."""
    return Telemetry()


@pytest.fixture
def limits(model: Model, clock: StoppedClock, telemetry: Telemetry) -> Limits:
    """Limits that live in the model."""
    return Limits(model, clock=clock, telemetry=telemetry)
