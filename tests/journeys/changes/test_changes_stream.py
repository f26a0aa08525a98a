"""The feed on a real PostgreSQL: what is committed is told, from slots that are kept and from slots that are not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from tercet.changes.feeding.place import Place
from tercet.changes.stream.postgres import PostgresEdge
from tercet.errors import FeedRefused, LoginRefused
from tercet.settings import Settings
from tercet.telemetry import ChangesHeard, FeedState

if TYPE_CHECKING:
    from collections.abc import Callable

    # The classes of conftest.py, which is no module to import from.
    Shop = Any
    Heard = Any
    Until = Callable[[Callable[[], object]], Any]


async def test_what_is_committed_is_told_and_what_is_rolled_back_is_not(
    shop: Shop, heard: Callable[..., Heard], until: Until
) -> None:
    """Rows and messages, in the order of the commits, with the transaction's own 64-bit id."""
    listener = heard("t", prefixes=("shop.",))
    await shop.follow(listener)
    async with shop.sql.transaction():
        xid = int(await shop.sql.fetchval("select pg_current_xact_id()::text"))
        await shop.sql.execute("insert into t values (1, 'a'), (2, 'b')")
        await shop.sql.execute("select pg_logical_emit_message(true, 'shop.placed', 'one')")
        await shop.sql.execute("select pg_logical_emit_message(true, 'other', 'not wanted')")
    await shop.sql.execute("begin; insert into t values (3, 'never'); rollback")
    await shop.sql.execute("update t set word = 'c' where id = 2")
    await until(lambda: len(listener.commits) == 2)
    first, second = listener.commits
    system = await shop.sql.fetchval("select system_identifier from pg_control_system()")
    assert (first.moment.source, first.moment.at) == (f"pg:{system}", xid)
    assert [(change.kind, change.name, dict(change.new)) for change in first.changes] == [
        ("insert", "t", {"id": 1, "word": "a"}),
        ("insert", "t", {"id": 2, "word": "b"}),
    ]
    assert [(message.prefix, message.content) for message in first.messages] == [("shop.placed", b"one")]
    assert [(change.kind, change.new["word"]) for change in second.changes] == [("update", "c")]
    assert first.position < second.position
    assert listener.why == ["it was not read until now"]


async def test_an_ephemeral_place_leaves_nothing_behind(shop: Shop, heard: Callable[..., Heard], until: Until) -> None:
    """No slot, no connection, no task; what is temporary is gone when close() returns."""
    subscription = await shop.follow(heard("t"))
    assert len(await shop.slots()) == 1
    await subscription.close()
    await until(lambda: _no_slots(shop))
    await until(lambda: _nobody(shop))
    assert [task for task in asyncio.all_tasks() if "tercet" in task.get_name()] == []


async def _nobody(shop: Shop) -> bool:
    return bool(await shop.others() == 0)


async def test_a_durable_place_goes_on_where_it_was(shop: Shop, heard: Callable[..., Heard], until: Until) -> None:
    """What was committed while nobody read is told then, and what was confirmed does not come again."""
    before = heard("t")
    subscription = await shop.follow(before, durable="orders")
    assert before.why == ["it has no slot yet, or it was dropped"]
    # The slot is a durable one as soon as the first is read, not before.
    await shop.sql.execute("insert into t values (1, 'a')")
    await until(lambda: before.ids == [1])
    await subscription.close()
    assert await shop.slots() == ["tercet_shop_orders"]
    await shop.sql.execute("insert into t values (2, 'b')")
    after = heard("t")
    await shop.follow(after, durable="orders")
    await shop.sql.execute("insert into t values (3, 'c')")
    await until(lambda: after.ids == [2, 3])
    assert after.why == []


async def test_what_a_listener_did_not_finish_comes_again(
    shop: Shop, heard: Callable[..., Heard], until: Until
) -> None:
    """At least once: it is confirmed when it was taken care of, not when it was told."""
    before = heard("t")
    subscription = await shop.follow(before, durable="orders")
    await shop.sql.execute("insert into t values (1, 'a')")
    await until(lambda: before.ids == [1])
    before.gate.clear()
    await shop.sql.execute("insert into t values (2, 'b')")
    await subscription.close()
    after = heard("t")
    await shop.follow(after, durable="orders")
    await until(lambda: after.ids == [2])


