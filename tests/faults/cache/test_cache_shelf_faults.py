"""A shelf whose Redis is killed, frozen, full, and back: what was dropped arrives, what was missed is known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import pytest
from redis.asyncio import Redis, RedisCluster

from tercet.cache.shelf import Drop, bus
from tercet.cache.shelf.bus import TRUST_SECONDS
from tercet.cache.shelf.delivery import Delivery
from tercet.cache.shelf.layout import Layout
from tercet.cache.shelf.redis import RedisShelf
from tercet.clock import SystemClock
from tercet.errors import CommandRefused, StoreError
from tercet.telemetry import Telemetry
from tercet.wire import Wire

NAME = "k:a"
KEYS = Layout("tercet")
# How long anything may take to come back; both cores may be taken.
PATIENCE_SECONDS = 60.0
# The answer as it came, unread.
RAW: dict[str, Any] = {"NEVER_DECODE": True}


class Server(Protocol):
    """The server of conftest."""

    url: str

    def start(self, *settings: str) -> None: ...

    def kill(self) -> None: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


class Process:
    """A shelf with its bus and its delivery, as a process has them."""

    def __init__(self, source: str | Callable[[], object]) -> None:
        clock, telemetry = SystemClock(), Telemetry()
        if isinstance(source, str):
            self.wire = Wire.at(source, deadline=5.0, clock=clock, telemetry=telemetry)
        else:
            self.wire = Wire(source, deadline=PATIENCE_SECONDS, clock=clock, telemetry=telemetry)
        self.shelf = RedisShelf(self.wire, namespace="tercet", clock=clock, telemetry=telemetry)
        self.delivery = Delivery(self.shelf, clock=clock)
        self.heard: list[Drop | None] = []
        self.until: list[float] = []
        self.shelf.follow(self.heard.append, self.until.append)

    async def trusted(self) -> None:
        """Wait until it may be trusted again, by an answer to what was asked after now."""
        now = time.monotonic()
        await until(lambda: bool(self.until) and self.until[-1] - TRUST_SECONDS > now)

    async def tell(self, drop: Drop) -> None:
        """Drop this, however long it takes."""
        await self.delivery.deliver(drop)
        await self.delivery.delivered(PATIENCE_SECONDS)

    async def close(self) -> None:
        """End all of it."""
        await self.delivery.close()
        await self.shelf.close()
        await self.wire.close()


async def until(holds: Any) -> None:
    """Wait until this is so."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("it never became so")
        await asyncio.sleep(0.005)


async def stubborn(work: Any) -> Any:
    """Try until it works: a server that was just started may take a moment to be used again."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await work()
        except StoreError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quiet bus is looked at more often than it would be, so that nobody waits for it."""
    monkeypatch.setattr(bus, "HEARTBEAT_SECONDS", 0.05)


@pytest.fixture
async def two(own_redis: Server) -> AsyncIterator[tuple[Process, Process]]:
    """Two processes that both listen."""
    made = Process(own_redis.url), Process(own_redis.url)
    for one in made:
        await one.trusted()
    yield made
    for one in made:
        await one.close()


async def test_a_killed_redis_that_comes_back_empty_is_a_gap(own_redis: Server, two: tuple[Process, Process]) -> None:
    """Trust ends by itself; what was dropped meanwhile arrives; then everything goes on."""
    here, there = two
    own_redis.kill()
    await until(lambda: not there.shelf.bus.connected)
    last = there.until[-1]
    assert not await here.delivery.deliver(Drop(names=(NAME,)))
    assert here.delivery.covers(NAME, ())
    await until(lambda: time.monotonic() > last)
    assert there.until[-1] == last
    own_redis.start()
    await here.delivery.delivered(PATIENCE_SECONDS)
    await there.trusted()
    # Once at its beginning, and at least once since: how often it has to try is the machine's business.
    assert there.heard.count(None) >= 2
    assert there.shelf.bus.gaps >= 1
    await stubborn(lambda: here.shelf.drop(Drop(names=("k:b",))))
    await until(lambda: Drop(names=("k:b",)) in there.heard)


