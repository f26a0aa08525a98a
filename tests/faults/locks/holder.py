"""A process that holds the lock, is frozen from outside, and then tries to write with what it believes."""

from __future__ import annotations

import asyncio
import sys

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tercet.clock import SystemClock
from tercet.errors import FencedOff, LockLost
from tercet.locks import Locks
from tercet.locks.postgres import fence
from tercet.telemetry import Telemetry
from tercet.wire import Wire


def say(*words: object) -> None:
    """Tell the test."""
    print(*words, flush=True)


async def main(redis_url: str, postgres_url: str) -> None:
    """Hold it until that is over, and say how it was found out."""
    clock, telemetry = SystemClock(), Telemetry()
    wire = Wire.at(redis_url, deadline=5.0, clock=clock, telemetry=telemetry)
    locks = Locks(wire, clock=clock, telemetry=telemetry)
    engine = create_async_engine(postgres_url)
    token = 0
    try:
        async with engine.begin() as connection:
            await connection.execute(text("select 1"))
        async with locks.lock("a", ttl="2s", wait="60s") as held:
            token = held.token
            say("held", token)
            await asyncio.sleep(3600)
    except LockLost as error:
        say("lost", error.token)
    try:
        async with engine.begin() as connection:
            await fence(connection, "a", token)
            await connection.execute(text("insert into guarded values ('frozen')"))
    except FencedOff as error:
        say("refused", error.newest)
    else:
        say("written")
    await locks.close()
    await wire.close()
    await engine.dispose()


asyncio.run(main(*sys.argv[1:]))
