"""MongoDB's advisor against brute force: what it chooses on its sample, beside all of its candidates on all documents.

.venv-bench/bin/python bench/advisor/mongo.py [--scale 0.1] [--rounds 5] [--json FILE]

Makes a shop of orders, events and users with pipelines as shops ask them, in an embedded mongod of its own. Then each
pipeline is run in turn without an index, with every candidate (built on all documents, taken by a hint) and with what
was advised alone, as the planner chooses: the processor's time of mongod and the clock's, the median of all rounds.
At last the indexes are applied as a user does it: what makes a pipeline dearer must be refused by that, and what is
advised must stand. Scale 1 is 1,000,000 orders, 3,000,000 events and 100,000 users.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import part
from bson import json_util
from pymongo import AsyncMongoClient, WriteConcern

from tercet.advisor import Piece
from tercet.advisor.advice import MongoChange
from tercet.advisor.mongo import MongoIndex, advise_mongo, apply, from_specs
from tercet.advisor.mongo.candidates import propose
from tercet.advisor.mongo.rules import Facts, rewritten
from tercet.advisor.mongo.trial import Desk
from tercet.advisor.verify.paired import compare_pairs
from tercet.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from part import Options
    from pymongo.asynchronous.database import AsyncDatabase

    from tercet.advisor.mongo import Command

ORDERS, EVENTS_COUNT, USERS = 1_000_000, 3_000_000, 100_000
DAYS = 365
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
END = BEGIN + timedelta(days=DAYS)
STATUSES = ("completed",) * 7 + ("pending", "cancelled", "refunded")
EVENTS = ("view",) * 12 + ("click",) * 5 + ("cart",) * 2 + ("purchase",)
BATCH = 20_000
# What holds everything at scale 1, as a server of this size does; an embedded one has less.
CACHE_GB = 4
# The advice is as good as the best candidate within this; a way is dearer from this on, where all rounds say so.
AS_GOOD = 1.10
DEARER = 1.05
# A way that takes so much longer than without an index is a known regression, which must be refused.
REGRESSION = 1.25
RUN_MS = 120_000
# Fewer pairs are no proof; of the runs in a round, which last less than a second or two, the quicker one counts.
ROUNDS_MIN = 5
RUNS = 2


def orders(count: int, users: int, dice: random.Random) -> Iterator[dict[str, Any]]:
    """Orders of a year, with lines and an address."""
    for number in range(count):
        total = round(dice.lognormvariate(4, 1), 2)
        yield {
            "_id": number, "user_id": dice.randrange(users), "status": dice.choice(STATUSES),
            "created_at": BEGIN + timedelta(seconds=dice.randrange(DAYS * 86_400)), "total": total,
            "items": [{"product_id": dice.randrange(2_000), "quantity": dice.randrange(1, 5),
                       "price": round(dice.random() * 90 + 10, 2)} for _ in range(dice.randrange(1, 4))],
            "shipping_address": {"country": dice.choice(("KR", "DE", "US", "JP")), "city": f"city {number % 97}"},
        }  # fmt: skip


def events(count: int, users: int, dice: random.Random) -> Iterator[dict[str, Any]]:
    """What people did, over the same year."""
    for number in range(count):
        yield {
            "_id": number, "userId": dice.randrange(users), "type": dice.choice(EVENTS),
            "timestamp": BEGIN + timedelta(seconds=dice.randrange(DAYS * 86_400)),
            "session": f"s{number // 7}", "page": f"/p/{dice.randrange(500)}",
        }  # fmt: skip


def people(count: int) -> Iterator[dict[str, Any]]:
    """Users, known by a field of their own."""
    return ({"_id": f"u{n:07}", "userId": n, "name": f"user {n}", "email": f"u{n}@example.com"} for n in range(count))


def asked() -> list[dict[str, Any]]:
    """The shop's pipelines."""
    day = {"year": {"$year": "$created_at"}, "month": {"$month": "$created_at"}, "day": {"$dayOfMonth": "$created_at"}}

    def daily(days: int) -> dict[str, Any]:
        return {"aggregate": "orders", "label": f"daily revenue {days} d", "pipeline": [
            {"$match": {"status": "completed", "created_at": {"$gte": END - timedelta(days=days)}}},
            {"$group": {"_id": day, "orders": {"$sum": 1}, "revenue": {"$sum": "$total"}}}, {"$sort": {"_id": 1}},
        ]}  # fmt: skip

    spent = {"$switch": {"branches": [
        {"case": {"$gte": ["$spent", 2_000]}, "then": "gold"}, {"case": {"$gte": ["$spent", 500]}, "then": "silver"},
    ], "default": "bronze"}}  # fmt: skip
    return [
        daily(30), daily(365),
        {"aggregate": "orders", "label": "top products 30 d", "pipeline": [
            {"$match": {"status": "completed", "created_at": {"$gte": END - timedelta(days=30)}}},
            {"$unwind": "$items"},
            {"$group": {"_id": "$items.product_id", "sold": {"$sum": "$items.quantity"}}},
            {"$sort": {"sold": -1, "_id": 1}}, {"$limit": 10}]},
        {"aggregate": "orders", "label": "customer segments", "pipeline": [
            {"$match": {"status": "completed"}},
            {"$group": {"_id": "$user_id", "spent": {"$sum": "$total"}, "last": {"$max": "$created_at"}}},
            {"$group": {"_id": spent, "customers": {"$sum": 1}, "spent": {"$sum": "$spent"}}}, {"$sort": {"_id": 1}}]},
        {"aggregate": "events", "label": "engagement 7 d", "pipeline": [
            {"$match": {"timestamp": {"$gte": END - timedelta(days=7)}}},
            {"$group": {"_id": {"user": "$userId", "type": "$type"}, "count": {"$sum": 1}}},
            {"$group": {"_id": "$_id.user", "kinds": {"$push": {"type": "$_id.type", "count": "$count"}},
                        "total": {"$sum": "$count"}}},
            {"$lookup": {"from": "users", "localField": "_id", "foreignField": "userId", "as": "user"}},
            {"$addFields": {"score": {"$sum": "$kinds.count"}}},
            {"$sort": {"score": -1, "_id": 1}}, {"$limit": 100},
            {"$project": {"name": {"$arrayElemAt": ["$user.name", 0]}, "score": 1}}]},
    ]  # fmt: skip


