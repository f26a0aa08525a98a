"""A projection: what commits say is kept in other stores, once, in order, and rebuilt after a gap."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tercet.changes import Change, Commit
from tercet.errors import EntityInvalid, UsageError
from tercet.router import Entity, mongo, postgres, redis
from tercet.witness import Moment


def commit(position: int, *changes: Change) -> Commit:
    """One that a feed could tell."""
    return Commit(Moment("pg:1", position), position, datetime(2024, 1, 1, tzinfo=UTC), changes)


def row(kind: Any, new: dict[str, Any] | None = None, old: dict[str, Any] | None = None) -> Change:
    """A change of users."""
    return Change(kind, "public", "users", new or {}, old or {})


@pytest.fixture
def card(world: Any) -> Any:
    """Copies of a user's columns in two stores."""

    class Card(Entity, key=int):
        name: str = postgres(world.user.name)
        shown: str | None = mongo("cards", on="user", field="shown")
        mail: str | None = redis.hash("card:{key}", field="mail")
        label: str | None = redis.string("card:{key}:label")

    return Card


async def test_a_projection_writes_what_commits_say_once_and_in_order(world: Any, card: Any) -> None:
    """What is told twice, or late, changes nothing; a delete takes the copies away."""
    made = world.router.projection(card, shown=world.user.name, mail=world.user.email, label=world.user.name)
    assert made.wants.tables == {"users": frozenset({"id", "name", "email"})}
    await world.add(1, 2)
    first = commit(10, row("insert", {"id": 1, "name": "A", "email": "a@b"}), row("insert", {"id": 2, "name": "B"}))
    # An unchanged column that PostgreSQL did not send again.
    second = commit(20, row("update", {"id": 1, "name": "AA"}))
    third = commit(30, row("delete", old={"id": 2}))
    await made.hear([first, second])
    await made.hear([third, first])
    one = await world.router.load(card, 1)
    assert (one.shown, one.mail, one.label) == ("AA", "a@b", "AA")
    two = await world.router.load(card, 2)
    assert (two.shown, two.mail, two.label) == (None, None, None)


async def test_a_changed_key_and_a_truncate_leave_nothing_behind(world: Any, card: Any) -> None:
    """What stood under the old key is gone, and after a truncate everything is."""
    made = world.router.projection(card, shown=world.user.name, label=world.user.name)
    await world.add(1, 7)
    await made.hear([commit(10, row("insert", {"id": 1, "name": "A"}))])
    await made.hear([commit(20, row("update", {"id": 7, "name": "A"}, {"id": 1}))])
    assert (await world.router.load(card, 1)).shown is None
    assert (await world.router.load(card, 7)).label == "A"
    await made.hear([commit(30, row("truncate"))])
    seven = await world.router.load(card, 7)
    assert (seven.shown, seven.label) == (None, None)


async def test_a_gap_is_mended_by_a_rebuild_that_loses_to_newer_commits(world: Any, card: Any) -> None:
    """Every row is written anew, copies without a row go, strangers' keys stay, and what comes later wins."""
    made = world.router.projection(card, shown=world.user.name, mail=world.user.email)
    async with world.db.postgres.transaction() as connection:
        await connection.exec_driver_sql(
            "insert into users (id, name, email) select n, 'u' || n, 'm' || n from generate_series(1, 1203) n"
        )
    # Of a row that is gone: nobody has told that it was deleted.
    await made.hear([commit(1, row("insert", {"id": 9_999, "name": "ghost", "email": "g"}))])
    await world.db.redis.hset("card:77777", mapping={"mail": "not ours"})
    await world.db.redis.set("card:text", "not ours either")
    await made.resync("a test")
    keys = [*range(1, 1204)]
    cards = (await world.router.load_many(card, keys)).entities
    assert [(one.shown, one.mail) for one in cards] == [(f"u{key}", f"m{key}") for key in keys]
    assert await world.db.mongo["cards"].find_one({"user": 9_999, "shown": {"$exists": True}}) is None
    assert await world.db.redis.hget("card:9999", "mail") is None
    assert await world.db.redis.hget("card:77777", "mail") == b"not ours"
    # A commit from before the rebuild is told again, and one from after it.
    await made.hear([commit(2, row("update", {"id": 1, "name": "old", "email": "old"}))])
    await made.hear([commit(1 << 52, row("update", {"id": 2, "name": "new", "email": "new"}))])
    assert (await world.router.load(card, 1)).shown == "u1"
    assert (await world.router.load(card, 2)).mail == "new"


async def test_a_projection_of_what_cannot_be_kept_is_refused(world: Any, card: Any) -> None:
    """Counters, columns, unknown fields, and changes without a position."""
    with pytest.raises(EntityInvalid, match="a projection keeps values in MongoDB and Redis"):
        world.router.projection(card, name=world.user.name)
    with pytest.raises(UsageError, match="Card has no field 'nick'"):
        world.router.projection(card, nick=world.user.name)
    made = world.router.projection(card, shown=world.user.name)
    strange = Commit(Moment("mongo:1", 1), "token", datetime(2024, 1, 1, tzinfo=UTC), ())
    with pytest.raises(UsageError, match="Subscribe it to the changes of PostgreSQL"):
        await made.hear([strange])
