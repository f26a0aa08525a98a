"""PostgreSQL is killed, restarted, frozen, or throws away what was not read yet: a feed goes on, or begins anew."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tercet.changes.stream import postgres_leader, postgres_source

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    # The classes of conftest.py, which is no module to import from.
    OwnPostgres = Any
    Heard = Any
    Until = Callable[[Callable[[], object]], Awaitable[None]]


async def test_a_server_that_crashes_and_one_that_restarts_are_read_on(
    own_postgres: OwnPostgres, heard: Callable[[], Heard], until: Until
) -> None:
    """A durable place goes on where it was and misses nothing; an ephemeral one begins anew each time."""
    kept, passing = heard(), heard()
    changes = own_postgres.changes()
    first, second = changes.subscribe(kept, durable="orders"), changes.subscribe(passing)
    await asyncio.gather(first.ready(), second.ready())
    await own_postgres.run("insert into t values (1, 'a')", "select 1")
    await until(lambda: (kept.ids, passing.ids) == ([1], [1]))
    for number, end in enumerate((own_postgres.kill, own_postgres.stop), start=2):
        await end()
        await until(lambda: first.status().state == second.status().state == "away")
        assert first.status().error == "StoreUnreachable"
        await own_postgres.start()
        await own_postgres.run(f"insert into t values ({number}, 'b')", "select 1")
        await until(lambda number=number: number in kept.ids)  # type: ignore[misc] # its own one
        await until(lambda number=number: len(passing.why) == number)  # type: ignore[misc] # as above
    # At least once: after a crash, the server may have forgotten how far we were.
    assert sorted(set(kept.ids)) == [1, 2, 3]
    assert len(kept.why) == 1
    await own_postgres.run("insert into t values (9, 'z')", "select 1")
    await until(lambda: kept.ids[-1] == passing.ids[-1] == 9)


async def test_a_frozen_server_costs_leadership_and_is_read_on_when_it_is_back(
    own_postgres: OwnPostgres, heard: Callable[[], Heard], until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it for ever, and nothing is lost."""
    monkeypatch.setattr(postgres_leader, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(postgres_source, "END_SECONDS", 0.5)
    listener = heard()
    subscription = own_postgres.changes().subscribe(listener, durable="orders")
    await subscription.ready()
    await own_postgres.run("insert into t values (1, 'a')", "select 1")
    await until(lambda: listener.ids == [1])
    own_postgres.freeze()
    await until(lambda: subscription.status().state == "away")
    own_postgres.thaw()
    await own_postgres.run("insert into t values (2, 'b')", "select 1")
    await until(lambda: 2 in listener.ids and subscription.status().state == "reading")
    assert len(listener.why) == 1


async def test_a_slot_that_was_cut_off_is_made_anew_with_a_resync(
    own_postgres: OwnPostgres, heard: Callable[[], Heard], until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """The log that the server keeps has an end; whoever runs it is warned before, and the feed does not loop."""
    await own_postgres.run("alter system set max_slot_wal_keep_size = '4MB'", "select pg_reload_conf()")
    listener = heard()
    subscription = own_postgres.changes().subscribe(listener, durable="orders")
    await subscription.ready()
    await until(lambda: subscription.status().keeps_bytes_max == 4 << 20)
    await own_postgres.run("insert into t values (1, 'a')", "select 1")
    await until(lambda: listener.ids == [1])
    listener.gate.clear()
    await own_postgres.run("insert into t values (2, 'b')", "select 1")
    noise = "select pg_logical_emit_message(false, 'noise', repeat('x', 1000000))"
    await own_postgres.run(*[noise] * 3)
    await until(lambda: "more than half of what the server keeps" in caplog.text)
    await own_postgres.run(*[noise] * 12)
    await until(lambda: _cut_off(own_postgres))
    listener.gate.set()
    await until(lambda: len(listener.why) == 2 and subscription.status().state == "reading")
    assert listener.why[1] == "the server has cut its slot off"
    await own_postgres.run("insert into t values (3, 'c')", "select 1")
    await until(lambda: listener.ids[-1] == 3)
    assert subscription.status().resyncs == 2
    assert await own_postgres.run(
        "select wal_status from pg_replication_slots where slot_name = 'tercet_shop_orders'"
    ) in {
        "reserved",
        "extended",
    }


async def _cut_off(server: OwnPostgres) -> bool:
    await server.run("checkpoint", "select 1")
    return bool(
        await server.run("select wal_status = 'lost' from pg_replication_slots where slot_name = 'tercet_shop_orders'")
    )
