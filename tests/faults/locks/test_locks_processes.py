"""Processes that are frozen and killed: none of them writes late, and no two hold the lock."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tercet.clock import SystemClock
from tercet.locks import Locks
from tercet.locks.postgres import create_fence, fence
from tercet.telemetry import Telemetry
from tercet.wire import Wire

ROOT = Path(__file__).parents[3]
LONG = "120s"

# What the run in the suite takes; `python bench/locks/faults.py --seconds 600` is the same one, longer.
FAULT_SECONDS = 3


def environment() -> dict[str, str]:
    """This one, with the sources that are tested."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}


@pytest.fixture
async def locks(redis_url: str) -> AsyncIterator[Locks]:
    """The locks of this process."""
    clock, telemetry = SystemClock(), Telemetry()
    wire = Wire.at(redis_url, deadline=20.0, clock=clock, telemetry=telemetry)
    made = Locks(wire, clock=clock, telemetry=telemetry)
    yield made
    await made.close()
    await wire.close()


async def said(process: asyncio.subprocess.Process) -> list[str]:
    """The next line of the other process."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().split()


async def test_a_frozen_holder_finds_out_by_itself_and_its_write_is_refused(
    locks: Locks, redis_url: str, postgres_url: str
) -> None:
    """It slept through the end of its lease; the fence knows the token of who came after it."""
    url = postgres_url.replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await create_fence(connection)
        await connection.execute(text("create table guarded (writer text)"))
    program = (str(Path(__file__).with_name("holder.py")), redis_url, url)
    holder = await asyncio.create_subprocess_exec(
        sys.executable, *program, env=environment(), stdout=asyncio.subprocess.PIPE
    )
    try:
        word, token = await said(holder)
        assert word == "held"
        holder.send_signal(signal.SIGSTOP)
        async with locks.lock("a", ttl=LONG, wait=LONG) as held:
            assert held.token > int(token)
            async with engine.begin() as connection:
                await fence(connection, "a", held.token)
                await connection.execute(text("insert into guarded values ('new')"))
            holder.send_signal(signal.SIGCONT)
            assert await said(holder) == ["lost", token]
            assert await said(holder) == ["refused", str(held.token)]
            assert await holder.wait() == 0
        async with engine.connect() as connection:
            assert list((await connection.execute(text("select writer from guarded"))).scalars()) == ["new"]
    finally:
        if holder.returncode is None:
            holder.kill()
            await holder.wait()
        await engine.dispose()


def test_the_check_of_beliefs_finds_two_holders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the fault run relies on: spans of two processes that overlap are told, others are not."""
    monkeypatch.syspath_prepend(str(ROOT / "bench/locks"))
    broken_beliefs = importlib.import_module("faults").broken_beliefs
    (tmp_path / "w0-1.beliefs").write_text("7 1.0\n7 2.0\n9 5.0\n9 6.0\n", encoding="utf-8")
    (tmp_path / "w1-1.beliefs").write_text("8 2.5\n8 4.0\n", encoding="utf-8")
    assert broken_beliefs(tmp_path) == (3, [])
    (tmp_path / "w2-1.beliefs").write_text("10 5.5\n10 5.6\n", encoding="utf-8")
    holdings, broken = broken_beliefs(tmp_path)
    assert holdings == 4
    assert len(broken) == 1
    assert "'w0-1', 9" in broken[0]
    assert "'w2-1', 10" in broken[0]


@pytest.mark.timeout(400)
async def test_never_two_holders_whatever_is_killed_frozen_or_cut_off(postgres_url: str) -> None:
    """The fault run: what each process believed by its own clock does not overlap, and no write is lost."""
    program = (
        str(ROOT / "bench/locks/faults.py"),
        "--seconds",
        str(FAULT_SECONDS),
        "--workers",
        "2",
        "--postgres",
        postgres_url,
    )
    run = await asyncio.create_subprocess_exec(
        sys.executable, *program, env=environment(), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await run.communicate()
    found = json.loads(out)
    assert found["two holders"] == [], found
    assert found["fence broken"] == [], found
    assert found["recovered"], found
    assert found["holdings"] > 0
    assert found["writes"] > 3
    assert sum(found["faults"].values()) > 0
    assert run.returncode == 0, found
