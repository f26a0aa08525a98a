"""PostgreSQL behind a real PgBouncer in transaction mode, where the next statement may meet another server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from sqlalchemy import text

from tercet import Tercet
from tercet.changes.transaction import Transactions
from tercet.stores.reads.postgres_witness import seen
from tercet.witness import Witness, watched

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="no PgBouncer is installed on this machine")

CONFIG = """
[databases]
* = host=127.0.0.1 port={server} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
max_client_conn = 200
ignore_startup_parameters = extra_float_digits
logfile = {log}
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest_asyncio.fixture
async def pooled(postgres_url: str) -> AsyncIterator[str]:
    """The address of a fresh database through a pooler that has two server connections."""
    server, port = urlsplit(postgres_url), _free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "pgbouncer.ini"
        config.write_text(CONFIG.format(server=server.port, port=port, log=Path(folder) / "log"))
        # It refuses to be root; nobody must be able to read and log here then.
        Path(folder).chmod(0o777)
        user = "nobody" if os.geteuid() == 0 else None
        process = subprocess.Popen([str(PGBOUNCER), "-q", str(config)], user=user)
        try:
            await _answers(port)
            yield f"postgresql://postgres@127.0.0.1:{port}{server.path}"
        finally:
            process.terminate()
            process.wait()


async def _answers(port: int) -> None:
    for _ in range(1000):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.1):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("PgBouncer did not come up")


async def test_many_callers_share_two_server_connections(pooled: str) -> None:
    """Parameters, transactions and the same statements over and over: no prepared statement is missed or met twice."""
    async with Tercet(postgres=pooled, postgres_pooler=True, postgres_pool_size=20) as db:
        async with db.postgres.transaction() as connection:
            await connection.exec_driver_sql("create table counted (id int primary key, n int)")
            await connection.exec_driver_sql("insert into counted select i, 0 from generate_series(1, 5) i")

        async def count(number: int) -> None:
            async with db.postgres.transaction() as connection:
                await connection.execute(text("update counted set n = n + :by where id = :id"), {"by": 1, "id": number})
            async with db.postgres.session() as session:
                found = await session.execute(text("select n from counted where id = :id"), {"id": number})
                assert found.scalar_one() > 0

        await asyncio.gather(*(count(turn % 5 + 1) for turn in range(200)))
        async with db.postgres.connection() as connection:
            total = await connection.execute(text("select sum(n), count(distinct pg_backend_pid()) from counted"))
            assert total.one()[0] == 200


async def test_a_limit_for_one_transaction_is_not_the_next_ones(pooled: str) -> None:
    """Settings of a session would stay on the server's connection, for whoever gets it next."""
    async with Tercet(postgres=pooled, postgres_pooler=True, postgres_pool_size=4) as db:
        async with db.postgres.transaction(within="7s") as connection:
            assert (await connection.exec_driver_sql("show statement_timeout")).scalar_one() == "7s"
        async with db.postgres.autocommit(within="8s") as connection:
            await connection.exec_driver_sql("select 1")
        for _ in range(6):
            async with db.postgres.connection() as connection:
                shown = (await connection.exec_driver_sql("show statement_timeout")).scalar_one()
                assert shown not in {"7s", "8s"}
        assert (await db.health()).status == "pass"


async def test_a_witness_is_told_of_the_very_server_that_answers(pooled: str) -> None:
    """The extra statement is in the reader's own transaction: where that keeps its snapshot, both are one."""
    async with Tercet(postgres=pooled, postgres_pooler=True, postgres_pool_size=10) as db:
        assert db.postgres.source is not None
        async with db.postgres.transaction() as connection:
            await connection.exec_driver_sql("create table counted (id serial primary key)")

        async def load() -> None:
            with watched(Witness()) as witness:
                async with db.postgres.session(isolation="repeatable read") as session:
                    told = (await session.execute(text("select pg_current_snapshot()::text"))).scalar_one()
            assert witness._seen == [seen(str(db.postgres.source), told)]

        async def write() -> None:
            async with Transactions(db.postgres, clock=db.clock, telemetry=db.telemetry).begin() as tx:
                await tx.session.execute(text("insert into counted default values"))
            assert tx.moment is not None

        await asyncio.gather(*(work() for _ in range(20) for work in (load, write)))
