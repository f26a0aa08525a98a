"""Declarations: what is right is a plan, and what is wrong is said where the class stands."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

import msgspec
import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, ForeignKey, Integer, MetaData, Table, Text, Uuid
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from tercet.cache.follow.shapes import Shapes
from tercet.changes import Change
from tercet.clock import StoppedClock
from tercet.errors import DeadlinePassed, EntityInvalid, StoreUnreachable, UsageError
from tercet.router import Entity, Failed, Meta, SourceMeta, mongo, postgres, redis
from tercet.router.entity import Maker
from tercet.router.key import KeyKind, converted, possible
from tercet.router.reading.answer import Answer, assembled
from tercet.router.reading.known import LastKnown


class Base(DeclarativeBase):
    """The tables of these tests."""


class User(Base):
    """A row."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str]
    uid: Mapped[UUID] = mapped_column(Uuid)
    # Defined below, or never: looking at a column must not ask for it.
    orders: Mapped[list[Order]] = relationship()


PAIRS = Table("pairs", MetaData(), Column("a", Integer, primary_key=True), Column("b", Integer, primary_key=True))
PLAIN = Table("plain", MetaData(), Column("id", Integer, primary_key=True), Column("n", Text), schema="shop")


class Taste(msgspec.Struct):
    """A document."""

    genre: str


class Customer(Entity, key=int):
    """The usual one."""

    kind: ClassVar[str] = "usual"
    name: str = postgres(User.name)
    taste: Taste | None = mongo("tastes", on="user_id", key=str)
    city: str | None = mongo("tastes", on="user_id", key=str, field="address.city")
    views: int = redis.counter("views:{key}")
    page: str | None = redis.hash("status:{key}", field="page")
    online: bool | None = redis.hash("status:{key}", field="online")

    @property
    def upper(self) -> str:
        """What a class may have beside its fields."""
        return self.name.upper()


