"""Methods: the object is handed to the function, and is no part of a key unless asked."""

from __future__ import annotations

import asyncio
import gc
import weakref
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from tercet.cache import Bound, Cache, Cached
from tercet.errors import TemplateMismatch, UsageError

cache = Cache()


class Users:
    """A repository whose object is not what its answers depend on."""

    def __init__(self, label: str = "first") -> None:
        self.label = label
        self.calls: list[int] = []

    @cache(tags=["user:{user_id}"])
    async def profile(self, user_id: int, page: int = 1) -> str:
        """Who that is."""
        self.calls.append(user_id)
        return f"{self.label}:{user_id}:{page}"

    @cache()
    @classmethod
    async def count(cls, kind: str) -> str:
        """A method of the class."""
        return f"{cls.__name__}:{kind}"

    @staticmethod
    @cache()
    async def twice(number: int) -> int:
        """No method at all."""
        return number * 2

    @cache()
    @staticmethod
    async def thrice(number: int) -> int:
        """The other way round."""
        return number * 3


class Admins(Users):
    """Inherits the methods, and their entries."""


class Rows:
    """A repository of one tenant."""

    def __init__(self, tenant_id: object, region: str = "eu") -> None:
        self.tenant_id = tenant_id
        self.place = SimpleNamespace(region=region)
        self.calls = 0

    @cache(tags=["tenant:{self.tenant_id}", "row:{row_id}"], self_key="tenant_id")
    async def row(self, row_id: int) -> str:
        self.calls += 1
        return f"{self.tenant_id}:{row_id}"

    @cache(tags=["{self.place.region}:{row_id}"], self_key=("tenant_id", "place.region"))
    async def near(self, row_id: int, depth: int = 1) -> str:
        self.calls += 1
        return f"{self.tenant_id}:{self.place.region}:{row_id}:{depth}"


@pytest.fixture(autouse=True)
def empty() -> None:
    """Nothing is kept from test to test."""
    cache.clear_memory()


async def test_a_method_is_called_on_its_object_and_shares_its_entries() -> None:
    """Whoever comes first lends its self; the other gets the same answer."""
    one, other = Users("one"), Users("other")
    assert await one.profile(42) == "one:42:1"
    assert await other.profile(user_id=42, page=1) == "one:42:1"
    assert (one.calls, other.calls) == ([42], [])


async def test_everything_that_a_function_can_be_asked_a_method_can() -> None:
    """drop, peek, refresh, key, many."""
    users = Users()
    assert await users.profile.peek(42) is None
    assert await users.profile(42) == "first:42:1"
    found = await users.profile.peek(42)
    assert found is not None
    assert (found.value, found.tier) == ("first:42:1", "memory")
    users.label = "second"
    assert await users.profile.refresh(42) == "second:42:1"
    assert await users.profile.drop(42) is True
    assert await users.profile.many([42, 43, (42, 2)]) == ["second:42:1", "second:43:1", "second:42:2"]
    await cache.drop_tags("user:42")
    assert await users.profile.peek(42) is None
    assert users.profile.key(42) == f"f:{__name__}.Users.profile(i42,i1)"


async def test_a_class_shows_the_function_and_takes_its_object_first() -> None:
    """As Python's own functions in classes do."""
    users = Users()
    assert isinstance(Users.profile, Cached)
    assert isinstance(users.profile, Bound)
    assert Users.profile.__doc__ == "Who that is."
    assert await Users.profile(users, 42) == "first:42:1"
    assert await Users.profile.drop(users, 42) is True
    assert Users.profile.key(users, 1) == users.profile.key(1)
    with pytest.raises(TypeError, match="object"):
        await Users.profile()  # type: ignore[call-arg]  # it is the fault under test
    with pytest.raises(TypeError, match="object"):
        await Users.profile.many([1])


async def test_a_key_names_the_class_that_defines_the_method() -> None:
    """An heir shares the entries of what it inherits, and has its own where it writes its own."""
    users, admins = Users(), Admins("admin")
    assert admins.profile.key(1) == users.profile.key(1)
    assert await users.profile(1) == await admins.profile(1) == "first:1:1"


async def test_methods_of_classes_and_static_ones_are_cached_too() -> None:
    """In the order that works in every Python: the cache on top; a static one either way."""
    # To type checkers, what stands under a classmethod takes its class.
    users: Any = Users
    admins: Any = Admins
    assert await users.count("a") == "Users:a"
    assert await users().count("a") == "Users:a"
    assert await users.count.drop("a") is True
    assert await admins.count("b") == "Admins:b"
    assert (await users.twice(2), await users().twice(2)) == (4, 4)
    assert (await users.thrice(2), await users().thrice(2)) == (6, 6)


async def test_no_object_is_kept_by_the_cache() -> None:
    """After its call nothing in the cache refers to it; its entry stays."""
    users = Users()
    gone = weakref.ref(users)
    assert await users.profile(42) == "first:42:1"
    assert await users.profile.many([43]) == ["first:43:1"]
    del users
    # The loop may have a word to say on loads that have just ended.
    while gone() is not None:
        await asyncio.sleep(0)
        gc.collect()
    assert await Users("second").profile(42) == "first:42:1"