async def test_a_durable_slot_moves_on_while_only_other_databases_write(
    shop: Shop, heard: Callable[..., Heard], until: Until
) -> None:
    """And so the server may throw its log away: the position of an idle place is the server's own."""
    # Told often, as by a server with a short wal_sender_timeout.
    subscription = shop.changes(words="?wal_sender_timeout=600").subscribe(heard("t"), durable="orders")
    await subscription.ready()
    await until(lambda: _stands(shop))
    # Nothing of this is in a table that is told, nor wanted as a message; and it is a lot.
    other = await asyncpg.connect(shop.url.rpartition("/")[0] + "/postgres")
    try:
        for _ in range(4):
            await other.execute("select pg_logical_emit_message(false, 'noise', repeat('x', 1000000))")
        mark = await other.fetchval("select pg_current_wal_lsn()")
    finally:
        await other.close()
    await until(
        lambda: shop.sql.fetchval(
            "select confirmed_flush_lsn >= $1 from pg_replication_slots where slot_name = $2",
            mark, "tercet_shop_orders",
        )
    )  # fmt: skip


async def _stands(shop: Shop) -> bool:
    return "tercet_shop_orders" in await shop.slots()


async def test_a_slow_listener_does_not_lose_its_connection(
    shop: Shop, heard: Callable[..., Heard], until: Until
) -> None:
    """The server goes on hearing that we are there, several times within its wal_sender_timeout, while nobody reads."""
    listener = heard("t")
    subscription = shop.changes(words="?wal_sender_timeout=3000").subscribe(listener, durable="orders")
    await subscription.ready()
    await shop.sql.execute("insert into t values (1, 'a')")
    await until(lambda: listener.ids == [1])
    pid = await _reader(shop)
    listener.gate.clear()
    # So much that it does not fit into the buffers in between: the server has to wait.
    await shop.sql.execute("insert into t select n, repeat('x', 1000) from generate_series(2, 20000) n")
    replies = {await _reply(shop)}
    await until(lambda: _replied(shop, replies))
    assert await _reader(shop) == pid
    listener.gate.set()
    await until(lambda: len(listener.ids) == 20_000)
    assert listener.ids == list(range(1, 20_001))
    assert subscription.status().error is None


async def _reply(shop: Shop) -> object:
    """When the server has last heard from whoever reads."""
    return await shop.sql.fetchval("select reply_time from pg_stat_replication where pid = $1", await _reader(shop))


async def _replied(shop: Shop, replies: set[object]) -> bool:
    replies.add(await _reply(shop))
    return len(replies - {None}) >= 4


async def _reader(shop: Shop) -> object:
    return await shop.sql.fetchval(
        "select active_pid from pg_replication_slots where database = current_database() and active"
    )


async def test_a_connection_that_an_administrator_ends_is_made_again(
    shop: Shop, heard: Callable[..., Heard], until: Until
) -> None:
    """A durable place misses nothing and repeats nothing that was confirmed; an ephemeral one begins anew."""
    kept, passing = heard("t"), heard("t")
    changes = shop.changes()
    first, second = changes.subscribe(kept, durable="orders"), changes.subscribe(passing)
    await asyncio.gather(first.ready(), second.ready())
    await shop.sql.execute("insert into t values (1, 'a')")
    await until(lambda: (kept.ids, passing.ids) == ([1], [1]))
    await until(lambda: _confirmed(shop, kept.positions[-1]))
    await shop.sql.execute(
        "select pg_terminate_backend(active_pid) from pg_replication_slots where database = current_database()"
    )
    await shop.sql.execute("insert into t values (2, 'b')")
    await until(lambda: kept.ids == [1, 2])
    await until(lambda: len(passing.why) == 2 and second.status().state == "reading")
    await shop.sql.execute("insert into t values (3, 'c')")
    await until(lambda: kept.ids == [1, 2, 3] and passing.ids[-1] == 3)
    assert len(kept.why) == 1


async def _confirmed(shop: Shop, position: int) -> bool:
    told = await shop.sql.fetchval(
        "select pg_wal_lsn_diff(confirmed_flush_lsn, '0/0')::bigint from pg_replication_slots where slot_name = $1",
        "tercet_shop_orders",
    )
    return told is not None and bool(told >= position)


