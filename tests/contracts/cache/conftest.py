"""Shelves on one Redis, each on a wire of its own as processes have them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from tercet.cache.encoding.frame import Entry, pack
from tercet.cache.shelf import drops
from tercet.cache.shelf.redis import RedisShelf
from tercet.clock import SystemClock
from tercet.telemetry import Telemetry
from tercet.wire import Wire

# Both cores may be taken: nothing here is about how fast Redis answers.
DEADLINE_SECONDS = 10.0
PATIENCE_SECONDS = 30.0

_ZEROS: dict[Any, Any] = {bytes: b"", str: "", int: 0, float: 0.0}


class Desk:
    """What a test needs: shelves, a client of its own, frames, and patience."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.redis: Any = Redis.from_url(url)
        self.wires: list[Wire] = []
        self.shelves: list[RedisShelf] = []

    def shelf(self, *, namespace: str = "tercet", url: str | None = None) -> RedisShelf:
        """A shelf on a connection of its own."""
        clock, telemetry = SystemClock(), Telemetry()
        wire = Wire.at(url or self.url, deadline=DEADLINE_SECONDS, clock=clock, telemetry=telemetry)
        made = RedisShelf(wire, namespace=namespace, clock=clock, telemetry=telemetry)
        self.wires.append(wire)
        self.shelves.append(made)
        return made

    async def user(self, name: str, *rules: str) -> str:
        """The URL of a user of Redis who may do what these rules say; gone at the end."""
        words = ("ACL", "SETUSER", name, "reset", "on", ">secret", *rules)
        try:
            await self.redis.execute_command(*words)
        except ResponseError as error:
            # Before Redis 7 a single subcommand cannot be taken away.
            pytest.skip(f"this server cannot make the user of this test: {error}")
        return self.url.replace("redis://", f"redis://{name}:secret@")

    @staticmethod
    def frame(body: bytes = b"body", *, key: str = "", **versions: bytes | None) -> bytes:
        """An entry under these tags, whatever else entries have."""
        given = {
            "key": key,
            "tags": tuple(versions),
            "versions": tuple(version or b"" for version in versions.values()),
            "body": body,
        }
        fields = msgspec.structs.fields(Entry)
        return pack(Entry(**{one.name: given.get(one.name, _ZEROS.get(one.type)) for one in fields}))

    @staticmethod
    async def until(holds: Callable[[], object]) -> None:
        """Wait until this is so."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            if time.monotonic() > end:
                raise TimeoutError("it never became so")
            await asyncio.sleep(0.002)

    async def close(self) -> None:
        """Close them all."""
        for shelf in self.shelves:
            await shelf.close()
        for wire in self.wires:
            await wire.close()
        for user in await self.redis.execute_command("ACL", "USERS"):
            if user != b"default":
                await self.redis.execute_command("ACL", "DELUSER", user)
        await self.redis.aclose()


@pytest.fixture
async def desk(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """Shelves on an empty Redis."""
    monkeypatch.setattr(drops, "DROP_SECONDS", DEADLINE_SECONDS)
    made = Desk(redis_url)
    yield made
    await made.close()
