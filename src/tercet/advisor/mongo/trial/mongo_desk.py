"""Runs commands and tells what they cost: the processor's time of a server of ours, or the clock of anybody's."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import bson
import pymongo
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure, PyMongoError

from tercet.advisor.mongo.explained import Told, read

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

    from tercet.advisor.mongo.index import MongoIndex
    from tercet.advisor.mongo.shape import Command

# One run may take so long on the sample; a longer one counts as so long, which is long enough to be beaten. The driver
# is told it too: a limit of its client's would else take the place of the one in the command.
RUN_MS = 5_000
# What takes so long is run once: a machine disturbs seconds less than milliseconds, and somebody waits.
_ONCE_MS = 1_500.0
_TOO_LONG = 50
# Less than this is repeated until it comes together: the clock of the processor goes in steps of milliseconds.
_ENOUGH_MS = 12.0
_REPEATS_MAX = 60
# Sums of floats differ in their last digits by the order in which they were added up.
_DIGITS = 9
_UNORDERED = ("$addToSet", "$push")


# What the server says no with, and whatever else may happen to one command.
BUILD_ERRORS = OperationFailure
RUN_ERRORS = PyMongoError


@dataclass(frozen=True, slots=True)
class Cost:
    """One run: milliseconds of the processor (of the clock, where the server does not tell its own) and its rows."""

    ms: float
    wall_ms: float
    rows: int
    # False if it was stopped: it takes longer than this.
    whole: bool = True


class Desk:
    """Commands of one database; one run may take `run_ms`."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], *, run_ms: int = RUN_MS) -> None:
        self.database, self.run_ms = database, run_ms
        self._raw = database.with_options(codec_options=bson.codec_options.CodecOptions(document_class=RawBSONDocument))
        self.runs = 0

    async def cost(self, command: Command, *, hint: Any = None, runs: int = 1) -> Cost:
        """The quickest of so many runs, each repeated until it can be told from nothing; others only slow it down."""
        found = [await self._once(command, hint)]
        while len(found) < runs and found[-1].wall_ms < _ONCE_MS:
            found.append(await self._once(command, hint))
        return min(found, key=lambda one: one.ms)

    async def wall_ms(self, command: Command) -> float | None:
        """Milliseconds of one run by the clock, where others work too; None if it takes too long."""
        began = time.perf_counter()
        try:
            with pymongo.timeout(self.run_ms / 1e3):
                await self._count(command, None)
        except PyMongoError as error:
            if not error.timeout:
                raise
            return None
        return (time.perf_counter() - began) * 1e3

    async def explain(self, command: Command, *, run: bool = True) -> Told:
        """The plan that the server chooses by itself, and what it read, unless that is not wanted or takes too long."""
        asked = {"explain": spoken(command), "verbosity": "executionStats", "maxTimeMS": self.run_ms}
        if run:
            try:
                with pymongo.timeout(self.run_ms / 1e3):
                    return read(await self.database.command(asked))
            except PyMongoError as error:
                if not error.timeout:
                    raise
        return read(await self.database.command({**asked, "verbosity": "queryPlanner"}))

    async def chosen(self, command: Command) -> frozenset[str]:
        """The indexes by which the planner enters the command's own collection, without running it to its end."""
        return (await self.explain(command, run=False)).indexes

    async def answer(self, command: Command) -> tuple[str, int] | None:
        """What comes out, whatever its order, as something that can be compared, and how many rows; None too late."""
        loose = _unordered(command.pipeline)
        try:
            hashes = [_hash(row, loose=loose) async for row in self._rows(command, None, decoded=True)]
        except OperationFailure as error:
            if error.code != _TOO_LONG:
                raise
            return None
        return hashlib.sha256(b"".join(sorted(hashes))).hexdigest(), len(hashes)

    async def build(self, index: MongoIndex) -> None:
        """Build it."""
        spec = {"key": dict(index.keys), "name": index.called, **index.options}
        await self.database.command({"createIndexes": index.collection, "indexes": [spec]})

    async def size(self, collection: str, name: str) -> int:
        """Bytes of an index."""
        # What is not written to the disk yet is not counted.
        await self.database.client.admin.command("fsync")
        told = await self.database.command({"collStats": collection})
        return int(told["indexSizes"].get(name, 0))

    async def drop(self, collection: str, name: str) -> None:
        """Take it away again."""
        await self.database.command({"dropIndexes": collection, "index": name})

    async def show(self, collection: str, name: str, *, hidden: bool) -> None:
        """Let the planner see an index, or not."""
        await self.database.command({"collMod": collection, "index": {"name": name, "hidden": hidden}})

    async def write_ms(self, collection: str, count: int) -> float:
        """What it takes to insert copies of so many documents; they are gone afterwards."""
        into = self.database[collection]
        copies = [{**one, "_id": ObjectId()} async for one in into.find({}, limit=count)]
        if not copies:
            return 1.0
        try:
            before, began = await self._used(), time.perf_counter()
            await into.insert_many(copies, ordered=False)
            after, ended = await self._used(), time.perf_counter()
        finally:
            await into.delete_many({"_id": {"$in": [one["_id"] for one in copies]}})
        used = (ended - began) * 1e3 if before is None or after is None else after - before
        return max(used, 1e-3)

    async def _once(self, command: Command, hint: Any) -> Cost:
        rows = runs = 0
        before, began = await self._used(), time.perf_counter()
        while True:
            try:
                rows = await self._count(command, hint)
            except OperationFailure as error:
                if error.code != _TOO_LONG:
                    raise
                return Cost(self.run_ms, self.run_ms, 0, whole=False)
            runs += 1
            self.runs += 1
            wall = (time.perf_counter() - began) * 1e3
            if wall >= _ENOUGH_MS or runs >= _REPEATS_MAX:
                break
        after = await self._used()
        used = wall if before is None or after is None else after - before
        return Cost(max(used / runs, 1e-3), wall / runs, rows)

    async def _count(self, command: Command, hint: Any) -> int:
        return sum([1 async for _ in self._rows(command, hint, decoded=False)])

    async def _rows(self, command: Command, hint: Any, *, decoded: bool) -> Any:
        asked = {**spoken(command, hint), "maxTimeMS": self.run_ms}
        place = self.database if decoded else self._raw
        if "cursor" in asked or "find" in asked:
            async for row in await place.cursor_command(asked):
                yield row
            return
        answer = await place.command(asked)
        found = answer.get("values", answer.get("n"))
        for one in found if isinstance(found, list) else [found]:
            yield {"value": one}

    async def _used(self) -> float | None:
        """Milliseconds of the processor that the server has used so far."""
        told = await self.database.command({"serverStatus": 1, **dict.fromkeys(_NOT_ASKED, 0)})
        used = told.get("extra_info") or {}
        if "user_time_us" not in used:
            return None
        return float(used["user_time_us"] + used["system_time_us"]) / 1e3


