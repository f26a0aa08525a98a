"""A prepared transaction has locked the table of a build: it belongs to no process, and may stay for days."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING

import asyncpg
import pytest
import pytest_asyncio

from tercet import Tercet
from tercet.errors import BuildBlocked
from tercet.migrations import Blocker, build_index, rebuild_index
from tercet.servers import Servers
from tercet.sql import Index

if TYPE_CHECKING:
    from tests.conftest import TestServers

BY_USER = Index("by_user", "orders", ("user_id",))


@pytest.fixture(scope="module")
def url(servers: TestServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that takes prepared transactions, as those of other tests do not."""
    folder = tmp_path_factory.mktemp("prepared")

    async def start() -> tuple[Servers, str]:
        async with Servers(folder, ("postgres",), durable=False, sources=("wheel",)) as addresses:
            connection = await asyncpg.connect(addresses.postgres)
            await connection.execute("alter system set max_prepared_transactions = 5")
            await connection.close()
        running = Servers(folder, ("postgres",), durable=False, sources=("wheel",))
        return running, str((await running.start()).postgres)

    running, address = servers.run(start())
    yield address
    servers.run(running.stop())


@pytest_asyncio.fixture
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A table that a prepared transaction has written to; the session that prepared it is idle."""
    connection = await asyncpg.connect(url)
    await connection.execute("create table orders (id bigint primary key, user_id bigint)")
    await connection.execute("insert into orders select i, i % 100 from generate_series(1, 1000) i")
    await connection.execute("begin; update orders set user_id = 7 where id = 1; prepare transaction 'it''s there'")
    yield connection
    if await connection.fetchval("select count(*) from pg_prepared_xacts"):
        await connection.execute("rollback prepared 'it''s there'")
    await connection.execute("drop table orders")
    await connection.close()


async def test_it_is_named_with_its_mend_before_anything_is_locked(url: str, connection: asyncpg.Connection) -> None:
    """The build is refused, and no index is left that would have to wait for the same one."""
    while not await connection.fetchval(
        "select clock_timestamp() - prepared > interval '1.1 s' from pg_prepared_xacts"
    ):
        await asyncio.sleep(0.05)
    async with Tercet(postgres=url) as db:
        with pytest.raises(BuildBlocked, match='the prepared transaction "it\'s there"') as refused:
            await build_index(db.postgres, BY_USER, patience=0)
        with pytest.raises(BuildBlocked, match=r"[Tt]he rebuild of the index orders_pkey"):
            await rebuild_index(db.postgres, Index("orders_pkey", "orders", ("id",)), patience=0)
    assert "rollback prepared 'it''s there'" in str(refused.value)
    assert await connection.fetchval("select to_regclass('by_user')") is None


async def test_a_build_that_waits_for_it_says_so(url: str, connection: asyncpg.Connection) -> None:
    """The server tells the process that prepared it, which is idle and not to blame."""
    told: list[Blocker] = []
    heard = asyncio.Event()

    def on_waiting(found: Sequence[Blocker]) -> None:
        told.extend(found)
        heard.set()

    async with Tercet(postgres=url) as db:
        building = asyncio.create_task(build_index(db.postgres, BY_USER, on_waiting=on_waiting))
        await heard.wait()
        await connection.execute("rollback prepared 'it''s there'")
        built = await building
    assert (told[0].pid, told[0].gid, told[0].locks) == (None, "it's there", True)
    assert not built.existed
