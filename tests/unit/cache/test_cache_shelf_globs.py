"""Patterns: what they match, and that what is asked of Redis around them leaves nothing out."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.cache.encoding.key import key_of
from tercet.cache.shelf.glob import Globs, escaped
from tercet.cache.shelf.layout import Layout

# What matters to a glob, and little else, so that matches are frequent.
TEXTS = st.text("ab-]^[*?\\(}", max_size=8)


@pytest.mark.parametrize(
    ("pattern", "meant", "not_meant"),
    [
        ("users:list:*", ["k:users:list:1", "k:users:list:", "k:users:list:a\nb"], ["k:users:list", "k:xusers:list:1"]),
        ("a?c", ["k:abc", "k:a?c", "k:a한c"], ["k:ac", "k:abbc"]),
        ("[a-c]", ["k:a", "k:c"], ["k:d", "k:-", "k:ab"]),
        ("[c-a]x", ["k:bx"], ["k:dx"]),
        ("[^a-c]", ["k:d", "k:^"], ["k:a", "k:"]),
        (r"[\]a]", ["k:]", "k:a"], ["k:b"]),
        ("[]", [], ["k:", "k:]"]),
        ("[^]", ["k:a", "k:]"], ["k:"]),
        ("[ab", ["k:a", "k:b"], ["k:[ab", "k:ab"]),
        (r"a\*", ["k:a*"], ["k:ab"]),
        ("a\\", ["k:a\\"], ["k:a"]),
        ("a.c", ["k:a.c"], ["k:abc"]),
        ("*b*b*", ["k:bb", "k:abab"], ["k:b", "k:aba"]),
        ("", ["k:"], ["k:a"]),
        ("shop.users", ["f:shop.users()", "f:shop.users(i1)", "k:shop.users"], ["f:shop.users.all()"]),
        ("shop.*", ["f:shop.users(i1)", "f:shop.a.b(s3:a(b)"], ["f:shop(i1)", "k:shop"]),
    ],
)
def test_a_pattern_is_meant_as_redis_means_it(pattern: str, meant: list[str], not_meant: list[str]) -> None:
    """For direct keys as a whole, and for functions with whatever arguments."""
    globs = Globs([pattern])
    assert [name for name in meant if not globs.match(name)] == []
    assert [name for name in not_meant if globs.match(name)] == []


def test_one_of_several_patterns_is_enough_and_none_matches_nothing() -> None:
    """Alternatives do not run into one another."""
    globs = Globs(["a|b", "c"])
    assert [name for name in ("k:a|b", "k:c", "k:a", "k:b") if globs.match(name)] == ["k:a|b", "k:c"]
    assert not Globs(()).match("k:a")


def test_a_shortened_name_is_matched_by_its_whole_key() -> None:
    """Where that is not known, it may be meant."""
    key = key_of("k", "users:" + "x" * 1_000)
    assert Globs(["users:*"]).match(key.name, key.full)
    assert not Globs(["other:*"]).match(key.name, key.full)
    assert Globs(["other:*"]).match(key.name)


def test_a_pattern_of_many_stars_is_decided_soon() -> None:
    """It is a glob, and need not be tried in every way."""
    assert not Globs(["*a" * 30 + "*b"]).match("k:" + "a" * 5_000)


@given(TEXTS)
def test_an_escaped_text_matches_itself_alone(text: str) -> None:
    """So a prefix can stand in a glob."""
    assert Globs([escaped(text)]).match(f"k:{text}")
    assert not Globs([escaped(text)]).match(f"k:{text}a")


def _reads(glob: bytes) -> re.Pattern[str]:
    """A scan's glob as an expression of the test's own: it holds classes, escapes, and one star at its end."""
    text = glob.decode()
    assert text.endswith("*")
    parts = re.findall(r"\\.|\[[^\]]*\]|.", text[:-1], re.DOTALL)
    return re.compile("".join(one if one[0] in "\\[" else re.escape(one) for one in parts), re.DOTALL)


@given(st.lists(TEXTS, min_size=1, max_size=3), TEXTS, st.sampled_from("kf"), st.booleans())
def test_what_is_scanned_holds_all_that_is_meant(patterns: list[str], text: str, space: str, long: bool) -> None:
    """Also names that were shortened."""
    globs = Globs(patterns)
    layout = Layout("ter.cet")
    key = key_of(space, text + ("b" * 500 if long else ""))
    if globs.match(key.name, key.full):
        assert _reads(layout.scan("e", globs.around)).match(layout.entry(key.name).decode())
