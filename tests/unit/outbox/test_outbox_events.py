"""Types of events, their envelopes, and how older versions are read."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.changes.outbox import Event
from tercet.changes.outbox.event import (
    EVENT_BYTES_MAX,
    Catalogue,
    Format,
    Unreadable,
    new_id,
    shown,
    unwrap,
    wrap,
)
from tercet.clock import StoppedClock
from tercet.errors import SchemaInvalid


class Placed(Event, key="order_id", version=3, name_as="unit.Placed"):
    """An order was placed."""

    order_id: int
    country: str
    words: str = ""


class Bare(Event, name_as="unit.Bare"):
    """An event that is in order with no other."""

    n: int = 0


@given(st.integers(-(2**63), 2**63 - 1), st.text(), st.sampled_from(["msgpack", "json"]))
def test_what_was_wrapped_is_read_as_it_was(order_id: int, words: str, form: Format) -> None:
    """In both forms, which tell themselves apart; the envelope is known without the type."""
    event = Placed(order_id=order_id, country="KR", words=words)
    envelope, content = wrap(event, clock=StoppedClock(), form=form, trace="00-1-2-01")
    read = unwrap(content)
    assert (read.id, read.key, read.version, read.trace) == (envelope.id, str(order_id), 3, "00-1-2-01")
    known = Catalogue()
    known.declare(Placed)
    assert known.read(read) == event
    told: Any = shown(content)
    assert told["body"]["order_id"] == order_id


@given(st.binary(max_size=200))
def test_noise_is_unreadable_and_nothing_else(content: bytes) -> None:
    """Whatever the bytes are, there is one answer to them."""
    with pytest.raises(Unreadable):
        unwrap(content)
    assert shown(content) == {"unreadable_bytes": len(content)}


def test_an_event_without_a_key_is_in_a_lane_of_its_own() -> None:
    """Its key is its id."""
    envelope, _ = wrap(Bare(), clock=StoppedClock())
    assert envelope.key == envelope.id


@given(st.integers(0, 2**48 - 1))
def test_ids_are_uuids_of_version_7_in_the_order_of_time(moment: int) -> None:
    """Their first 48 bits are the moment."""
    one = uuid.UUID(new_id(moment))
    assert (one.version, one.variant, one.int >> 80) == (7, uuid.RFC_4122, moment)


def test_an_older_version_is_made_into_the_present_one_step_by_step() -> None:
    """Each step knows two versions; a document that no step leads from is unreadable."""
    known = Catalogue()
    known.upcast(Placed, 1, lambda old: {"order_id": old["id"], "land": old["land"]})
    known.upcast(Placed, 2, lambda old: {"order_id": old["order_id"], "country": old["land"]})

    class First(Event, key="id", version=1, name_as="unit.Placed"):
        id: int
        land: str

    for form in ("msgpack", "json"):
        _, content = wrap(First(id=7, land="KR"), clock=StoppedClock(), form=form)
        assert known.read(unwrap(content)) == Placed(order_id=7, country="KR")
    bare = Catalogue()
    bare.declare(Placed)
    with pytest.raises(Unreadable, match=r"no upcast of unit\.Placed is declared from version 1"):
        bare.read(unwrap(content))


@pytest.mark.parametrize("broken", [lambda _: {"order_id": "x"}, lambda old: old["nothing"], lambda _: 1 / 0])
def test_an_upcast_that_breaks_makes_its_event_unreadable(broken: Any) -> None:
    """The error's text is not told, for it may hold values."""
    known = Catalogue()
    known.upcast(Placed, 2, broken)

    class Second(Event, key="order_id", version=2, name_as="unit.Placed"):
        order_id: int

    _, content = wrap(Second(order_id=1), clock=StoppedClock())
    with pytest.raises(Unreadable):
        known.read(unwrap(content))


def test_a_newer_version_or_an_unknown_type_is_unreadable() -> None:
    """A release that is older than the event says so."""
    known = Catalogue()
    known.declare(Placed)

    class Newer(Event, key="order_id", version=4, name_as="unit.Placed"):
        order_id: int

    for event, reason in ((Newer(order_id=1), "newer than what is known"), (Bare(), "nobody here knows")):
        with pytest.raises(Unreadable, match=reason):
            known.read(unwrap(wrap(event, clock=StoppedClock())[1]))
    assert known.knows("unit.Bare")
    assert not known.knows("unit.Nobody")


def test_what_a_type_declares_is_checked_where_it_stands() -> None:
    """A key that is no field, a version that is none, and a second type of the same name."""
    with pytest.raises(SchemaInvalid, match="is none of its fields"):

        class Wrong(Event, key="nowhere"):
            n: int

    for version in (0, True, "2"):
        with pytest.raises(SchemaInvalid, match="its version is"):

            class Odd(Event, version=version):
                n: int

    class Other(Event, name_as="unit.Placed"):
        n: int

    known = Catalogue()
    known.declare(Placed)
    known.declare(Placed)
    with pytest.raises(SchemaInvalid, match=r"is called 'unit\.Placed' too"):
        known.declare(Other)
    with pytest.raises(SchemaInvalid, match="its version is 3"):
        known.upcast(Placed, 3, dict)


def test_an_event_that_cannot_travel_is_refused_with_its_size() -> None:
    """Too large, a key that is none, a value that has no form."""

    class Keyed(Event, key="k", name_as="unit.Keyed"):
        k: str | None
        more: object = None

    clock = StoppedClock()
    with pytest.raises(SchemaInvalid, match=f"{EVENT_BYTES_MAX:,} is the most"):
        wrap(Keyed(k="a", more="x" * EVENT_BYTES_MAX), clock=clock)
    for key in (None, "a\0b", "x" * 513):
        with pytest.raises(SchemaInvalid, match="The key of an event"):
            wrap(Keyed(k=key), clock=clock)
    with pytest.raises(SchemaInvalid, match="cannot be written as msgpack"):
        wrap(Keyed(k="a", more=object()), clock=clock)


def test_events_are_values_that_do_not_change() -> None:
    """A Struct that is frozen, as a handler of many must find it."""
    event = Bare(n=1)
    with pytest.raises(AttributeError):
        event.n = 2
    assert msgspec.to_builtins(event) == {"n": 1}
