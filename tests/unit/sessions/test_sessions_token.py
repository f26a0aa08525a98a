"""Ids: random, not to be chosen by anybody, shown by nobody, and users that are told apart by their type."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.errors import UsageError
from tercet.sessions.token import is_handle, mint, owner_of, read, user_bytes, user_of

USERS = st.one_of(
    st.integers(min_value=-(2**127), max_value=2**127),
    st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=100),
)


@given(USERS)
def test_a_user_s_id_comes_back_as_it_went_in(user: int | str) -> None:
    """Its type too."""
    back = user_of(user_bytes(user))
    assert back == user
    assert type(back) is type(user)


@given(USERS, USERS)
def test_two_users_are_one_only_when_they_are_equal(one: int | str, other: int | str) -> None:
    """Neither what is kept nor where it is kept is ever shared."""
    alike = type(one) is type(other) and one == other
    assert (user_bytes(one) == user_bytes(other)) is alike
    assert (owner_of(user_bytes(one)) == owner_of(user_bytes(other))) is alike


def test_a_number_and_its_text_are_two_users() -> None:
    """1 and "1" may come from two tables."""
    assert owner_of(user_bytes(1)) != owner_of(user_bytes("1"))


@pytest.mark.parametrize("user", [True, 1.5, b"42", None, "", "x" * 513, "\ud800", 2**200, ["42"]])
def test_what_is_no_user_s_id_is_refused_with_what_would_be(user: object) -> None:
    """True is not user 1, and nobody is the user of an empty text."""
    with pytest.raises(UsageError) as refused:
        user_bytes(user)
    assert refused.value.mend


def test_a_user_of_nobody_is_none() -> None:
    """A visit has no user."""
    assert user_of(b"") is None


def test_every_id_is_another_one() -> None:
    """No secret and no handle comes twice, also for the same user."""
    tokens = [mint(b"i42") for _ in range(1000)]
    assert len({token.text[36:] for token in tokens}) == len(tokens)
    assert len({token.handle for token in tokens}) == len(tokens)
    assert len({token.owner for token in tokens}) == 1


def test_visits_of_nobody_do_not_share_a_place() -> None:
    """All visits in one slot would be all on one server."""
    assert len({mint(b"").owner for _ in range(100)}) == 100


@given(st.sampled_from([b"", b"i1", "sü".encode()]))
def test_an_id_is_read_as_it_was_made(user: bytes) -> None:
    """Its text holds all of it, in characters that a cookie may have."""
    token = mint(user)
    assert read(token.text) == token
    assert set(token.text) <= set(string.ascii_letters + string.digits + "-_")
    assert is_handle(token.handle)


def test_the_secret_has_256_bits() -> None:
    """43 characters of 6 bits, the last of which has 4."""
    assert len(mint(b"").text) - 36 == 43


def test_an_id_and_its_digest_have_nothing_in_common() -> None:
    """The digest is of the whole id, and a renewed id has another one."""
    token = mint(b"i42")
    assert token.text.encode() not in token.digest()
    assert len({token.digest(), token.renewed().digest()}) == 2
    assert (token.renewed().owner, token.renewed().handle) == (token.owner, token.handle)


def test_an_id_is_not_shown() -> None:
    """Neither whole nor in part."""
    token = mint(b"i42")
    assert token.text[36:] not in repr(token)
    assert token.text[36:] not in str(token)


@given(
    st.one_of(
        st.none(),
        st.integers(),
        st.binary(),
        st.text(),
        st.text(alphabet=string.ascii_letters + "-_=./+\n", min_size=70, max_size=90).filter(
            lambda one: len(one) != 79
        ),
    )
)
def test_what_cannot_be_an_id_is_none(text: object) -> None:
    """A cookie may hold anything."""
    assert read(text) is None


@pytest.mark.parametrize("end", ["\n", " ", "é", "٣", "="])
def test_an_id_with_another_character_is_none(end: str) -> None:
    """Digits of other scripts and a line's end are no part of one."""
    text = mint(b"i42").text
    assert read(text[:-1] + end) is None
    assert read(text + end) is None
    assert not is_handle(text[20:35] + end)
