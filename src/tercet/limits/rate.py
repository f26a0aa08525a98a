"""A rate as people write it: "100/minute", "10 per second", "500/15m"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tercet.errors import SettingInvalid
from tercet.units import seconds

# Every count stays far below 2^53, up to which a number in a Redis script is exact.
COUNT_MAX = 1_000_000_000

# How long a full burst may take to come back. A theoretical arrival time is now + this at most, in
# microseconds since 1970, and stays exact in a script until the next century.
WINDOW_US_MAX = 10 * 366 * 86_400 * 1_000_000

US_PER_SECOND = 1_000_000

_WORDS = {
    "second": "1s",
    "sec": "1s",
    "minute": "1m",
    "min": "1m",
    "hour": "1h",
    "day": "1d",
    "week": "1w",
}

_RATE = re.compile(r"(\d[\d_]*)\s*(?:/|\s+per\s+)\s*(.+)", re.ASCII)
# "15 minutes" and "minutes" alike; what is left over is a duration as tercet.units reads them.
_PERIOD = re.compile(r"(\d+)?\s*(second|sec|minute|min|hour|day|week)s?", re.ASCII)
# A bare unit means one of it.
_UNIT = re.compile(r"us|µs|ms|s|m|h|d|w")

_WANTED = "a rate such as '100/minute', '10 per second' or '500/15m'"


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in a period, of which `burst` may come at once; made by `Rate.of`.

    One token comes back every period / count. That is kept exact: nothing here is rounded.
    """

    count: int
    period_us: int
    burst: int

    def __post_init__(self) -> None:
        """Raises SettingInvalid for what could not be counted exactly, or never passes."""
        for name, value in (("count", self.count), ("burst", self.burst)):
            if not whole(value, 1, COUNT_MAX):
                raise SettingInvalid(
                    name, where="a rate", shown=repr(value), wanted=f"a whole number, 1 to {COUNT_MAX:,}"
                )
        if not whole(self.period_us, 1, WINDOW_US_MAX * self.count // self.burst):
            raise SettingInvalid(
                "period",
                where="a rate",
                shown=_period(self.period_us),
                wanted="1 µs or more, and so short that a full burst comes back within ten years",
            )

    @classmethod
    def of(cls, rate: str | Rate, *, burst: int | None = None) -> Rate:
        """The rate that is written there, with a burst of its count unless another is given.

        Raises SettingInvalid for a text that is no rate.
        """
        if isinstance(rate, Rate):
            return rate if burst is None else cls(rate.count, rate.period_us, burst)
        text: object = rate
        match = _RATE.fullmatch(text.strip()) if isinstance(text, str) else None
        if match is None:
            raise SettingInvalid("a rate", where="A limit", shown=repr(text), wanted=_WANTED)
        try:
            period_us = round(seconds(_written(match[2])) * US_PER_SECOND)
        except (ValueError, OverflowError) as error:
            raise SettingInvalid("a rate", where="A limit", shown=repr(text), wanted=_WANTED) from error
        count = int(match[1].replace("_", ""))
        return cls(count, period_us, count if burst is None else burst)

    @property
    def window(self) -> int:
        """What a full burst weighs, in units of 1 µs / count: the unit in which one token weighs period_us."""
        return self.burst * self.period_us

    def __str__(self) -> str:
        """As a person would write it, and the same for equal rates: "100/60s"."""
        burst = "" if self.burst == self.count else f"+{self.burst}"
        return f"{self.count}/{_period(self.period_us)}{burst}"


def whole(value: object, least: int, most: int) -> bool:
    """Whether this is a whole number between the two; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _written(period: str) -> str:
    """A period as tercet.units reads it."""
    named = _PERIOD.fullmatch(period)
    if named is not None:
        unit = _WORDS[named[2]]
        return f"{named[1]}{unit[1:]}" if named[1] else unit
    return f"1{period}" if _UNIT.fullmatch(period) else period


def _period(us: int) -> str:
    return f"{us // US_PER_SECOND}s" if us % US_PER_SECOND == 0 else f"{us}us"
