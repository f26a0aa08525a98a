"""Limits in a cluster: all of a key's rates lie in one slot, and the keys are spread over the servers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
import redis
from redis.asyncio import RedisCluster

from tercet.clock import SystemClock
from tercet.errors import StoreError
from tercet.limits import Limits
from tercet.telemetry import Telemetry
from tercet.wire import Wire

SERVERS = 3
SLOTS = 16_384
# How long a test waits for what will happen anyway.
PATIENCE_SECONDS = 60.0


class Server(Protocol):
    """The server of conftest, and its class."""

    port: int
    url: str

    def __init__(self, folder: Path) -> None: ...

    def start(self, *settings: str) -> None: ...

    def kill(self) -> None: ...


def free_port() -> int:
    """A port of which nobody has the number; a server's second one is not always 10,000 above its first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def knows_all(client: Any) -> bool:
    """Whether this server knows of every slot whose it is, and that all is well."""
    ranges = client.execute_command("CLUSTER", "SLOTS")
    return len(ranges) == SERVERS and "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO"))


@pytest.fixture
def servers(own_redis: Server, tmp_path: Path) -> Iterator[list[Server]]:
    """Three servers of the same kind, which have not met."""
    made: list[tuple[Server, int]] = []
    with contextlib.ExitStack() as ends:
        for number in range(SERVERS):
            folder = tmp_path / str(number)
            folder.mkdir()
            server, bus = type(own_redis)(folder), free_port()
            ends.callback(server.kill)
            server.start("--cluster-enabled", "yes", "--cluster-port", str(bus))
            made.append((server, bus))
        for number, (server, _) in enumerate(made):
            with redis.Redis.from_url(server.url) as client:
                first, last = SLOTS * number // SERVERS, SLOTS * (number + 1) // SERVERS - 1
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
                for other, bus in made:
                    client.execute_command("CLUSTER", "MEET", "127.0.0.1", other.port, bus)
        yield [server for server, _ in made]


@pytest.fixture
async def wire(servers: list[Server]) -> AsyncIterator[Wire]:
    """A wire to the cluster, when each of its servers knows all slots."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        for server in servers:
            with redis.Redis.from_url(server.url) as client:
                while not knows_all(client):
                    await asyncio.sleep(0.02)
    cluster = RedisCluster.from_url(servers[0].url)
    made = Wire(lambda: cluster, deadline=30.0, clock=SystemClock(), telemetry=Telemetry())
    yield made
    await made.close()
    await cluster.aclose()


async def test_limits_work_in_a_cluster_and_spread_over_its_servers(servers: list[Server], wire: Wire) -> None:
    """Several rates of a key are one script on one server; forty keys are on all of them."""
    limit = Limits(wire).limit("3/day", "2/hour", name="api", when_away="raise")
    keys = [f"user:{number}" for number in range(40)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with contextlib.suppress(StoreError):
                await limit.peek("warm")
                break
    for _ in range(2):
        assert all(await asyncio.gather(*map(limit.check, keys)))
    assert not any(await asyncio.gather(*map(limit.check, keys)))
    found = []
    for server in servers:
        with redis.Redis.from_url(server.url) as client:
            found.append({name.decode() for name in client.scan_iter("*")})
    assert all(found)
    assert set.union(*found) == {f"tercet:limit:{{{key}}}:api:3600s,86400s" for key in keys}
    await asyncio.gather(*map(limit.reset, keys))
    assert {one.remaining for one in await asyncio.gather(*map(limit.peek, keys))} == {2}


def test_two_limits_of_one_key_are_neighbours(own_redis: Server) -> None:
    """Everything about one key lies in one slot, also where the key had to be digested."""
    own_redis.kill()
    own_redis.start("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    limits = Limits(Wire.at(own_redis.url, clock=SystemClock(), telemetry=Telemetry()))
    some = (limits.limit("5/day"), limits.limit("5/day", name="login"), limits.limit("1/second", "9/week"))
    with redis.Redis.from_url(own_redis.url) as client:
        for key in ("user:1", "a}b", "}", "{", "{}x", "#", "x" * 1_000):
            slots = {client.execute_command("CLUSTER", "KEYSLOT", limit._counter.where(key)) for limit in some}
            assert len(slots) == 1
