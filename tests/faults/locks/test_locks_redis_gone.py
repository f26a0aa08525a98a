"""Locks whose Redis is frozen, killed, full, cut off, and back: nobody holds it twice, and everybody goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Protocol

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from tercet.clock import SystemClock
from tercet.errors import DeadlinePassed, LockLost, StoreUnreachable
from tercet.locks import Held, Locks
from tercet.telemetry import Telemetry
from tercet.wire import Wire

# What a question may cost when the server is frozen; one that is only slow is asked again.
DEADLINE_SECONDS = 0.5
# So long that no test can see it end.
LONG = "120s"


class Server(Protocol):
    """The server of conftest."""

    port: int
    url: str

    def start(self, *settings: str) -> None: ...

    def kill(self) -> None: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


@asynccontextmanager
async def locks_at(url: str) -> AsyncIterator[Locks]:
    """The locks of one process."""
    clock, telemetry = SystemClock(), Telemetry()
    wire = Wire.at(url, deadline=DEADLINE_SECONDS, clock=clock, telemetry=telemetry)
    locks = Locks(wire, clock=clock, telemetry=telemetry)
    try:
        yield locks
    finally:
        await locks.close()
        await wire.close()


@pytest.fixture
async def two(own_redis: Server) -> AsyncIterator[tuple[Locks, Locks]]:
    """Two processes on that server."""
    async with AsyncExitStack() as stack:
        yield tuple([await stack.enter_async_context(locks_at(own_redis.url)) for _ in range(2)])  # type: ignore[misc]  # two of them


@pytest.fixture
def thawed(own_redis: Server) -> Iterator[None]:
    """Whatever a test does, its server can be stopped afterwards."""
    yield
    own_redis.thaw()


async def waiting(url: str, count: int) -> None:
    """Wait until so many stand in the line."""
    async with Redis.from_url(url) as redis:
        while await redis.zcard("tercet:lock:{l:a}:q") != count:
            await asyncio.sleep(0.005)


async def renewed(held: Held) -> None:
    """Renew it, as soon as the server answers in time."""
    while True:
        try:
            return await held.renew()
        except (StoreUnreachable, DeadlinePassed):
            await asyncio.sleep(0.01)


async def test_work_is_told_while_redis_still_stands_still(
    own_redis: Server, two: tuple[Locks, Locks], thawed: None
) -> None:
    """The holder's own clock decides: it is told before Redis could give the lock to anybody."""
    mine, theirs = two
    tokens: list[int] = []

    async def work() -> None:
        async with mine.lock("a", ttl="2s", wait=LONG) as held:
            tokens.append(held.token)
            own_redis.freeze()
            await asyncio.sleep(3600)

    with pytest.raises(LockLost, match="could not be renewed before its time was over"):
        await work()
    own_redis.thaw()
    async with theirs.lock("a", ttl=LONG, wait=LONG) as after:
        assert after.token > tokens[0]


async def test_a_short_freeze_is_outlived_by_holder_and_waiter(
    own_redis: Server, two: tuple[Locks, Locks], thawed: None
) -> None:
    """Renewal is tried until it works, and so are questions; the line is the same afterwards."""
    mine, theirs = two
    held = await mine.lock("a", ttl=LONG, wait=LONG).acquire()
    waiter = asyncio.create_task(theirs.lock("a", ttl=LONG, wait=LONG).acquire())
    await waiting(own_redis.url, 1)
    own_redis.freeze()
    before = held._lease
    held._begin()
    with pytest.raises((DeadlinePassed, StoreUnreachable)):
        await held.renew()
    own_redis.thaw()
    while held._lease is before:
        await asyncio.sleep(0.005)
    await held.release()
    after = await waiter
    assert after.token > held.token
    await after.release()


async def test_who_asks_while_redis_is_frozen_gets_the_lock_when_it_is_back(
    own_redis: Server, two: tuple[Locks, Locks], thawed: None
) -> None:
    """An outage is waited for like a holder."""
    mine, _ = two
    own_redis.freeze()
    waiter = asyncio.create_task(mine.lock("a", ttl=LONG, wait=LONG).acquire())
    with pytest.raises(StoreUnreachable):
        await mine.lock("b", wait="600ms").acquire()
    assert not waiter.done()
    own_redis.thaw()
    await (await waiter).release()


@pytest.mark.parametrize("wait", [0, "700ms"])
async def test_who_cannot_be_answered_is_told_so_when_the_wait_is_over(
    own_redis: Server, two: tuple[Locks, Locks], thawed: None, wait: str | float
) -> None:
    """Not that the lock is held: that is not known; and nothing of the wish is left when Redis is back."""
    mine, theirs = two
    async with theirs.lock("warm", ttl=LONG, wait=LONG):
        pass
    own_redis.freeze()
    with pytest.raises(StoreUnreachable):
        await mine.lock("a", ttl=LONG, wait=wait).acquire()
    own_redis.thaw()
    # What was sent before may be read now: then it is taken back.
    async with theirs.lock("a", ttl=LONG, wait=LONG):
        pass


