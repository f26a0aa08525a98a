"""The units: what people write is read, what is printed is short, and nonsense is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.units import duration, seconds, size, size_bytes

DURATION_UNITS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
SIZE_UNITS = {"b": 1, "kB": 1024, "MB": 1024**2, "gb": 1024**3, "TB": 1024**4}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("250ms", 0.25),
        ("5m", 300.0),
        ("1h 30m", 5400.0),
        ("1.5 h", 5400.0),
        (" 2d ", 172_800.0),
        ("90us", 9e-5),
    ],
)
def test_a_duration_is_read_as_people_write_it(text: str, value: float) -> None:
    """One part or several, with or without spaces."""
    assert seconds(text) == pytest.approx(value)


@given(st.integers(0, 10**9), st.sampled_from(sorted(DURATION_UNITS)))
def test_every_whole_number_of_a_unit_is_that_many_seconds(number: int, unit: str) -> None:
    """A number and a unit mean their product."""
    assert seconds(f"{number}{unit}") == pytest.approx(number * DURATION_UNITS[unit])


@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False))
def test_a_number_is_seconds_already(value: float) -> None:
    """A plain number passes through unchanged."""
    assert seconds(value) == value


@pytest.mark.parametrize(
    "nonsense",
    ["", "5", "5 parsecs", "m5", "-5m", "1e3s", "5M", "٥m", True, -1, math.nan, math.inf, 10**400, None, [5]],
)
def test_what_is_no_duration_is_refused_and_named(nonsense: object) -> None:
    """The message quotes what was given."""
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(nonsense)  # type: ignore[arg-type]  # wrong types are the point here


@given(st.text(max_size=30))
def test_any_text_is_a_finite_duration_or_refused(text: str) -> None:
    """No text makes another error, a negative or an infinite duration."""
    try:
        value = seconds(text)
    except ValueError:
        return
    assert 0 <= value < math.inf


def test_a_duration_beyond_every_float_is_refused() -> None:
    """A number so long that it would count as infinite is not a duration."""
    with pytest.raises(ValueError, match="finite"):
        seconds("9" * 400 + "s")


@given(st.integers(0, 2**60), st.sampled_from(sorted(SIZE_UNITS)))
def test_a_whole_size_is_exact_to_the_byte(number: int, unit: str) -> None:
    """Large sizes lose nothing to floating point."""
    assert size_bytes(f"{number} {unit}") == number * SIZE_UNITS[unit]


@pytest.mark.parametrize(("text", "value"), [("512kB", 524_288), ("1.5GB", 1_610_612_736), ("0.5b", 0), (77, 77)])
def test_a_size_is_read_as_people_write_it(text: str | int, value: int) -> None:
    """Fractions of a unit are cut to whole bytes; a number is bytes already."""
    assert size_bytes(text) == value


@pytest.mark.parametrize("nonsense", ["", "5", "5 PB", "-1kB", "kB", True, -1, 1.5, None])
def test_what_is_no_size_is_refused_and_named(nonsense: object) -> None:
    """The message quotes what was given."""
    with pytest.raises(ValueError, match="is not a size"):
        size_bytes(nonsense)  # type: ignore[arg-type]  # wrong types are the point here


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 ns"),
        (340e-9, "340 ns"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (0.00142, "1.42 ms"),
        (0.0142, "14.2 ms"),
        (14.2, "14.2 s"),
        (119.4, "119 s"),
        (119.6, "2 min 0 s"),
        (125, "2 min 5 s"),
        (3599.7, "1 h 0 min"),
        (7260, "2 h 1 min"),
    ],
)
def test_a_duration_is_printed_with_three_figures_at_most(value: float, text: str) -> None:
    """The unit is the one in which the number is short."""
    assert duration(value) == text


@given(st.floats(min_value=1e-9, max_value=119))
def test_a_printed_duration_is_near_the_true_one(value: float) -> None:
    """What is printed is within half a percent of what was measured, or within half a nanosecond."""
    number, unit = duration(value).split()
    factor = {"ns": 1e-9, **DURATION_UNITS}[unit]
    assert float(number) * factor == pytest.approx(value, rel=0.005, abs=0.5e-9)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (312, "312 B"),
        (1023, "1.00 kB"),
        (1536, "1.50 kB"),
        (50_331_648, "48 MB"),
        (-500_000, "-488 kB"),
    ],
)
def test_a_size_is_printed_with_three_figures_at_most(value: int, text: str) -> None:
    """The unit is the one in which the number is short, below zero too."""
    assert size(value) == text


@given(st.integers(0, 2**50))
def test_a_printed_size_is_near_the_true_one(value: int) -> None:
    """Read back, what is printed is within half a percent of what it was."""
    assert size_bytes(size(value)) == pytest.approx(value, rel=0.006)
