"""The names of places and slots."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.changes.feeding.place import Place, checked_place
from tercet.errors import SettingInvalid

SERVICES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=63)
NAMES = st.from_regex(r"[a-z0-9_]{1,40}", fullmatch=True)


@given(SERVICES, NAMES)
def test_a_slot_has_a_name_that_postgresql_takes(service: str, name: str) -> None:
    """Whatever the service is called: lower letters, digits and underscores, at most 63."""
    place = Place(service, name, durable=True)
    for slot in (place.slot, place.passing_slot("0123abcd")):
        assert re.fullmatch(r"[a-z0-9_]{1,63}", slot)
    assert place.passing_slot("0123abcd").endswith("_0123abcd")


@given(st.tuples(SERVICES, NAMES), st.tuples(SERVICES, NAMES))
def test_two_places_have_two_slots_and_two_locks(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Also where their names would be written alike, or are cut."""
    first, second = Place(*one), Place(*other)
    assert (first.slot == second.slot) == (one == other) == (first.key == second.key)


def test_services_whose_names_are_written_alike_do_not_share_a_slot() -> None:
    """Blanks, capitals and dashes all become underscores; what was changed is marked."""
    slots = {Place(service, "outbox").slot for service in ("shop_a", "shop-a", "Shop_A", "shop.a")}
    assert len(slots) == 4
    assert Place("shop_a", "outbox").slot == "tercet_shop_a_outbox"


def test_a_plain_name_is_in_the_slot_as_it_is() -> None:
    """Whoever looks at pg_replication_slots finds it."""
    assert Place("shop", "outbox", durable=True).slot == "tercet_shop_outbox"
    assert Place("shop", "outbox", durable=True).renewed() == Place("shop", "outbox", durable=True, anew=True)


@given(SERVICES, NAMES)
def test_the_number_of_a_lock_is_one_that_postgresql_takes(service: str, name: str) -> None:
    """A bigint."""
    assert -(1 << 63) <= Place(service, name).key < 1 << 63


@pytest.mark.parametrize("name", ["", "Outbox", "a-b", "a b", "a" * 41, "ä", "a\n"])
def test_a_name_that_no_slot_can_have_is_refused_with_what_would_do(name: str) -> None:
    """The second sentence says which characters there are."""
    with pytest.raises(SettingInvalid, match="a-z, 0-9 and _"):
        checked_place(name)
    assert checked_place("out_box_2") == "out_box_2"