async def test_a_frozen_redis_gives_no_trust_and_loses_nothing(own_redis: Server, two: tuple[Process, Process]) -> None:
    """Thawed, the drops that waited are heard, and nothing had to be forgotten."""
    here, there = two
    await stubborn(lambda: here.shelf.write(NAME, b"old", 600, ()))
    own_redis.freeze()
    last = there.until[-1]
    names = [f"k:{number}" for number in range(50)]
    answers = await asyncio.gather(*(here.delivery.deliver(Drop(names=(name, NAME))) for name in names))
    assert not any(answers)
    assert all(here.delivery.covers(name, ()) for name in names)
    await until(lambda: time.monotonic() > last)
    # What was asked before the freeze may have been answered; nothing since.
    assert there.until[-1] <= last + TRUST_SECONDS
    assert there.until[-1] < time.monotonic() + TRUST_SECONDS
    own_redis.thaw()
    await here.delivery.delivered(PATIENCE_SECONDS)
    await there.trusted()
    assert {name for drop in there.heard if drop for name in drop.names} >= {*names, NAME}
    assert there.heard.count(None) == 1
    assert await stubborn(lambda: there.shelf.read([NAME], ())) == ([None], {})


async def test_who_waits_for_the_bus_is_told_that_there_is_none(own_redis: Server) -> None:
    """A server that is away keeps nobody from beginning; when it comes, the bus is heard."""
    own_redis.kill()
    process = Process(own_redis.url)
    await process.shelf.tried()
    assert process.until == []
    own_redis.start()
    await process.trusted()
    assert process.heard == [None]
    await process.close()


async def test_a_wait_ends_when_redis_does(own_redis: Server, two: tuple[Process, Process]) -> None:
    """Nobody can be waited for through a server that is not there."""
    here, there = two
    ours = await here.shelf.lease(NAME, ())
    told = await there.shelf.lease(NAME, ())
    waits = asyncio.ensure_future(there.shelf.wait(NAME, told.holder or b"", 3_600.0))
    await until(lambda: there.shelf._waiting._events)
    own_redis.kill()
    await waits
    with pytest.raises(StoreError):
        await here.shelf.fill(NAME, b"x", 60, (), ours.token or b"")


async def test_a_lease_from_before_a_restart_is_no_lease(own_redis: Server, two: tuple[Process, Process]) -> None:
    """A server that lost it cannot say what was dropped since."""
    here, _ = two
    ours = await here.shelf.lease(NAME, ())
    own_redis.kill()
    own_redis.start()
    filled = await stubborn(lambda: here.shelf.fill(NAME, b"old", 60, (), ours.token or b""))
    assert filled == (False, {})


async def test_a_full_redis_takes_drops_and_refuses_the_rest(own_redis: Server) -> None:
    """What forgets needs no memory, and the bus must hear of it whatever the memory."""
    own_redis.kill()
    own_redis.start("--maxmemory", "1", "--maxmemory-policy", "noeviction")
    process = Process(own_redis.url)
    await process.trusted()
    with pytest.raises(CommandRefused, match="OOM"):
        await process.shelf.write(NAME, b"x", 60, ())
    with pytest.raises(CommandRefused, match="OOM"):
        await process.shelf.lease(NAME, ["t"])
    await process.tell(Drop(names=(NAME,), tags=("t",)))
    await until(lambda: Drop(names=(NAME,), tags=("t",)) in process.heard)
    await process.tell(Drop(everything=True))
    await process.close()


