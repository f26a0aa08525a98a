"""The two fallback feeds where readers are away: what is kept for them, for how long, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

import pytest
import pytest_asyncio

from tercet import Tercet
from tercet.changes import Wants
from tercet.changes.fallback.postgres_poll import IDLE_BYTES, PostgresPoll
from tercet.changes.fallback.postgres_triggers import PostgresTriggers
from tercet.changes.setup.apply import apply
from tercet.changes.setup.choose import Kind
from tercet.changes.setup.look import look
from tercet.changes.setup.plan import plan
from tercet.errors import FeedRefused, PositionLost

WANTS = Wants({"orders": frozenset({"id"})})
# Patience for what must come; nothing here is about speed.
PATIENCE = 60.0


@pytest_asyncio.fixture
async def db(postgres_url: str) -> AsyncIterator[Tercet]:
    """A database with a table; its slots are dropped whatever happens."""
    async with Tercet(postgres=postgres_url, postgres_pool_size=8) as db:
        await _run(db, "create table orders (id int primary key)", "create table other (line text)")
        try:
            yield db
        finally:
            await _until(lambda: _no_slots(db))


async def _run(db: Tercet, *statements: str) -> list[Any]:
    async with db.postgres.transaction() as connection:
        for statement in statements:
            result = await connection.exec_driver_sql(statement)
    return list(result.all()) if result.returns_rows else []


async def _set_up(db: Tercet, feed: Kind) -> None:
    await apply(db.postgres, plan(await look(db.postgres, WANTS), WANTS, feed=feed))


async def _until(true: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await true():
            await asyncio.sleep(0.01)


async def _no_slots(db: Tercet) -> bool:
    async with db.postgres.autocommit() as connection:
        await connection.exec_driver_sql(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots "
            "where database = current_database() and not active and not temporary"
        )
    left = await _run(db, "select 1 from pg_replication_slots where database = current_database() and not temporary")
    return not left


async def _first(source: PostgresPoll | PostgresTriggers) -> int:
    """The id of the row that comes first; it is confirmed."""
    async with asyncio.timeout(PATIENCE), aclosing(source.commits()) as commits:
        async for some in commits:
            await source.confirm(some[0].position)
            return int(str(some[0].changes[0].new["id"]))
    raise AssertionError


async def _rows(db: Tercet) -> int:
    return int((await _run(db, "select count(*) from tercet.changes"))[0][0])


async def test_triggers_write_nothing_while_nobody_reads(db: Tercet) -> None:
    """The table does not grow for nobody; and does again once a reader is there."""
    await _set_up(db, "triggers")
    await _run(db, "insert into orders values (1)")
    assert await _rows(db) == 0
    source = PostgresTriggers(db.postgres)
    await source.open(WANTS, None)
    await _run(db, "insert into orders values (2)")
    assert await _rows(db) == 1
    assert await _first(source) == 2
    await source.close()


async def test_the_first_reader_waits_for_those_who_have_written_already(db: Tercet) -> None:
    """They were not noted, and have not committed: going on before that would miss them."""
    await _set_up(db, "triggers")
    source = PostgresTriggers(db.postgres)

    async def opened() -> bool:
        return bool((await _run(db, "select last_value > 0 from tercet.gate"))[0][0])

    async with db.postgres.transaction() as writer:
        await writer.exec_driver_sql("insert into orders values (1)")
        opening = asyncio.create_task(source.open(WANTS, None))
        await _until(opened)
        assert not opening.done()
    await opening
    await _run(db, "insert into orders values (2)")
    assert await _first(source) == 2
    await source.close()


async def test_a_second_reader_waits_for_nobody(db: Tercet) -> None:
    """What it needs is being noted already, that of transactions under way too."""
    await _set_up(db, "triggers")
    first, second = PostgresTriggers(db.postgres), PostgresTriggers(db.postgres)
    await first.open(WANTS, None)
    async with db.postgres.transaction() as writer:
        await writer.exec_driver_sql("insert into orders values (1)")
        await second.open(WANTS, None)
    assert await _first(second) == 1
    assert await _first(first) == 1
    await first.close()
    await second.close()


async def test_what_all_readers_have_confirmed_is_deleted(db: Tercet) -> None:
    """And what one of them has not, is kept for that one; how it stands can be asked."""
    await _set_up(db, "triggers")
    quick = PostgresTriggers(db.postgres, place="quick", anew=True)
    slow = PostgresTriggers(db.postgres)
    await quick.open(WANTS, None)
    await slow.open(WANTS, None)
    await _run(db, "insert into orders values (1)")
    assert await _first(quick) == 1
    await quick.close()
    assert await _rows(db) == 1
    standing = await slow.standing()
    assert (standing.rows, standing.readers) == (1, 2)
    assert standing.behind_seconds is not None
    assert standing.size_bytes > 0
    await slow.close()
    quick = PostgresTriggers(db.postgres, place="quick")
    await quick.open(WANTS, None)
    await _run(db, "insert into orders values (2)")
    assert await _first(quick) == 2
    await quick.close()
    assert await _rows(db) == 0


async def test_a_reader_that_was_away_for_too_long_is_told(db: Tercet) -> None:
    """When it comes back, and when it was frozen within its reading."""
    await _set_up(db, "triggers")
    source = PostgresTriggers(db.postgres, place="p", anew=True)
    await source.open(WANTS, None)
    await _run(db, "insert into orders values (1)")
    assert await _first(source) == 1
    await _run(db, "update tercet.places set kept_until = now() - interval '1 second'")
    await _run(db, "insert into orders values (2)")
    with pytest.raises(PositionLost, match="away for longer than"):
        await _first(source)
    await source.close()
    source = PostgresTriggers(db.postgres, place="p")
    with pytest.raises(PositionLost, match="away for too long"):
        await source.open(WANTS, None)
    await source.close()


async def test_a_slot_that_is_dropped_while_it_is_read_is_lost(db: Tercet) -> None:
    """Its reader is told so, instead of waiting for ever."""
    await _set_up(db, "poll")
    source = PostgresPoll(db.postgres, slot="tercet_p", anew=True)
    await source.open(WANTS, None)
    await _run(db, "insert into orders values (1)")
    assert await _first(source) == 1
    await _until(lambda: _no_slots(db))
    await _run(db, "insert into orders values (2)")
    with pytest.raises(PositionLost, match="its slot is gone"):
        await _first(source)
    await source.close()


async def test_log_in_which_nothing_is_wanted_is_not_held_back(db: Tercet) -> None:
    """The slot is moved over it, though nobody has confirmed anything."""
    await _set_up(db, "poll")
    source = PostgresPoll(db.postgres, slot="tercet_p", anew=True)
    await source.open(WANTS, None)
    standing = "select (confirmed_flush_lsn - '0/0')::bigint from pg_replication_slots where slot_name = 'tercet_p'"

    async def there() -> bool:
        return bool(await _run(db, standing))

    async def moved() -> bool:
        return bool((await _run(db, standing))[0][0] - before >= IDLE_BYTES)

    async with aclosing(source.commits()) as commits:
        reading = asyncio.create_task(anext(commits))
        await _until(there)
        before = (await _run(db, standing))[0][0]
        await _run(db, "insert into other select repeat('x', 1000) from generate_series(1, 3000)")
        await _until(moved)
        await _run(db, "insert into orders values (1)")
        async with asyncio.timeout(PATIENCE):
            (commit,) = await reading
        assert commit.changes[0].new == {"id": 1}
    await source.close()


async def test_a_slot_of_another_plugin_is_left_alone(db: Tercet) -> None:
    """It is somebody else's."""
    await _set_up(db, "poll")
    await _run(db, "select pg_create_logical_replication_slot('theirs', 'test_decoding')")
    source = PostgresPoll(db.postgres, slot="theirs")
    with pytest.raises(FeedRefused, match="of the plugin test_decoding"):
        await source.open(WANTS, None)
    await source.close()
