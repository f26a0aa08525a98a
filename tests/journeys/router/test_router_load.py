"""Entities out of three real stores: what is there, what is missing, what has another shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict
from uuid import UUID

import msgspec
import pytest
from bson import Decimal128, ObjectId

from tercet.errors import EntityMissing, FieldMismatch, UsageError
from tercet.router import Entity, Failed, Loaded, Missing, mongo, postgres, redis


async def test_an_entity_comes_out_of_three_stores_with_the_types_it_declares(world: Any) -> None:
    """Each value is of its field's type, and meta says how each source has answered."""
    await world.add(42)
    customer = await world.router.load(world.customer, 42)
    assert customer == world.customer(
        key=42,
        name="Ann 42",
        email=None,
        taste=world.taste(genre="jazz", level=42),
        city="Seoul",
        status=world.status(online=True, page="/home"),
        views=42,
    )
    assert {one.source: one.state for one in customer.meta.sources} == {
        "postgres users": "fresh",
        "mongo tastes": "fresh",
        "redis user:status:{key}": "fresh",
        "redis user:views:{key}": "fresh",
    }
    assert customer.meta["city"] is customer.meta["mongo tastes"]
    assert not customer.meta.degraded
    # A path parameter is a text.
    assert await world.router.load(world.customer, "42") == customer


async def test_what_may_be_none_is_none_where_its_store_has_nothing(world: Any) -> None:
    """A counter that nobody counted is 0, and the entity is there as long as its row is."""
    async with world.db.postgres.session() as session, session.begin():
        session.add(world.user(id=1, name="Bare", email="b@example.com"))
    customer = await world.router.load(world.customer, 1)
    assert customer == world.customer(key=1, name="Bare", email="b@example.com", views=0)
    assert (customer.meta["taste"].state, customer.meta["status"].state) == ("missing", "missing")
    assert customer.meta["views"].state == "fresh"


async def test_an_entity_without_its_row_is_missing(world: Any) -> None:
    """load raises, find gives None, and load_many says it beside the others."""
    await world.add(1)
    with pytest.raises(EntityMissing) as caught:
        await world.router.load(world.customer, 2)
    assert (caught.value.store, caught.value.key) == ("postgres", 2)
    assert await world.router.find(world.customer, 2) is None
    assert (await world.router.find(world.customer, 1)).name == "Ann 1"


async def test_many_keys_keep_their_order_and_fail_each_for_itself(world: Any) -> None:
    """Duplicates come twice, what no store can hold is missing, and a broken row spoils only its own."""
    await world.add(1, 2, 3)
    await world.db.mongo["tastes"].update_one({"user_id": "2"}, {"$set": {"level": "high"}})
    huge = 1 << 70
    outcomes = await world.router.load_many(world.customer, [3, 1, 99, "3", huge, 2, -1])
    assert [one.key for one in outcomes] == [3, 1, 99, 3, huge, 2, -1]
    kinds = [type(one) for one in outcomes]
    assert kinds == [Loaded, Loaded, Missing, Loaded, Missing, Loaded, Missing]
    assert [one.key for one in outcomes.entities] == [3, 1, 3, 2]
    assert outcomes.missing == [99, huge, -1]
    broken = outcomes.get(2)
    assert (broken.taste, broken.city, broken.status) == (None, None, world.status(online=True, page="/home"))
    assert (broken.meta["taste"].state, broken.meta["taste"].error) == ("failed", "FieldMismatch")
    with pytest.raises(EntityMissing):
        outcomes.get(99)
    with pytest.raises(KeyError):
        outcomes[1234]
    assert repr(outcomes) == "<7 of Customer: 4 loaded, 3 missing, 0 failed>"


