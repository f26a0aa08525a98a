"""MongoDB's advisor against brute force: what it chooses on its sample, beside all of its candidates on all documents.

.venv-bench/bin/python bench/advisor/mongo.py [--scale 0.1] [--json FILE]

Makes a shop of orders, events and users with pipelines as shops ask them, in an embedded mongod of its own. Each
candidate that the advisor has tried on its sample is then built on all documents, and each pipeline is run with it as
the planner chooses. Scale 1 is 1,000,000 orders, 3,000,000 events and 100,000 users.
"""

from __future__ import annotations

import random
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import part
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from tercet.advisor.mongo import MongoIndex, advise_mongo, from_specs
from tercet.advisor.mongo.candidates import propose
from tercet.advisor.mongo.rules import Facts, rewritten
from tercet.advisor.mongo.trial import Desk
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
BATCH = 5_000
# A choice within this of the best one is the best one, on a machine whose cores others have.
NOISE = 1.15
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
    """Make, advise, try all by force."""
    return await _measure(*(round(count * options.scale) for count in (ORDERS, EVENTS_COUNT, USERS)))


async def _measure(order_count: int, event_count: int, user_count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        async with (
            Servers(Path(folder) / "servers", ("mongo",), durable=False) as addresses,
            AsyncMongoClient[dict[str, Any]](addresses.mongo, tz_aware=True) as client,
        ):
            database = client.get_default_database()
            dice = random.Random(20_240_101)  # noqa: S311 - a shop, not a secret
            await _fill(database, "orders", orders(order_count, user_count, dice))
            await _fill(database, "events", events(event_count, user_count, dice))
            await _fill(database, "users", people(user_count))
            server = f"mongod {(await client.server_info())['version']}"
            sizes = {"orders": order_count, "events": event_count, "users": user_count}
            return {"servers": [server], **await _both(database, sizes)}


async def _fill(database: AsyncDatabase[dict[str, Any]], name: str, documents: Iterator[dict[str, Any]]) -> None:
    batch: list[dict[str, Any]] = []
    for one in documents:
        batch.append(one)
        if len(batch) == BATCH:
            await database[name].insert_many(batch, ordered=False)
            batch = []
    if batch:
        await database[name].insert_many(batch, ordered=False)
    print(f"{name}: made", flush=True)


async def _both(database: AsyncDatabase[dict[str, Any]], data: dict[str, int]) -> dict[str, Any]:
    workload = from_specs(asked())
    began = time.perf_counter()
    advice = await advise_mongo(database, workload=workload)
    seconds = time.perf_counter() - began
    print(f"advised in {seconds:.0f} s", flush=True)
    labelled = {f"{one['label']}": from_specs(one).queries[0].command for one in asked()}
    standing = {name: [MongoIndex.of(name, one) async for one in await database[name].list_indexes()] for name in data}
    picked = [piece for piece in advice.pieces if piece.kind == "index"]
    rewrites = {one.label: one.sql_after for one in advice.statements if one.sql_after}
    desk = Desk(database)
    # A join without an index takes minutes: the one that it needs is there for all of them.
    joins = [piece for piece in picked if piece.table == "users"]
    for piece in joins:
        await desk.build(_index(piece.table, piece.columns))
    forms = {label: [one] for label, one in labelled.items()}
    for label in rewrites.keys() & forms.keys():
        forms[label].append(labelled[label].with_pipeline(rewritten(labelled[label].pipeline, Facts())[0]))
    plain = {label: (await desk.cost(one, runs=RUNS)).ms for label, one in labelled.items()}
    print("collection scans", {name: round(ms) for name, ms in plain.items()}, flush=True)
    forced = {}
    for candidate in propose(workload.queries, standing):
        if candidate.index.collection != "users":
            forced[_shown(candidate.index)] = await _with(desk, candidate.index, forms)
    for piece in picked:
        if piece not in joins:
            await desk.build(_index(piece.table, piece.columns))
    advised = {label: (await desk.cost(ways[-1], runs=RUNS)).ms for label, ways in forms.items()}
    return {
        "data": data, "advisor_seconds": seconds,
        "picked": [list(piece.ddl) for piece in advice.pieces], "rewrites": rewrites,
        "rejected": {f"{r.what}": r.why for piece in picked for r in piece.rejected},
        "cpu_ms": {"plain": plain, "forced": forced, "advised": advised},
        "verdicts": _verdicts(plain, forced, advised),
    }  # fmt: skip


async def _with(desk: Desk, index: MongoIndex, forms: dict[str, list[Command]]) -> dict[str, float]:
    """What each pipeline costs with this one index, if the planner takes it."""
    built = replace(index, name="forced")
    try:
        await desk.build(built)
    except OperationFailure:
        return {}
    found = {}
    for label, ways in forms.items():
        costs = [
            (await desk.cost(one, runs=RUNS)).ms
            for one in ways
            if one.collection == index.collection and "forced" in await desk.chosen(one)
        ]
        if costs:
            found[label] = min(costs)
    await desk.drop(index.collection, "forced")
    print(_shown(index), {name: round(ms) for name, ms in found.items()}, flush=True)
    return found


def _verdicts(
    plain: dict[str, float], forced: dict[str, dict[str, float]], advised: dict[str, float]
) -> dict[str, Any]:
    """Of each pipeline: the best that any one index can do, what was advised, and whether that is as good."""
    told = {}
    for label, ms in plain.items():
        ways = {"nothing": ms, **{name: costs[label] for name, costs in forced.items() if label in costs}}
        best = min(ways, key=lambda name: ways[name])
        ours = advised[label]
        told[label] = {
            "best": best, "best_ms": ways[best], "advised_ms": advised[label],
            "as_good": ours <= ways[best] * NOISE, "slower": ours > ms * NOISE,
            "regressions": {name: cost for name, cost in ways.items() if cost > ms * NOISE},
        }  # fmt: skip
        print(f"{label}: {ms:.0f} ms; best {best} {ways[best]:.0f} ms; advised {advised[label]:.0f} ms", flush=True)
    return told


def _index(table: str, columns: tuple[str, ...]) -> MongoIndex:
    keys = tuple((one.removesuffix(" desc"), -1 if one.endswith(" desc") else 1) for one in columns)
    return MongoIndex(table, keys, {})


def _shown(index: MongoIndex) -> str:
    only = f" where {dict(index.partial)}" if index.partial else ""
    return f"{index.collection} ({', '.join(index.shown())}){only}"


if __name__ == "__main__":
    part.main(__doc__, measure)
