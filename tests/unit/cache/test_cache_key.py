"""Keys: equal for equal calls however they are written, and for no others."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from functools import partial
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tercet.cache.encoding.key import KEY_CHARS_MAX, encode, identity, key_of
from tercet.cache.functions.binder import Binder, bind
from tercet.errors import Unkeyable

if TYPE_CHECKING:
    from collections.abc import Callable

SEOUL = timezone(timedelta(hours=9))

ZONES = st.sampled_from([None, UTC, SEOUL])
ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.timedeltas()
    | st.datetimes(timezones=ZONES)
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=8,
)


class Color(Enum):
    RED = "red"


class Shade(StrEnum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


class Size(NamedTuple):
    x: int
    y: int


@dataclass(frozen=True)
class Filter:
    name: str
    limit: int | None = None


class Cursor(msgspec.Struct, frozen=True):
    after: int


@dataclass
class Loose:
    name: str


def alike(one: object, other: object) -> bool:
    """Whether two values are the same call: equal, and of equal types all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, frozenset) and isinstance(other, frozenset):
        return len(one) == len(other) and all(any(alike(a, b) for b in other) for a in one)
    if isinstance(one, Decimal) and isinstance(other, Decimal):
        return one.as_tuple() == other.as_tuple()
    if isinstance(one, datetime) and isinstance(other, datetime):
        return one == other and str(one.tzinfo) == str(other.tzinfo) and one.fold == other.fold
    return one == other


@given(VALUES, VALUES)
@example(1, True)
@example(1, 1.0)
@example(1, "1")
@example(None, "None")
@example(b"a", "a")
@example(0.0, -0.0)
@example(("a", "b"), ("a,s1:b",))
@example(("a:b",), ("a", "b"))
@example((("a",), "b"), ("a", ("b",)))
@example((), ((),))
@example(Decimal("1.0"), Decimal("1.00"))
@example(frozenset({1, 2}), frozenset({2, 1}))
@example(datetime(2024, 1, 1, 9, tzinfo=SEOUL), datetime(2024, 1, 1, tzinfo=UTC))
def test_two_values_share_a_text_only_if_they_are_the_same(one: object, other: object) -> None:
    """Equal in value and type is equal in text, and nothing else is."""
    assert (encode(one) == encode(other)) is alike(one, other)


@given(
    st.lists(st.text(alphabet="ab:,()s1#i", max_size=6), max_size=4),
    st.lists(st.text(alphabet="ab:,()s1#i", max_size=6), max_size=4),
)
def test_texts_full_of_delimiters_do_not_collide(one: list[str], other: list[str]) -> None:
    """What looks like a key's own signs inside a text is only text."""
    assert (encode(tuple(one)) == encode(tuple(other))) is (one == other)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (42, "i42"),
        (True, "b1"),
        (None, "n"),
        ("a:b", "s3:a:b"),
        (1.5, "f1.5"),
        (b"\x00\xff", "x00ff"),
        (Decimal("1.50"), "d1.50"),
        (UUID(int=1), "u00000000000000000000000000000001"),
        (date(2024, 1, 2), "D2024-01-02"),
        (datetime(2024, 1, 2, tzinfo=UTC), "t2024-01-02T00:00:00+00:00@3:UTC"),
        (time(1, 2), "h01:02:00"),
        (timedelta(days=1, seconds=2), "p1.2.0"),
        ((1, ("x",)), "(i1,(s1:x))"),
        (frozenset({2, 1}), "<i1,i2>"),
        (PurePosixPath("/a"), "P16:PurePosixPath:/a"),
    ],
)
def test_a_text_can_be_read_by_people(value: object, text: str) -> None:
    """Keys say what they are of."""
    assert encode(value) == text


def test_classes_of_one_shape_are_told_apart() -> None:
    """An Enum, a named tuple or a frozen class carries its own name."""
    several = [
        Color.RED,
        Shade.RED,
        "red",
        Point(1, 2),
        Size(1, 2),
        (1, 2),
        Filter("a"),
        Filter("a", 1),
        Cursor(1),
    ]
    assert len({encode(one) for one in several}) == len(several)


class Whole(int):
    """A number that may print, compare and hash as it likes."""


@pytest.mark.parametrize(
    ("value", "kind"),
    [([1], "list"), ({"a": 1}, "dict"), ({1}, "set"), (bytearray(b"a"), "bytearray"), (object(), "object")],
)
def test_an_argument_that_can_change_is_refused_by_name(value: object, kind: str) -> None:
    """The error says which parameter of which function, and what to pass instead."""

    async def orders(user_id: int, wanted: object) -> int:
        return 0

    with pytest.raises(Unkeyable) as caught:
        bind(orders).text((1, value))
    assert (caught.value.parameter, caught.value.kind) == ("wanted", kind)
    assert "tuple" in caught.value.mend


@pytest.mark.parametrize("value", [Whole(1), Loose("a"), (1, [2]), frozenset({Whole(2)}), lambda: 1])
def test_what_has_no_written_form_of_its_own_is_refused(value: object) -> None:
    """A subclass, a changing dataclass, a list within a tuple, a function: none is guessed at."""
    with pytest.raises(TypeError):
        encode(value)