async def test_a_required_document_of_another_shape_fails_and_is_never_half_an_entity(world: Any) -> None:
    """The error names the field and the place, and shows no value."""

    class Strict(Entity, key=int):
        name: str = postgres(world.user.name)
        taste: world.taste = mongo("tastes", on="user_id", key=str)

    await world.add(1, 2)
    await world.db.mongo["tastes"].update_one({"user_id": "1"}, {"$set": {"genre": {"secret": 1}}})
    await world.db.mongo["tastes"].delete_one({"user_id": "2"})
    with pytest.raises(FieldMismatch) as caught:
        await world.router.load(Strict, 1)
    assert str(caught.value).startswith("Strict.taste cannot be made of what mongo tastes holds: Expected `str`, got")
    outcomes = await world.router.load_many(Strict, [1, 2, 3])
    assert [type(one) for one in outcomes] == [Failed, Missing, Missing]
    assert (outcomes[2].store, outcomes[3].store) == ("mongo", "postgres")


async def test_nothing_and_ten_thousand_keys_are_loaded_alike(world: Any) -> None:
    """An empty list asks nobody; more keys than one query takes are asked for in turn."""
    assert list(await world.router.load_many(world.customer, [])) == []
    keys = list(range(1, 10_001))
    async with world.db.postgres.transaction() as connection:
        await connection.exec_driver_sql(
            "insert into users (id, name) select n, 'u' || n from generate_series(1, 9999) n"
        )
    await world.db.mongo["tastes"].insert_one({"user_id": "9999", "genre": "late"})
    outcomes = await world.router.load_many(world.customer, reversed(keys))
    assert len(outcomes.entities) == 9_999
    assert outcomes.missing == [10_000]
    assert outcomes.get(9_999).taste == world.taste(genre="late")
    assert [one.key for one in outcomes][:2] == [10_000, 9_999]


async def test_a_key_out_of_a_request_never_becomes_an_operator(world: Any) -> None:
    """A dict is refused before anything is asked, by load and by load_many."""
    await world.add(1)
    for key in ({"$gt": ""}, ["1"], None, True, 1.0, b"1", "1 or 1=1", ""):
        with pytest.raises(UsageError, match=r"Customer was given as a \w+ that is no int"):
            await world.router.load_many(world.customer, [1, key])


async def test_documents_become_dataclasses_and_typed_dicts_too(world: Any) -> None:
    """Whatever msgspec can make; several keys may mean one document."""

    class Place(TypedDict):
        city: str
        zip: NotRequired[str]

    @dataclass
    class Liking:
        genre: str

    class Other(Entity, key=int):
        place: Place | None = mongo("tastes", on="user_id", key=_tens, field="address")
        liking: Liking | None = mongo("tastes", on="user_id", key=_tens)
        all: dict[str, Any] | None = mongo("plain", on="n")

    await world.add(1)
    await world.db.mongo["plain"].insert_one({"n": 10, "x": [1]})
    outcomes = await world.router.load_many(Other, [10, 11, 20])
    assert [one.place for one in outcomes.entities] == [{"city": "Seoul", "zip": "1"}] * 2
    assert outcomes.get(11).liking == Liking("jazz")
    assert {**outcomes.get(10).all, "_id": 0} == {"_id": 0, "n": 10, "x": [1]}
    assert outcomes.missing == [20]


