"""Shapes: which tags a change of a row has made old."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from tercet.cache import Cache
from tercet.cache.encoding.tags import tag
from tercet.cache.follow import Shapes
from tercet.changes import Change, Wants
from tercet.errors import UsageError

SHAPES = Shapes({"users": "user:{id}", "public.orders": ["user:{user_id}:orders", "orders"], "sales.bills": "bills"})
KEYED = {"orders": frozenset({"id", "user_id"}), "users": frozenset({"id"})}


def test_what_is_wanted_of_a_feed() -> None:
    """The columns that the templates name, and no others."""
    wanted = {"users": frozenset({"id"}), "orders": frozenset({"user_id"}), "sales.bills": frozenset()}
    assert SHAPES.wants(("mark",)) == Wants(wanted, ("mark",))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Change("insert", "public", "users", new={"id": 1}), {"user:1"}),
        (Change("update", "public", "users", new={"id": 1}), {"user:1"}),
        (Change("update", "public", "users", new={"id": 2}, old={"id": 1}), {"user:1", "user:2"}),
        (Change("delete", "public", "users", old={"id": 1}), {"user:1"}),
        (Change("insert", "public", "orders", new={"user_id": 7}), {"user:7:orders", "orders"}),
        (
            Change("update", "public", "orders", new={"user_id": 8}, old={"user_id": 7}),
            {"user:7:orders", "user:8:orders", "orders"},
        ),
        # A large value that has not changed is not sent again, but stands in what was.
        (Change("update", "public", "orders", new={}, old={"user_id": 7}), {"user:7:orders", "orders"}),
        (Change("update", "public", "orders", new={}), None),
        (Change("update", "public", "orders", new={"user_id": 8}, old={"id": 1}), None),
        (Change("delete", "public", "orders", old={"id": 1}), None),
        (Change("insert", "public", "orders", new={"id": 1}), None),
        (Change("insert", "public", "orders", new={"user_id": [1]}), None),
        (Change("truncate", "public", "orders"), None),
        (Change("truncate", "sales", "bills"), {"bills"}),
        (Change("update", "sales", "bills", new={}), {"bills"}),
        (Change("insert", "public", "others", new={"id": 1}), set()),
        # A collection is named without its database.
        (Change("insert", "shop", "users", new={"id": 1}), {"user:1"}),
    ],
)
def test_a_change_makes_old_what_it_was_and_what_it_is(change: Change, expected: set[str] | None) -> None:
    """None is everything: what is not known of a row cannot be named."""
    assert SHAPES.tags(change, KEYED) == expected


def test_an_old_value_that_nobody_tells_is_not_taken_as_unchanged() -> None:
    """Only of a column whose old values are told does silence say that it is the same."""
    change = Change("update", "public", "orders", new={"user_id": 8})
    assert SHAPES.tags(change, {}) is None
    assert SHAPES.tags(change, {"orders": frozenset({"id"})}) is None
    assert SHAPES.tags(change, KEYED) == {"user:8:orders", "orders"}


class Colour(Enum):
    """An Enum's value stands in its place."""

    RED = "red"


@pytest.mark.parametrize(
    "value",
    [
        42, -1, 2**63, True, False, None, "", "plain", "a:b c/ü%{}", "\ud800", 1.5, Decimal("1.50"), b"\x00\xff",
        UUID("12345678-1234-5678-1234-567812345678"), datetime(2026, 1, 2, 3, 4, 5, 6, UTC), date(2026, 1, 2),
        time(1, 2, 3), Colour.RED,
    ],
)  # fmt: skip
async def test_a_column_makes_the_tag_that_an_argument_makes(value: Any) -> None:
    """Letter for letter, or nothing would be dropped."""
    cache = Cache()
    seen: list[Any] = []

    @cache(tags=["thing:{it}:x"], type=int)
    async def load(it: Any) -> int:
        seen.append(it)
        return len(seen)

    found = Shapes({"things": "thing:{it}:x"}).tags(Change("insert", "public", "things", new={"it": value}), {})
    assert found == {tag("thing:{it}:x", it=value)}
    assert await load(value) == 1
    assert await load(value) == 1
    await cache.drop_tags(*found)
    assert await load(value) == 2
    await cache.close()


def test_a_value_within_a_document_can_be_named() -> None:
    """By its way from the outside in; the whole field is wanted."""
    shapes = Shapes({"people": "city:{address.city}"})
    assert shapes.columns == {"people": frozenset({"address"})}
    change = Change("insert", "shop", "people", new={"address": {"city": "Rome"}})
    assert shapes.tags(change, {}) == {"city:Rome"}
    assert shapes.tags(Change("insert", "shop", "people", new={"address": 1}), {}) is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "no shapes"),
        (None, "no shapes"),
        (["users"], "no shapes"),
        ({"": "x"}, "cannot follow"),
        ({"*": "x"}, "cannot follow"),
        ({"public.": "x"}, "cannot follow"),
        ({7: "x"}, "cannot follow"),
        ({"users": []}, "no tags"),
        ({"users": None}, "no tags"),
        ({"users": [""]}, "is ''"),
        ({"users": [7]}, "is 7"),
        ({"users": "user:{}"}, "no column"),
        ({"users": "user:{0}"}, "no column"),
        ({"users": "user:{id[0]}"}, "no column"),
        ({"users": "user:{id"}, "no template"),
        ({"users": "user:{id:>3}"}, "more than names"),
        ({"users": ["x"] * 33}, "33 tags"),
    ],
)
def test_what_is_no_shape_is_refused_where_it_stands(given: Any, says: str) -> None:
    """Each with what to write instead."""
    with pytest.raises(UsageError, match=says) as caught:
        Shapes(given)
    assert str(caught.value).count(". ") >= 1
