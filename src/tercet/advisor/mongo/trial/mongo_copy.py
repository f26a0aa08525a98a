"""A sample of the collections that matter, so drawn that what is joined meets and what is rare is there."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import ReadPreference
from pymongo.errors import BulkWriteError, PyMongoError

from tercet.advisor.mongo.parsing.access import accesses
from tercet.advisor.mongo.rules.rule import stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable, Mapping, Sequence

    from pymongo.asynchronous.collection import AsyncCollection
    from pymongo.asynchronous.database import AsyncDatabase

    from tercet.advisor.mongo.shape import Command, Query
    from tercet.advisor.port import Progress

# On so many documents a scan and an index differ as they do on all of them, and a pipeline runs some 100 ms.
DOCUMENTS = 100_000
# What is taken from production of one collection at most, and how long one question to it may take.
BYTES_MAX = 256 << 20
QUESTION_MS = 20_000
# Documents that meet an example's conditions are taken beside the sample, so that rare ones are there.
_STRATUM = 200
_STRATUM_MS = 2_000
# Partners of a $lookup are asked for by key, so many at once, and so many in all.
_KEYS_AT_ONCE = 10_000
_KEYS_MAX = 100_000
_BATCH = 1_000
# The server draws at random without reading everything only below 5 %; above, one pass that throws dice is cheaper.
_DRAWN_SHARE = 0.05
_DUPLICATE = 11_000
# What bounds or checks documents: they came through it already.
_NOT_COPIED = frozenset({"validator", "validationLevel", "validationAction", "capped", "size", "max", "autoIndexId"})

_Raw = CodecOptions(document_class=RawBSONDocument)


@dataclass(frozen=True, slots=True)
class Copied:
    """What came of a collection; `documents` of all `of` are there."""

    collection: str
    documents: int
    of: int
    bytes: int
    seconds: float

    @property
    def ratio(self) -> float:
        """How many times larger production is."""
        return max(1.0, self.of / self.documents) if self.documents else 1.0


async def copy(
    production: AsyncDatabase[dict[str, Any]],
    trial: AsyncDatabase[dict[str, Any]],
    queries: Sequence[Query],
    *,
    documents: int = DOCUMENTS,
    on_progress: Progress,
) -> tuple[dict[str, Copied], tuple[str, ...]]:
    """Copy a sample of every collection that these ask, with its options and indexes; notes tell what could not be.

    Production is only read, a secondary where there is one, and each question has a limit of time.
    """
    reading = _Reading(production, trial, documents)
    commands = [one for query in queries for one in query.examples]
    first = {query.collection for query in queries}
    names = sorted({access.collection for query in queries for access in accesses(query.command)} | first,
                   key=lambda name: (name not in first, name))  # fmt: skip
    known = await production.list_collections(filter={"name": {"$in": names}})
    told = {one["name"]: one async for one in known}
    done: dict[str, Copied] = {}
    for at, name in enumerate(names):
        on_progress("taking a sample", at, len(names))
        if name not in told or told[name].get("type", "collection") != "collection":
            reading.notes.append(f"{name} is no plain collection here: not looked at")
            continue
        done[name] = await reading.collection(name, told[name].get("options") or {}, commands, joined=name not in first)
    return done, tuple(reading.notes)


class _Reading:
    """One reading of production, collection by collection."""

    def __init__(
        self, production: AsyncDatabase[dict[str, Any]], trial: AsyncDatabase[dict[str, Any]], documents: int
    ) -> None:
        self._from, self._to, self._documents = production, trial, documents
        self.notes: list[str] = []

    async def collection(
        self, name: str, options: Mapping[str, Any], commands: Iterable[Command], *, joined: bool
    ) -> Copied:
        """One collection with its documents and then its indexes."""
        began = time.perf_counter()
        source = self._from.get_collection(name, codec_options=_Raw, read_preference=ReadPreference.SECONDARY_PREFERRED)
        count = await source.estimated_document_count(maxTimeMS=QUESTION_MS)
        kept = {key: value for key, value in options.items() if key not in _NOT_COPIED}
        await self._to.create_collection(name, **kept)
        target = self._to.get_collection(name, codec_options=_Raw)
        taken = _Taken(target)
        try:
            if count <= self._documents:
                await taken.fill(source.find({}, max_time_ms=QUESTION_MS, batch_size=_BATCH))
            else:
                if joined:
                    await self._partners(name, source, taken, commands)
                await self._strata(name, source, taken, commands)
                await taken.fill(await self._drawn(source, count))
        except PyMongoError as error:
            self.notes.append(f"the sample of {name} ends early: {error}")
        seconds = time.perf_counter() - began
        async for one in await source.list_indexes():
            await self._index(target, dict(one))
        there = await target.estimated_document_count()
        return Copied(name, there, max(count, there), taken.bytes, seconds)

    async def _drawn(self, source: AsyncCollection[Any], count: int) -> AsyncIterable[Any]:
        share = self._documents / count
        if share < _DRAWN_SHARE:
            stages: list[dict[str, Any]] = [{"$sample": {"size": self._documents}}]
        else:
            stages = [{"$match": {"$sampleRate": share}}]
        return await source.aggregate(stages, maxTimeMS=QUESTION_MS, batchSize=_BATCH)

    async def _strata(
        self, name: str, source: AsyncCollection[Any], taken: _Taken, commands: Iterable[Command]
    ) -> None:
        for command in commands:
            asked = _first_filter(command) if command.collection == name else None
            if asked:
                try:
                    await taken.fill(source.find(asked, limit=_STRATUM, max_time_ms=_STRATUM_MS))
                except PyMongoError:
                    # Without an index it may take longer than production is asked to work for us.
                    continue

    async def _partners(
        self, name: str, source: AsyncCollection[Any], taken: _Taken, commands: Iterable[Command]
    ) -> None:
        """The documents that those already copied will be joined with."""
        for local, field, collection in dict.fromkeys(_joins(name, commands)):
            if collection not in await self._to.list_collection_names():
                continue
            path = "$" + local
            stages: list[dict[str, Any]] = [{"$group": {"_id": path}}, {"$limit": _KEYS_MAX}]
            found = await self._to[collection].aggregate(stages, allowDiskUse=True)
            keys = [one["_id"] async for one in found]
            for at in range(0, len(keys), _KEYS_AT_ONCE):
                wanted = {field: {"$in": keys[at : at + _KEYS_AT_ONCE]}}
                await taken.fill(source.find(wanted, max_time_ms=QUESTION_MS, batch_size=_BATCH))

    async def _index(self, target: AsyncCollection[Any], told: dict[str, Any]) -> None:
        if list(told["key"]) == ["_id"] or told.get("clustered"):
            return
        spec = {key: value for key, value in told.items() if key not in {"v", "ns", "background"}}
        try:
            await self._to.command({"createIndexes": target.name, "indexes": [spec]})
        except PyMongoError as error:
            self.notes.append(f"the index {told['name']} of {target.name} could not be built on the sample: {error}")


class _Taken:
    """Documents on their way, counted; one that is there already is left."""

    def __init__(self, target: AsyncCollection[Any]) -> None:
        self._target = target
        self.bytes = 0

    async def fill(self, documents: AsyncIterable[Any]) -> None:
        """Take these over, up to the bound."""
        batch: list[RawBSONDocument] = []
        async for one in documents:
            batch.append(one)
            self.bytes += len(one.raw)
            if len(batch) >= _BATCH:
                await self._insert(batch)
                batch = []
            if self.bytes > BYTES_MAX:
                break
        if batch:
            await self._insert(batch)

    async def _insert(self, batch: list[RawBSONDocument]) -> None:
        try:
            await self._target.insert_many(batch, ordered=False)
        except BulkWriteError as error:
            if any(one["code"] != _DUPLICATE for one in error.details["writeErrors"]):
                raise


def _first_filter(command: Command) -> Mapping[str, Any] | None:
    if command.kind != "aggregate":
        return command.filter or None
    name, given = stage(command.pipeline[0]) if command.pipeline else ("", None)
    return given if name == "$match" and given else None


def _joins(name: str, commands: Iterable[Command]) -> Iterable[tuple[str, str, str]]:
    """Local field, foreign field and first collection of every $lookup into this one.

    A key that a $group made of a field is taken back to that field.
    """
    for command in commands:
        made: dict[str, str] = {}
        for one in command.pipeline:
            kind, given = stage(one)
            if kind == "$group" and isinstance(given.get("_id"), str):
                made["_id"] = given["_id"].removeprefix("$")
            elif kind == "$lookup" and given.get("from") == name and "localField" in given:
                local = str(given["localField"])
                yield made.get(local, local), str(given["foreignField"]), command.collection
