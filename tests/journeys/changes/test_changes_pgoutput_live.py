"""The decoder behind a replication connection: what is streamed while transactions still run, and what is undone."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import asyncpg
import psycopg
import pytest
from psycopg import pq

from tercet.changes.change import Commit, Wants
from tercet.changes.pgoutput import KEEPALIVE, SETTINGS, XLOG_DATA, XLOG_HEADER, Decoder, keepalive, status, xlog_end

# Far beyond what the slowest machine needs; a test that waits so long has failed.
PATIENCE = 90

FILL = "INSERT INTO t SELECT n, repeat('x', 50) FROM generate_series({}, {}) n"
STREAM_ABORT = ord("A")


class Walsender:
    """A replication connection on a temporary slot, read in a thread."""

    def __init__(self, url: str, name: str) -> None:
        options = " ".join(f"-c {key}={value}" for key, value in SETTINGS.items())
        info = psycopg.conninfo.make_conninfo(url, replication="database", options=options)
        self.connection = pq.PGconn.connect(info.encode())
        assert self.connection.status == pq.ConnStatus.OK, self.connection.error_message
        self.kinds: list[int] = []
        self.newest = 0
        # Smaller than any of the transactions here: the server streams them.
        self._run("SET logical_decoding_work_mem = '64kB'", pq.ExecStatus.COMMAND_OK)
        self._run(f"CREATE_REPLICATION_SLOT {name} TEMPORARY LOGICAL pgoutput", pq.ExecStatus.TUPLES_OK)
        self._start = f"START_REPLICATION SLOT {name} LOGICAL 0/0 (publication_names 'p', messages 'true', "

    def start(self, protocol: int, streaming: str) -> None:
        """Ask for changes."""
        self._run(f"{self._start} proto_version '{protocol}', streaming '{streaming}')", pq.ExecStatus.COPY_BOTH)

    def read_until(self, decoder: Decoder, enough: Callable[[list[Commit]], bool]) -> list[Commit]:
        """All that is handed on until it is enough."""
        commits: list[Commit] = []
        deadline = time.monotonic() + PATIENCE
        while not enough(commits):
            assert time.monotonic() < deadline, f"nothing more came than {commits}"
            size, data = self.connection.get_copy_data(1)
            if size == 0:
                select.select([self.connection.socket], [], [], 1)
                self.connection.consume_input()
                continue
            frame = bytes(data)
            if frame[0] == KEEPALIVE:
                said = keepalive(frame)
                self.newest = max(self.newest, said.end)
                if said.answer:
                    self.confirm(decoder.position)
                continue
            assert frame[0] == XLOG_DATA
            self.newest = max(self.newest, xlog_end(frame))
            self.kinds.append(frame[XLOG_HEADER])
            commits += decoder.feed(frame, XLOG_HEADER)
        return commits

    def confirm(self, position: int) -> None:
        """All up to here was taken care of."""
        told = status(written=position, flushed=position, applied=position, at=datetime.now(UTC))
        self.connection.put_copy_data(told)
        self.connection.flush()

    def _run(self, command: str, expected: pq.ExecStatus) -> None:
        result = self.connection.exec_(command.encode())
        assert result.status == expected, result.error_message


@pytest.fixture
async def connections(postgres_url: str) -> AsyncIterator[list[Any]]:
    """Three plain connections, whose commits are in the log when they return."""
    opened = [await asyncpg.connect(postgres_url, server_settings={"synchronous_commit": "on"}) for _ in range(3)]
    try:
        yield opened
    finally:
        for connection in opened:
            await connection.close()


def _ids(commits: list[Commit]) -> list[object]:
    return [change.new["id"] for commit in commits for change in commit.changes]


@pytest.mark.parametrize(("protocol", "streaming"), [(2, "on"), (4, "parallel")])
async def test_what_is_undone_while_it_is_streamed_is_not_told(
    postgres_url: str, connections: list[Any], protocol: int, streaming: str
) -> None:
    """A savepoint and a whole transaction, of which the server has sent much already; and it can be told how far."""
    one, two, mark = connections
    if protocol > 2 and await mark.fetchval("SELECT current_setting('server_version_num')::int") < 160_000:
        pytest.skip("streams in parallel are PostgreSQL's since 16")
    await mark.execute("CREATE TABLE t (id integer PRIMARY KEY, note text); CREATE TABLE u (id integer PRIMARY KEY)")
    await mark.execute("CREATE PUBLICATION p FOR ALL TABLES")
    near = await mark.fetchval("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
    name = f"live_{postgres_url.rpartition('/')[2]}"
    wants = Wants({"t": frozenset({"id"}), "u": None})
    with closing(Decoder(wants, source="pg:1", near=near, protocol=protocol, memory=20_000)) as decoder:
        sender = await asyncio.to_thread(Walsender, postgres_url, name)
        try:
            sender.start(protocol, streaming)

            async def until(last: object) -> list[Commit]:
                return await asyncio.to_thread(sender.read_until, decoder, lambda told: last in _ids(told)[-1:])

            for statement in ("BEGIN", FILL.format(1, 2000), "SAVEPOINT s", FILL.format(2001, 4000)):
                await one.execute(statement)
            for statement in ("BEGIN", FILL.format(10_001, 13_000)):
                await two.execute(statement)
            await mark.execute("INSERT INTO u VALUES (-1)")
            assert _ids(await until(-1)) == [-1]
            # Much of both was sent before the mark. Now some of it is undone.
            await one.execute("ROLLBACK TO s")
            await two.execute("ROLLBACK")
            await one.execute(FILL.format(5001, 5010))
            await mark.execute("INSERT INTO u VALUES (-2)")
            assert _ids(await until(-2)) == [-2]
            assert sender.kinds.count(STREAM_ABORT) >= 2
            await one.execute("COMMIT")
            told = await until(5010)
            assert _ids(told) == [*range(1, 2001), *range(5001, 5011)]
            assert decoder.position == told[-1].position
            assert decoder.position <= sender.newest
            await asyncio.to_thread(sender.confirm, decoder.position)
            await mark.execute("INSERT INTO u VALUES (-3)")
            assert _ids(await until(-3)) == [-3]
        finally:
            sender.connection.finish()
        # A temporary slot goes with its connection, a moment later: only then can the database be dropped.
        async with asyncio.timeout(PATIENCE):
            while await mark.fetchval("SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1", name):
                await asyncio.sleep(0.01)