async def test_attributes_that_are_asked_for_are_part_of_the_key() -> None:
    """Two tenants have two entries, whichever object asks; their types count as well."""
    one, twin, other, text = Rows(1), Rows(1), Rows(2), Rows("1")
    assert await one.row(5) == "1:5"
    assert await twin.row(5) == "1:5"
    assert await other.row(5) == "2:5"
    assert await text.row(5) == "1:5"
    assert (one.calls, twin.calls, other.calls, text.calls) == (1, 0, 1, 1)
    assert one.row.key(5) == f"f:{__name__}.Rows.row[i1](i5)"
    assert await other.row.many([5, 6]) == ["2:5", "2:6"]
    assert other.calls == 2


async def test_attributes_of_the_object_make_tags() -> None:
    """A tenant's entries are dropped together, and no other tenant's."""
    one, other = Rows(1), Rows(2)
    await one.row(5), await other.row(5)
    await cache.drop_tags("tenant:1")
    assert (await one.row.peek(5), (await other.row.peek(5)) is None) == (None, False)


async def test_attributes_of_attributes_work_alike() -> None:
    """Several, along dots, in the key and in tags."""
    europe, asia = Rows(1, "eu"), Rows(1, "asia")
    assert (await europe.near(5), await asia.near(5)) == ("1:eu:5:1", "1:asia:5:1")
    assert europe.near.key(5) == f"f:{__name__}.Rows.near[i1,s2:eu](i5,i1)"
    await cache.drop_tags("eu:5")
    assert (await europe.near.peek(5), (await asia.near.peek(5)) is None) == (None, False)
    assert await asia.near.many([(5, 1), {"row_id": 5}]) == ["1:asia:5:1"] * 2


async def test_heirs_that_answer_differently_can_be_told_apart() -> None:
    """Where the object's own class decides, its name is an attribute like others."""

    class Table:
        """Something of which there are several kinds."""

        @cache(self_key="__class__.__name__", name="tests.table")
        async def named(self, number: int) -> str:
            return f"{type(self).__name__}:{number}"

    class Orders(Table):
        """One kind."""

    class Lines(Table):
        """Another."""

    assert [await Orders().named(1), await Lines().named(1), await Orders().named(1)] == [
        "Orders:1",
        "Lines:1",
        "Orders:1",
    ]


@pytest.mark.parametrize("values", [(1, 5), ("a" * 500, 5), (True, 5), (None, 10**90)])
def test_what_is_compiled_for_a_method_is_what_is_defined(values: tuple[object, ...]) -> None:
    """Attributes of the object included."""
    work = Rows.row._work
    fast, slow = work.ask(values), work._ask_slowly(values)
    assert (fast.name, fast.full, fast.tags, fast.raw) == (slow.name, slow.full, slow.tags, slow.raw)


async def test_an_attribute_that_is_not_there_is_named() -> None:
    """Before anything is loaded or kept, for one call and for many."""
    rows = Rows(1)
    del rows.tenant_id
    with pytest.raises(UsageError, match=r"self\.tenant_id"):
        await rows.row(5)
    with pytest.raises(UsageError, match=r"self\.tenant_id"):
        await rows.row.many([5])
    assert rows.calls == 0


async def test_an_attribute_that_can_change_is_no_key() -> None:
    """It is refused by its name, as an argument would be."""
    with pytest.raises(UsageError, match=r"self\.tenant_id"):
        await Rows([1]).row(5)


@pytest.mark.parametrize("self_key", ["", "a b", "a..b", "a[0]", ("ok", ""), 5, ("x", None)])
def test_a_self_key_that_names_no_attribute_is_refused(self_key: Any) -> None:
    """Where the decorator stands."""
    with pytest.raises(UsageError, match="self_key"):

        @cache(self_key=self_key)
        async def load(self: object, number: int) -> int:
            return 0


def test_a_function_has_no_self_to_look_at() -> None:
    """self_key on a function, and self in a tag that the key does not have."""
    with pytest.raises(UsageError, match="no self"):

        @cache(self_key="tenant_id")
        async def load(number: int) -> int:
            return 0

    with pytest.raises(TemplateMismatch):

        @cache(tags=["tenant:{self.tenant_id}"])
        async def method(self: object, number: int) -> int:
            return 0


async def test_a_struct_can_have_cached_methods() -> None:
    """Whatever kind of class it is: they are kept by the class, not by its objects."""

    class Service(msgspec.Struct, frozen=True):
        """An object with slots, which cannot be changed."""

        prefix: str

        @Cache()(name="tests.service")
        async def named(self, number: int) -> str:
            """A cached method."""
            return f"{self.prefix}{number}"

    assert await Service("a").named(1) == "a1"
    assert await Service("b").named(1) == "a1"
