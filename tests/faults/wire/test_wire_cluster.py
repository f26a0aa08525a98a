"""The wire on a cluster of three servers and a replica: routes, slots on their way, servers that change places."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import pytest
import pytest_asyncio
import redis
import redis.asyncio
from redis.crc import key_slot

from tercet.clock import SystemClock
from tercet.errors import CommandRefused, StoreError, StoreUnreachable
from tercet.telemetry import Telemetry
from tercet.wire import Script, Wire

PATIENCE = 60.0
SLOTS = 16384


class OwnRedis(Protocol):
    """A server of this test's own."""

    port: int
    bus_port: int

    def start(self, *settings: str) -> None:
        """Start it."""
        ...

    def kill(self) -> None:
        """Kill it."""
        ...


class Cluster:
    """Three primaries, and a replica of the first."""

    def __init__(self, make: Callable[[], OwnRedis]) -> None:
        self.servers = [make() for _ in range(4)]
        for number in range(4):
            self.start(number)

    def start(self, number: int) -> None:
        """Start one of them, as it was."""
        settings = {
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-port": str(self.servers[number].bus_port),
            "cluster-require-full-coverage": "no",
            # No server votes another one out: what happens here is what the tests do.
            "cluster-node-timeout": "60000",
            "cluster-allow-replica-migration": "no",
            "repl-diskless-sync-delay": "0",
        }
        self.servers[number].start(*(word for name, value in settings.items() for word in (f"--{name}", value)))

    def ask(self, number: int, *words: Any) -> Any:
        """Ask one server alone."""
        with redis.Redis(port=self.servers[number].port) as client:
            return client.execute_command(*words)

    def name(self, number: int) -> str:
        """What the cluster calls it."""
        answer: bytes = self.ask(number, "CLUSTER", "MYID")
        return answer.decode()

    async def form(self) -> None:
        """Share the slots out, and wait until every server knows of it."""
        for number in range(3):
            self.ask(number, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            first, last = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
            self.ask(number, "CLUSTER", "ADDSLOTSRANGE", first, last)
        for number in range(1, 4):
            self.ask(0, "CLUSTER", "MEET", "127.0.0.1", self.servers[number].port, self.servers[number].bus_port)
        await _until(lambda: all(self._knows(number, 4) for number in range(4)))
        self.ask(3, "CLUSTER", "REPLICATE", self.name(0))
        await _until(lambda: all(len(self.ask(n, "CLUSTER", "REPLICAS", self.name(0))) == 1 for n in range(4)))
        await _until(lambda: b"master_link_status:up" in self._info(3))
        await _until(lambda: all(self._ok(number) for number in range(4)))

    def _info(self, number: int) -> bytes:
        with socket.create_connection(("127.0.0.1", self.servers[number].port)) as line:
            line.sendall(b"INFO replication\r\nQUIT\r\n")
            return b"".join(iter(lambda: line.recv(65536), b""))

    def _knows(self, number: int, servers: int) -> bool:
        return f"cluster_known_nodes:{servers}" in str(self.ask(number, "CLUSTER", "INFO"))

    def _ok(self, number: int) -> bool:
        return "cluster_state:ok" in str(self.ask(number, "CLUSTER", "INFO"))

    def owner(self, key: bytes) -> int:
        """The server that has this key, as long as nothing was moved."""
        return next(n for n in range(3) if key_slot(key) < SLOTS * (n + 1) // 3)


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def cluster(redis_servers: Callable[[], OwnRedis]) -> Cluster:
    """A cluster that the tests here share, each leaving it whole."""
    made = Cluster(redis_servers)
    asyncio.run(made.form())
    return made


@pytest_asyncio.fixture
async def wire(cluster: Cluster) -> AsyncIterator[Wire]:
    """A wire to the cluster; it is told of one server."""
    client = redis.asyncio.RedisCluster("127.0.0.1", cluster.servers[0].port)
    wire = Wire(lambda: client, deadline=PATIENCE, clock=SystemClock(), telemetry=Telemetry())
    async for keys in wire.scan(b"*"):
        await asyncio.gather(*(wire.call("DEL", key) for key in keys))
    yield wire
    await wire.close()
    await client.aclose()


async def test_keys_of_all_slots_are_read_and_written(wire: Wire) -> None:
    """Each goes to its own server, and those of a tick to each server together."""
    keys = [b"k%d" % number for number in range(300)]
    await asyncio.gather(*(wire.call("SET", key, b"v" + key) for key in keys))
    before = wire.state()
    assert await wire.get_many(keys) == [b"v" + key for key in keys]
    assert await asyncio.gather(*map(wire.get, keys)) == [b"v" + key for key in keys]
    after = wire.state()
    assert len(after.nodes) == 3
    assert sum(node.writes for node in after.nodes) - sum(node.writes for node in before.nodes) == 6
    found = {key async for portion in wire.scan(b"k*") for key in portion}
    assert found == set(keys)


async def test_scripts_and_waits_go_where_their_key_is(wire: Wire) -> None:
    """A server that does not know the script is given it."""
    script = Script("touch", "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[2])")
    for number in range(12):
        tag = b"{t%d}" % number
        await wire.call("RPUSH", tag + b"q", "x")
        assert await wire.run(script, [tag + b"a", tag + b"a"], [number]) == b"%d" % number
        assert await wire.block("BLPOP", tag + b"q", 1, key=tag + b"q", seconds=1) == [tag + b"q", b"x"]
    with pytest.raises(CommandRefused) as refused:
        await wire.run(script, [b"a", b"b"], [1])
    assert refused.value.code == "CROSSSLOT"


async def test_channels_are_heard_wherever_they_are_spoken_to(wire: Wire, cluster: Cluster) -> None:
    """A message goes through the whole cluster."""
    heard: list[bytes | None] = []
    await wire.listen(b"news", heard.append)
    for number in range(3):
        cluster.ask(number, "PUBLISH", "news", str(number))
    await _until(lambda: len(heard) == 3)
    assert sorted(word for word in heard if word is not None) == [b"0", b"1", b"2"]


async def test_a_slot_on_its_way_is_followed_to_its_new_server(wire: Wire, cluster: Cluster) -> None:
    """Asked for where it is going (ASK), asked again key by key (TRYAGAIN), and found where it has gone (MOVED)."""
    here, there, gone = b"{slot}here", b"{slot}there", b"{slot}gone"
    slot = key_slot(here)
    source = cluster.owner(here)
    target = (source + 1) % 3
    await asyncio.gather(wire.call("SET", here, "1"), wire.call("SET", there, "2"))
    cluster.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.name(source))
    cluster.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.name(target))
    cluster.ask(source, "MIGRATE", "127.0.0.1", cluster.servers[target].port, there, 0, 5000)
    # One key is still here, one is there already, one is nowhere.
    assert [*await asyncio.gather(wire.get(here), wire.get(there), wire.get(gone))] == [b"1", b"2", None]
    assert await wire.call("SET", gone, "3") == b"OK"
    assert await wire.get_many([here, there, gone]) == [b"1", b"2", b"3"]
    cluster.ask(source, "MIGRATE", "127.0.0.1", cluster.servers[target].port, here, 0, 5000)
    for number in range(3):
        cluster.ask(number, "CLUSTER", "SETSLOT", slot, "NODE", cluster.name(target))
    assert [*await asyncio.gather(wire.get(here), wire.get(there), wire.call("GET", gone))] == [b"1", b"2", b"3"]
    assert await wire.run(Script("get", "return redis.call('GET', KEYS[1])"), [here]) == b"1"
    for key in (here, there, gone):
        cluster.ask(target, "DEL", key)
    for number in range(3):
        cluster.ask(number, "CLUSTER", "SETSLOT", slot, "NODE", cluster.name(source))


