"""The process that loads for all others is killed or frozen: one of the others loads instead, and all are served."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis

from tercet.cache import Cache

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ROOT = Path(__file__).parents[3]
# Both cores may be taken: nothing here is about how fast Redis answers.
DEADLINE = "20s"
PATIENCE_SECONDS = 60.0
CALLERS = 50
LEASE = "tercet:2:l:{k:k}"


class Followers:
    """Three processes with fifty callers each, who all want what the leader is loading."""

    def __init__(self, url: str) -> None:
        self.caches = [Cache(url, ttl="1h", deadline=DEADLINE) for _ in range(3)]
        self.loads = 0
        self.callers: list[asyncio.Task[str]] = []

    async def load(self) -> str:
        """The same value, in this process."""
        self.loads += 1
        await asyncio.sleep(0)
        return "of a follower"

    async def wait(self) -> None:
        """All ask, and all wait for the leader."""
        for cache in self.caches:
            # What is loaded before the bus is heard is not kept.
            await cache.peek("ready")
            await until(lambda cache=cache: cache.stats().trusted)  # type: ignore[misc]  # its own one
            self.callers += [
                asyncio.create_task(cache.get_or_load("k", self.load, str, tags=["t"])) for _ in range(CALLERS)
            ]
        for cache in self.caches:
            shelf: Any = cache._tiers.far.shelf
            await until(lambda shelf=shelf: shelf._waiting._events)  # type: ignore[misc]  # its own one
            await until(lambda cache=cache: cache.stats().joined == CALLERS - 1)  # type: ignore[misc]  # as above
        assert not any(caller.done() for caller in self.callers)


async def until(holds: Callable[[], object]) -> None:
    """Wait until this is so."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("it never became so")
        await asyncio.sleep(0.002)


@pytest.fixture
async def followers(redis_url: str) -> AsyncIterator[Followers]:
    """Caches on that Redis."""
    made = Followers(redis_url)
    yield made
    for cache in made.caches:
        await cache.close()


@pytest.fixture
async def leader(redis_url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of its own, which has begun to load."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("leader.py")),
        redis_url,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"loading\n"
    yield process
    with suppress(ProcessLookupError):
        process.kill()
    await process.communicate()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Any]:
    """A client of the test's own."""
    client: Redis = Redis.from_url(redis_url)
    yield client
    await client.aclose()


async def test_a_leader_that_is_killed_costs_one_more_load(
    followers: Followers, leader: asyncio.subprocess.Process, redis: Any
) -> None:
    """Its death is seen by its connection, not by the end of its lease; one of three processes loads for all."""
    await followers.wait()
    assert await redis.persist(LEASE)
    leader.send_signal(signal.SIGKILL)
    assert await asyncio.gather(*followers.callers) == ["of a follower"] * len(followers.callers)
    assert followers.loads == 1


async def test_what_a_leader_brings_after_it_was_frozen_is_refused(
    followers: Followers, leader: asyncio.subprocess.Process, redis: Any
) -> None:
    """Its lease runs out, another one loads; thawed, it has its value for itself."""
    await followers.wait()
    leader.send_signal(signal.SIGSTOP)
    os.waitpid(leader.pid, os.WUNTRACED)
    # As after five seconds, in which it has not renewed it.
    await redis.pexpire(LEASE, 1)
    assert await asyncio.gather(*followers.callers) == ["of a follower"] * len(followers.callers)
    assert followers.loads == 1
    leader.send_signal(signal.SIGCONT)
    said, _ = await leader.communicate(b"go on\n")
    assert said == b"of the leader, refused 1\n"
    for cache in followers.caches:
        cache.clear_memory()
        assert await cache.get("k", str) == "of a follower"


async def test_what_a_leader_brings_is_given_to_all(followers: Followers, leader: asyncio.subprocess.Process) -> None:
    """Nobody else loads, and nobody asks twice."""
    await followers.wait()
    said, _ = await leader.communicate(b"go on\n")
    assert said == b"of the leader, refused 0\n"
    assert await asyncio.gather(*followers.callers) == ["of the leader"] * len(followers.callers)
    assert followers.loads == 0
