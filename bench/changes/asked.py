"""What the questions share: servers of their own, and a sample in three figures."""

from __future__ import annotations

import json
import math
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import redis.asyncio
from pymongo import AsyncMongoClient

from tercet.servers import Servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from tercet.servers import Addresses

# The servers that come with tercet, so that a result says which ones on every machine.
SOURCES = ("wheel",)
# Of each hundred values, so many are no larger than the figure.
SHARES = (50, 95, 99)


@asynccontextmanager
async def running(*stores: str) -> AsyncIterator[Addresses]:
    """These servers in a folder that is gone afterwards, as durable as for real: PostgreSQL with fsync."""
    with tempfile.TemporaryDirectory() as folder:
        async with Servers(Path(folder), stores, sources=SOURCES) as addresses:
            yield addresses


async def versions(addresses: Addresses) -> list[str]:
    """The servers by name and version, as each says itself."""
    found: list[str] = []
    if addresses.postgres:
        connection = await asyncpg.connect(addresses.postgres)
        found.append(f"PostgreSQL {str(await connection.fetchval('show server_version')).split()[0]}")
        await connection.close()
    if addresses.mongo:
        async with AsyncMongoClient[dict[str, object]](addresses.mongo) as client:
            found.append(f"mongod {(await client.server_info())['version']}")
    if addresses.redis:
        async with redis.asyncio.from_url(addresses.redis) as client:
            told = await client.info("server")
        name = "Valkey" if "valkey_version" in told else "Redis"
        found.append(f"{name} {told.get('valkey_version', told['redis_version'])}")
    return found


def shares(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """The median and the tail of a sample."""
    ordered = sorted(values)
    return {f"p{one}": round(ordered[max(0, math.ceil(len(ordered) * one / 100) - 1)], digits) for one in SHARES}


def told(answer: Mapping[str, object]) -> None:
    """Print what was measured: run.py reads it, and so do people."""
    sys.stdout.write(json.dumps(answer, indent=1) + "\n")
