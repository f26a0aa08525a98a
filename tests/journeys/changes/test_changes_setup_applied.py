"""A feed is set up on a real server: what is found, what is done, and what is refused because it would break writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy.exc import DBAPIError

from tercet import Tercet
from tercet.changes import Wants
from tercet.changes.setup.apply import apply
from tercet.changes.setup.choose import Kind, choose
from tercet.changes.setup.findings import Findings
from tercet.changes.setup.identity import gaps
from tercet.changes.setup.look import look
from tercet.changes.setup.plan import plan
from tercet.changes.setup.triggers import uninstall
from tercet.errors import LockBusy, PublicationUnsafe

TABLES = (
    "create table orders (id bigint primary key, user_id bigint not null, note text)",
    "create table log (at timestamptz default now(), line text)",
    "create schema sales",
    'create table sales."Odd ""table" ("Key" int, "a.b" int not null, c int, primary key (c, "Key"))',
    """create table parts (id int not null, region text not null, size int not null, primary key (id, region))
        partition by list (region)""",
    "create table parts_east partition of parts for values in ('east')",
    "create table parts_west (size int not null, id int not null, region text not null)",
    "alter table parts attach partition parts_west for values in ('west')",
    "create unlogged table fast (id int primary key)",
    "create view seen as select * from orders",
)
USER = Wants({"orders": frozenset({"user_id"})})
ALL = Wants(
    {
        "orders": frozenset({"user_id"}),
        'sales.Odd "table': frozenset({"a.b"}),
        "parts": frozenset({"size"}),
    }
)


@pytest_asyncio.fixture
async def db(postgres_url: str) -> AsyncIterator[Tercet]:
    """A database with tables of every sort."""
    async with Tercet(postgres=postgres_url) as db:
        await _run(db, *TABLES)
        yield db


async def _run(db: Tercet, *statements: str) -> None:
    async with db.postgres.transaction() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)


async def _set_up(db: Tercet, wants: Wants, feed: Kind | None = None) -> Findings:
    await apply(db.postgres, plan(await look(db.postgres, wants), wants, feed=feed))
    return await look(db.postgres, wants)


async def test_the_server_is_found_as_it_is(db: Tercet) -> None:
    """Its level, its role, its room, and that the login may all of it."""
    found = await look(db.postgres, USER)
    assert (found.server.wal_level, found.server.replica, found.server.superuser) == ("logical", False, True)
    assert found.server.number >= 140_000
    assert found.server.keep_bytes is None
    assert found.server.slots < found.server.slots_max
    assert not found.server.pooled
    assert choose(found).kind == "stream"
    (table,) = found.tables.values()
    assert (table.primary, table.identity, table.covered) == (("id",), "default", {"id"})


async def test_the_naive_publication_breaks_updates_and_ours_is_refused_before(db: Tercet) -> None:
    """A table without a key takes no UPDATE once it is published, and PostgreSQL says so only then."""
    await _run(db, "insert into log (line) values ('a')", "create publication naive for table log")
    with pytest.raises(DBAPIError, match="does not have a replica identity"):
        await _run(db, "update log set line = 'b'")
    await _run(db, "drop publication naive")
    wants = Wants({"log": None})
    with pytest.raises(PublicationUnsafe, match="would refuse its UPDATEs and DELETEs"):
        plan(await look(db.postgres, wants), wants)
    await apply(db.postgres, plan(await look(db.postgres, wants), wants, full={"log"}))
    await _run(db, "update log set line = 'b'", "delete from log")


async def test_a_list_of_columns_that_misses_the_identity_breaks_updates_and_ours_covers_it(db: Tercet) -> None:
    """The same trap, with a key."""
    await _run(db, "insert into orders values (1, 1)", "create publication naive for table orders (user_id)")
    with pytest.raises(DBAPIError, match='cannot update table "orders"'):
        await _run(db, "update orders set user_id = 2")
    with pytest.raises(PublicationUnsafe, match="publication naive does not list"):
        plan(await look(db.postgres, USER), USER)
    await _run(db, "drop publication naive")
    await _set_up(db, USER)
    await _run(db, "update orders set user_id = 2, note = 'n'", "delete from orders")


async def test_another_publication_is_not_broken_by_a_wider_identity(db: Tercet) -> None:
    """PostgreSQL would take the new identity without a word, and refuse the next UPDATE."""
    await _run(db, "create publication theirs for table orders where (id > 3)")
    await _set_up(db, USER)
    await _run(db, "insert into orders values (4, 4)", "update orders set user_id = 5")
    await _run(db, "drop publication theirs", "create publication theirs for table parts_east where (region = 'east')")
    await _set_up(db, ALL)
    await _run(db, "insert into parts values (1, 'east', 1)", "update parts set size = 2")


async def test_what_is_set_up_is_found_and_not_done_twice(db: Tercet) -> None:
    """Identities of all tables, odd names and partitions; the second plan is empty."""
    found = await _set_up(db, ALL)
    assert plan(found, ALL) == ()
    assert gaps(found, {name: columns for name, columns in ALL.tables.items() if columns}) == ()
    publication = found.publication()
    assert publication is not None
    assert publication.via_root
    odd = found.tables["sales", 'Odd "table']
    assert odd.index_columns == ("a.b", "c", "Key")
    parts = found.tables["public", "parts"]
    assert [set(leaf.index_columns) for leaf in parts.leaves] == [{"size", "id", "region"}] * 2
    await _run(
        db,
        "insert into parts values (1, 'east', 1), (2, 'west', 1)",
        "update parts set size = 2",
        """insert into sales."Odd ""table" values (1, 2, 3)""",
        """update sales."Odd ""table" set "a.b" = 4""",
    )


async def test_wants_that_grow_widen_what_is_there(db: Tercet) -> None:
    """Step by step, and UPDATEs go on after each of them."""
    await _run(db, "insert into orders values (1, 1)")
    await _set_up(db, Wants({"orders": frozenset({"id"})}))
    wants = USER
    steps = plan(await look(db.postgres, wants), wants)
    assert len(steps) == 3
    for step in steps:
        await apply(db.postgres, (step,))
        await _run(db, "update orders set user_id = user_id + 1")
    every = Wants({"orders": None})
    found = await _set_up(db, every)
    published = found.publications[0].tables["public", "orders"]
    assert published.columns is None
    await _run(db, "update orders set note = 'n'")


async def test_every_table_can_be_wanted(db: Tercet) -> None:
    """With one that would break, all is refused; without it, all are published."""
    wants = Wants({"*": None})
    with pytest.raises(PublicationUnsafe, match="log: it has no primary key"):
        plan(await look(db.postgres, wants), wants)
    await _run(db, "drop table log")
    found = await _set_up(db, wants)
    assert found.publications[0].all_tables
    assert plan(found, wants) == ()


@pytest.mark.parametrize("name", ["fast", "seen", "gone"])
async def test_what_cannot_be_followed_is_refused(db: Tercet, name: str) -> None:
    """An unlogged table, a view, and one that is not there."""
    wants = Wants({name: None})
    with pytest.raises(PublicationUnsafe, match=name):
        plan(await look(db.postgres, wants), wants)


async def test_a_build_that_was_cut_off_is_mended_by_the_next_run(db: Tercet) -> None:
    """Its invalid index is dropped and built anew."""
    steps = plan(await look(db.postgres, USER), USER)
    index = steps[0].index
    assert index is not None
    await _run(
        db,
        f'create unique index "{index[1]}" on orders (user_id, id)',
        f"""update pg_index set indisvalid = false where indexrelid = '"{index[1]}"'::regclass""",
    )
    await apply(db.postgres, steps)
    assert (await look(db.postgres, USER)).tables["public", "orders"].index == index[1]
    assert plan(await look(db.postgres, USER), USER) == ()
    # One that is there and valid is left as it is.
    await apply(db.postgres, steps[:1])


async def test_a_step_that_gets_no_lock_gives_up_and_leaves_the_table_alone(db: Tercet) -> None:
    """Behind a lock that waits, everybody waits; so it does not wait for long."""
    found = await look(db.postgres, USER)
    _, switch, _ = plan(found, USER)
    await apply(db.postgres, plan(found, USER)[:1])
    async with db.postgres.transaction() as other:
        await other.exec_driver_sql("select * from orders")
        with pytest.raises(LockBusy, match="the old values"):
            await apply(db.postgres, (switch,), lock=0.01, tries=1)
        waiting = asyncio.create_task(apply(db.postgres, (switch,), lock=0.01, tries=10_000))
        await asyncio.sleep(0)
    await waiting
    assert (await look(db.postgres, USER)).tables["public", "orders"].identity == "index"


async def test_triggers_are_set_up_found_widened_and_taken_away(db: Tercet) -> None:
    """And nothing of them is left."""
    wants = Wants({"orders": frozenset({"user_id"}), "parts": None, "fast": None})
    found = await _set_up(db, wants, "triggers")
    assert found.server.change_table
    assert found.tables["public", "orders"].silent == ("note",)
    assert plan(found, wants, feed="triggers") == ()
    assert gaps(found, {"orders": {"note", "user_id"}}) == ()
    wider = Wants({"orders": frozenset({"note"})})
    found = await _set_up(db, wider, "triggers")
    assert found.tables["public", "orders"].silent == ()
    assert plan(found, USER, feed="triggers") == ()
    await apply(db.postgres, uninstall(await look(db.postgres, wants)))
    found = await look(db.postgres, wants)
    assert not found.server.change_table
    assert not any(table.triggers for table in found.tables.values())
    await _run(db, "insert into orders values (1, 1)", "truncate orders, parts")


async def test_a_tercet_sets_its_feed_up_in_one_word_and_twice_is_fine(db: Tercet) -> None:
    """First for messages alone, which need a publication of nothing; then for a table, and its old values."""
    says = [step.says for step in await db.changes.set_up()]
    assert says == ["publish messages alone"]
    assert await db.changes.set_up() == ()
    says = [step.says for step in await db.changes.set_up(USER)]
    assert says[-1] == "publish orders"
    assert len(says) == 3
    assert await db.changes.set_up(USER) == ()
    assert choose(await look(db.postgres, USER)).kind == "stream"
