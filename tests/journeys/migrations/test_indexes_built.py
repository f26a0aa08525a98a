"""Indexes built on a real server, while others read and write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tercet import Tercet
from tercet.errors import DefinitionMismatch, LockBusy
from tercet.migrations import alone, build_index, drop_index
from tercet.sql import Index, Key

BY_USER = Index("by_user", "orders", columns=("user_id",), include=("total",), where="total > 3")


@pytest_asyncio.fixture
async def db(postgres_url: str) -> AsyncIterator[Tercet]:
    """A database with a table of ten thousand orders."""
    async with Tercet(postgres=postgres_url) as db:
        async with db.postgres.transaction() as connection:
            await connection.exec_driver_sql(
                "create table orders (id bigint primary key, user_id bigint, total numeric(12,2), note text)"
            )
            await connection.exec_driver_sql(
                "insert into orders select i, i % 100, i % 7, 'n' || i from generate_series(1, 10000) i"
            )
        yield db


async def _index(db: Tercet, name: str) -> tuple[bool, str] | None:
    async with db.postgres.connection() as connection:
        rows = (
            await connection.exec_driver_sql(
                "select indisvalid, pg_get_indexdef(indexrelid) from pg_index where indexrelid = to_regclass($1)",
                (name,),
            )
        ).all()
    return (rows[0][0], rows[0][1]) if rows else None


async def test_an_index_is_built_valid_and_as_it_was_declared(db: Tercet) -> None:
    """What PostgreSQL has afterwards is the declared index, ready for use."""
    built = await build_index(db.postgres, BY_USER)
    assert (built.name, built.existed) == ("by_user", False)
    assert built.size_bytes > 0
    assert await _index(db, "by_user") == (
        True,
        "CREATE INDEX by_user ON public.orders USING btree (user_id) INCLUDE (total) WHERE (total > (3)::numeric)",
    )


async def test_a_second_build_finds_the_index_and_does_nothing(db: Tercet) -> None:
    """Building again is harmless and says that the index was there."""
    await build_index(db.postgres, BY_USER)
    assert (await build_index(db.postgres, BY_USER)).existed


async def test_an_index_that_only_has_the_name_in_common_is_refused(db: Tercet) -> None:
    """The name alone proves nothing: another definition is an error that shows both."""
    await build_index(db.postgres, Index("by_user", "orders", columns=("user_id desc",)))
    with pytest.raises(DefinitionMismatch, match="by_user") as caught:
        await build_index(db.postgres, BY_USER)
    assert "user_id DESC" in caught.value.found
    found = await _index(db, "by_user")
    assert found is not None
    assert "DESC" in found[1]


async def test_an_invalid_index_of_a_killed_build_is_built_anew(db: Tercet) -> None:
    """What a failed concurrent build has left behind is dropped, not taken for an index."""
    async with db.postgres.autocommit() as connection:
        with pytest.raises(Exception, match="could not create unique index"):
            await connection.exec_driver_sql("create unique index concurrently by_user on orders (user_id)")
    left = await _index(db, "by_user")
    assert left is not None
    assert not left[0]
    assert not (await build_index(db.postgres, BY_USER)).existed
    found = await _index(db, "by_user")
    assert found is not None
    assert found[0]


async def test_a_build_that_fails_leaves_no_invalid_index(db: Tercet) -> None:
    """A unique index over duplicates fails, and takes its half-built self away."""
    with pytest.raises(Exception, match="could not create unique index"):
        await build_index(db.postgres, Index("one_each", "orders", columns=("user_id",), unique=True))
    assert await _index(db, "one_each") is None


async def test_a_cancelled_build_leaves_no_invalid_index(db: Tercet) -> None:
    """Cancelled while it waits for an old transaction, a build sweeps up before it ends."""
    async with db.postgres.transaction() as writer:
        await writer.exec_driver_sql("update orders set note = 'held' where id = 1")
        building = asyncio.create_task(build_index(db.postgres, BY_USER))
        while await _index(db, "by_user") is None:
            await asyncio.sleep(0.01)
        building.cancel()
        await asyncio.sleep(0.05)
    with pytest.raises(asyncio.CancelledError):
        await building
    assert await _index(db, "by_user") is None


async def test_a_table_is_written_while_its_index_is_built(db: Tercet) -> None:
    """A write that comes during the build goes through, and its row is in the index."""
    async with db.postgres.transaction() as old:
        await old.exec_driver_sql("update orders set note = 'held' where id = 1")
        building = asyncio.create_task(build_index(db.postgres, BY_USER))
        while await _index(db, "by_user") is None:
            await asyncio.sleep(0.01)
        async with db.postgres.transaction() as writer:
            await writer.exec_driver_sql("insert into orders values (20000, 777, 9.99, 'meanwhile')")
    assert not (await building).existed
    async with db.postgres.transaction() as connection:
        await connection.exec_driver_sql("set local enable_seqscan = off")
        rows = await connection.exec_driver_sql("select total from orders where user_id = 777 and total > 3")
        assert [str(row[0]) for row in rows.all()] == ["9.99"]


async def test_two_builders_of_one_index_build_it_once(db: Tercet) -> None:
    """The second waits for the first and finds its index there."""
    both = await asyncio.gather(build_index(db.postgres, BY_USER), build_index(db.postgres, BY_USER))
    assert sorted(built.existed for built in both) == [False, True]


async def test_a_builder_that_does_not_want_to_wait_is_told_who_builds(db: Tercet) -> None:
    """LockBusy names the thing, and the holder by its process."""
    async with (
        db.postgres.autocommit() as connection,
        alone(connection, "the build of the index by_user", wait=0),
    ):
        with pytest.raises(LockBusy, match=r"The build of the index by_user is under way already, by process \d+"):
            await build_index(db.postgres, BY_USER, wait=0)
    assert not (await build_index(db.postgres, BY_USER, wait=0)).existed


async def test_the_connection_that_built_has_its_time_limits_again(db: Tercet) -> None:
    """Lifting the timeouts is for the build alone: the pool's next user finds them as they were."""
    async with db.postgres.connection() as connection:
        before = (await connection.exec_driver_sql("show statement_timeout")).all()[0][0]
    await build_index(db.postgres, BY_USER)
    for _ in range(3):
        async with db.postgres.connection() as connection:
            assert (await connection.exec_driver_sql("show statement_timeout")).all()[0][0] == before


async def test_a_dropped_index_is_gone_and_dropping_it_again_is_harmless(db: Tercet) -> None:
    """drop_index asks for nothing to be there."""
    await build_index(db.postgres, BY_USER)
    await drop_index(db.postgres, BY_USER)
    assert await _index(db, "by_user") is None
    await drop_index(db.postgres, BY_USER)


async def test_names_that_need_quotes_are_built_and_found(db: Tercet) -> None:
    """A name with capitals, spaces and quotes is a name like any other."""
    async with db.postgres.transaction() as connection:
        await connection.exec_driver_sql('create table "Order Lines" ("Line ""No""" int)')
    odd = Index('by "No"', "Order Lines", columns=(Key('Line "No"'),))
    assert not (await build_index(db.postgres, odd)).existed
    assert (await build_index(db.postgres, odd)).existed
