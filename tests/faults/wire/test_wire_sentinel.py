"""The wire behind a Sentinel: it finds the primary, and the new one after a failover."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol, cast

import pytest_asyncio
import redis.asyncio
from redis.asyncio.sentinel import Sentinel

from tercet.clock import SystemClock
from tercet.errors import StoreError
from tercet.telemetry import Telemetry
from tercet.wire import Wire

PATIENCE = 60.0
NAME = "ours"


class OwnRedis(Protocol):
    """A server of this test's own."""

    port: int
    folder: Path

    def start(self, *settings: str, config: str = "") -> None:
        """Start it."""
        ...

    def kill(self) -> None:
        """Kill it."""
        ...


class Watched:
    """A primary, its replica, and a Sentinel that watches them."""

    def __init__(self, make: Callable[[], OwnRedis]) -> None:
        self.primary, self.replica, self.watcher = make(), make(), make()

    async def start(self) -> None:
        """Start all, and wait until the Sentinel could fail over."""
        self.primary.start("--repl-diskless-sync-delay", "0")
        self.replica.start("--replicaof", "127.0.0.1", str(self.primary.port))
        config = self.watcher.folder / "sentinel.conf"
        config.write_text(
            f"sentinel monitor {NAME} 127.0.0.1 {self.primary.port} 1\n"
            f"sentinel down-after-milliseconds {NAME} 500\n"
            f"sentinel failover-timeout {NAME} 3000\n"
        )
        self.watcher.start("--sentinel", config=str(config))
        # redis-py's Sentinel has no types.
        self.sentinel: Any = cast("Any", Sentinel)([("127.0.0.1", self.watcher.port)])
        self.client = self.sentinel.master_for(NAME)
        async with asyncio.timeout(PATIENCE):
            while not await self._watched():
                await asyncio.sleep(0.02)

    async def _watched(self) -> bool:
        replicas = await self.sentinel.sentinels[0].execute_command("SENTINEL REPLICAS", NAME)
        return "master-link-status" in str(replicas) and "'ok'" in str(replicas)

    async def primary_port(self) -> int:
        """Which server the Sentinel says is the primary; 0 while it does not know."""
        try:
            _, port = await self.sentinel.discover_master(NAME)
        except redis.ConnectionError:
            return 0
        return int(port)

    async def stop(self) -> None:
        """Let go of what redis-py holds; the servers are ended by who made them."""
        await self.client.aclose()
        for one in self.sentinel.sentinels:
            await one.aclose()


@pytest_asyncio.fixture
async def watched(redis_servers: Callable[[], OwnRedis]) -> AsyncIterator[Watched]:
    """Three servers of this test alone."""
    made = Watched(redis_servers)
    await made.start()
    yield made
    await made.stop()


async def _until_written(wire: Wire, value: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await wire.call("SET", "a", value)
            except StoreError:
                await asyncio.sleep(0.02)
            else:
                return


async def test_the_new_primary_is_found_when_the_old_one_is_killed(watched: Watched) -> None:
    """Whoever listens is told of the gap, and goes on hearing."""
    wire = Wire(lambda: watched.client, deadline=PATIENCE, clock=SystemClock(), telemetry=Telemetry())
    heard: list[bytes | None] = []
    await wire.call("SET", "a", "1")
    assert await wire.call("WAIT", 1, 0) == 1
    await wire.listen(b"news", heard.append)
    watched.primary.kill()
    await _until_written(wire, "2")
    assert await wire.get(b"a") == b"2"
    await wire.call("PUBLISH", "news", "x")
    assert (set(heard), heard[-1]) == ({None, b"x"}, b"x")
    async with redis.asyncio.Redis(port=watched.replica.port) as client:
        assert await client.get("a") == b"2"
    await wire.close()


async def test_a_primary_that_was_demoted_is_left(watched: Watched) -> None:
    """It refuses writes; the next connection asks the Sentinel again, and a replica is not taken for a primary."""
    wire = Wire(lambda: watched.client, deadline=PATIENCE, clock=SystemClock(), telemetry=Telemetry())
    await wire.call("SET", "a", "1")
    assert await wire.call("WAIT", 1, 0) == 1
    await watched.sentinel.sentinels[0].execute_command("SENTINEL FAILOVER", NAME)
    async with asyncio.timeout(PATIENCE):
        while await watched.primary_port() != watched.replica.port:
            await asyncio.sleep(0.02)
    # The Sentinel would do this within ten seconds, and close our connection too.
    async with redis.asyncio.Redis(port=watched.primary.port) as client:
        await client.replicaof("127.0.0.1", watched.replica.port)
    await _until_written(wire, "2")
    async with redis.asyncio.Redis(port=watched.replica.port) as client:
        assert await client.get("a") == b"2"
    await wire.close()
