"""Saving an entity: the row commits, the other stores follow, each value once and never an older one."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tercet.errors import EntityMissing, StoreMissing, UsageError
from tercet.router import Entity, EntitySaved, Router, mongo, postgres, redis


class Tx:
    """What db.transaction() gives, as far as a save needs it."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.events: list[EntitySaved] = []

    def emit(self, *events: object) -> None:
        """Remember what would be told."""
        self.events += [msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=EntitySaved) for one in events]


async def saved(world: Any, what: Any) -> list[EntitySaved]:
    """Save in a transaction of its own; what it would tell."""
    async with world.db.postgres.session() as session, session.begin():
        tx = Tx(session)
        await world.router.save(what, tx=tx)
    return tx.events


async def test_an_edit_writes_its_fields_and_no_others(world: Any) -> None:
    """The row is there with the commit, documents and hashes after the event was applied."""
    world.router.register(world.customer)
    await world.add(1)
    edit = world.customer.edit(1, name="Zoë", taste=world.taste(genre="rock"), city="Busan")
    (event,) = await saved(world, edit)
    before = await world.router.load(world.customer, 1)
    assert (before.name, before.taste.genre, before.city) == ("Zoë", "jazz", "Seoul")
    await world.router.apply(event)
    after = await world.router.load(world.customer, 1)
    assert (after.name, after.taste, after.city) == ("Zoë", world.taste(genre="rock"), "Busan")
    assert after.status == world.status(online=True, page="/home")
    document = await world.db.mongo["tastes"].find_one({"user_id": "1"})
    assert (document["address"], document["big"]) == ({"city": "Busan", "zip": "1"}, "x")


async def test_of_two_saves_in_one_transaction_the_second_counts(world: Any) -> None:
    """Nothing else is written between them, and yet their versions differ; and no value stands in an event's text."""
    world.router.register(world.customer)
    await world.add(1)
    async with world.db.postgres.session() as session, session.begin():
        tx = Tx(session)
        for city in ("A", "B", "C"):
            await world.router.save(world.customer.edit(1, city=city), tx=tx)
    versions = [event.version for event in tx.events]
    assert versions == sorted(set(versions))
    for event in tx.events:
        await world.router.apply(event)
    assert (await world.router.load(world.customer, 1)).city == "C"
    assert "'C'" not in repr(tx.events[-1])


async def test_an_older_event_never_overwrites_a_newer_one(world: Any) -> None:
    """Whatever comes again or late changes nothing that is newer, field by field."""
    world.router.register(world.customer)
    await world.add(1)
    first = await saved(world, world.customer.edit(1, city="A", status=world.status(online=False, page="/a")))
    second = await saved(world, world.customer.edit(1, city="B"))
    third = await saved(world, world.customer.edit(1, status=None))
    assert first[0].version < second[0].version < third[0].version
    for event in (*second, *first, *third, *first, *second):
        await world.router.apply(event)
    customer = await world.router.load(world.customer, 1)
    assert (customer.city, customer.status) == ("B", None)
    assert customer.meta["status"].state == "missing"


async def test_two_transactions_of_one_row_are_ordered_by_their_commits(world: Any) -> None:
    """The one with the smaller transaction id commits last, and its version is the greater one."""
    await world.add(1)
    async with world.db.postgres.session() as early, early.begin():
        # It has its id before the other one begins, and takes the row after that one has committed.
        await early.execute(msg("select pg_current_xact_id()"))
        (inner,) = await saved(world, world.customer.edit(1, city="first"))
        tx = Tx(early)
        await world.router.save(world.customer.edit(1, city="last"), tx=tx)
    assert tx.events[0].version > inner.version


def msg(text: str) -> Any:
    """A statement."""
    from sqlalchemy import text as sql

    return sql(text)


async def test_a_whole_entity_inserts_its_row_where_there_is_none(world: Any) -> None:
    """All fields are written, but for what is counted where it is."""
    world.router.register(world.customer)
    made = world.customer(key=5, name="New", taste=world.taste(genre="folk"), status=world.status(online=True), views=9)
    for event in await saved(world, made):
        await world.router.apply(event)
    loaded = await world.router.load(world.customer, 5)
    assert loaded == world.customer(
        key=5, name="New", taste=world.taste(genre="folk"), status=world.status(online=True), views=0
    )


