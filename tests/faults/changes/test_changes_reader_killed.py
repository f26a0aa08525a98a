"""A process that reads is killed: another one of the service reads on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Until = Callable[[Callable[[], object]], Awaitable[None]]

ROOT = Path(__file__).parents[3]


class Reader:
    """A process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, url: str, durable: str) -> Reader:
        """It begins to read, or to wait for whoever does."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__).with_name("reader.py")), url, durable,
            stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        )  # fmt: skip
        return cls(process)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(line.decode().strip())

    async def kill(self) -> None:
        """As the kernel would for want of memory."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        await self._task


@pytest.fixture
async def readers() -> AsyncIterator[list[Reader]]:
    """All are killed at the end."""
    made: list[Reader] = []
    yield made
    await asyncio.gather(*(one.kill() for one in made))


@pytest.mark.parametrize("durable", ["orders", ""])
async def test_when_the_process_that_reads_is_killed_another_one_reads(
    postgres_url: str, readers: list[Reader], until: Until, durable: str
) -> None:
    """What the dead one has not taken care of is told to the other; an ephemeral place begins anew."""
    sql = await asyncpg.connect(postgres_url)
    try:
        await sql.execute("create table t (id int primary key, word text); create publication tercet for table t")
        await _take_over(sql, readers, until, postgres_url, durable)
    finally:
        # A database with a slot cannot be dropped.
        await asyncio.gather(*(one.kill() for one in readers))
        await until(lambda: _dropped(sql))
        await sql.close()


async def _take_over(sql: asyncpg.Connection, readers: list[Reader], until: Until, url: str, durable: str) -> None:
    for _ in range(2):
        readers.append(await Reader.start(url, durable))
        await until(lambda: len(readers[-1].lines) >= 1 + (len(readers) == 1))
    first, second = readers
    await until(lambda: "reads" in first.lines)
    assert second.lines == ["follows"]
    await sql.execute("insert into t values (1, 'a')")
    await until(lambda: "heard 1" in first.lines)
    await first.kill()
    await sql.execute("insert into t values (2, 'b')")
    await until(lambda: "reads" in second.lines)
    await sql.execute("insert into t values (3, 'c')")
    await until(lambda: "heard 3" in second.lines)
    if durable:
        assert "heard 2" in second.lines
        assert not [line for line in second.lines if line.startswith("resync")]
    else:
        assert [line for line in second.lines if line.startswith("resync")] == ["resync it was not read until now"]


async def _dropped(sql: asyncpg.Connection) -> bool:
    mine = "from pg_replication_slots where database = current_database()"
    await sql.execute(f"select pg_drop_replication_slot(slot_name) {mine} and not active")
    return not await sql.fetchval(f"select count(*) {mine}")
