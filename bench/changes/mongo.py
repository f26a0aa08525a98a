"""How soon a feed hears of a write to MongoDB, and how fast it reads a backlog; prints JSON.

    python bench/changes/mongo.py [--writes 300] [--backlog 100000]

Starts an embedded mongod of its own. A latency is from the moment in which the write's answer was there until the
change has been told, both in this process; below zero, the change was there first.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import TYPE_CHECKING, Any

import asked
from pymongo import AsyncMongoClient
from pymongo.write_concern import WriteConcern

from tercet.changes import Wants
from tercet.changes.feeding.place import Place
from tercet.changes.mongo.mongo import MongoSource

if TYPE_CHECKING:
    from collections.abc import Mapping

# As many a second as the goal asks for.
RATE = 100.0
INSERT_BATCH = 5_000
CONCERNS = {
    "w:1": WriteConcern(1),
    "w:majority": WriteConcern("majority"),
    "w:1, j:true": WriteConcern(1, j=True),
}


async def latency(database: Any, concern: WriteConcern, writes: int) -> Mapping[str, float]:
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
            if len(told) == writes:
                return

    reading = asyncio.create_task(read())
    begun = time.perf_counter()
    for number in range(writes):
        await asyncio.sleep(max(0.0, begun + number / RATE - time.perf_counter()))
        await orders.insert_one({"_id": number})
        done[number] = time.perf_counter()
    await reading
    await source.close()
    return asked.shares([(told[number] - at) * 1000 for number, at in done.items()])


async def throughput(database: Any, columns: frozenset[str] | None, backlog: int) -> Mapping[str, float]:
    """Changes a second that one reader drains, and what each costs it."""
    source = MongoSource(database, Place("bench", "bench"))
    since = await source.open(Wants({"backlog": columns}), None)
    await source.close()
    for first in range(0, backlog, INSERT_BATCH):
        rows = [
            {"user": n % 997, "total": n, "note": "x" * 100} for n in range(first, min(backlog, first + INSERT_BATCH))
        ]
        await database["backlog"].insert_many(rows)
    source = MongoSource(database, Place("bench", "bench"), images="keys")
    await source.open(Wants({"backlog": columns}), since)
    heard, begun, cpu = 0, time.perf_counter(), time.process_time()
    async for commits in source.commits():
        heard += len(commits)
        if heard >= backlog:
            break
    seconds, spent = time.perf_counter() - begun, time.process_time() - cpu
    await source.close()
    return {"changes_per_second": round(heard / seconds), "cpu_us_per_change": round(spent / heard * 1e6, 1)}


async def whole(writes: int, backlog: int) -> dict[str, Any]:
    """All of it."""
    async with asked.running("mongo") as addresses, AsyncMongoClient[dict[str, Any]](addresses.mongo) as client:
        database = client["bench"]
        return {
            "servers": await asked.versions(addresses),
            "latency_ms": {name: await latency(database, concern, writes) for name, concern in CONCERNS.items()},
            "throughput": {
                "keys only": await throughput(database, frozenset({"_id"}), backlog),
                "two fields": await throughput(database, frozenset({"user", "total"}), backlog),
                "whole documents": await throughput(database, None, backlog),
            },
        }


def main() -> None:
    """Measure, and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--writes", type=int, default=300)
    words.add_argument("--backlog", type=int, default=100_000)
    given = words.parse_args()
    asked.told(asyncio.run(whole(given.writes, given.backlog)))


if __name__ == "__main__":
    main()
