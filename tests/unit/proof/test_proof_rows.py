"""A checksum is the same for the same answer and another for any other."""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
import math
from collections import namedtuple
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal, localcontext
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from tercet.errors import NotComparable
from tercet.proof import checksum, row_checksums

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.binary()
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.datetimes()
    | st.datetimes(timezones=st.just(UTC))
    | st.floats(allow_nan=False)
    | st.decimals(allow_nan=False)
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def typed(value: object) -> object:
    """The value and all its types, as Python itself would compare them."""
    match value:
        case bool() | None:
            return value.__class__, value
        case list():
            return "list", [typed(item) for item in value]
        case dict():
            return "dict", {key: typed(item) for key, item in value.items()}
        case Decimal():
            return "decimal", value  # 1.0 == 1.00
        case datetime():
            return "datetime", value.tzinfo is None, value
        case _:
            return type(value).__name__, value


@given(VALUES, VALUES)
def test_two_values_agree_exactly_when_type_and_value_do(one: object, two: object) -> None:
    """No value is like another, and none is unlike itself."""
    assert (checksum([{"a": one}]) == checksum([{"a": two}])) == (typed(one) == typed(two))


@given(
    st.lists(st.lists(st.text("ab", max_size=3), max_size=3).map(tuple), max_size=3),
    st.lists(st.lists(st.text("ab", max_size=3), max_size=3).map(tuple), max_size=3),
)
def test_rows_and_values_never_run_into_each_other(one: list[tuple[str, ...]], two: list[tuple[str, ...]]) -> None:
    """("ab", "c") is not ("a", "bc"), and two rows of one are not one row of two."""
    assert (checksum(one) == checksum(two)) == (one == two)


@given(st.lists(st.integers(), min_size=2, unique=True))
def test_the_order_of_rows_counts(values: list[int]) -> None:
    """A page sorted otherwise is another page."""
    assert checksum([(value,) for value in values]) != checksum([(value,) for value in reversed(values)])


class Spender(msgspec.Struct, frozen=True):
    """A row as a cache keeps it, its fields in an order of their own."""

    total: Decimal
    name: str
    id: int


@dataclasses.dataclass(frozen=True, slots=True)
class SpenderData:
    """The same as a dataclass."""

    name: str
    id: int
    total: Decimal


class SpenderTuple(NamedTuple):
    """The same as a named tuple."""

    id: int
    name: str
    total: Decimal


class Record:
    """A row like asyncpg's: it has keys and items, and is no Mapping."""

    def keys(self) -> list[str]:
        """Its columns."""
        return ["id", "name", "total"]

    def items(self) -> Iterator[tuple[str, object]]:
        """Its columns and values."""
        return iter([("id", 1), ("name", "Ann"), ("total", Decimal("12.50"))])


def test_the_same_row_is_the_same_whoever_brings_it() -> None:
    """SQL rows and cached structs can be held against each other; plain tuples if their columns are named."""
    expected = checksum([{"id": 1, "name": "Ann", "total": Decimal("12.50")}])
    assert checksum([Spender(Decimal("12.5"), "Ann", 1)]) == expected
    assert checksum([SpenderData("Ann", 1, Decimal("12.5"))]) == expected
    assert checksum([SpenderTuple(1, "Ann", Decimal("12.5"))]) == expected
    assert checksum([Record()]) == expected
    assert checksum([(1, "Ann", Decimal("12.5"))], names=("id", "name", "total")) == expected
    assert checksum(iter([Record()])) == expected
    assert checksum([(1, "Ann", Decimal("12.5"))]) != expected


def test_rows_of_sqlalchemy_are_known_by_their_columns() -> None:
    """As rows, as mappings, and straight from the result."""
    engine = create_engine("sqlite://")
    query = text("select 1 as id, 'Ann' as name union all select 2, null")
    expected = checksum([{"id": 1, "name": "Ann"}, {"id": 2, "name": None}])
    with engine.connect() as connection:
        assert checksum(connection.execute(query).all()) == expected
        assert checksum(connection.execute(query).mappings()) == expected
        assert checksum(connection.execute(query)) == expected
        doubled = connection.execute(text("select 1 as a, 2 as a")).all()
        swapped = connection.execute(text("select 2 as a, 1 as a")).all()
    engine.dispose()
    assert checksum(doubled) != checksum(swapped)


class Colour(enum.Enum):
    """An enum of texts."""

    RED = "red"


class Level(enum.IntEnum):
    """An enum of numbers."""

    LOW = 1


