"""The codec: the same type both ways, all the way down, or an error before anything runs."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.cache.encoding.codec import PLAIN, Codec, Undecodable, is_plain, kind_of, same
from tercet.errors import Uncacheable


class Level(Enum):
    LOW = 1


@dataclass(frozen=True)
class Address:
    street: str
    lines: tuple[str, ...] = ()


@dataclass
class Basket:
    items: list[int] = field(default_factory=list)


class Profile(msgspec.Struct, frozen=True):
    user_id: int
    balance: Decimal
    since: datetime
    token: UUID
    level: Level
    address: Address | None = None


class Tree(msgspec.Struct, frozen=True):
    name: str
    children: tuple[Tree, ...] = ()


class Pair(NamedTuple):
    x: int
    y: str


class Options(TypedDict):
    depth: int


class Row:
    """What an object of somebody else's library is like."""


class Number(int):
    """Prints and compares as it likes."""


class Text(str):
    """So does this."""

    __slots__ = ()


PROFILES = st.builds(
    Profile,
    user_id=st.integers(-(2**63), 2**64 - 1),
    balance=st.decimals(allow_nan=False, allow_infinity=False),
    since=st.datetimes(timezones=st.just(UTC)),
    token=st.uuids(),
    level=st.just(Level.LOW),
    address=st.none() | st.builds(Address, street=st.text(), lines=st.lists(st.text(), max_size=2).map(tuple)),
)
PLAIN_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(PROFILES)
def test_a_typed_value_comes_back_as_it_went_in(profile: Profile) -> None:
    """Decimal, moment, UUID, Enum, dataclass within Struct."""
    codec: Codec[Profile] = Codec(Profile, of="x")
    assert same(codec.decode(codec.encode(profile, of="x")), profile)


@given(PLAIN_VALUES)
def test_plain_data_comes_back_as_it_went_in(value: object) -> None:
    """Without a type, what JSON knows is kept, and bytes."""
    codec: Codec[object] = Codec(Any, of="x")
    assert same(codec.decode(codec.encode(value, of="x")), value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int | None, None),
        (int, 0),
        (bool, False),
        (str, ""),
        (list[Profile], []),
        (dict[int, str], {1: "a"}),
        (tuple[int, ...], (1, 2)),
        (frozenset[str], frozenset({"a"})),
        (set[int], {1}),
        (Pair, Pair(1, "a")),
        (Options, {"depth": 1}),
        (timedelta, timedelta(days=1)),
        (Basket, Basket([1])),
        (Tree, Tree("a", (Tree("b"),))),
        (datetime, datetime(2024, 1, 1)),
    ],
)
def test_every_type_keeps_its_type(kind: object, value: object) -> None:
    """Also empty, zero, False and None, which are values like others."""
    codec: Codec[object] = Codec(kind, of="x")
    assert same(codec.decode(codec.encode(value, of="x")), value)


def test_a_moment_with_a_zone_stays_that_moment() -> None:
    """It comes back in UTC, for the first caller as for later ones."""
    codec: Codec[datetime] = Codec(datetime, of="x")
    seoul = datetime(2024, 1, 1, 9, tzinfo=timezone(timedelta(hours=9)))
    back = codec.decode(codec.encode(seoul, of="x"))
    assert (back, back.tzinfo) == (seoul, UTC)


@pytest.mark.parametrize(
    "kind", [Row, list[Row], Row | None, AsyncIterator[int], complex, Address | Profile, "Missing"]
)
def test_a_type_that_would_not_come_back_is_refused(kind: object) -> None:
    """When the codec is made, with a sentence that says what to declare."""
    with pytest.raises(Uncacheable, match="dataclass") as caught:
        Codec(kind, of="the result of profile()")
    assert "profile()" in str(caught.value)


@pytest.mark.parametrize("value", [Decimal(1), (1, 2), {"a": {1}}, [Address("x")], Row(), 2**70])
def test_without_a_type_only_plain_data_is_taken(value: object) -> None:
    """A Decimal would come back as text: better an error than another type for the second caller."""
    codec: Codec[object] = Codec(Any, of="x")
    with pytest.raises(Uncacheable, match="type"):
        codec.encode(value, of="f()")


def test_a_part_without_a_type_is_held_to_the_same() -> None:
    """dict[str, Any] takes plain data and nothing that would change."""
    codec: Codec[dict[str, Any]] = Codec(dict[str, Any], of="x")
    assert codec.decode(codec.encode({"a": [1, None]}, of="x")) == {"a": [1, None]}
    with pytest.raises(Uncacheable):
        codec.encode({"a": Decimal(1)}, of="x")


def shape_of(kind: object) -> bytes:
    """The schema of a type."""
    codec: Codec[object] = Codec(kind, of="x")
    return codec.schema


def struct(**fields: object) -> type[msgspec.Struct]:
    """A Struct called Profile with these fields, as a release before or after would have it."""
    return msgspec.defstruct("Profile", list(fields.items()), module="shop")


def test_another_shape_is_another_schema() -> None:
    """A field more, of another name, of another type, deeper down, or an Enum with a member more."""
    shapes = [
        struct(a=int),
        struct(a=int, b=int),
        struct(b=int),
        struct(a=str),
        struct(a=int | None),
        struct(a=list[int]),
        struct(a=struct(x=int)),
        struct(a=struct(x=str)),
        struct(a=Enum("E", {"A": 1})),
        struct(a=Enum("E", {"A": 1, "B": 2})),
        list[Tree],
        int,
        Decimal,
        str,
    ]
    assert len({shape_of(one) for one in shapes}) == len(shapes)


