"""The code written for one function says exactly what the rules of keys and tags say."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tercet.cache import Cache, Cached
from tercet.cache.encoding.codec import same
from tercet.cache.encoding.key import KEY_CHARS_MAX
from tercet.cache.encoding.tags import TAG_CHARS_MAX
from tercet.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

SEOUL = timezone(timedelta(hours=9))


class Number(enum.IntEnum):
    """Equal to the int 1, and another argument."""

    ONE = 1


@dataclass(frozen=True)
class Filter:
    """An argument of people's own."""

    name: str


VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | st.text(alphabet="ab:é/{} \x00'\"\\", max_size=6)
    | st.text(min_size=KEY_CHARS_MAX - 60, max_size=KEY_CHARS_MAX + 20)
    | st.binary(max_size=8)
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.timedeltas()
    | st.datetimes(timezones=st.sampled_from([None, UTC, SEOUL]))
    | st.sampled_from([Number.ONE, 0.0, -0.0, 10**400, "x" * TAG_CHARS_MAX, "9" * (TAG_CHARS_MAX + 1)])
)


async def of_int(user_id: int) -> int:
    return 0


async def of_text(name: str) -> int:
    return 0


async def of_several(user_id: int, name: str, day: date = date(2024, 1, 1), *, exact: bool = False) -> int:
    return 0


async def of_anything(one, other=None) -> int:  # type: ignore[no-untyped-def]  # what has no annotations is under test
    return 0


async def of_some(one: int, other: str | None = None) -> int:
    return 0


async def of_every(a: float, b: bytes, c: UUID, d: timedelta, e: bool, f: None) -> int:
    return 0


async def of_moments(at: datetime, until: datetime | None = None) -> int:
    return 0


async def of_names_like_ours(len: int, type: str, slot: int, index: int) -> int:  # noqa: A002 - the point of it
    return 0


FUNCTIONS: list[tuple[Callable[..., Any], int]] = [
    (of_int, 1), (of_text, 1), (of_several, 4), (of_anything, 2), (of_some, 2), (of_every, 6), (of_moments, 2),
    (of_names_like_ours, 4),
]  # fmt: skip


def cached_with_tags(function: Callable[..., Any], cache: Cache) -> Cached[..., Any]:
    """The function with a tag a parameter, one of all, and one fixed."""
    names = list(function.__annotations__)[:-1] or ["one", "other"]
    every = ":".join(f"{{{name}}}" for name in names)
    tags = ["all's \"{{\\n", every, *(f"{name}:{{{name}}}" for name in names)]
    return cache(tags=tags, name=f"it's \\{{odd}} {function.__name__}")(function)


CACHED = [(cached_with_tags(function, Cache()), count) for function, count in FUNCTIONS]


def asked(ask: Callable[[tuple[object, ...]], Any], values: tuple[object, ...]) -> object:
    """What is asked for, or the error's sentence."""
    try:
        found = ask(values)
    except UsageError as error:
        return str(error)
    return found.name, found.full, found.tags, found.label


@settings(max_examples=200)
@given(st.data())
def test_what_is_compiled_asks_for_what_is_defined(data: st.DataObject) -> None:
    """Name, whole key, tags, and the error where there is one, for every type in every place."""
    cached, count = data.draw(st.sampled_from(CACHED))
    values = tuple(data.draw(VALUES | st.builds(Filter, st.text(max_size=3))) for _ in range(count))
    work = cached._work
    assert asked(work.ask, values) == asked(work._ask_slowly, values)
    try:
        fast, slow = work.ask(values).raw, work._ask_slowly(values).raw
    except UsageError:
        return
    assert same(fast, slow)


@given(st.lists(VALUES, min_size=1, max_size=3), st.integers(0, 7))
def test_a_bulk_read_asks_for_what_single_reads_do(values: list[object], which: int) -> None:
    """Each item as if it had been asked for by itself."""
    cached, count = CACHED[which]
    work = cached._work
    items = values if count == 1 else [dict.fromkeys(work._binder.names, one) for one in values]
    try:
        single = [work._ask_slowly(work._values_of(None, item)) for item in items]
    except UsageError:
        return
    found, asks, places = work._sweep(None, list(items))
    assert [(ask.name, ask.full, ask.tags) for ask in asks] == [(ask.name, ask.full, ask.tags) for ask in single]
    assert (found, places) == ([None] * len(items), list(range(len(items))))