async def test_a_killed_server_takes_only_its_own_keys_with_it(wire: Wire, cluster: Cluster) -> None:
    """The others go on, and it is used again when it is back."""
    mine = next(b"k%d" % n for n in range(1_000) if cluster.owner(b"k%d" % n) == 1)
    theirs = next(b"k%d" % n for n in range(1_000) if cluster.owner(b"k%d" % n) == 2)
    await asyncio.gather(wire.call("SET", mine, "1"), wire.call("SET", theirs, "2"))
    cluster.servers[1].kill()
    dead, alive = await asyncio.gather(wire.get(mine), wire.get(theirs), return_exceptions=True)
    assert isinstance(dead, StoreUnreachable)
    assert alive == b"2"
    assert [node.breaker_open for node in wire.state().nodes].count(True) == 1
    cluster.start(1)
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                assert await wire.call("SET", mine, "3") == b"OK"
                break
            except StoreError:
                await asyncio.sleep(0.05)
    assert [*await asyncio.gather(wire.get(mine), wire.get(theirs))] == [b"3", b"2"]


async def test_a_replica_that_takes_over_is_found(wire: Wire, cluster: Cluster) -> None:
    """The old primary sends us on, and lets itself be left."""
    mine = next(b"k%d" % n for n in range(1_000) if cluster.owner(b"k%d" % n) == 0)
    heard: list[bytes | None] = []
    await asyncio.gather(wire.call("SET", mine, "1"), wire.listen(mine, heard.append))
    cluster.ask(3, "CLUSTER", "FAILOVER", "TAKEOVER")
    await _until(lambda: b"role:slave" in cluster._info(0))
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                assert await wire.call("SET", mine, "2") == b"OK"
                break
            except StoreError:
                await asyncio.sleep(0.05)
    assert await wire.get(mine) == b"2"
    assert cluster.ask(3, "GET", mine) == b"2"
    # The server that has no slots any more is let go when the slots are asked for again.
    async with asyncio.timeout(PATIENCE):
        while len(wire.state().nodes) != 3:
            # Whoever was told of the slots too early is sent on again.
            assert await wire.get(mine) == b"2"
            await asyncio.sleep(0.02)
    # What was heard from the one that has left is heard from another one, after the gap was told.
    await _until(lambda: None in heard)
    cluster.ask(3, "PUBLISH", mine, "x")
    await _until(lambda: heard[-1] == b"x")


async def test_a_cluster_that_is_not_there_is_unreachable(redis_servers: Callable[[], OwnRedis]) -> None:
    """It says so as one server would, within a command's own time."""
    nobody = redis_servers()
    client = redis.asyncio.RedisCluster("127.0.0.1", nobody.port)
    wire = Wire(lambda: client, deadline=PATIENCE, clock=SystemClock(), telemetry=Telemetry())
    for asked in (wire.get(b"a"), wire.get_many([b"a"]), wire.call("SET", "a", "1"), wire.client_id(b"a")):
        with pytest.raises(StoreUnreachable):
            await asked
    await wire.close()
    await client.aclose()
