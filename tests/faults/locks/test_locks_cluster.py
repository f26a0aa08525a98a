"""Locks on a cluster: every lock on one server, the line told across servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

import redis
from redis.asyncio import RedisCluster

from tercet.clock import SystemClock
from tercet.locks import Locks
from tercet.telemetry import Telemetry
from tercet.wire import Wire

PATIENCE = 60.0
LONG = "120s"
SLOTS = 16384


class OwnRedis(Protocol):
    """A server of this test's own."""

    port: int
    bus_port: int

    def start(self, *settings: str) -> None: ...


@asynccontextmanager
async def locks_at(port: int) -> AsyncIterator[Locks]:
    """The locks of one process."""
    clock, telemetry = SystemClock(), Telemetry()
    client = RedisCluster(host="127.0.0.1", port=port)
    wire = Wire(lambda: client, deadline=20.0, clock=clock, telemetry=telemetry)
    locks = Locks(wire, clock=clock, telemetry=telemetry)
    try:
        yield locks
    finally:
        await locks.close()
        await wire.close()
        await client.aclose()


async def formed(make: Callable[[], OwnRedis]) -> list[OwnRedis]:
    """Two servers with half of the slots each."""
    servers = [make() for _ in range(2)]
    for number, server in enumerate(servers):
        cluster = ("--cluster-enabled", "yes", "--cluster-port", str(server.bus_port))
        server.start(*cluster, "--cluster-node-timeout", "60000")
        with redis.Redis(port=server.port) as client:
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            half = (SLOTS * number // 2, SLOTS * (number + 1) // 2 - 1)
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", *half)
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[0].port, servers[0].bus_port)
    async with asyncio.timeout(PATIENCE):
        for server in servers:
            with redis.Redis(port=server.port) as client:
                while "cluster_state:ok" not in str(client.execute_command("CLUSTER", "INFO")):
                    await asyncio.sleep(0.02)
    return servers


async def test_a_line_is_kept_on_every_server_of_a_cluster(redis_servers: Callable[[], OwnRedis]) -> None:
    """Whichever server has the lock, and whichever one a waiter listens at: in order, and one at a time."""
    servers = await formed(redis_servers)
    async with AsyncExitStack() as stack:
        two = [await stack.enter_async_context(locks_at(server.port)) for server in servers]
        for name in ("a", "b", "", "}", "e"):
            order: list[int] = []

            async def work(number: int, name: str = name, order: list[int] = order) -> None:
                async with two[number % 2].lock(name, ttl=LONG, wait=LONG):
                    order.append(number)

            async with two[0].lock(name, ttl=LONG, wait=LONG):
                tasks = []
                for number in range(6):
                    tasks.append(asyncio.create_task(work(number)))
                    await in_line(servers, name, number + 1)
            await asyncio.gather(*tasks)
            assert order == list(range(6))


async def in_line(servers: list[OwnRedis], name: str, count: int) -> None:
    """Wait until so many stand in the line, on whichever server it is."""
    async with asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(standing, servers, name) != count:
            await asyncio.sleep(0.002)


def standing(servers: list[OwnRedis], name: str) -> int:
    """How many stand in the line; the server that does not have it says so by an error."""
    for server in servers:
        with redis.Redis(port=server.port) as client:
            try:
                return int(client.zcard(f"tercet:lock:{{l:{name}}}:q"))
            except redis.ResponseError:
                continue
    return 0