async def test_work_that_ended_while_redis_was_frozen_has_ended_well(
    own_redis: Server, two: tuple[Locks, Locks], thawed: None
) -> None:
    """It was done in time; the lock is given back as soon as Redis hears it, long before its lease ends."""
    mine, theirs = two
    async with mine.lock("a", ttl=LONG, wait=LONG):
        own_redis.freeze()
    own_redis.thaw()
    async with theirs.lock("a", ttl=LONG, wait="60s"):
        pass


async def test_locks_can_be_closed_while_redis_is_frozen(own_redis: Server, thawed: None) -> None:
    """What cannot be said any more is left to the ends of leases."""
    async with locks_at(own_redis.url) as mine:
        held = await mine.lock("a", ttl=LONG, wait=LONG).acquire()
        own_redis.freeze()
        await held.release()


async def test_a_waiter_that_is_cancelled_while_redis_is_frozen_is_taken_out_later(
    own_redis: Server, two: tuple[Locks, Locks], thawed: None
) -> None:
    """Its task does not hang; the lock passes it by."""
    mine, theirs = two
    held = await mine.lock("a", ttl=LONG, wait=LONG).acquire()
    waiter = asyncio.create_task(theirs.lock("a", ttl=LONG, wait=LONG).acquire())
    await waiting(own_redis.url, 1)
    own_redis.freeze()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    own_redis.thaw()
    await waiting(own_redis.url, 0)
    await held.release()


async def test_a_restart_that_loses_everything_is_outlived(own_redis: Server, two: tuple[Locks, Locks]) -> None:
    """The holder reminds the server of itself, the waiter stands in line again, and tokens go on growing."""
    mine, theirs = two
    held = await mine.lock("a", ttl=LONG, wait=LONG).acquire()
    own_redis.kill()
    own_redis.start()
    await renewed(held)
    waiter = asyncio.create_task(theirs.lock("a", ttl=LONG, wait=LONG).acquire())
    await waiting(own_redis.url, 1)
    assert held.remaining() > 0
    await held.release()
    after = await waiter
    assert after.token > held.token
    await after.release()


async def test_who_waits_while_redis_restarts_gets_the_lock_afterwards(
    own_redis: Server, two: tuple[Locks, Locks]
) -> None:
    """Its place is lost with the server's memory; it asks again by itself, and is told over a new connection."""
    mine, theirs = two
    held = await mine.lock("a", ttl=LONG, wait=LONG).acquire()
    waiter = asyncio.create_task(theirs.lock("a", ttl=LONG, wait=LONG).acquire())
    await waiting(own_redis.url, 1)
    own_redis.kill()
    own_redis.start()
    # Who of the two is heard first has it: the holder is written down again, or was robbed.
    held._begin()
    with suppress(LockLost):
        await held.release()
    after = await waiter
    assert after.token > held.token
    await after.release()


async def test_a_holder_that_a_restart_has_robbed_is_told(own_redis: Server, two: tuple[Locks, Locks]) -> None:
    """Redis without a disk has given the lock away: no lock in Redis can prevent that. The tokens tell who is late."""
    mine, theirs = two
    held = await mine.lock("a", ttl=LONG, wait=LONG).acquire()
    own_redis.kill()
    own_redis.start()
    after = await theirs.lock("a", ttl=LONG, wait=LONG).acquire()
    assert after.token > held.token
    held._begin()
    await held.lost.wait()
    with pytest.raises(LockLost):
        await held.release()
    await after.release()


async def test_a_full_redis_goes_on_with_locks(own_redis: Server, two: tuple[Locks, Locks]) -> None:
    """What a lock needs is little, and ends: it is granted, renewed, handed on and given back."""
    mine, theirs = two
    held = await mine.lock("a", ttl=LONG, wait=LONG).acquire()
    waiter = asyncio.create_task(theirs.lock("a", ttl=LONG, wait=LONG).acquire())
    await waiting(own_redis.url, 1)
    async with Redis.from_url(own_redis.url) as redis:
        await redis.config_set("maxmemory", 1)
        with pytest.raises(OutOfMemoryError):
            await redis.set("anything", "else")
        await renewed(held)
        await held.release()
        await (await waiter).release()
        async with mine.lock("b", ttl=LONG, wait=LONG):
            pass


async def test_replicas_are_waited_for_where_that_was_asked(
    own_redis: Server, two: tuple[Locks, Locks], redis_servers: Callable[[], Server]
) -> None:
    """With too few of them the lock is not granted, and is free for whoever asks for less."""
    mine, theirs = two
    replica = redis_servers()
    replica.start("--replicaof", f"127.0.0.1 {own_redis.port}", "--dbfilename", "replica.rdb")
    try:
        async with Redis.from_url(own_redis.url) as redis:
            # Otherwise it waits five seconds for more replicas, before it copies itself to the first.
            await redis.config_set("repl-diskless-sync-delay", 0)
            while await redis.wait(1, 100) != 1:
                await asyncio.sleep(0.01)
        with pytest.raises(DeadlinePassed):
            await mine.lock("a", ttl=LONG, wait="2s", replicas=2).acquire()
        async with (
            theirs.lock("a", ttl=LONG, wait=LONG, replicas=1) as held,
            Redis.from_url(replica.url) as redis,
        ):
            assert await redis.get("tercet:lock:{l:a}:f") == str(held.token).encode()
    finally:
        replica.kill()
