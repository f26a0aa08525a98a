"""Many at once: in order, each once, loaded together where there is a loader for many."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from tercet.cache import Cache
from tercet.errors import UsageError
from tercet.telemetry import CacheRead, Telemetry


class Profile(msgspec.Struct, frozen=True):
    """A value that nobody can change."""

    user_id: int


class Basket(msgspec.Struct):
    """A value that callers can change."""

    items: list[str]


async def test_many_come_in_the_order_asked_and_are_loaded_once() -> None:
    """Duplicates, what is there already, nothing at all, any iterable."""
    cache, calls = Cache(), list[int]()

    @cache(tags=["user:{user_id}"])
    async def profile(user_id: int) -> Profile:
        calls.append(user_id)
        return Profile(user_id)

    assert await profile(2) == Profile(2)
    assert await profile.many([3, 2, 1, 3]) == [Profile(3), Profile(2), Profile(1), Profile(3)]
    assert sorted(calls) == [1, 2, 3]
    assert await profile.many(iter(range(1, 4))) == [Profile(1), Profile(2), Profile(3)]
    assert await profile.many([]) == []
    assert len(calls) == 3
    await cache.drop_tags("user:2")
    assert await profile.many([1, 2]) == [Profile(1), Profile(2)]
    assert calls[3:] == [2]


async def test_an_item_of_a_function_of_several_is_a_tuple_or_a_dict() -> None:
    """Defaults are filled in; a single value is the first argument; one parameter takes a tuple as it is."""
    cache = Cache()

    @cache()
    async def page(user_id: int, number: int = 1, *, exact: bool = False) -> str:
        return f"{user_id}.{number}.{exact}"

    @cache(name="sum")
    async def total(pair: tuple[int, int]) -> int:
        return sum(pair)

    @cache(name="any")
    async def every(*numbers: int, **named: int) -> int:
        return sum(numbers) + sum(named.values())

    asked = [(1, 2), {"user_id": 1, "exact": True}, 7]
    assert await page.many(asked) == ["1.2.False", "1.1.True", "7.1.False"]
    assert await total.many([(1, 2), (3, 4)]) == [3, 7]
    assert await every.many([(1, 2), {"a": 4}, 8, (), (1, 2)]) == [3, 4, 8, 0, 3]
    assert await every.many([(1, 2)]) == [3]
    with pytest.raises(TypeError, match="page"):
        await page.many([(1, 2, 3)])


async def test_a_bulk_loader_gets_what_is_missing_and_only_that() -> None:
    """One list of arguments, each once; the function itself is not called."""
    cache, asked, single = Cache(), list[list[int]](), list[int]()

    @cache()
    async def profile(user_id: int) -> Profile | None:
        single.append(user_id)
        return Profile(user_id)

    @profile.bulk
    async def profiles(ids: list[int]) -> dict[int, Profile | None]:
        asked.append(sorted(ids))
        return {one: Profile(one) for one in ids if one < 10}

    await profile(1)
    assert await profile.many([1, 2, 3, 2]) == [Profile(1), Profile(2), Profile(3), Profile(2)]
    assert (asked, single) == ([[2, 3]], [1])
    assert await profile.many([3, 1]) == [Profile(3), Profile(1)]
    assert len(asked) == 1
    assert await profiles([5]) == {5: Profile(5)}


async def test_what_a_bulk_loader_leaves_out_is_none_where_none_is_a_result() -> None:
    """And that is kept, as any None is."""
    cache, asked = Cache(), list[list[int]]()

    @cache()
    async def profile(user_id: int) -> Profile | None:
        raise AssertionError("not for one that the loader left out")

    @profile.bulk
    async def _(ids: list[int]) -> dict[int, Profile | None]:
        asked.append(ids)
        return {}

    assert await profile.many([1]) == [None]
    assert await profile.many([1]) == [None]
    assert asked == [[1]]


async def test_what_a_bulk_loader_leaves_out_is_loaded_alone_where_none_is_no_result() -> None:
    """The function knows what to say then; here, an error of its own."""
    cache = Cache()

    @cache()
    async def profile(user_id: int) -> Profile:
        if user_id == 9:
            raise LookupError("no user 9")
        return Profile(user_id)

    @profile.bulk
    async def _(ids: list[int]) -> dict[int, Profile]:
        return {one: Profile(one) for one in ids if one < 5}

    assert await profile.many([1, 7]) == [Profile(1), Profile(7)]
    with pytest.raises(LookupError, match="9"):
        await profile.many([1, 9])


async def test_a_bulk_loader_of_several_arguments_gets_tuples() -> None:
    """Normalised, defaults filled in; a method's loader gets the object first."""
    cache = Cache()

    class Pages:
        """Something with a method for many."""

        def __init__(self) -> None:
            self.asked: list[tuple[int, int]] = []

        @cache()
        async def page(self, user_id: int, number: int = 1) -> int:
            raise AssertionError("all are loaded together")

        @page.bulk
        async def _(self, ids: list[tuple[int, int]]) -> dict[tuple[int, int], int]:
            self.asked += ids
            return {(a, b): a * b for a, b in ids}

    pages = Pages()
    assert await pages.page.many([(2, 3), {"user_id": 4}]) == [6, 4]
    assert sorted(pages.asked) == [(2, 3), (4, 1)]