async def test_a_save_that_is_rolled_back_leaves_nothing(world: Any) -> None:
    """The row and what would follow are one."""
    await world.add(1)
    async with world.db.postgres.session() as session:
        await session.begin()
        await world.router.save(world.customer.edit(1, name="x"), tx=Tx(session))
        await session.rollback()
    assert (await world.router.load(world.customer, 1)).name == "Ann 1"


async def test_an_edit_of_a_row_that_is_not_there_is_an_error(world: Any) -> None:
    """Also where only fields of other stores change: nothing would carry them."""
    for edit in (world.customer.edit(9, name="x"), world.customer.edit(9, city="x")):
        with pytest.raises(EntityMissing):
            await saved(world, edit)


async def test_what_would_write_over_the_unknown_is_refused(world: Any) -> None:
    """A degraded entity, a document of which nobody knows the names, and names that are operators."""

    class Loose(Entity, key=int):
        name: str = postgres(world.user.name)
        all: dict[str, Any] | None = mongo("loose", on="user_id")
        some: dict[str, Any] | None = mongo("loose", on="user_id", field="some")
        nested: dict[str, Any] | None = redis.hash("loose:{key}")

    await world.add(1)
    await world.db.mongo["tastes"].update_one({"user_id": "1"}, {"$set": {"genre": 1}})
    degraded = await world.router.load(world.customer, 1)
    with pytest.raises(UsageError, match="loaded without mongo tastes"):
        await saved(world, degraded)
    with pytest.raises(UsageError, match="takes a document as it is"):
        await saved(world, Loose.edit(1, all={"a": 1}))
    for evil in ({"$where": "1"}, {"a.b": 1}, {"ok": [{"$set": 1}]}, {"": 1}):
        with pytest.raises(UsageError, match="operator or a path"):
            await saved(world, Loose.edit(1, some=evil))
    with pytest.raises(UsageError, match="has parts"):
        await saved(world, Loose.edit(1, nested={"a": {"b": 1}}))
    assert (await world.router.load(Loose, 1)).some is None


async def test_values_keep_their_types_on_the_way(world: Any) -> None:
    """Times, decimals, and texts that look like expressions come back as they went in."""

    class Deep(msgspec.Struct):
        at: datetime
        price: Decimal
        text: str
        tags: list[str]

    class Thing(Entity, key=int):
        name: str = postgres(world.user.name)
        deep: Deep | None = mongo("deep", on="thing", field="deep")
        blob: Deep | None = redis.json("deep:{key}")
        text: str | None = redis.string("text:{key}")
        flag: bool | None = redis.hash("flags:{key}", field="on")

    world.router.register(Thing)
    deep = Deep(datetime(2024, 2, 29, 12, tzinfo=UTC), Decimal("12.30"), "$big", ["$$ROOT", "a.b"])
    made = Thing(key=1, name="x", deep=deep, blob=deep, text="{key}", flag=False)
    for event in await saved(world, made):
        await world.router.apply(event)
    assert await world.router.load(Thing, 1) == made
    document = await world.db.mongo["deep"].find_one({"thing": 1})
    assert document["deep"]["at"] == deep.at
    # And taken away again.
    for event in await saved(world, Thing.edit(1, deep=None, blob=None, text=None, flag=None)):
        await world.router.apply(event)
    assert await world.router.load(Thing, 1) == Thing(key=1, name="x")


async def test_an_event_of_an_unknown_entity_says_what_is_missing(world: Any) -> None:
    """A consumer that has not registered the class, and a router that has not the store."""
    event = EntitySaved("Customer:1", "Customer", 1, 1, {"city": "x"})
    with pytest.raises(UsageError, match=r"Register it before events are handled: register\(Customer\)"):
        await world.router.apply(event)
    bare = Router(postgres=world.db.postgres, clock=world.db.clock, telemetry=world.db.telemetry)
    bare.register(world.customer)
    with pytest.raises(StoreMissing, match="needs mongo"):
        await bare.apply(event)
