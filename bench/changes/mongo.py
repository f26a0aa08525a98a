"""How soon a feed hears of a write to MongoDB, and how fast it reads a backlog; prints JSON.

    python bench/changes/mongo.py

Starts an embedded mongod of its own. A latency is from the moment in which the write's answer was there until the
change has been told, both in this process; below zero, the change was there first.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from pymongo import AsyncMongoClient
from pymongo.write_concern import WriteConcern

from tercet.changes import Wants
from tercet.changes.feeding.place import Place
from tercet.changes.mongo.mongo import MongoSource
from tercet.proof import describe_machine
from tercet.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Mapping

WRITES = 300
# As many a second as the goal asks for.
RATE = 100.0
BACKLOG = 100_000
INSERT_BATCH = 5_000
CONCERNS = {
    "w:1": WriteConcern(1),
    "w:majority": WriteConcern("majority"),
    "w:1, j:true": WriteConcern(1, j=True),
}


async def latency(database: Any, concern: WriteConcern) -> Mapping[str, float]:
    """Milliseconds from an acknowledged insert until it is told."""
    orders = database["latency"].with_options(write_concern=concern)
    await orders.drop()
    told: dict[int, float] = {}
    done: dict[int, float] = {}
    source = MongoSource(database, Place("bench", "bench"))
    await source.open(Wants({"latency": frozenset({"_id"})}), None)

    async def read() -> None:
        async for commits in source.commits():
            now = time.perf_counter()
            for commit in commits:
                for change in commit.changes:
                    told[int(str(change.new["_id"]))] = now
            if len(told) == WRITES:
                return

    reading = asyncio.create_task(read())
    begun = time.perf_counter()
    for number in range(WRITES):
        await asyncio.sleep(max(0.0, begun + number / RATE - time.perf_counter()))
        await orders.insert_one({"_id": number})
        done[number] = time.perf_counter()
    await reading
    await source.close()
    cuts = quantiles([(told[number] - at) * 1000 for number, at in done.items()], n=100)
    return {"p50_ms": round(cuts[49], 2), "p95_ms": round(cuts[94], 2)}


async def throughput(database: Any, columns: frozenset[str] | None) -> Mapping[str, float]:
    """Changes a second that one reader drains, and what each costs it."""
    source = MongoSource(database, Place("bench", "bench"))
    since = await source.open(Wants({"backlog": columns}), None)
    await source.close()
    for first in range(0, BACKLOG, INSERT_BATCH):
        rows = [{"user": n % 997, "total": n, "note": "x" * 100} for n in range(first, first + INSERT_BATCH)]
        await database["backlog"].insert_many(rows)
    source = MongoSource(database, Place("bench", "bench"), images="keys")
    await source.open(Wants({"backlog": columns}), since)
    heard, begun, cpu = 0, time.perf_counter(), time.process_time()
    async for commits in source.commits():
        heard += len(commits)
        if heard >= BACKLOG:
            break
    seconds, spent = time.perf_counter() - begun, time.process_time() - cpu
    await source.close()
    return {"changes_per_second": round(heard / seconds), "cpu_us_per_change": round(spent / heard * 1e6, 1)}


async def main() -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory() as folder:
        servers = Servers(Path(folder) / "servers", ("mongo",), sources=["wheel"])
        url = (await servers.start()).mongo
        try:
            async with AsyncMongoClient[dict[str, Any]](url) as client:
                database = client["bench"]
                measured = {
                    "server": (await client.server_info())["version"],
                    "latency": {name: await latency(database, concern) for name, concern in CONCERNS.items()},
                    "throughput": {
                        "keys only": await throughput(database, frozenset({"_id"})),
                        "two fields": await throughput(database, frozenset({"user", "total"})),
                        "whole documents": await throughput(database, None),
                    },
                }
        finally:
            await servers.stop()
    sys.stdout.write(json.dumps({"machine": describe_machine().line, **measured}, indent=2) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
