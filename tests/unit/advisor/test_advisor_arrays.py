"""Arrays in PostgreSQL's text form, taken apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.advisor.reading.arrays import elements

# What array_out has rules for, and a few others.
_ALPHABET = 'ab,;{}"\\ \t\nüNULl'


def written(values: list[str], delimiter: str) -> str:
    """As array_out writes them: in quotes what could be misunderstood."""

    def one(value: str) -> str:
        odd = not value or value.upper() == "NULL" or any(mark in value for mark in '{}"\\ \t\n\r\v\f' + delimiter)
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"' if odd else value

    return "{" + delimiter.join(map(one, values)) + "}"


@given(
    st.lists(st.text(_ALPHABET, max_size=6) | st.sampled_from(["NULL", "a,b", '"', "\\", "{x}", '{"a","b"}', ""])),
    st.sampled_from(",;"),
)
def test_elements_come_out_as_they_went_in(values: list[str], delimiter: str) -> None:
    """Whatever is in them."""
    assert list(elements(written(values, delimiter), delimiter=delimiter)) == values


def test_nothing_has_no_elements() -> None:
    """NULL is not an array with something in it."""
    assert elements(None) == elements("{}") == ()


@pytest.mark.parametrize("text", ["", "a,b", "{a", "a}"])
def test_what_is_no_array_is_refused(text: str) -> None:
    """Rather than read as one."""
    with pytest.raises(ValueError, match="no array"):
        elements(text)