def test_the_same_shape_is_the_same_schema_in_every_process() -> None:
    """It depends on nothing but the shape."""
    assert shape_of(struct(a=int, b=Tree)) == shape_of(struct(a=int, b=Tree))


def test_an_entry_of_another_shape_is_not_decoded_into_this_one() -> None:
    """What does not fit is an error of the bytes, never a half-filled value."""
    old: Codec[Any] = Codec(struct(a=int), of="x")
    new: Codec[Any] = Codec(struct(a=int, b=int), of="x")
    body = old.encode(struct(a=int)(a=1), of="x")
    assert not new.reads(old.schema)
    assert new.reads(PLAIN)
    with pytest.raises(Undecodable):
        new.decode(body)


@pytest.mark.parametrize(
    ("kind", "immutable"),
    [
        (int, True),
        (Profile, True),
        (Tree, True),
        (tuple[Profile, ...], True),
        (Address | None, True),
        (Pair, True),
        (frozenset[int], True),
        (Basket, False),
        (list[int], False),
        (tuple[list[int], ...], False),
        (Options, False),
        (dict[str, int], False),
        (Any, False),
        (bytearray, False),
        (struct(a=int), False),
    ],
)
def test_what_nobody_can_change_is_known(kind: object, immutable: bool) -> None:
    """Frozen all the way down can be handed out as it is; anything else is decoded for each caller."""
    codec: Codec[object] = Codec(kind, of="x")
    assert codec.immutable is immutable


def changeable(value: object) -> bool:
    """Whether somebody could change a value, or something in it."""
    if isinstance(value, list | dict | set | bytearray):
        return True
    if isinstance(value, tuple | frozenset):
        return any(map(changeable, value))
    names: tuple[str, ...] = (*getattr(value, "__struct_fields__", ()), *getattr(value, "__dataclass_fields__", ()))
    for name in names:
        try:
            setattr(value, name, getattr(value, name))
        except AttributeError:
            continue
        return True
    return any(changeable(getattr(value, name)) for name in names)


PROFILE = Profile(1, Decimal("0.5"), datetime(2024, 1, 1, tzinfo=UTC), UUID(int=1), Level.LOW, Address("x", ("y",)))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Profile, PROFILE),
        (tuple[Profile, ...], (PROFILE,)),
        (Pair, Pair(1, "a")),
        (Tree, Tree("a", (Tree("b"),))),
        (frozenset[int], frozenset({1})),
        (Address | None, Address("x", ("y",))),
        (Basket, Basket([1])),
        (list[int], [1]),
        (tuple[list[int], ...], ([1],)),
    ],
)
def test_what_is_handed_out_as_it_is_cannot_be_changed(kind: object, value: object) -> None:
    """Tried on every field, all the way down; and what can be changed is a new object for each."""
    codec: Codec[object] = Codec(kind, of="x")
    body = codec.encode(value, of="x")
    assert changeable(codec.decode(body)) is not codec.immutable
    assert codec.immutable or codec.copy(body) is not codec.copy(body)


def test_the_type_of_a_value_is_its_own_or_plain() -> None:
    """What `set` takes when nobody says a type."""
    assert (kind_of([1]), kind_of(None), kind_of(Decimal(1))) == (Any, Any, Decimal)


def test_same_looks_at_types_and_not_only_at_values() -> None:
    """1, True and 1.0 are equal to Python and three values here."""
    assert not same(1, True)
    assert not same([1], [1.0])
    assert not same({"a": (1,)}, {"a": [1]})
    assert same([math.nan, {"a": Address("x")}], [math.nan, {"a": Address("x")}])


@given(PLAIN_VALUES)
def test_plain_data_is_known_without_decoding_it(value: object) -> None:
    """What is said to be plain comes back as it is, all the way down."""
    if is_plain(value):
        assert same(msgspec.msgpack.decode(msgspec.msgpack.encode(value)), value)


@pytest.mark.parametrize("value", [(1,), {1: "a"}, [{"a": (1,)}], Number(1), Text("a"), {Text("a"): 1}, Decimal(1)])
def test_what_is_not_plain_is_seen(value: object) -> None:
    """A tuple, a key that is no text, a subclass, deep down too."""
    assert not is_plain(value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (dict[int, Any], {"1": 1}),
        (dict[str, Any], {"a": Decimal(1)}),
        (list[Any], [(1,)]),
        (dict[str, Any] | None, {"a": {1}}),
        (Any, Text("a")),
    ],
)
def test_a_loose_type_is_still_held_to_what_it_says(kind: object, value: object) -> None:
    """What would come back as something else, or not at all, is refused when it is kept."""
    codec: Codec[object] = Codec(kind, of="x")
    with pytest.raises(Uncacheable):
        codec.encode(value, of="f()")


@pytest.mark.parametrize(
    ("kind", "takes"),
    [
        (int, False),
        (int | None, True),
        (None, True),
        (Any, True),
        (Profile, False),
        (Profile | None, True),
        (Literal["a"] | None, True),
        (list[None], False),
    ],
)
def test_a_type_says_whether_none_is_a_value_of_it(kind: object, takes: bool) -> None:
    """What a bulk loader leaves out is None there."""
    codec: Codec[object] = Codec(kind, of="x")
    assert codec.takes_none is takes
