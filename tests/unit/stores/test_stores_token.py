"""A read token and its text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.errors import UsageError
from tercet.stores.reads.token import ReadToken, lsn_number


@given(
    st.sampled_from(["pg:", "mongo:"]),
    st.from_regex(r"[0-9A-Za-z:._-]{0,40}", fullmatch=True),
    st.integers(0, 2**64 - 1),
)
def test_a_token_comes_back_from_its_text(store: str, name: str, at: int) -> None:
    """Whatever store it is of, and however far."""
    token = ReadToken(store + name, at)
    assert ReadToken.read(str(token)) == token


@pytest.mark.parametrize(
    "text", ["", "pg:1", "pg:1@", "pg:1@xyz", "redis:1@F", "pg:a b@F", "pg:1@" + "F" * 17, "pg:1@F\n"]
)
def test_a_text_that_is_no_token_is_refused(text: str) -> None:
    """It may come from outside, so what it holds is not shown."""
    with pytest.raises(UsageError, match="This text is no read token"):
        ReadToken.read(text)


def test_a_position_is_read_as_postgresql_writes_it() -> None:
    """Two halves in hexadecimal digits."""
    assert lsn_number("16/B374D848") == 0x16_B374_D848
    assert ReadToken.at_lsn(None, "0/1") == ReadToken("pg:", 1)
    with pytest.raises(ValueError, match="'16' is not a log position"):
        lsn_number("16")
