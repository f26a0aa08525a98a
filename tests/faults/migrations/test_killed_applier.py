"""Whoever applies advice is killed or interrupted in the middle; the next one finds nothing in its way."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest_asyncio

from tercet import Tercet
from tercet.migrations import build_index
from tercet.sql import Index

BY_USER = Index("by_user", "orders", ("user_id",))
ROOT = Path(__file__).parents[3]

# An applier that begins at once, so that it can be caught in the middle of the build.
APPLIER = """
import asyncio, sys
from tercet import Tercet
from tercet.migrations import build_index
from tercet.sql import Index

async def main():
    async with Tercet(postgres=sys.argv[1]) as db:
        await build_index(db.postgres, Index("by_user", "orders", ("user_id",)))

try:
    asyncio.run(main())
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest_asyncio.fixture
async def connection(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a table of a thousand orders."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("create table orders (id bigint primary key, user_id bigint)")
    await connection.execute("insert into orders select i, i % 100 from generate_series(1, 1000) i")
    yield connection
    await connection.close()


async def _begun(url: str, looker: asyncpg.Connection) -> tuple[asyncio.subprocess.Process, int]:
    """An applier in the middle of its build, and the server's process that builds for it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", APPLIER, url, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}
    )
    while True:
        assert process.returncode is None
        pid = await looker.fetchval(
            "select pid from pg_stat_progress_create_index where datname = current_database() and lockers_total > 0"
        )
        if pid is not None:
            return process, pid
        await asyncio.sleep(0.02)


async def test_a_killed_applier_is_healed_by_the_next(postgres_url: str, connection: asyncpg.Connection) -> None:
    """Killed with its server process, it leaves an invalid index, which the next build replaces."""
    looker = await asyncpg.connect(postgres_url)
    try:
        async with connection.transaction():
            await connection.execute("update orders set user_id = 1 where id = 1")
            process, pid = await _begun(postgres_url, looker)
            process.kill()
            await process.wait()
            await looker.execute("select pg_terminate_backend($1, 60000)", pid)
            question = "select indisvalid from pg_index where indexrelid = 'by_user'::regclass"
            assert await looker.fetchval(question) is False
        async with Tercet(postgres=postgres_url) as db:
            assert not (await build_index(db.postgres, BY_USER, patience="1m")).existed
        assert await looker.fetchval(question) is True
    finally:
        await looker.close()


async def test_a_build_outlives_its_applier_and_is_found_by_the_next(
    postgres_url: str, connection: asyncpg.Connection
) -> None:
    """The server goes on for a killed applier; the next one waits for it and finds the index there."""
    looker = await asyncpg.connect(postgres_url)
    try:
        async with connection.transaction():
            await connection.execute("update orders set user_id = 1 where id = 1")
            process, _ = await _begun(postgres_url, looker)
            process.kill()
            await process.wait()
        async with Tercet(postgres=postgres_url) as db:
            assert (await build_index(db.postgres, BY_USER)).existed
    finally:
        await looker.close()


async def test_an_interrupted_applier_leaves_no_invalid_index(
    postgres_url: str, connection: asyncpg.Connection
) -> None:
    """Ctrl-C ends the build on the server, and takes away what there is of it."""
    looker = await asyncpg.connect(postgres_url)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("update orders set user_id = 1 where id = 1")
        process, pid = await _begun(postgres_url, looker)
        process.send_signal(signal.SIGINT)
        # The drop waits for the same transaction, and the build itself is over.
        while await looker.fetchval("select count(*) from pg_stat_progress_create_index where pid = $1", pid):
            await asyncio.sleep(0.02)
        await transaction.rollback()
        assert await process.wait() == 130
        assert await looker.fetchval("select to_regclass('by_user')") is None
    finally:
        await looker.close()
