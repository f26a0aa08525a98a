"""Effects in three stores, each once, however often its event is delivered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from tercet.changes.outbox import Delivery, Event, Outbox
from tercet.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tercet import Tercet
    from tercet.changes.outbox.port import Inbox, Once

STORES: tuple[Once, ...] = ("postgres", "mongo", "redis")


class Counted(Event, key="order_id", name_as="inbox.Counted"):
    """Something is counted."""

    order_id: int
    n: int


class Crashed(Exception):
    """Stands for the end of the process at this very step."""


def _outbox(db: Tercet) -> Outbox:
    return Outbox(
        db.postgres,
        durable="table",
        poll="10ms",
        mongo=db.mongo,
        redis=db.redis,
        chance=lambda: 0.0,
    )


async def _ready(db: Tercet, outbox: Outbox) -> None:
    await outbox.install()
    async with db.postgres.transaction() as connection:
        await connection.exec_driver_sql("create table effects (n bigint)")
    for inbox in outbox._inboxes.values():
        await inbox.prepare()


def _effect(db: Tercet, once: Once) -> Callable[[Counted, Any], Awaitable[None]]:
    """Writes the event's number into the store, by what the handler is given."""

    async def postgres(event: Counted, tx: Any) -> None:
        await tx.execute(text("insert into effects values (:n)"), {"n": event.n})

    async def mongo(event: Counted, tx: Any) -> None:
        await db.mongo["effects"].insert_one({"n": event.n}, session=tx)

    async def redis(event: Counted, tx: Any) -> None:
        tx.rpush("effects", event.n)

    return {"postgres": postgres, "mongo": mongo, "redis": redis}[once]


async def _made(db: Tercet, once: Once) -> list[int]:
    if once == "postgres":
        async with db.postgres.transaction() as connection:
            return [n for (n,) in (await connection.execute(text("select n from effects order by n"))).all()]
    if once == "mongo":
        return sorted([row["n"] async for row in db.mongo["effects"].find({})])
    return sorted(int(n) for n in await db.redis.lrange("effects", 0, -1))


async def _say(db: Tercet, outbox: Outbox, *events: Event) -> None:
    async with db.postgres.transaction() as connection:
        await outbox.emit(connection, events)


@pytest.mark.parametrize("once", STORES)
async def test_an_event_that_comes_again_has_no_second_effect(db: Tercet, until: Any, once: Once) -> None:
    """The same contents taken three times, once beside each other, as after a crash before the confirmation."""
    outbox = _outbox(db)
    outbox.on(Counted, once=once, name="counts")(_effect(db, once))
    await _ready(db, outbox)
    await _say(db, outbox, *(Counted(order_id=n % 3, n=n) for n in range(9)))
    async with db.postgres.transaction() as connection:
        contents = [bytes(c) for (c,) in (await connection.execute(text("select content from tercet.outbox"))).all()]
    await asyncio.gather(outbox.relay.take(contents), outbox.relay.take(contents))
    await outbox.relay.drain()
    await until(lambda: _retried(db, outbox))
    assert await _made(db, once) == list(range(9))


async def _retried(db: Tercet, outbox: Outbox) -> bool:
    """Whether nothing waits any more, after another try."""
    await outbox.relay.retry()
    await outbox.relay.settled()
    async with db.postgres.transaction() as connection:
        return not (await connection.execute(text("select 1 from tercet.parked where not dead"))).all()


@pytest.mark.parametrize("once", STORES)
@pytest.mark.parametrize("step", ["in the handler", "after the effect"])
async def test_a_crash_at_any_step_leaves_one_effect(db: Tercet, until: Any, once: Once, step: str) -> None:
    """What was not committed is gone with it, and what was is not made again."""
    crashing = True
    outbox = _outbox(db)
    effect = _effect(db, once)

    async def handle(event: Counted, tx: Any, delivery: Delivery) -> None:
        await effect(event, tx)
        if crashing and step == "in the handler":
            raise Crashed

    outbox.on(Counted, once=once, name="counts")(handle)
    await _ready(db, outbox)
    inbox = outbox._inboxes[once]
    outbox._inboxes[once] = _Crashing(inbox, step, lambda: crashing)
    await _say(db, outbox, Counted(order_id=1, n=1), Counted(order_id=1, n=2))
    assert await outbox.relay.drain() == 2
    assert await _made(db, once) == ([1] if step == "after the effect" else [])
    crashing = False
    await until(lambda: _retried(db, outbox))
    assert await _made(db, once) == [1, 2]


