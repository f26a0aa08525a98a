"""Names in Redis: one limit and one key each, whole in a hash tag, and never long."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tercet.errors import SettingInvalid, UsageError
from tercet.limits import Rate
from tercet.limits.key import DIGEST_BYTES, KEY_BYTES_MAX, named, suffix, tag

# Braces and the digest's mark are where a collision could be made.
texts = st.one_of(st.text(min_size=1, max_size=200), st.text("{}#:a", min_size=1, max_size=6))


def rates(*written: str) -> list[Rate]:
    """Several rates at once."""
    return [Rate.of(one) for one in written]


@given(texts, texts)
def test_two_keys_never_have_one_tag(one: str, other: str) -> None:
    """Not through braces, not by looking like a digest."""
    assume(one != other)
    assert tag(one) != tag(other)


@given(texts)
def test_a_tag_is_short_and_has_no_braces(key: str) -> None:
    """So the whole of it is what Redis hashes, in a cluster."""
    made = tag(key)
    assert 0 < len(made) <= KEY_BYTES_MAX
    assert not {*b"{}"} & {*made}


def test_a_usual_key_can_be_read_in_redis() -> None:
    """A person who looks there sees whom it counts."""
    assert tag("user:42") == b"user:42"
    assert tag("käse") == "käse".encode()


@pytest.mark.parametrize("key", ["x" * 129, "a{b}c", "}", "#mine", "\ud800" * 50])
def test_a_key_that_cannot_stand_there_is_a_digest(key: str) -> None:
    """Of 160 bits, behind a mark."""
    made = tag(key)
    assert made.startswith(b"#")
    assert len(made) == 1 + 2 * DIGEST_BYTES


def test_a_digest_written_by_hand_is_not_the_digest() -> None:
    """Nobody can choose a key that counts against another one's."""
    assert tag(tag("x" * 500).decode()) != tag("x" * 500)


@pytest.mark.parametrize("key", ["", None, 42, b"user"])
def test_what_is_no_key_is_refused(key: object) -> None:
    """A number or nothing would count everybody together, or not at all."""
    with pytest.raises(UsageError, match="user_id"):
        tag(key)


def test_limits_without_a_name_are_told_apart_by_all_their_rates() -> None:
    """Also when one's rates are a part of the other's."""
    made = [
        suffix(None, rates("10/second")),
        suffix(None, rates("10/minute")),
        suffix(None, rates("10/second", "100/minute")),
        suffix(None, [Rate.of("10/second", burst=5)]),
        suffix("10", rates("10/second")),
    ]
    assert len(set(made)) == len(made)


def test_a_named_limit_keeps_its_place_when_a_count_or_a_burst_changes() -> None:
    """And has another one with another period, whose numbers would mean something else."""
    assert suffix("api", rates("10/minute")) == suffix("api", rates("20/minute")) == b"api:60s"
    assert suffix("api", [Rate.of("10/minute", burst=3)]) == b"api:60s"
    assert suffix("api", rates("10/minute")) != suffix("api", rates("10/hour"))
    assert suffix("api", rates("10/minute")) != suffix("api", rates("10/minute", "50/hour"))


@pytest.mark.parametrize("name", ["", "a:b", "a b", "{a}", "x" * 65, None, "1/2"])
def test_a_name_that_could_be_taken_for_something_else_is_refused(name: object) -> None:
    """Letters, digits and three marks."""
    with pytest.raises(SettingInvalid, match="64 letters"):
        named(name, "name")
