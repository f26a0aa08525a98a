"""What production says of its collections: indexes, their sizes, their use on every node, fields nobody has."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pymongo.errors import PyMongoError
from pymongo.read_preferences import Nearest, ReadPreference

from tercet.advisor.mongo.candidates.housekeeping import Usage
from tercet.advisor.mongo.index import MongoIndex

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

_QUESTION_MS = 10_000
# Documents whose field names are looked at to tell what a misspelled one should have been.
_LOOKED_AT = 200
_FIELDS_MAX = 2_000
_DEPTH_MAX = 4


@dataclass(frozen=True)
class Standing:
    """The indexes of the collections that are looked at, and what is known of each."""

    indexes: Mapping[str, tuple[MongoIndex, ...]]
    usage: Mapping[str, Mapping[str, Usage]] = field(default_factory=dict)
    # Indexes by whose first field no document can be found.
    empty: Mapping[str, frozenset[str]] = field(default_factory=dict)
    fields: Mapping[str, frozenset[str]] = field(default_factory=dict)
    # Keys by which collections are sharded: an index on them stays.
    shard_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class _At(Nearest):
    """Reads from one node only."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__()
        self._address = address

    def __call__(self, selection: Any) -> Any:
        """The servers that are this one."""
        mine = [one for one in selection.server_descriptions if one.address == self._address]
        return selection.with_server_descriptions(mine)


async def read(database: AsyncDatabase[dict[str, Any]], names: Collection[str] | None) -> Standing:
    """Everything about these collections, or all of the database's own; nothing is changed."""
    known = [one async for one in await database.list_collections(filter={"type": "collection"})]
    wanted = sorted(one["name"] for one in known if not one["name"].startswith("system."))
    if names is not None:
        wanted = [name for name in wanted if name in names]
    notes: list[str] = []
    indexes: dict[str, tuple[MongoIndex, ...]] = {}
    usage: dict[str, Mapping[str, Usage]] = {}
    empty: dict[str, frozenset[str]] = {}
    fields: dict[str, frozenset[str]] = {}
    for name in wanted:
        try:
            indexes[name] = await _indexes(database, name)
            usage[name] = await _usage(database, name, notes)
            empty[name] = await _empty(database, name, indexes[name])
            fields[name] = await _fields(database, name) if empty[name] else frozenset()
        except PyMongoError as error:
            notes.append(f"{name} cannot be looked at: {error}")
    return Standing(indexes, usage, empty, fields, await _shard_keys(database), tuple(dict.fromkeys(notes)))


async def _indexes(database: AsyncDatabase[dict[str, Any]], name: str) -> tuple[MongoIndex, ...]:
    told = await database.command({"collStats": name, "maxTimeMS": _QUESTION_MS})
    sizes = told.get("indexSizes") or {}
    found = []
    async for one in await database[name].list_indexes():
        index = MongoIndex.of(name, one)
        found.append(MongoIndex(name, index.keys, index.options, index.name, int(sizes.get(index.name, 0))))
    return tuple(found)


async def _usage(database: AsyncDatabase[dict[str, Any]], name: str, notes: list[str]) -> Mapping[str, Usage]:
    """Added up over all nodes; the youngest count says since when. Nothing where one node does not answer."""
    nodes = sorted((host, port or 0) for host, port in database.client.nodes)
    found: dict[str, list[Usage]] = {}
    for node in nodes:
        try:
            at = database.get_collection(name, read_preference=_At(node) if len(nodes) > 1 else ReadPreference.NEAREST)
            counted = await at.aggregate([{"$indexStats": {}}], maxTimeMS=_QUESTION_MS)
            async for one in counted:
                use = one["accesses"]
                since = use["since"] if use["since"].tzinfo else use["since"].replace(tzinfo=UTC)
                seconds = (datetime.now(UTC) - since).total_seconds()
                found.setdefault(one["name"], []).append(Usage(int(use["ops"]), seconds))
        except PyMongoError as error:
            notes.append(f"whether indexes are used is not known: {node[0]}:{node[1]} does not say ({error})")
            return {}
    return {
        index: Usage(sum(one.times for one in uses), min(one.seconds for one in uses)) for index, uses in found.items()
    }


async def _empty(database: AsyncDatabase[dict[str, Any]], name: str, indexes: tuple[MongoIndex, ...]) -> frozenset[str]:
    """The plain indexes in which every entry's first field is missing or null: one look into each."""
    if await database[name].find_one({}, {"_id": 1}, max_time_ms=_QUESTION_MS) is None:
        return frozenset()
    found = set()
    for one in indexes:
        if not one.plain or one.dutiful:
            continue
        asked = {one.fields[0]: {"$ne": None}}
        if await database[name].find_one(asked, {"_id": 1}, hint=one.name, max_time_ms=_QUESTION_MS) is None:
            found.add(one.name)
    return frozenset(found)


async def _fields(database: AsyncDatabase[dict[str, Any]], name: str) -> frozenset[str]:
    found: set[str] = set()
    drawn = await database[name].aggregate([{"$sample": {"size": _LOOKED_AT}}], maxTimeMS=_QUESTION_MS)
    async for one in drawn:
        _gather(one, "", found, 0)
        if len(found) > _FIELDS_MAX:
            break
    return frozenset(found)


def _gather(value: Any, path: str, found: set[str], depth: int) -> None:
    if isinstance(value, list):
        for one in value[:3]:
            _gather(one, path, found, depth + 1)
    elif isinstance(value, Mapping) and depth <= _DEPTH_MAX:
        for name, inner in value.items():
            whole = f"{path}.{name}" if path else str(name)
            found.add(whole)
            _gather(inner, whole, found, depth + 1)


async def _shard_keys(database: AsyncDatabase[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    """By a router only; elsewhere nothing is sharded, or nobody may ask."""
    try:
        if (await database.command("hello")).get("msg") != "isdbgrid":
            return {}
        asked = database.client["config"]["collections"].find({"_id": {"$regex": f"^{database.name}[.]"}})
        return {one["_id"].partition(".")[2]: tuple(one["key"]) async for one in asked}
    except PyMongoError:
        return {}
