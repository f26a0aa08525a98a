"""Where things lie, and what a message says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tercet.cache.shelf.layout import MARKER, NAMES_A_MESSAGE, Layout, message, messages, slot
from tercet.cache.shelf.port import Drop

# Half surrogate pairs too: Python has such texts, and a key may be one.
ANY_TEXT = st.text(st.characters(), max_size=8)
TEXTS = st.lists(ANY_TEXT, max_size=4).map(tuple)


@given(ANY_TEXT)
def test_an_entry_and_its_lease_lie_in_one_slot(text: str) -> None:
    """And the name can be read out of either key again."""
    layout, name = Layout("tercet"), f"k:{text}"
    entry, lease = layout.entry(name), layout.lease(name)
    assert slot(entry) == slot(lease)
    assert layout.name(entry) == layout.name(lease) == name


def test_slots_are_those_of_the_specification() -> None:
    """The examples that Redis itself gives."""
    assert slot(b"123456789") == 0x31C3
    assert slot(b"{user1000}.following") == slot(b"{user1000}.followers") == slot(b"user1000")
    assert slot(b"foo{}{bar}") == slot(b"foo{}{bar}")
    assert slot(b"foo{}{bar}") != slot(b"bar")
    assert slot(b"foo{{bar}}zap") == slot(b"{bar")
    assert slot(b"foo{bar}{zap}") == slot(b"bar")


@given(TEXTS, TEXTS, TEXTS, st.booleans())
def test_a_message_says_what_was_dropped(
    names: tuple[str, ...], tags: tuple[str, ...], patterns: tuple[str, ...], everything: bool
) -> None:
    """Everything says all the rest."""
    drop = Drop(names, tags, patterns, everything)
    heard = [message(one) for one in messages(drop)]
    if everything:
        assert heard == [Drop(everything=True)]
    else:
        assert heard == ([drop] if drop else [])


def test_a_large_drop_is_several_messages_of_bounded_size() -> None:
    """Together they say the same."""
    drop = Drop(tuple(f"k:{number}" for number in range(1_201)), ("t",), ("p",))
    heard = [one for payload in messages(drop) if (one := message(payload)) is not None]
    assert max(len(one.names) + len(one.tags) + len(one.patterns) for one in heard) == NAMES_A_MESSAGE
    assert tuple(name for one in heard for name in one.names) == drop.names
    assert [one.tags for one in heard if one.tags] == [("t",)]
    assert [one.patterns for one in heard if one.patterns] == [("p",)]


@given(st.binary(max_size=40))
def test_what_is_no_message_is_none(payload: bytes) -> None:
    """Whatever a stranger put there, nobody falls over it."""
    heard = message(payload)
    assert heard is None or isinstance(heard, Drop)


def test_a_marker_drops_nothing() -> None:
    """It only says where somebody began to listen."""
    assert message(MARKER) == Drop()
