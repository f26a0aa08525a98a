"""Sessions on a real server, and time that passes because the test says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio as driver

from tercet.clock import SystemClock
from tercet.sessions import Sessions
from tercet.telemetry import Event, Operation, Telemetry
from tercet.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

# Both cores may be taken: nothing here is about how fast Redis answers.
DEADLINE_SECONDS = 30.0

# A former id and the moment until which it leads to its session, as session.lua packs them.
FORMER_BYTES, DIGEST_BYTES = 45, 32


class Store:
    """The server as somebody sees it who reads and changes everything in it."""

    def __init__(self, client: driver.Redis) -> None:
        self.client: Any = client

    async def keys(self, match: str = "*") -> list[bytes]:
        """Every key."""
        return sorted([key async for key in self.client.scan_iter(match)])

    async def everything(self) -> bytes:
        """Every key and all that lies under it, one after the other."""
        found = b""
        for key in await self.keys():
            if await self.client.type(key) == b"hash":
                parts = [part for pair in (await self.client.hgetall(key)).items() for part in pair]
            else:
                parts = [member for member, _ in await self.client.zrange(key, 0, -1, withscores=True)]
            found += b"\n".join([key, *parts])
        return found

    async def record(self, handle: str) -> bytes:
        """The key of a session."""
        (key,) = await self.keys(f"*:{handle}")
        return key

    async def index(self, handle: str) -> bytes:
        """The key of the index of that session's user."""
        return (await self.record(handle)).rpartition(b":")[0]

    async def later(self, seconds: float) -> None:
        """Let time pass for all that the scripts read, by moving it into the past; expiries of keys stay.

        A test that waited would be slow, and one that waited shortly would fail on a slow machine.
        """
        ms = int(seconds * 1000)
        for key in await self.keys():
            if await self.client.type(key) == b"hash":
                await self.client.hincrby(key, "c", -ms)
                await self.client.hincrby(key, "s", -ms)
                former = await self.client.hget(key, "f")
                if former:
                    await self.client.hset(key, "f", _earlier(former, ms))
            else:
                for member, _ in await self.client.zrange(key, 0, -1, withscores=True):
                    await self.client.zincrby(key, -ms, member)


def _earlier(former: bytes, ms: int) -> bytes:
    entries = [former[at : at + FORMER_BYTES] for at in range(0, len(former), FORMER_BYTES)]
    return b"".join(one[:DIGEST_BYTES] + b"%013d" % (int(one[DIGEST_BYTES:]) - ms) for one in entries)


@pytest.fixture
def store_of() -> Callable[[Any], Store]:
    """Looks at a server through a client."""
    return Store


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """The server, and nothing of tercet's in between."""
    async with driver.from_url(redis_url) as client:
        yield Store(client)


@pytest.fixture
async def wire(redis_url: str) -> AsyncIterator[Wire]:
    """A wire to that server."""
    made = Wire.at(redis_url, deadline=DEADLINE_SECONDS, clock=SystemClock(), telemetry=Telemetry())
    yield made
    await made.close()


@pytest.fixture
def told() -> list[Event]:
    """What was told, but for operations."""
    return []


@pytest.fixture
def make(wire: Wire, told: list[Event]) -> Callable[..., Sessions[Any]]:
    """Makes Sessions with these settings."""
    telemetry = Telemetry()
    telemetry.listen(lambda event: None if isinstance(event, Operation) else told.append(event))

    def sessions(**settings: Any) -> Sessions[Any]:
        return Sessions(wire, **({"telemetry": telemetry} | settings))

    return sessions


@pytest.fixture
def sessions(make: Callable[..., Sessions[Any]]) -> Sessions[Any]:
    """Sessions as they are without any setting."""
    return make()