async def test_a_bulk_loader_that_cannot_be_meant_is_refused() -> None:
    """No async function, a second one, a function of any number of arguments, a list for an answer."""
    cache = Cache()

    @cache()
    async def profile(user_id: int) -> Profile:
        return Profile(user_id)

    @cache(name="every")
    async def every(*ids: int) -> int:
        return 0

    async def listed(ids: list[int]) -> Any:
        return [Profile(one) for one in ids]

    with pytest.raises(UsageError, match="async"):
        profile.bulk(dict)  # type: ignore[type-var]  # it is the fault under test
    with pytest.raises(UsageError, match="any number"):
        every.bulk(listed)
    assert profile.bulk(listed) is listed
    with pytest.raises(UsageError, match="already"):
        profile.bulk(listed)
    with pytest.raises(UsageError, match="returned a list"):
        await profile.many([1])
    assert await profile(1) == Profile(1)


async def test_no_caller_can_change_what_another_one_gets() -> None:
    """Not the loader, not the first caller, not one of a bulk read, nor the same one twice in it."""
    cache = Cache()
    kept = Basket(["a"])

    @cache()
    async def basket(user_id: int) -> Basket:
        return kept

    @basket.bulk
    async def _(ids: list[int]) -> dict[int, Basket]:
        return dict.fromkeys(ids, kept)

    first = await basket(1)
    twice = await basket.many([1, 2, 2, 1])
    for one in (first, *twice, kept):
        one.items.append("b")
    kept.items.append("c")
    assert [one.items for one in twice] == [["a", "b"]] * 4
    assert (await basket(1)).items == ["a"]
    assert [one.items for one in await basket.many([1, 2])] == [["a"], ["a"]]
    assert await basket(1) is not await basket(1)


async def test_what_nobody_can_change_is_handed_out_as_it_is() -> None:
    """One object for all, and no time spent on copies."""
    cache = Cache()

    @cache()
    async def profile(user_id: int) -> Profile:
        return Profile(user_id)

    first = await profile(1)
    assert await profile(1) is await profile(1)
    assert (await profile.many([1]))[0] is await profile(1)
    assert first == await profile(1)


async def test_readers_of_many_tell_a_read_for_each() -> None:
    """What comes from memory counts as much as a single read."""
    telemetry, heard = Telemetry(), list[str]()
    cache = Cache(telemetry=telemetry)

    @cache(name="p")
    async def profile(user_id: int) -> Profile:
        return Profile(user_id)

    await profile.many([1, 2, 3])
    end = telemetry.listen(lambda event: heard.append(event.tier) if isinstance(event, CacheRead) else None)
    await profile.many([1, 2, 3, 4])
    end()
    assert sorted(heard) == ["loader", "memory", "memory", "memory"]


async def test_bulk_reads_at_the_same_time_share_their_loads() -> None:
    """Two ask for overlapping keys; each key is loaded once where it is loaded by itself."""
    cache, calls, gate = Cache(), list[int](), asyncio.Event()

    @cache()
    async def profile(user_id: int) -> Profile:
        calls.append(user_id)
        await gate.wait()
        return Profile(user_id)

    one = asyncio.create_task(profile.many([1, 2, 3]))
    other = asyncio.create_task(profile.many([2, 3, 4]))
    while len(calls) < 4:
        await asyncio.sleep(0)
    gate.set()
    assert await one == [Profile(1), Profile(2), Profile(3)]
    assert await other == [Profile(2), Profile(3), Profile(4)]
    assert sorted(calls) == [1, 2, 3, 4]