class _Crashing:
    """An inbox after which, or within which, the process ends."""

    def __init__(self, inbox: Inbox, step: str, crashing: Callable[[], bool]) -> None:
        self._inbox, self._step, self._crashing = inbox, step, crashing

    async def prepare(self) -> None:
        await self._inbox.prepare()

    async def once(self, consumer: str, event_id: str, effect: Any) -> bool:
        made = await self._inbox.once(consumer, event_id, effect)
        if self._step == "after the effect" and self._crashing():
            raise Crashed
        return made


@pytest.mark.parametrize("once", STORES)
async def test_two_who_make_one_effect_at_once_make_it_once(db: Tercet, once: Once) -> None:
    """Whoever comes second finds the mark, or is told to try again and finds it then."""
    outbox = _outbox(db)
    outbox.on(Counted, once=once, name="counts")(_effect(db, once))
    await _ready(db, outbox)
    inbox, event = outbox._inboxes[once], Counted(order_id=1, n=1)
    name = "0190e4a0-0000-7000-8000-000000000001"

    async def make() -> object:
        return await inbox.once("counts", name, lambda tx: _effect(db, once)(event, tx))

    await asyncio.gather(*(make() for _ in range(5)), return_exceptions=True)
    assert await make() is False
    assert await _made(db, once) == [1]
    # Another consumer's effect of the same event is another one.
    assert await inbox.once("other", name, lambda tx: _effect(db, once)(event, tx)) is True


async def test_marks_end_by_themselves_after_their_time(db: Tercet) -> None:
    """In PostgreSQL old rows are taken away, in MongoDB by an index, whose time can be changed, in Redis by expiry."""
    outbox = _outbox(db)
    for once in STORES:
        outbox.on(Counted, once=once, name=once)(_effect(db, once))
    await _ready(db, outbox)
    await _say(db, outbox, Counted(order_id=1, n=1))
    await outbox.relay.drain()
    (key,) = [key async for key in db.redis.scan_iter("tercet:inbox:*")]
    assert 0 < await db.redis.pttl(key) <= 7 * 86_400_000
    later = Outbox(db.postgres, mongo=db.mongo, marks="1h")
    later.on(Counted, once="mongo", name="mongo")(_effect(db, "mongo"))
    await later._inboxes["mongo"].prepare()
    assert (await db.mongo["tercet_inbox"].index_information())["at_1"]["expireAfterSeconds"] == 3600
    async with db.postgres.transaction() as connection:
        await connection.execute(text("update tercet.inbox set at = at - interval '8 days'"))
        await connection.execute(text("insert into tercet.inbox values ('fresh', gen_random_uuid())"))
    await outbox._prune()
    async with db.postgres.transaction() as connection:
        left = (await connection.execute(text("select consumer from tercet.inbox"))).all()
    assert [tuple(row) for row in left] == [("fresh",)]


async def test_what_redis_ran_in_part_is_not_run_again(db: Tercet) -> None:
    """A command that Redis refuses inside EXEC does not undo the others: it is a dead letter that says so."""
    outbox = _outbox(db)

    @outbox.on(Counted, once="redis", name="counts")
    async def handle(event: Counted, tx: Any) -> None:
        tx.rpush("effects", event.n)
        tx.incr("text")

    await _ready(db, outbox)
    await db.redis.set("text", "words")
    await _say(db, outbox, Counted(order_id=1, n=1))
    await outbox.relay.drain()
    assert await _made(db, "redis") == [1]
    async with db.postgres.transaction() as connection:
        ((error, reason),) = (
            await connection.execute(text("select error, reason from tercet.parked where dead"))
        ).all()
    assert (error, "ran the others" in reason) == (Refused.__name__, True)
