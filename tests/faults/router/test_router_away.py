"""A store that falls silent: what needs it fails at the deadline, what does not is degraded, and nothing is left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tercet.errors import DeadlinePassed, StoreMissing
from tercet.router import Failed, Router

# Long enough for stores that do answer, on a machine that is busy with other things.
DEADLINE = "3s"
PATIENCE_SECONDS = 60


async def idle(guarded: Any, many: int) -> None:
    """Wait until so many connections to PostgreSQL lie in the pool, and none is out."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            (pool,) = [one for one in guarded.db.pools() if one.store == "postgres"]
            if pool.in_use == 0 and pool.idle >= many:
                return
            await asyncio.sleep(0.01)


async def test_silent_stores_that_an_entity_can_do_without_degrade_it(guarded: Any) -> None:
    """MongoDB and Redis fall silent: the row is there at the deadline, and meta says what is not."""
    guarded.gates["mongo"].shut()
    guarded.gates["redis"].shut()
    async with asyncio.timeout(PATIENCE_SECONDS):
        customer = await guarded.router.load(guarded.customer, 1, deadline=DEADLINE)
    assert customer == guarded.customer(key=1, name="Ann")
    assert customer.meta.degraded
    assert (customer.meta["city"].state, customer.meta["city"].error) == ("late", "DeadlinePassed")
    # The wire has a deadline of its own, which is shorter.
    assert customer.meta["page"].state in {"failed", "late"}
    assert customer.meta["name"].state == "fresh"


async def test_what_was_read_last_is_shown_where_it_was_declared_so(guarded: Any) -> None:
    """Meta says how old it is."""
    await guarded.router.load(guarded.customer, 1)
    guarded.gates["mongo"].shut()
    guarded.clock.advance(1800)
    customer = await guarded.router.load(guarded.customer, 1, deadline=DEADLINE)
    meta = customer.meta["city"]
    assert (customer.city, meta.state, meta.age, meta.error) == ("Seoul", "stale", 1800, "DeadlinePassed")


async def test_a_silent_store_that_an_entity_needs_is_an_error_that_names_it(guarded: Any) -> None:
    """At the deadline, and for each key of many; afterwards everything is as before."""
    guarded.gates["postgres"].shut()
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(DeadlinePassed, match="postgres did not finish reading postgres users within 300 ms"):
            await guarded.router.load(guarded.customer, 1, deadline="300ms")
        outcomes = await guarded.router.load_many(guarded.customer, [1, 2], deadline="300ms")
    assert [type(one) for one in outcomes] == [Failed, Failed]
    guarded.gates["postgres"].open()
    assert (await guarded.router.load(guarded.customer, 1)).name == "Ann"


async def test_a_query_that_was_given_up_is_ended_on_the_server(guarded: Any) -> None:
    """Its connection comes back clean, and nobody waits for a lock any more."""
    async with guarded.db.postgres.transaction() as holder:
        await holder.exec_driver_sql("lock table users in access exclusive mode")
        with pytest.raises(DeadlinePassed):
            await guarded.router.load(guarded.customer, 1, deadline="200ms")
        await guarded.router.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                waiting = "select count(*) from pg_locks where not granted"
                if (await holder.exec_driver_sql(waiting)).scalar_one() == 0:
                    break
                await asyncio.sleep(0.01)
    await idle(guarded, 1)
    assert (await guarded.router.load(guarded.customer, 1)).name == "Ann"


async def test_a_cancelled_load_leaves_nothing_behind(guarded: Any) -> None:
    """Its queries end, its connections come back, and the next load is as any other."""
    async with guarded.db.postgres.transaction() as holder:
        await holder.exec_driver_sql("lock table users in access exclusive mode")
        task = asyncio.create_task(guarded.router.load(guarded.customer, 1))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                waiting = "select count(*) from pg_locks where not granted"
                if (await holder.exec_driver_sql(waiting)).scalar_one() == 1:
                    break
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(PATIENCE_SECONDS):
            await guarded.router.close()
    await idle(guarded, 1)
    names = {task.get_name() for task in asyncio.all_tasks() if "PostgresRows" in repr(task)}
    assert names == set()
    assert (await guarded.router.load(guarded.customer, 1)).city == "Seoul"


async def test_an_error_of_a_needed_store_ends_the_others_at_once(guarded: Any) -> None:
    """Nobody waits for MongoDB when the row cannot be read: the table is gone, and MongoDB is silent."""
    async with guarded.db.postgres.transaction() as connection:
        await connection.exec_driver_sql("drop table users")
    guarded.gates["mongo"].shut()
    async with asyncio.timeout(PATIENCE_SECONDS):
        outcomes = await guarded.router.load_many(guarded.customer, [1], deadline="1h")
    (failed,) = outcomes.failed
    assert "users" in str(failed.error)
    with pytest.raises(type(failed.error)):
        outcomes.get(1)


async def test_a_redis_that_is_gone_degrades_and_comes_back(guarded: Any) -> None:
    """The wire refuses at once while it is away, and meta names the error."""
    await guarded.gates["redis"].close()
    customer = await guarded.router.load(guarded.customer, 1)
    assert (customer.page, customer.meta["page"].state) == (None, "failed")
    assert customer.meta["page"].error in {"StoreUnreachable", "DeadlinePassed"}


async def test_a_store_that_this_tercet_does_not_have_is_said_at_once(guarded: Any) -> None:
    """Also for a field that may be None: that is no outage, but a program that is wrong."""
    router = Router(postgres=guarded.db.postgres, clock=guarded.clock, telemetry=guarded.db.telemetry)
    with pytest.raises(StoreMissing, match=r"Customer\.city needs mongo, and this Tercet was given none"):
        await router.load(guarded.customer, 1)