class Order(Base):
    """Comes after who refers to it."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))


def test_fields_of_one_place_are_one_source() -> None:
    """One query a store and place, whatever the number of fields, and only what may be None may degrade."""
    plan = Customer.__plan__
    assert [(one.name, one.names, one.required) for one in plan.sources] == [
        ("postgres users", ("name",), True),
        ("mongo tastes", ("taste", "city"), False),
        ("redis views:{key}", ("views",), True),
        ("redis status:{key}", ("page", "online"), False),
    ]


def test_an_entity_is_a_frozen_value_that_shows_no_values() -> None:
    """Made by keywords, compared by key and values, hashed, copied and pickled; its text is fit for a log."""
    one = Customer(key=1, name="Ann", views=0)
    meta = Meta((SourceMeta("postgres users", "postgres", "fresh", 1.5, 1, ("name",)),))
    same = Customer(key=1, name="Ann", views=0, meta=meta)
    assert one == same
    assert hash(one) == hash(same)
    assert one != Customer(key=1, name="Ann", views=1)
    assert (one.taste, one.upper, Customer.kind) == (None, "ANN", "usual")
    assert repr(one) == "<Customer 1 (not loaded)>"
    assert repr(same) == "<Customer 1 (postgres users: fresh (1.5 ms))>"
    assert copy.copy(one) == one == pickle.loads(pickle.dumps(one))  # noqa: S301 - made a line above
    assert dataclasses.replace(one, name="Bob").name == "Bob"
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.name = "x"  # type: ignore[misc]  # what a checker refuses
    with pytest.raises(TypeError):
        Customer(key=1)
    with pytest.raises(TypeError):
        Customer(key=1, name="a", views=0, nick="b")  # type: ignore[call-arg]  # as above


def test_an_entity_comes_back_from_bytes() -> None:
    """A cache can keep it, with what its meta says."""
    one = Customer(key=1, name="Ann", views=3, taste=Taste(genre="jazz"))
    assert msgspec.json.decode(msgspec.json.encode(one), type=Customer) == one


def test_tags_and_shapes_mean_the_same_tag() -> None:
    """What a cached function is tagged with is what a change of a row drops."""

    class Far(Entity, key=str):
        city: str | None = mongo("far", on="owner.id")
        name: str | None = mongo("near", on="owner")

    assert Customer.tags(42) == Customer.tags("42") == ("customer:42",)
    assert Customer.shapes() == {"users": "customer:{id}"}
    assert Customer.shapes("mongo") == {"tastes": "customer:{user_id}"}
    assert Customer.shapes("redis") == {}
    assert Far.tags("a:b/c") == ("far:a%3Ab%2Fc", "far-any")
    assert Far.shapes("mongo") == {"far": "far-any", "near": "far:{owner}"}


def test_a_change_of_a_row_drops_the_tag_of_its_entity() -> None:
    """What the cache follows by `shapes` and what `tags` says are written alike, whatever the key."""

    class Guest(Entity, key=str):
        name: str | None = mongo("guests", on="login")

    followed = Shapes(Customer.shapes())
    change = Change("insert", "public", "users", {"id": 42})
    assert followed.tags(change, {}) == frozenset(Customer.tags(42))
    followed = Shapes(Guest.shapes("mongo"))
    for key in ("ann", "a:b/c d", "Zoë", "50%", "{x}", ""):
        told = Change("insert", "shop", "guests", {"login": key})
        assert followed.tags(told, {}) == frozenset(Guest.tags(key))


def test_an_entity_inherits_fields_and_key() -> None:
    """A wider one adds to what is there."""

    class Wider(Customer):
        uid: UUID = postgres(User.uid)

    assert [field.name for field in Wider.__plan__.fields][-1] == "uid"
    assert Wider.__plan__.sources[0].names == ("name", "uid")
    assert Wider(key=1, name="a", views=0, uid=UUID(int=1)).name == "a"
    with pytest.raises(EntityInvalid, match="An entity has one type of key"):

        class Other(Customer, key=str):
            pass


def test_what_is_inherited_means_what_it_meant_where_it_stands() -> None:
    """A name that means something else below does not change it."""

    class Taste:
        """Another one of that name."""

    class Wider(Customer):
        uid: UUID = postgres(User.uid)

    (field,) = [field for field in Wider.__plan__.fields if field.name == "taste"]
    assert (field.type, field.optional) == (globals()["Taste"], True)
    assert Taste is not field.type


def test_what_has_failed_is_told_before_what_was_given_up_for_it() -> None:
    """The source that ended a load is the one that is named."""

    class Two(Entity, key=int):
        name: str = postgres(User.name)
        city: str = mongo("tastes", on="user_id", field="city")

    first, second = Two.__plan__.sources
    late = Answer(first, error=DeadlinePassed("postgres", what="reading", deadline=1.0), state="late")
    failed = Answer(second, error=StoreUnreachable("mongo", reason="it is a test"), state="failed")
    outcome = assembled(1, [late, failed], LastKnown(StoppedClock()), Maker(Two).made)
    assert isinstance(outcome, Failed)
    assert outcome.source == "mongo tastes"


def test_what_is_remembered_is_bounded_in_number_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes first, a source that is not declared so is not remembered, and what is gone is forgotten."""

    class Kept(Entity, key=int):
        city: str | None = mongo("tastes", on="user_id", field="city", stale="1m")
        page: str | None = redis.string("page:{key}")

    monkeypatch.setattr("tercet.router.reading.known.KNOWN_MAX", 2)
    clock = StoppedClock()
    known = LastKnown(clock)
    city, page = Kept.__plan__.sources
    for key in (1, 2, 3):
        known.keep(city, key, {"city": str(key)})
    known.keep(page, 1, {"page": "x"})
    assert [known.recall(city, key) is None for key in (1, 2, 3)] == [True, False, False]
    assert known.recall(page, 1) is None
    known.forget(city, 2)
    assert known.recall(city, 2) is None
    clock.advance(60)
    found = known.recall(city, 3)
    assert found is not None
    assert (found.values, found.age) == ({"city": "3"}, 60)
    clock.advance(1)
    assert known.recall(city, 3) is None