async def test_a_slot_that_is_dropped_behind_its_back_is_made_anew(
    shop: Shop, heard: Callable[..., Heard], until: Until
) -> None:
    """With a resync, for what was committed meanwhile is not known."""
    listener = heard("t")
    subscription = await shop.follow(listener, durable="orders")
    await shop.sql.execute("insert into t values (1, 'a')")
    await until(lambda: listener.ids == [1])
    # Or it would come again, as what was not confirmed does.
    await until(lambda: _confirmed(shop, listener.positions[-1]))
    # In one go, and as often as it is read again in between.
    await shop.sql.execute(
        "do $$ begin loop begin perform pg_terminate_backend(active_pid, 1000) "
        "from pg_replication_slots where slot_name = 'tercet_shop_orders'; "
        "perform pg_drop_replication_slot('tercet_shop_orders'); exit; "
        "exception when object_in_use then null; end; end loop; end $$"
    )
    await until(lambda: len(listener.why) == 2 and subscription.status().state == "reading")
    assert subscription.status().resyncs == 2
    await shop.sql.execute("insert into t values (2, 'b')")
    await until(lambda: listener.ids == [1, 2])


async def test_a_slot_that_another_process_still_reads_is_waited_for(
    shop: Shop, heard: Callable[..., Heard], until: Until
) -> None:
    """A process that dies holds it for a while after its lock is gone."""
    first = heard("t")
    subscription = await shop.follow(first, durable="orders")
    await shop.sql.execute("insert into t values (1, 'a')")
    await until(lambda: first.ids == [1])
    await subscription.close()
    # Reads without having asked whether it leads.
    place = Place("shop", "orders", durable=True)
    edge = PostgresEdge(Settings.read({"postgres": shop.url}, environ={}))
    dying = edge.source(place)
    try:
        await dying.open(first.wants, None)
        second = heard("t")
        other = shop.changes().subscribe(second, durable="orders")
        await until(lambda: other.status().leading)
        await shop.sql.execute("insert into t values (2, 'b')")
        assert (other.status().state, second.ids) == ("opening", [])
    finally:
        await dying.close()
    await until(lambda: second.ids == [2])


async def test_one_of_all_processes_leads_and_another_takes_over(
    shop: Shop, heard: Callable[..., Heard], until: Until
) -> None:
    """Each change is told to one listener of the service; another service has a place of its own."""
    ours = [heard("t") for _ in range(3)]
    foreign = heard("t")
    subscriptions = [await shop.follow(one, durable="orders") for one in ours]
    await shop.follow(foreign, durable="orders", service="other")
    assert [one.status().leading for one in subscriptions] == [True, False, False]
    await shop.sql.execute("insert into t values (1, 'a')")
    await until(lambda: (ours[0].ids, foreign.ids) == ([1], [1]))
    await subscriptions[0].close()
    await until(lambda: sum(one.status().leading for one in subscriptions) == 1)
    await shop.sql.execute("insert into t values (2, 'b')")
    await until(lambda: ours[1].ids + ours[2].ids == [2])
    assert ours[0].ids == [1]


async def test_who_loses_the_lock_stops_at_once(shop: Shop, heard: Callable[..., Heard], until: Until) -> None:
    """The end of the lock's connection is the end of reading; then both try again."""
    listener = heard("t")
    subscription = await shop.follow(listener, durable="orders")
    await shop.sql.execute("insert into t values (1, 'a')")
    await until(lambda: listener.ids == [1])
    listener.gate.clear()
    await shop.sql.execute("insert into t values (2, 'b')")
    before = await _reader(shop)
    await shop.sql.execute(
        "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' "
        "and database = (select oid from pg_database where datname = current_database())"
    )
    await until(lambda: _another(shop, before))
    listener.gate.set()
    await until(lambda: listener.ids == [1, 2])
    assert subscription.status().leading


async def _another(shop: Shop, before: object) -> bool:
    return await _reader(shop) not in {None, before}


async def test_a_transaction_of_many_rows_comes_in_parts_and_whole(
    shop: Shop, heard: Callable[..., Heard], until: Until
) -> None:
    """Also where it is sent while it still runs; it counts as one commit."""
    early, late = heard("t"), heard("t")
    first = shop.changes("early", streaming=True).subscribe(early)
    second = shop.changes("late").subscribe(late)
    await asyncio.gather(first.ready(), second.ready())
    async with shop.sql.transaction():
        await shop.sql.execute("insert into t select n, 'x' from generate_series(1, 25000) n")
    await until(lambda: early.ids == late.ids == list(range(1, 25_001)))
    assert [commit.last for commit in late.commits][-1]
    assert sum(commit.last for commit in late.commits) == second.status().commits == 1


