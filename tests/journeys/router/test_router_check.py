"""Declarations compared with live stores: each difference is found, and what is right is not complained of."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, MetaData, Table, Text

from tercet.router import Entity, mongo, postgres, redis


async def test_what_is_declared_rightly_has_no_findings(world: Any) -> None:
    """With unique indexes and documents of the right shape there is nothing to say."""
    await world.add(1, 2)
    await world.db.mongo["tastes"].create_index("user_id", unique=True)
    world.router.register(world.customer)
    assert await world.router.check() == ()
    assert await world.router.check(world.customer) == ()


async def test_each_difference_from_the_live_schema_is_found_with_its_mend(world: Any) -> None:
    """Missing tables and columns, other types, NULLs, keys without an index, documents and keys of other shapes."""
    meta = MetaData()
    wrong = Table("wrong", meta, Column("id", BigInteger, primary_key=True), Column("n", Text), Column("gone", Text))
    nowhere = Table("nowhere", meta, Column("id", BigInteger, primary_key=True), Column("n", Text))
    async with world.db.postgres.transaction() as connection:
        await connection.exec_driver_sql("create table wrong (id bigint, n text)")

    class Shape(msgspec.Struct):
        n: int

    class Wrong(Entity, key=int):
        n: int = postgres(wrong.c.n)
        gone: str | None = postgres(wrong.c.gone)
        lost: str | None = postgres(nowhere.c.n)
        doc: Shape | None = mongo("wrong", on="owner")
        none: Shape | None = mongo("nothing", on="owner")
        hashed: Shape | None = redis.hash("wrong:hash:{key}")
        other: Shape | None = redis.hash("wrong:other:{key}")

    await world.db.mongo["wrong"].insert_many([{"owner": 1, "n": 1}, {"owner": 2, "n": "secret"}])
    await world.db.redis.hset("wrong:hash:1", mapping={"n": "x"})
    await world.db.redis.set("wrong:other:1", "x")
    findings = await world.router.check(Wrong)
    said = sorted(f"{one.level}: {one.source}: {one.says}" for one in findings)
    assert said == sorted(
        [
            "error: postgres wrong: n is declared as int, and the column 'n' is text.",
            "warning: postgres wrong: n may not be None, and the column 'n' may be NULL.",
            "error: postgres wrong: gone is the column 'gone', which is not there.",
            "error: postgres wrong: no index begins with its key 'id', so each load reads the whole table.",
            "error: postgres nowhere: there is no such table.",
            "error: mongo wrong: no index begins with 'owner', so each load reads the whole collection (COLLSCAN).",
            "error: mongo wrong: doc cannot be made of every document: Expected `int`, got `str` - at `$.n`.",
            "warning: mongo nothing: there is no such collection, or it is empty.",
            "error: redis wrong:hash:{key}: hashed cannot be made of every key: Expected `int`, got `str` - at `$.n`.",
            "error: redis wrong:other:{key}: a key is a string, and redis.hash reads a hash.",
        ]
    )
    assert all(one.mend for one in findings)
    assert str(findings[0]).startswith("Wrong, postgres wrong: ")


async def test_a_key_of_another_type_than_its_documents_have_is_found(world: Any) -> None:
    """MongoDB finds nothing by it and says nothing; numbers of its several types are equal."""

    class Unconverted(Entity, key=int):
        city: str | None = mongo("tastes", on="user_id", field="address.city")

    class Number(Entity, key=int):
        n: int | None = mongo("numbers", on="user_id", field="n")

    await world.add(1)
    for name in ("tastes", "numbers"):
        await world.db.mongo[name].create_index("user_id", unique=True)
    await world.db.mongo["numbers"].insert_many(
        [{"user_id": 1, "n": 1}, {"user_id": 2.0, "n": 1}, {"user_id": 1 << 40}]
    )
    (finding,) = await world.router.check(Unconverted)
    assert finding.says == "'user_id' holds str, and is asked for by int: such documents are never found."
    assert finding.mend == "Convert the key where it is declared: key=str."
    assert await world.router.check(Number) == ()
    assert await world.router.find(Unconverted, 1) is None
    assert [one.n for one in (await world.router.load_many(Number, [1, 2])).entities] == [1, 1]


async def test_a_key_that_is_not_unique_is_a_warning(world: Any) -> None:
    """Loads are quick, and two of one key fail."""
    meta = MetaData()
    soft = Table("soft", meta, Column("id", BigInteger), Column("n", Text, nullable=False))
    async with world.db.postgres.transaction() as connection:
        await connection.exec_driver_sql("create table soft (id bigint, n text not null)")
        await connection.exec_driver_sql("create index on soft (id)")
        await connection.exec_driver_sql("insert into soft values (1, 'a'), (1, 'b'), (2, 'c')")

    class Soft(Entity, key=int):
        n: str = postgres(soft.c.n, key=soft.c.id)
        city: str | None = mongo("tastes", on="user_id", key=str, field="address.city")

    await world.add(1)
    await world.db.mongo["tastes"].create_index([("user_id", 1), ("genre", 1)], unique=True)
    findings = await world.router.check(Soft)
    assert [(one.level, one.says) for one in findings] == [
        ("warning", "its key 'id' is not unique, and a key with several rows fails."),
        ("warning", "'user_id' is not unique, and a key with several documents fails."),
    ]
    outcomes = await world.router.load_many(Soft, [1, 2])
    assert [type(one).__name__ for one in outcomes] == ["Failed", "Loaded"]