def is_one_call(one: object, other: object) -> bool:
    """Whether two arguments are the same call."""
    if isinstance(one, Decimal) and isinstance(other, Decimal):
        return one.as_tuple() == other.as_tuple()
    if isinstance(one, datetime) and isinstance(other, datetime):
        return one == other and str(one.tzinfo) == str(other.tzinfo)
    return same(one, other)


@settings(max_examples=60, deadline=None)
@given(VALUES, VALUES, st.sampled_from([of_int, of_text, of_some, of_anything, of_moments]))
@example(1, True, of_int)
@example(1, Number.ONE, of_int)
@example(1, 1.0, of_anything)
@example(0.0, -0.0, of_anything)
@example("a", b"a", of_text)
@example(datetime(2024, 1, 1, 9, tzinfo=SEOUL), datetime(2024, 1, 1, tzinfo=UTC), of_moments)
def test_two_calls_share_an_entry_only_if_they_are_the_same(one: Any, other: Any, function: Callable[..., Any]) -> None:
    """In this process too, where no key is written for a hit; by one call and by many."""

    async def run() -> tuple[int, list[object]]:
        calls: list[object] = []
        cache = Cache()

        async def load(value: Any) -> int:
            calls.append(value)
            return len(calls)

        load.__annotations__["value"] = next(iter(function.__annotations__.values()), None)
        load.__annotations__["return"] = int
        cached = cache(load)
        try:
            first = await cached(one)
            assert await cached(one) == first
            assert await cached.many([one]) == [first]
            second = await cached(other)
            assert await cached.many([other, one]) == [second, first]
        except UsageError:
            return 0, calls
        return (1 if is_one_call(one, other) else 2), calls

    expected, calls = asyncio.run(run())
    assert expected == 0 or len(calls) == expected


@pytest.mark.parametrize("tag", ["u:{user.id}", "{user.team.name}:{user.id}"])
def test_attributes_in_tags_are_followed_and_missed_alike(tag: str) -> None:
    """Found or not, as the definition has it."""
    cache = Cache()

    @cache(tags=[tag])
    async def of_user(user: Any) -> int:
        return 0

    work = of_user._work
    whole = SimpleNamespace(id="a:b", team=SimpleNamespace(name="x"))
    for user in (whole, SimpleNamespace(), 7):
        assert asked(work.ask, (user,)) == asked(work._ask_slowly, (user,))


def test_a_tag_made_twice_is_one_tag() -> None:
    """Two templates that come to the same."""
    cache = Cache()

    @cache(tags=["u:{a}", "u:{b}"])
    async def pair(a: int, b: int) -> int:
        return 0

    @cache(tags=["u:{a}", "u:{b}", "u:{c}"], name="triple")
    async def triple(a: int, b: int, c: int) -> int:
        return 0

    assert pair._work.ask((1, 1)).tags == ("u:1",)
    assert pair._work.ask((1, 2)).tags == ("u:1", "u:2")
    assert triple._work.ask((1, 2, 1)).tags == ("u:1", "u:2")


async def test_equal_calls_have_one_key_however_they_are_passed() -> None:
    """By position, by name, with or without what is the default."""
    cache = Cache()
    calls = 0

    @cache(tags=["user:{user_id}"])
    async def listed(user_id: int, page: int = 1, *, exact: bool = False) -> int:
        nonlocal calls
        calls += 1
        return calls

    assert listed.key(7).endswith("listed(i7,i1,b0)")
    ways = [
        await listed(7),
        await listed(7, 1),
        await listed(user_id=7),
        await listed(exact=False, page=1, user_id=7),
        *await listed.many([7, (7,), (7, 1), {"user_id": 7}, {"exact": False, "user_id": 7}]),
    ]
    assert ways == [1] * len(ways)
    assert await listed(7, True) == 2


async def test_an_int_that_cannot_be_written_is_an_error_that_names_its_parameter() -> None:
    """Python itself refuses to write a number of more than 4,300 digits."""
    cache = Cache()

    @cache(tags=["user:{user_id}"])
    async def load(user_id: int) -> int:
        return 0

    with pytest.raises(UsageError, match="user_id"):
        await load(10**5_000)


async def test_hits_in_memory_are_counted_one_by_one_and_in_bulk() -> None:
    """The shortest way to a value is a hit like any other."""
    cache = Cache()

    @cache
    async def double(number: int) -> int:
        return 2 * number

    assert [await double(1), await double(1), await double(1)] == [2, 2, 2]
    assert await double.many([1, 1, 2]) == [2, 2, 4]
    found = cache.stats()
    assert (found.memory_hits, found.loads) == (4, 2)