async def test_a_feed_without_its_publication_says_how_to_make_it(shop: Shop, heard: Callable[..., Heard]) -> None:
    """And reads as soon as it is there."""
    subscription = shop.changes(publication="Another One").subscribe(heard("t"))
    with pytest.raises(FeedRefused, match=r"'Another One' does not exist.*doctor --setup"):
        await subscription.ready()
    assert subscription.status().state == "away"
    assert await shop.slots() == []


async def test_a_publication_may_have_any_name_and_none_of_the_tables(
    shop: Shop, heard: Callable[..., Heard], until: Until
) -> None:
    """An outbox of messages needs no table."""
    await shop.sql.execute("""create publication "It's ""mine"", really" """)
    listener = heard(prefixes=("shop.",))
    await shop.changes(publication="""It's "mine", really""").subscribe(listener).ready()
    await shop.sql.execute("insert into t values (1, 'a')")
    await shop.sql.execute("select pg_logical_emit_message(true, 'shop.placed', 'one')")
    await until(lambda: listener.said == [b"one"])


async def test_a_login_that_may_not_replicate_is_told_what_it_needs(shop: Shop, heard: Callable[..., Heard]) -> None:
    """With the statement that gives it."""
    await shop.sql.execute("drop role if exists tercet_plain; create role tercet_plain login")
    try:
        shop.url = shop.url.replace("postgres@", "tercet_plain@")
        with pytest.raises(FeedRefused, match="ALTER ROLE … REPLICATION"):
            await shop.changes().subscribe(heard("t")).ready()
        shop.url = shop.url.replace("tercet_plain@", "nobody_at_all@")
        with pytest.raises(LoginRefused):
            await shop.changes().subscribe(heard("t")).ready()
    finally:
        await shop.close_feeds()
        await shop.sql.execute("drop role tercet_plain")


async def test_a_place_can_be_closed_while_its_slot_is_being_made(
    shop: Shop, heard: Callable[..., Heard], until: Until
) -> None:
    """PostgreSQL waits for every transaction that was begun before; whoever closes does not, and leaves no slot."""
    async with asyncio.timeout(60):
        other = await asyncpg.connect(shop.url)
        try:
            await other.execute("begin; insert into t values (1, 'a')")
            subscription = shop.changes().subscribe(heard("t"))
            await until(shop.slots)
            await subscription.close()
            await until(lambda: _no_slots(shop))
        finally:
            await other.close()


async def _no_slots(shop: Shop) -> bool:
    return not await shop.slots()


async def test_how_a_place_stands_is_known_and_told(shop: Shop, heard: Callable[..., Heard], until: Until) -> None:
    """How much the server keeps for it, and that it keeps it without an end where that is so."""
    listener = heard("t")
    subscription = await shop.follow(listener, durable="orders")
    await shop.sql.execute("insert into t values (1, 'a')")
    await until(lambda: subscription.status().lag_bytes is not None and subscription.status().commits == 1)
    status = subscription.status()
    assert (status.place, status.durable, status.state, status.changes) == ("orders", True, "reading", 1)
    assert status.position == listener.positions[-1]
    assert status.last_commit == listener.commits[-1].at
    assert status.keeps_bytes_max is None
    assert any(isinstance(event, FeedState) and event.lag_bytes is not None for event in shop.told)
    assert any(isinstance(event, ChangesHeard) and event.changes == 1 for event in shop.told)


@pytest.mark.parametrize("ticks", [0, 1, 2, 3, 5, 8, 13, 21, 34])
async def test_a_place_can_be_closed_at_any_step_of_its_opening(
    shop: Shop, heard: Callable[..., Heard], until: Until, ticks: int
) -> None:
    """Whatever it was waiting for: neither a slot nor a connection is left, and the next one opens it."""
    changes = shop.changes()
    kept, passing = changes.subscribe(heard("t"), durable="orders"), changes.subscribe(heard("t"))
    for _ in range(ticks):
        await asyncio.sleep(0.001)
    await asyncio.gather(kept.close(), passing.close())
    await until(lambda: _nobody(shop))
    assert set(await shop.slots()) <= {"tercet_shop_orders"}
    listener = heard("t")
    await shop.follow(listener, durable="orders")
    await shop.sql.execute("insert into t values (1, 'a')")
    await until(lambda: listener.ids == [1])