SEOUL = ZoneInfo("Asia/Seoul")
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (Decimal("1.0"), Decimal("1.00")),
        (Decimal(100), Decimal("1E+2")),
        (Decimal("0.00"), Decimal("-0")),
        (Decimal("NaN"), Decimal("sNaN")),
        (0.0, -0.0),
        (math.nan, -math.nan),
        ([1, 2], (1, 2)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({1, 2, 3}, frozenset({3, 2, 1})),
        (NOON, NOON.astimezone(SEOUL)),
        (NOON, datetime(2024, 1, 1, 7, tzinfo=timezone(timedelta(hours=-5)))),
        (b"x", bytearray(b"x")),
        (b"x", memoryview(b"x")),
        (Spender(Decimal(1), "a", 1), {"id": 1, "name": "a", "total": Decimal(1)}),
    ],
)
def test_what_means_the_same_is_the_same(one: object, two: object) -> None:
    """Scales, zones, containers and signs of zero are ways of writing."""
    assert checksum([{"a": one}]) == checksum([{"a": two}])


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (1, True),
        (0, False),
        (1, 1.0),
        (1, "1"),
        (1, Decimal(1)),
        (1.5, Decimal("1.5")),
        (None, ""),
        (None, "None"),
        (None, 0),
        ("a", b"a"),
        ("red", Colour.RED),
        (1, Level.LOW),
        (Colour.RED, Level.LOW),
        ([], None),
        ([], {}),
        ([1], [[1]]),
        ({"a": None}, {}),
        ({1: 2}, {"1": 2}),
        (NOON, NOON.replace(tzinfo=None)),
        (date(2024, 1, 1), datetime(2024, 1, 1)),
        (time(1, 2), time(1, 2, tzinfo=UTC)),
        (time(1, 2, tzinfo=UTC), time(1, 2, tzinfo=timezone(timedelta(hours=1)))),
        (timedelta(days=1), timedelta(hours=1)),
        (Decimal("Infinity"), Decimal("-Infinity")),
        (Decimal(10), Decimal(1)),
        (UUID(int=1), str(UUID(int=1))),
        (ipaddress.ip_address("::1"), "::1"),
        (1 << 80, -(1 << 80)),
    ],
)
def test_what_differs_in_type_or_value_differs(one: object, two: object) -> None:
    """NULL, numbers of other types, and texts that look alike."""
    assert checksum([{"a": one}]) != checksum([{"a": two}])


def test_long_decimals_are_compared_to_the_last_digit() -> None:
    """The context's precision rounds nothing here."""
    with localcontext(prec=5):
        one, two = Decimal("1." + "0" * 40 + "1"), Decimal("1." + "0" * 40 + "2")
        assert checksum([(one,)]) != checksum([(two,)])
        assert checksum([(one,)]) == checksum([(Decimal(str(one) + "000"),)])


def test_the_ends_of_time_have_a_checksum() -> None:
    """Moments that have no form in UTC are moments all the same."""
    last = datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))
    first = datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))
    assert checksum([(last,)]) != checksum([(first,)])


def test_names_of_columns_count_and_a_bare_value_is_a_row() -> None:
    """What scalars() gives is a row of one nameless column."""
    assert checksum([{"a": 1}]) != checksum([{"b": 1}])
    assert checksum([1, "x"]) == checksum([(1,), ("x",)])
    assert checksum([]) != checksum([()])
    one = namedtuple("one", "a")  # noqa: PYI024 - rows are made like this by libraries
    assert checksum([one(1)]) == checksum([{"a": 1}])


def test_the_encoding_stays_as_it_is() -> None:
    """Checksums are kept in files; a change of the encoding must change its version on purpose."""
    rows = [{"id": 1, "name": "Ann", "total": Decimal("12.50"), "at": NOON, "note": None}]
    assert checksum(rows) == "ab0836b9600f5055154d725b4e6405304eb807663b44e54b30a00c6748dc4671"
    assert checksum([]) == "2c838aef47e64488c49f898bb61e208d1ef15dac07825a388a4847d52277c48a"


def test_each_row_has_a_checksum_of_its_own() -> None:
    """So the first that differs can be named."""
    one, two, three = row_checksums([(1,), (2,), (1,)])
    assert one == three
    assert one != two
    assert row_checksums([]) == ()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"a": object()}], "row 0, a is a object"),
        ([(1,), (1, object())], "row 1, column 1 is a object"),
        ([{"a": [{"b": 1j}]}], "row 0, a is a complex"),
        ("text", "The answer is a str"),
        (b"bytes", "The answer is a bytes"),
        ({"a": 1}, "The answer is a dict"),
        (5, "The answer is a int"),
    ],
)
def test_what_cannot_be_compared_is_named_with_its_place(rows: object, said: str) -> None:
    """Never by its address in memory, which differs each time."""
    with pytest.raises(NotComparable, match=said):
        checksum(rows)  # type: ignore[arg-type]  # wrong ones on purpose


def test_wrong_numbers_of_names_and_endless_nests_are_refused() -> None:
    """A list that holds itself ends in an error and not in the interpreter's stack."""
    with pytest.raises(NotComparable, match="2 values, and 1 names"):
        checksum([(1, 2)], names=("a",))
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(NotComparable, match="more than 64 deep"):
        checksum([{"a": endless}])