async def test_what_a_failover_lost_is_dropped_again(own_redis: Server, two: tuple[Process, Process]) -> None:
    """The new primary never heard of the drop, and still has the old value: the sender tells it again."""
    here, there = two
    await here.tell(Drop(names=(NAME,), tags=("t",)))
    own_redis.kill()
    own_redis.start()
    await stubborn(lambda: here.wire.call("PING"))
    await here.delivery.delivered(PATIENCE_SECONDS)
    # As on a replica that was a moment behind: the value and the version are back.
    await stubborn(lambda: there.wire.call("SET", KEYS.tag("t"), b"8 bytes."))
    await stubborn(lambda: there.wire.call("SET", KEYS.entry(NAME), b"old"))
    here.delivery._connected()
    assert here.delivery.covers(NAME, ())
    await here.delivery.delivered(PATIENCE_SECONDS)
    assert await stubborn(lambda: there.shelf.read([NAME], ["t"])) == ([None], {"t": None})


async def test_a_new_connection_is_when_drops_are_told_again(own_redis: Server, two: tuple[Process, Process]) -> None:
    """By itself, without anybody asking for it."""
    here, there = two
    await here.tell(Drop(names=(NAME,)))
    await until(lambda: there.heard.count(Drop(names=(NAME,))) >= 1)
    before = there.heard.count(Drop(names=(NAME,)))
    client = await here.wire.client_id(KEYS.bus)
    await there.wire.call("CLIENT", "KILL", "ID", client, key=KEYS.bus)
    await until(lambda: there.heard.count(Drop(names=(NAME,))) > before)


async def test_a_cluster_of_three_keeps_every_promise(redis_servers: Any) -> None:
    """Scripts and commands keep to one slot, and drops reach all servers before the bus says so."""
    servers = [redis_servers() for _ in range(3)]
    clients = []
    for number, server in enumerate(servers):
        server.start("--cluster-enabled", "yes", "--cluster-port", str(server.bus_port))
        clients.append(Redis.from_url(server.url))
        await clients[-1].execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        first, last = 16_384 * number // 3, 16_384 * (number + 1) // 3 - 1
        await clients[-1].execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
    for server in servers[1:]:
        await clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", server.port, server.bus_port)
    for client in clients:
        while b"cluster_state:ok" not in (info := await client.execute_command("CLUSTER", "INFO", **RAW)) or (
            b"cluster_known_nodes:3" not in info
        ):
            await asyncio.sleep(0.02)
        await client.aclose()
    driver: Any = RedisCluster("127.0.0.1", servers[0].port)
    process = Process(lambda: driver)
    await process.trusted()
    shelf = process.shelf
    names = [f"k:{number}" for number in range(710)]
    grants = await asyncio.gather(*(shelf.lease(name, ["t"]) for name in names))
    tokens = {name: granted.token or b"" for name, granted in zip(names, grants, strict=True)}
    filled = await asyncio.gather(*(shelf.fill(name, b"x", 60, ["t"], tokens[name]) for name in names[:-1]))
    assert all(kept for kept, _ in filled)
    assert await shelf.holder(names[-1]) is not None
    told = await shelf.lease(names[-1], ["t"])
    assert not await shelf._waiting._is_over(names[-1], told.holder or b"")
    assert await shelf.renew(names[-1], tokens[names[-1]])
    waits = asyncio.ensure_future(shelf.wait(names[-1], told.holder or b"", PATIENCE_SECONDS))
    await shelf.release(names[-1], tokens[names[-1]])
    await waits
    await process.tell(Drop(names=tuple(names[:600]), tags=("t", "u")))
    assert (await shelf.read(names, ["t"])) == ([None] * 600 + [b"x"] * 109 + [None], {"t": None})
    await process.tell(Drop(patterns=("6*",)))
    assert (await shelf.read(names[600:], []))[0] == [None] * 100 + [b"x"] * 9 + [None]
    await process.tell(Drop(everything=True))
    assert (await shelf.read(names, []))[0] == [None] * len(names)
    await until(lambda: Drop(everything=True) in process.heard)
    assert process.heard.count(None) == 1
    await process.close()
    await driver.aclose()
