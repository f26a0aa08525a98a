"""What one process keeps in Redis another one reads: methods, many, big values, signed pickles."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tercet.cache import Cache, Pickled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

# Both cores may be taken: nothing here is about how fast Redis answers.
DEADLINE = "5s"

SECRET = "a secret for tests, which everybody may know"


class Profile(msgspec.Struct, frozen=True):
    """What a user's service would return."""

    user_id: int
    balance: Decimal


class Point:
    """What only pickle can keep."""

    def __init__(self, place: complex) -> None:
        self.place = place


async def _loaded() -> int:
    return 1


@pytest.fixture
async def process(redis_url: str) -> AsyncIterator[Callable[[], Awaitable[Cache]]]:
    """Makes caches that know nothing of each other but for the Redis that they share."""
    made: list[Cache] = []

    async def make() -> Cache:
        cache = Cache(redis_url, ttl="1m", deadline=DEADLINE)
        made.append(cache)
        # Until it hears what others drop, it may keep nothing of what it loads.
        while (found := await cache.peek("ready")) is None or found.tier != "memory":
            await cache.get_or_load("ready", _loaded)
        return cache

    yield make
    for cache in made:
        await cache.close()


def profiles(cache: Cache, calls: list[int]) -> Any:
    """The same function in each process, which tells when it is called."""

    @cache(tags=["user:{user_id}"], name="shared.profile")
    async def profile(user_id: int) -> Profile:
        calls.append(user_id)
        return Profile(user_id, Decimal(user_id) / 4)

    return profile


async def test_many_are_read_from_redis_and_only_the_rest_is_loaded(process: Callable[[], Awaitable[Cache]]) -> None:
    """What another process has loaded, one by one or together, is not loaded again."""
    here, there = list[int](), list[int]()
    writer, reader = profiles(await process(), here), profiles(await process(), there)
    assert await writer(1) == Profile(1, Decimal("0.25"))
    await writer.many(range(2, 65))
    assert sorted(here) == list(range(1, 65))
    asked = [70, *range(64, 0, -1), 3, 70]
    assert await reader.many(asked) == [Profile(one, Decimal(one) / 4) for one in asked]
    assert there == [70]


async def test_a_tag_that_was_dropped_elsewhere_is_seen_by_many(process: Callable[[], Awaitable[Cache]]) -> None:
    """Its entries are loaded again, and no others."""
    here, there = list[int](), list[int]()
    cache = await process()
    writer, reader = profiles(cache, here), profiles(await process(), there)
    await writer.many([1, 2, 3])
    await cache.drop_tags("user:2")
    await reader.many([1, 2, 3])
    assert there == [2]


async def test_a_big_value_is_read_as_it_was_written(process: Callable[[], Awaitable[Cache]]) -> None:
    """Compressed on its way, by whatever is installed."""
    value = [{"name": f"user {number}", "city": "a city"} for number in range(2_000)]
    await (await process()).set("big", value)
    assert await (await process()).get("big") == value


async def test_a_signed_pickle_is_read_with_its_secret_only(process: Callable[[], Awaitable[Cache]]) -> None:
    """In another process; without the secret, or under another kind, it is not there."""
    await (await process()).set("point", Point(1j), type=Pickled(SECRET, kind=Point))
    other = await process()
    assert await other.get("point", Pickled(SECRET[::-1], kind=Point)) is None
    assert await other.get("point", Pickled(SECRET)) is None
    assert await other.get("point") is None
    found = await other.get("point", Pickled(SECRET, kind=Point))
    assert isinstance(found, Point)
    assert found.place == 1j


async def test_methods_of_two_processes_share_what_their_keys_say(process: Callable[[], Awaitable[Cache]]) -> None:
    """The object is no part of a key, its tenant is."""
    caches = await process(), await process()

    def rows(cache: Cache, tenant: int) -> Any:
        class Rows:
            """A repository of one tenant."""

            def __init__(self) -> None:
                self.tenant_id = tenant
                self.calls = 0

            @cache(tags=["tenant:{self.tenant_id}"], self_key="tenant_id", name="shared.row")
            async def row(self, row_id: int) -> str:
                self.calls += 1
                return f"{self.tenant_id}:{row_id}"

        return Rows()

    one, twin = rows(caches[0], 7), rows(caches[1], 7)
    assert await one.row(1) == "7:1"
    assert await twin.row(1) == "7:1"
    assert await twin.row.many([1, 2]) == ["7:1", "7:2"]
    assert (one.calls, twin.calls) == (1, 1)
    other = rows(await process(), 8)
    assert await other.row.many([1, 2]) == ["8:1", "8:2"]