def test_a_table_in_a_schema_and_a_column_of_core_are_fine() -> None:
    """What counts is that it is a column of a table."""

    class Plain(Entity, key=int):
        n: str | None = postgres(PLAIN.c.n)

    assert Plain.__plan__.sources[0].name == "postgres shop.plain"
    assert Plain.shapes() == {"shop.plain": "plain:{id}"}


def no_key() -> None:
    class Bad(Entity):
        name: str = postgres(User.name)


def odd_key() -> None:
    class Bad(Entity, key=float):
        name: str = postgres(User.name)


def two_keys() -> None:
    class Bad(Entity, key=(int, str)):
        name: str = postgres(User.name)


def nowhere() -> None:
    class Bad(Entity, key=int):
        name: str


def a_value() -> None:
    class Bad(Entity, key=int):
        name: str = "Ann"


def untyped() -> None:
    class Bad(Entity, key=int):
        name = postgres(User.name)


def taken() -> None:
    class Bad(Entity, key=int):
        meta: str = postgres(User.name)  # type: ignore[assignment]  # what is tested


def empty() -> None:
    class Bad(Entity, key=int):
        pass


def twice() -> None:
    class Bad(Entity, key=int):
        a: str = postgres(User.name)
        b: str = postgres(User.name)


def wrong_hole() -> None:
    class Bad(Entity, key=int):
        a: str = redis.string("user:{id}")


def no_hole() -> None:
    class Bad(Entity, key=int):
        a: str = redis.string("user")


def broken_template() -> None:
    class Bad(Entity, key=int):
        a: str = redis.string("user:{key")


def formatted_hole() -> None:
    class Bad(Entity, key=int):
        a: str = redis.string("user:{key!r}")


def degradable() -> None:
    class Bad(Entity, key=int):
        a: str = mongo("x", on="y", required=False)


def both_ways() -> None:
    class Bad(Entity, key=int):
        a: str | None = mongo("x", on="y", field="a", required=False)
        b: str | None = mongo("x", on="y", field="b", required=True)


def other_key() -> None:
    class Bad(Entity, key=str):
        name: str = postgres(User.name)


def composite() -> None:
    class Bad(Entity, key=int):
        a: int = postgres(PAIRS.c.a)


def foreign_key() -> None:
    class Bad(Entity, key=int):
        a: str = postgres(User.name, key=PLAIN.c.id)


def relation() -> None:
    class Bad(Entity, key=int):
        orders: list[int] = postgres(User.orders)


def operator() -> None:
    class Bad(Entity, key=int):
        a: str = mongo("x", on="$where")


def no_conversion() -> None:
    class Bad(Entity, key=int):
        a: str = mongo("x", on="y", key="str")  # type: ignore[arg-type]  # what is tested


def unknown_type() -> None:
    class Bad(Entity, key=int):
        a: Nowhere = postgres(User.name)  # type: ignore[name-defined]  # noqa: F821 - what is tested


def impossible_type() -> None:
    class Bad(Entity, key=int):
        a: dict[str, int] | Taste = mongo("x", on="y")


WRONG: list[tuple[Callable[[], None], str]] = [
    (no_key, "it has no key"),
    (odd_key, "its key is declared as float"),
    (two_keys, "A key is one value"),
    (nowhere, "it says nowhere where it is"),
    (a_value, "it says nowhere where it is"),
    (untyped, "it has no type"),
    (taken, "that name is taken"),
    (empty, "it has no fields"),
    (twice, "a is declared at the same place"),
    (wrong_hole, "names 'id', and only {key} is known here"),
    (no_hole, "has no {key}, so all would share one"),
    (broken_template, "is no template"),
    (formatted_hole, "only {key} is known here"),
    (degradable, "it cannot be None, and mongo x may degrade"),
    (both_ways, "is said to be required and not to be"),
    (other_key, "its rows are found by a int, and the entity has key=str"),
    (composite, "has no primary key of one column"),
    (foreign_key, "its key is a column of another table"),
    (relation, "is no column of a table"),
    (operator, "one that begins with $"),
    (no_conversion, "converts nothing"),
    (unknown_type, "the annotation 'Nowhere' is not known where the class stands"),
    (impossible_type, "its type is none that values can be made for"),
]