_NOT_ASKED = (
    "metrics", "wiredTiger", "locks", "repl", "asserts", "connections", "network", "opcounters", "tcmalloc",
    "transactions", "sharding", "logicalSessionRecordCache", "flowControl", "globalLock", "indexBuilds",
    "indexBulkBuilder", "opLatencies", "storageEngine", "trafficRecording", "twoPhaseCommitCoordinator", "mem",
    "electionMetrics", "security", "changeStreamPreImages", "catalogStats", "batchedDeletes", "defaultRWConcern",
    "featureCompatibilityVersion", "internalTransactions", "readConcernCounters", "scramCache", "tenantMigrations",
    "transportSecurity", "activeIndexBuilds", "opWorkingTime",
    "queues", "spillWiredTiger",
)  # fmt: skip


def spoken(command: Command, hint: Any = None) -> dict[str, Any]:
    """The command as the server takes it; what would write only reads what it would write to."""
    extra: dict[str, Any] = {} if hint is None else {"hint": hint}
    if command.collation:
        extra["collation"] = dict(command.collation)
    match command.kind:
        case "aggregate":
            let = {"let": dict(command.let)} if command.let else {}
            stages = list(reading(command.pipeline))
            return {
                "aggregate": command.collection, "pipeline": stages, "cursor": {}, "allowDiskUse": True, **let, **extra,
            }  # fmt: skip
        case "count":
            return {"count": command.collection, "query": dict(command.filter), **extra}
        case "distinct":
            extra.pop("hint", None)
            return {"distinct": command.collection, "key": command.key, "query": dict(command.filter), **extra}
        case _:
            asked: dict[str, Any] = {"find": command.collection, "filter": dict(command.filter), **extra}
            if command.sort:
                asked["sort"] = dict(command.sort)
            if command.projection:
                asked["projection"] = dict(command.projection)
            limit = 1 if command.kind == "findAndModify" else command.limit
            return {**asked, **({"limit": limit} if limit else {}), **({"skip": command.skip} if command.skip else {})}


def reading(pipeline: tuple[Any, ...]) -> tuple[Any, ...]:
    """The pipeline without its last stage if that writes."""
    return pipeline[:-1] if pipeline and set(pipeline[-1]) & {"$out", "$merge"} else pipeline


def _unordered(pipeline: Any) -> bool:
    return any(word in str(pipeline) for word in _UNORDERED)


def _hash(row: Any, *, loose: bool) -> bytes:
    # A stage that has moved adds its field at another place of the row, which no program looks at.
    plain = {key: _plain(row[key], loose=loose) for key in sorted(row)}
    return hashlib.sha256(bson.encode(plain)).digest()


def _plain(value: Any, *, loose: bool) -> Any:
    """A value in a form in which the same is the same: digits that float, and lists whose order nobody promised."""
    if isinstance(value, Mapping):
        return {key: _plain(one, loose=loose) for key, one in value.items()}
    if isinstance(value, list):
        plain = [_plain(one, loose=loose) for one in value]
        return sorted(plain, key=repr) if loose else plain
    if isinstance(value, float) and value == value and abs(value) != float("inf"):  # noqa: PLR0124 - no NaN
        return float(f"{value:.{_DIGITS}g}")
    return value