async def measure(options: Options) -> dict[str, Any]:
    """Make, advise, try all by force, apply."""
    sizes = {"orders": ORDERS, "events": EVENTS_COUNT, "users": USERS}
    rounds = options.rounds if options.quick else max(options.rounds, ROUNDS_MIN)
    return await _measure({name: round(count * options.scale) for name, count in sizes.items()}, rounds)


async def _measure(sizes: dict[str, int], rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        async with (
            Servers(Path(folder) / "servers", ("mongo",), durable=False) as addresses,
            AsyncMongoClient[dict[str, Any]](addresses.mongo, tz_aware=True) as client,
        ):
            cache = {"setParameter": 1, "wiredTigerEngineRuntimeConfig": f"cache_size={CACHE_GB}GB"}
            await client.admin.command(cache)
            database = client.get_default_database()
            dice = random.Random(20_240_101)  # noqa: S311 - a shop, not a secret
            await _fill(database, "orders", orders(sizes["orders"], sizes["users"], dice))
            await _fill(database, "events", events(sizes["events"], sizes["users"], dice))
            await _fill(database, "users", people(sizes["users"]))
            server = f"mongod {(await client.server_info())['version']}"
            return {"servers": [server], "data": sizes, **await _both(database, sizes, rounds)}


async def _fill(database: AsyncDatabase[dict[str, Any]], name: str, documents: Iterator[dict[str, Any]]) -> None:
    """Documents are made while the server takes those before."""
    began = time.perf_counter()
    into = database[name].with_options(write_concern=WriteConcern(w=1))
    batch = list(islice(documents, BATCH))
    while batch:
        _, batch = await asyncio.gather(
            into.insert_many(batch, ordered=False), asyncio.to_thread(lambda: list(islice(documents, BATCH)))
        )
    print(f"{name}: made in {time.perf_counter() - began:.0f} s", flush=True)


@dataclass
class Pipeline:
    """A pipeline in its forms, as it stands first, and what it cost in each way: of the processor and of the clock."""

    label: str
    forms: list[Command]
    cpu: dict[str, list[float]]
    wall: dict[str, list[float]]

    async def run(self, desk: Desk, way: str, hint: Any = None, forms: int | None = None) -> None:
        """Once in this way, in the form that is quicker with it."""
        costs = [await desk.cost(one, hint=hint, runs=RUNS) for one in self.forms[:forms]]
        best = min(costs, key=lambda one: one.ms)
        self.cpu.setdefault(way, []).append(best.ms)
        self.wall.setdefault(way, []).append(best.wall_ms)


NOTHING, ADVISED = "nothing", "advised"


async def _both(database: AsyncDatabase[dict[str, Any]], data: dict[str, int], rounds: int) -> dict[str, Any]:
    workload = from_specs(asked())
    standing = {name: [MongoIndex.of(name, one) async for one in await database[name].list_indexes()] for name in data}
    began = time.perf_counter()
    advice = await advise_mongo(database, workload=workload)
    advised_seconds = time.perf_counter() - began
    print(f"advised in {advised_seconds:.0f} s", flush=True)
    picked = {index.called: index for index in map(_index, advice.pieces) if index is not None}
    rewrites = {one.label: one.sql_after for one in advice.statements if one.sql_after}
    pipelines = [_pipeline(one, rewrite=one["label"] in rewrites) for one in asked()]
    known = {one.index.called: one.index for one in propose(workload.queries, standing)}
    began = time.perf_counter()
    await _forced(database, {**known, **picked}, frozenset(picked), pipelines, rounds)
    forced_seconds = time.perf_counter() - began
    names = {index.called: _shown(index) for index in (*known.values(), *picked.values())}
    verdicts = {one.label: _verdict(one, names) for one in pipelines}
    dearer = {name for one in verdicts.values() for name in one["regressions"]} - set(picked)
    return {
        "seconds": {"advised": advised_seconds, "forced": forced_seconds},
        "picked": [list(piece.ddl) for piece in advice.pieces], "rewrites": rewrites,
        "rejected": {f"{r.what}": r.why for piece in advice.pieces for r in piece.rejected},
        "verdicts": verdicts,
        "applied": await _applied(database, advice.pieces, [known[name] for name in sorted(dearer)], pipelines),
    }  # fmt: skip


async def _forced(
    database: AsyncDatabase[dict[str, Any]],
    indexes: dict[str, MongoIndex],
    picked: frozenset[str],
    pipelines: list[Pipeline],
    rounds: int,
) -> None:
    """Everything built once, and every pipeline in every way, one after the other in each round."""
    desk = Desk(database, run_ms=RUN_MS)
    for collection in {one.collection for one in indexes.values()}:
        specs = [{"key": dict(one.keys), "name": one.called, **one.options} for one in indexes.values()
                 if one.collection == collection]  # fmt: skip
        await database.command({"createIndexes": collection, "indexes": specs})
    for number in range(rounds):
        for pipeline in pipelines:
            collection = pipeline.forms[0].collection
            mine = [name for name, one in indexes.items() if one.collection == collection]
            others = [name for name in mine if name not in picked]
            await pipeline.run(desk, NOTHING, {"$natural": 1}, forms=1)
            for name in mine:
                await pipeline.run(desk, name, name)
            for name in others:
                await desk.show(collection, name, hidden=True)
            await pipeline.run(desk, ADVISED)
            for name in others:
                await desk.show(collection, name, hidden=False)
        print(f"round {number + 1} of {rounds}", flush=True)


async def _applied(
    database: AsyncDatabase[dict[str, Any]],
    pieces: tuple[Piece, ...],
    dearer: list[MongoIndex],
    pipelines: list[Pipeline],
) -> dict[str, Any]:
    """What the real database says: first to the joins' indexes, then to what does harm, then to the rest of it."""
    ours = [piece for piece in pieces if piece.kind == "index"]
    first = {one.forms[0].collection for one in pipelines}
    for collection in {piece.table for piece in ours} | first:
        await database[collection].drop_indexes()
    told: dict[str, Any] = {"refused": {}, "stands": {}}

    async def one(kind: str, name: str, piece: Piece) -> None:
        began = time.perf_counter()
        commands = [one.forms[0] for one in pipelines if one.forms[0].collection == piece.table]
        done = await apply(database, piece, commands=commands if kind == "refused" else None)
        told[kind][name] = {"done": done.done, "why": done.why, "seconds": time.perf_counter() - began}
        print(f"apply {name}: {done.why}", flush=True)

    for piece in sorted(ours, key=lambda piece: piece.table in first):
        if piece.table in first:
            break
        await one("stands", piece.ddl[0], piece)
    for index in dearer:
        spec = json_util.dumps({"key": dict(index.keys), "name": index.called, **index.options})
        change = MongoChange(index.collection, index.called, spec)
        await one("refused", _shown(index), Piece("index", "", table=index.collection, value=change))
    for piece in ours:
        if piece.table in first:
            await one("stands", piece.ddl[0], piece)
    return told


def _verdict(pipeline: Pipeline, names: dict[str, str]) -> dict[str, Any]:
    """The best that any one index can do, what was advised, and whether that is as good."""
    cpu, wall = ({way: median(ms) for way, ms in ways.items()} for ways in (pipeline.cpu, pipeline.wall))
    best, clock = (min((way for way in ways if way != ADVISED), key=ways.__getitem__) for ways in (cpu, wall))
    slower = compare_pairs(pipeline.cpu[NOTHING], pipeline.cpu[ADVISED]).surely_slower(DEARER)
    # Round by round: a machine that is busy for a while is so for both.
    ratios = (
        compare_pairs(pipeline.cpu[ADVISED], pipeline.cpu[best]).ratio,
        compare_pairs(pipeline.wall[ADVISED], pipeline.wall[clock]).ratio,
    )
    print(f"{pipeline.label}: {cpu[NOTHING]:.0f} ms; best {names.get(best, best)} {cpu[best]:.1f} ms; "
          f"advised {cpu[ADVISED]:.1f} ms, {ratios[0]:.2f}x; by the clock {ratios[1]:.2f}x", flush=True)  # fmt: skip
    return {
        "best": names.get(best, best), "best_ms": cpu[best], "advised_ms": cpu[ADVISED], "plain_ms": cpu[NOTHING],
        "best_wall_ms": wall[clock], "advised_wall_ms": wall[ADVISED], "plain_wall_ms": wall[NOTHING],
        "cpu_ratio": ratios[0], "wall_ratio": ratios[1], "as_good": max(ratios) <= AS_GOOD, "slower": slower,
        "regressions": {way: ms for way, ms in cpu.items() if ms > cpu[NOTHING] * REGRESSION},
        "cpu_ms": {names.get(way, way): ms for way, ms in cpu.items()},
        "wall_ms": {names.get(way, way): ms for way, ms in wall.items()},
        "rounds": {"cpu": pipeline.cpu, "wall": pipeline.wall},
    }  # fmt: skip


def _pipeline(spec: dict[str, Any], *, rewrite: bool) -> Pipeline:
    command = from_specs(spec).queries[0].command
    forms = [command, command.with_pipeline(rewritten(command.pipeline, Facts())[0])] if rewrite else [command]
    return Pipeline(spec["label"], forms, {}, {})


def _index(piece: Piece) -> MongoIndex | None:
    if piece.kind != "index" or not isinstance(piece.value, MongoChange):
        return None
    return MongoIndex.of(piece.value.collection, json_util.loads(piece.value.spec))


def _shown(index: MongoIndex) -> str:
    only = f" where {dict(index.partial)}" if index.partial else ""
    return f"{index.collection} ({', '.join(index.shown())}){only}"


if __name__ == "__main__":
    part.main(__doc__, measure)