@pytest.mark.parametrize(("declare", "reason"), WRONG, ids=lambda one: getattr(one, "__name__", ""))
def test_what_is_declared_wrongly_is_said_where_the_class_stands(declare: Callable[[], None], reason: str) -> None:
    """The error names the class or the field, the reason, and a mend."""
    with pytest.raises(EntityInvalid) as caught:
        declare()
    assert reason in str(caught.value)
    assert caught.value.what.startswith("Bad")
    assert caught.value.mend


def test_an_edit_takes_declared_fields_of_their_type_and_nothing_else() -> None:
    """A misspelt name is told the nearest one, a wrong value shows no value, and a counter is not written."""
    edit = Customer.edit("42", name="Ann", taste=None)
    assert (edit.key, edit.names, dict(edit.values)) == (42, ("name", "taste"), {"name": "Ann", "taste": None})
    assert "Ann" not in repr(edit)
    with pytest.raises(UsageError, match=r"Customer has no field 'names'\. Did you mean 'name'\?"):
        Customer.edit(1, names="x")
    with pytest.raises(UsageError, match=r"Customer has no field 'is_admin'\. It has: name, taste"):
        Customer.edit(1, is_admin=True)
    with pytest.raises(UsageError, match=r"Customer\.name cannot become that: Expected `str`, got `int`"):
        Customer.edit(1, name=3)
    with pytest.raises(UsageError, match="is counted or added to where it is"):
        Customer.edit(1, views=3)
    with pytest.raises(UsageError, match="changes nothing"):
        Customer.edit(1)
    with pytest.raises(UsageError, match="no int"):
        Customer.edit({"$ne": 1}, name="x")


class Color(StrEnum):
    """A text that is an Enum."""

    RED = "red"


@given(st.integers())
def test_a_number_is_the_same_key_as_its_text(number: int) -> None:
    """A path parameter and a number mean one key, and only numbers that stores have are possible."""
    kind = KeyKind(int, "E")
    assert kind.of(number) == number
    assert possible(number) == (-(2**63) <= number < 2**63)
    if abs(number) < 10**38:
        assert kind.of(str(number)) == number


@given(st.text())
def test_a_text_is_its_own_key_and_possible_if_stores_can_hold_it(text: str) -> None:
    """A NUL is in no text of PostgreSQL."""
    assert KeyKind(str, "E").of(text) == text
    assert possible(text) == ("\0" not in text)


def test_keys_of_other_kinds_are_refused_or_made() -> None:
    """UUIDs and ObjectIds come out of texts; nothing comes out of a dict."""
    uid, oid = UUID(int=5), ObjectId()
    assert KeyKind(UUID, "E").of(str(uid)) == uid
    assert KeyKind(ObjectId, "E").of(str(oid)) == oid
    assert KeyKind(str, "E").of(Color.RED) == "red"
    assert not possible("\ud800")
    for kind, value in ((UUID, "x"), (ObjectId, "x"), (int, "4 2"), (int, "٤"), (int, "9" * 5000), (str, 1)):
        with pytest.raises(UsageError, match="A key of E was given as"):
            KeyKind(kind, "E").of(value)
    with pytest.raises(UsageError, match="was converted to a dict"):
        converted(lambda key: {"$gt": key}, 1, source="mongo x")


def test_the_room_loads_no_driver_before_a_store_is_asked() -> None:
    """Declaring is free of SQLAlchemy, PyMongo and redis-py."""
    import subprocess
    import sys

    program = (
        "import sys, tercet.router; print([m for m in ('sqlalchemy', 'pymongo', 'bson', 'redis') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=_paths())
    assert done.stdout.strip() == "[]"


def _paths() -> dict[str, str]:
    import os
    from pathlib import Path

    import tercet

    source: Any = Path(tercet.__file__).parents[1]
    return {**os.environ, "PYTHONPATH": str(source)}