def _tens(key: int) -> str:
    return str(key // 10)


async def test_two_documents_with_one_key_fail_that_key_alone(world: Any) -> None:
    """Nobody can say which of them is meant."""
    await world.add(1, 2)
    await world.db.mongo["tastes"].insert_one({"user_id": "1", "genre": "rock"})
    outcomes = await world.router.load_many(world.customer, [1, 2])
    assert [one.entity.meta["taste"].state for one in outcomes] == ["failed", "fresh"]


async def test_a_key_that_holds_another_kind_in_redis_degrades_alone(world: Any) -> None:
    """A string where a hash should be is that key's trouble only."""
    await world.add(1, 2)
    await world.db.redis.delete("user:status:1")
    await world.db.redis.set("user:status:1", "online")
    await world.db.redis.set("user:views:2", "many")
    outcomes = await world.router.load_many(world.customer, [1, 2])
    assert isinstance(outcomes[1], Loaded)
    assert outcomes[1].entity.meta["status"].state == "failed"
    # A counter that may not be None, and is no number.
    assert isinstance(outcomes[2], Failed)
    assert "Expected `int`, got" in str(outcomes[2].error)


async def test_every_kind_of_redis_and_of_key_is_read(world: Any) -> None:
    """Strings, numbers, sets, JSON and single fields of hashes, found by texts, UUIDs and ObjectIds."""

    class Prefs(msgspec.Struct):
        dark: bool

    class Guest(Entity, key=UUID):
        token: bytes | None = redis.string("g:{key}:token")
        nick: str | None = redis.string("g:{key}:nick")
        labels: set[str] = redis.set_members("g:{key}:labels")
        prefs: Prefs | None = redis.json("g:{key}:prefs")
        page: str | None = redis.hash("g:{key}", field="page")
        hits: int | None = redis.hash("g:{key}", field="hits")

    key = UUID(int=7)
    client = world.db.redis
    await client.set(f"g:{key}:token", b"\xff\x00")
    await client.set(f"g:{key}:nick", "Zoë")
    await client.sadd(f"g:{key}:labels", "a", "b")
    await client.set(f"g:{key}:prefs", '{"dark": true}')
    await client.hset(f"g:{key}", mapping={"page": "/x", "hits": "3", "other": "y"})
    guest = await world.router.load(Guest, str(key))
    assert (guest.token, guest.nick, guest.labels, guest.prefs) == (b"\xff\x00", "Zoë", {"a", "b"}, Prefs(dark=True))
    assert (guest.page, guest.hits, guest.key) == ("/x", 3, key)


async def test_documents_found_by_their_id_come_with_plain_values(world: Any) -> None:
    """ObjectId is text where a text is declared and itself where it is, and Decimal128 is a Decimal."""

    class Line(msgspec.Struct):
        price: Any
        product: str

    class Order(Entity, key=ObjectId):
        id: ObjectId = mongo("orders", on="_id", field="_id")
        lines: list[Line] = mongo("orders", on="_id", field="lines")

    product = ObjectId()
    added = await world.db.mongo["orders"].insert_one({"lines": [{"price": Decimal128("1.50"), "product": product}]})
    order = await world.router.load(Order, str(added.inserted_id))
    assert order.id == added.inserted_id
    assert (str(order.lines[0].price), order.lines[0].product) == ("1.50", str(product))
    with pytest.raises(UsageError, match="that is no ObjectId"):
        await world.router.load(Order, "not an id")


async def test_each_store_is_asked_once_whatever_the_number_of_keys(world: Any) -> None:
    """One statement and no BEGIN, one find and no further batch, one write for a thousand keys of Redis."""
    keys = range(1, 1001)
    async with world.db.postgres.transaction() as connection:
        await connection.exec_driver_sql(
            "insert into users (id, name) select n, 'u' || n from generate_series(1, 1000) n"
        )
    await world.db.mongo["tastes"].insert_many([{"user_id": str(key), "genre": "x" * 100} for key in keys])
    await world.router.load_many(world.customer, keys)

    asked = await _statements(world)
    await world.db.mongo.command("profile", 2)
    (before,) = world.db.wire.state().nodes
    loaded = await world.router.load_many(world.customer, keys)
    (after,) = world.db.wire.state().nodes
    await world.db.mongo.command("profile", 0)
    assert len(loaded.entities) == 1000
    now = await _statements(world)
    assert {query: now[query] - asked.get(query, 0) for query in now if "users" in query or "BEGIN" in query} == {
        query: int("users.name" in query) for query in now if "users" in query or "BEGIN" in query
    }
    profile = world.db.mongo["system.profile"].find({"ns": f"{world.db.mongo.name}.tastes"})
    assert [one["op"] for one in await profile.to_list()] == ["query"]
    # A hash each, and the strings in two MGETs.
    assert (after.commands - before.commands, after.writes - before.writes) == (1002, 1)


async def _statements(world: Any) -> dict[str, int]:
    """How often PostgreSQL has run each statement; asked without a transaction, which would be one of them."""
    told = """
        select query, sum(calls) from pg_stat_statements
        where dbid = (select oid from pg_database where datname = current_database()) group by 1
    """
    async with world.db.postgres.autocommit() as connection:
        return {query: int(calls) for query, calls in (await connection.exec_driver_sql(told)).all()}
