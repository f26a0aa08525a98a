"""Indexes built on a real server, while others read and write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from importlib import import_module

import pytest
import pytest_asyncio

from tercet import Tercet
from tercet.errors import BuildBlocked, DefinitionMismatch, LockBusy
from tercet.migrations import Blocker, alone, blockers, build_index, drop_index
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


PARTED = Index("by_at", "parted", ("at",))


async def _parted(db: Tercet) -> None:
    async with db.postgres.transaction() as connection:
        for statement in (
            "create table parted (id bigint, at date) partition by range (at)",
            "create table parted_1 partition of parted for values from ('2024-01-01') to ('2024-02-01')",
            (
                "create table parted_2 partition of parted for values from ('2024-02-01') to ('2025-01-01') "
                "partition by range (at)"
            ),
            "create table parted_2a partition of parted_2 for values from ('2024-02-01') to ('2024-03-01')",
            "insert into parted select i, '2024-01-01'::date + i % 60 from generate_series(1, 500) i",
        ):
            await connection.exec_driver_sql(statement)


async def test_a_partitioned_table_gets_its_index_part_by_part(db: Tercet) -> None:
    """The whole is valid with all of its parts; a new partition has it by itself; a second build finds it."""
    await _parted(db)
    assert not (await build_index(db.postgres, PARTED)).existed
    for name in ("by_at", "parted_1_by_at", "parted_2_by_at", "parted_2a_by_at"):
        found = await _index(db, name)
        assert found is not None
        assert found[0], name
    assert (await build_index(db.postgres, PARTED)).existed
    with pytest.raises(DefinitionMismatch):
        await build_index(db.postgres, Index("by_at", "parted", ("id",)))
    await drop_index(db.postgres, PARTED)
    assert await _index(db, "parted_1_by_at") is None


async def test_a_partitioned_build_that_is_cut_off_leaves_nothing_invalid(db: Tercet) -> None:
    """The parts that were done stay, valid, and the next build takes them up."""
    await _parted(db)
    async with db.postgres.transaction() as old:
        await old.exec_driver_sql("update parted_2a set id = 0 where id = 31")
        building = asyncio.create_task(build_index(db.postgres, PARTED))
        while await _index(db, "parted_2a_by_at") is None:
            await asyncio.sleep(0.01)
        building.cancel()
        await asyncio.sleep(0.05)
    with pytest.raises(asyncio.CancelledError):
        await building
    assert await _index(db, "by_at") is None
    assert await _index(db, "parted_2a_by_at") is None
    done = await _index(db, "parted_1_by_at")
    assert done is not None
    assert done[0]
    await build_index(db.postgres, PARTED)
    whole = await _index(db, "by_at")
    assert whole is not None
    assert whole[0]


async def test_a_build_stuck_behind_a_writer_lets_go_of_its_lock(db: Tercet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun before the writer grew old, it is ended and begun again, and says at last who it was."""
    monkeypatch.setattr(import_module("tercet.migrations.indexes"), "_FIRST_WAIT_SECONDS", 0.0)
    module = import_module("tercet.migrations.waiting.clear")
    forecast, asked = module.blockers, 0

    async def first_nobody(*arguments: object) -> tuple[Blocker, ...]:
        """As if the writer had come just after the forecast."""
        nonlocal asked
        asked += 1
        found: tuple[Blocker, ...] = () if asked == 1 else await forecast(*arguments)
        return found

    monkeypatch.setattr(module, "blockers", first_nobody)
    told: list[str] = []
    async with db.postgres.transaction() as writer:
        pid = (await writer.exec_driver_sql("select pg_backend_pid()")).all()[0][0]
        await writer.exec_driver_sql("update orders set note = 'held' where id = 1")
        while not (await writer.exec_driver_sql("select clock_timestamp() - now() > '1.2 s'")).all()[0][0]:
            await asyncio.sleep(0.05)
        with pytest.raises(BuildBlocked, match=f"process {pid}.*it has locked the table") as caught:
            await build_index(
                db.postgres, BY_USER, patience=0,
                on_waiting=lambda found: told.extend(one.words() for one in found),
            )  # fmt: skip
        assert caught.value.left == "by_user"
        locks = await writer.exec_driver_sql("select pid from pg_locks where relation = 'orders'::regclass")
        assert {row[0] for row in locks.all()} == {pid}
    assert any(f"process {pid}" in one for one in told)
    assert not (await build_index(db.postgres, BY_USER, patience="1m")).existed


async def test_who_would_be_waited_for_is_foretold(db: Tercet) -> None:
    """A writer of the table and a reader of an old snapshot are; an idle transaction that holds neither is not."""
    async with db.postgres.transaction() as writer, db.postgres.transaction() as idle:
        await writer.exec_driver_sql("delete from orders where id = 1")
        await idle.exec_driver_sql("select 1")
        pids = [(await one.exec_driver_sql("select pg_backend_pid()")).all()[0][0] for one in (writer, idle)]
        # A query's own portal, and its snapshot with it, stays until the next statement.
        await idle.exec_driver_sql("set local work_mem = '1MB'")
        found = await blockers(db.postgres, '"orders"', older_than=0)
        assert [one.pid for one in found] == pids[:1]
        assert found[0].locks
        assert found[0].state == "idle in transaction"
        assert await blockers(db.postgres, '"orders"', older_than=0, but=pids) == ()
        assert await blockers(db.postgres, '"orders"', older_than=3600) == ()
