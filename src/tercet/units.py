"""Durations and sizes as people write them: "5m", "1GB"; inside they are seconds and bytes."""

from __future__ import annotations

import math
import re

_SECONDS = {
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
    "w": 604_800.0,
}

# PostgreSQL's, Redis' and people's kB all mean 1,024 bytes when they size memory; so do ours.
_BYTES = {"b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40}

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?\s*(?:us|µs|ms|s|m|h|d|w)\s*)+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(us|µs|ms|s|m|h|d|w)", re.ASCII)
# What would be printed as 1000 is shown in the next unit; from two minutes on, minutes read better.
_NEXT_UNIT = 999.5
_MINUTES_FROM = 119.5
_TWO_DECIMALS_BELOW = 9.995

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?b)", re.ASCII | re.IGNORECASE)


def seconds(text: str | float) -> float:
    """Seconds in a duration such as "250ms", "5m" or "1h 30m"; a number is seconds already.

    Raises ValueError for a text that is no duration, and for a number that is negative or not finite.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        value = _float(text)
    elif isinstance(text, str) and _DURATION.fullmatch(text.strip()):
        value = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    else:
        raise ValueError(f"{text!r} is not a duration; write it as '250ms', '5m' or '1h 30m'")
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{text!r} is not a duration: it must be finite and not negative")
    return value


def size_bytes(text: str | int) -> int:
    """Bytes in a size such as "512kB" or "1.5GB", in steps of 1,024; a number is bytes already.

    Raises ValueError for a text that is no size, and for a negative number.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        if text < 0:
            raise ValueError(f"{text!r} is not a size: it must not be negative")
        return text
    match = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a size; write it as '512kB' or '1.5GB'")
    unit = _BYTES[match[2].lower()]
    # Whole units are counted exactly: a float would lose the last bytes of a large number.
    whole, _, fraction = match[1].partition(".")
    return int(whole) * unit + int(float(f"0.{fraction or 0}") * unit)


def duration(value: float) -> str:
    """A duration for people, with three figures at most: "340 ns", "1.42 ms", "14.2 s", "2 min 5 s"."""
    if value < 0 or not math.isfinite(value):
        return str(value)
    for factor, unit in ((1e9, "ns"), (1e6, "µs"), (1e3, "ms")):
        if value * factor < _NEXT_UNIT:
            return f"{_figures(value * factor)} {unit}"
    if value < _MINUTES_FROM:
        return f"{_figures(value)} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def size(value: int) -> str:
    """A size for people: "312 B", "1.5 kB", "48 MB"."""
    number = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(number) < _NEXT_UNIT:
            return f"{_figures(number)} {unit}"
        number /= 1024
    return f"{_figures(number)} TB"


def _figures(number: float) -> str:
    if abs(number) >= _TWO_DECIMALS_BELOW * 10 or number == int(number):
        return f"{number:.0f}"
    return f"{number:.2f}" if abs(number) < _TWO_DECIMALS_BELOW else f"{number:.1f}"


def _float(number: float) -> float:
    """The number as a float; a whole number beyond every float counts as infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.inf