async def search(user_id: int, /, term: str, page: int = 1, *, exact: bool = False) -> int:
    return 0


async def gather(first: int, *rest: int, **named: int) -> int:
    return 0


async def at(moment: datetime, place: str = "") -> int:
    return 0


@pytest.mark.parametrize(
    "call",
    [
        lambda values: values(None, 7, "x"),
        lambda values: values(None, 7, term="x"),
        lambda values: values(None, 7, "x", 1),
        lambda values: values(None, 7, page=1, term="x"),
        lambda values: values(None, 7, "x", exact=False),
        lambda values: values(None, 7, exact=False, page=1, term="x"),
    ],
)
def test_one_call_has_one_key_however_it_is_written(call: Callable[[Any], tuple[object, ...]]) -> None:
    """Positions, names and defaults come to the same."""
    binder = bind(search)
    assert binder.text(call(binder.values())) == "(i7,s1:x,i1,b0)"


def test_any_number_of_arguments_is_bound_in_order() -> None:
    """Further positions are a tuple of their own, further names are sorted."""
    binder = bind(gather)
    values = partial(binder.values(), None)
    assert binder.text(values(1, 2, 3, b=4, a=5)) == binder.text(values(1, 2, 3, a=5, b=4))
    assert binder.text(values(1, 2, 3)) != binder.text(values(1, 23))
    assert binder.text(values(1, a=2)) != binder.text(values(1, b=2))
    assert binder.text(values(1)) == "(i1,(),())"


@pytest.mark.parametrize("call", [lambda f: f(), lambda f: f(1), lambda f: f(1, 2, 3, 4), lambda f: f(1, "x", nope=1)])
def test_a_wrong_call_is_python_s_own_error(call: Callable[[Any], object]) -> None:
    """A cached function takes exactly what the function takes."""
    with pytest.raises(TypeError):
        call(partial(bind(search).values(), None))


async def test_the_function_gets_the_arguments_back() -> None:
    """What was bound is handed on as it was passed."""

    async def echo(a: int, /, b: int, *c: int, d: int = 4, **e: int) -> tuple[object, ...]:
        return a, b, c, d, e

    binder = bind(echo)
    values = binder.values()(None, 1, 2, 3, 3, x=9)
    assert await binder.hand(echo)(None, values) == (1, 2, (3, 3), 4, {"x": 9})


@given(ATOMS, ATOMS)
def test_the_fast_key_and_the_text_agree(one: Any, other: Any) -> None:
    """Where arguments find an entry by themselves, they find exactly what their text would."""

    async def any_of(moment: datetime | str) -> int:
        return 0

    binder = bind(any_of)
    fast, slow = binder.fast((one,)), binder.fast((other,))
    if fast is not None and slow is not None:
        assert (fast == slow) is (binder.text((one,)) == binder.text((other,)))


def test_a_default_that_can_change_is_refused_at_once() -> None:
    """Nobody has to call it to find out."""

    async def orders(tags: list[str] = []) -> int:  # noqa: B006 - it is the fault under test
        return 0

    with pytest.raises(Unkeyable, match="'tags'"):
        bind(orders)


@given(
    st.text(min_size=KEY_CHARS_MAX, max_size=KEY_CHARS_MAX + 50),
    st.text(min_size=KEY_CHARS_MAX, max_size=KEY_CHARS_MAX + 50),
)
def test_a_long_key_is_cut_and_still_its_own(one: str, other: str) -> None:
    """A name of bounded length, and the whole key beside it to compare."""
    first, second = key_of("k", one), key_of("k", other)
    assert len(first.name) <= KEY_CHARS_MAX
    assert first.full == f"k:{one}"
    assert (first.name == second.name) is (one == other)


def test_no_written_key_is_taken_for_a_cut_one() -> None:
    """A cut name has its space in upper case, which no written key has."""
    cut = key_of("k", "x" * 1_000)
    assert cut.name.startswith("K:")
    assert key_of("k", cut.name[2:]).name != cut.name


def test_a_key_begins_with_the_function_and_its_version() -> None:
    """Two functions never share a key, nor two versions of one."""
    assert identity(search, name=None, version=None) == f"{__name__}.search"
    assert identity(search, name=None, version=2) == f"{__name__}.search@2"
    assert identity(search, name="find", version=None) == "find"


@pytest.mark.parametrize(
    ("spec", "file", "said"),
    [
        (None, "tools/report.py", "report.search"),
        (SimpleNamespace(name="shop.report"), "shop/report.py", "shop.report.search"),
        (None, None, "__main__.search"),
    ],
)
def test_a_script_is_called_after_its_file(
    monkeypatch: pytest.MonkeyPatch, spec: object, file: str | None, said: str
) -> None:
    """Every script's module is __main__, and their keys must not meet; only at a prompt there is no file."""
    monkeypatch.setattr(search, "__module__", "__main__")
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=spec, __file__=file))
    assert identity(search, name=None, version=None) == said


def test_a_binder_is_made_once_and_does_not_change() -> None:
    """It is a value."""
    with pytest.raises(AttributeError):
        bind(search).function = "other"  # type: ignore[misc]  # it is the fault under test
    assert isinstance(bind(search), Binder)
