"""What the server itself has written down: the profiler's collection where it is on, and $queryStats where there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo import ReadPreference
from pymongo.errors import OperationFailure

from tercet.advisor.mongo.shape import MongoWorkload, Skipped
from tercet.advisor.mongo.workload.folding import Seen, command_of, fold
from tercet.advisor.mongo.workload.mongo_log import of_entry

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pymongo.asynchronous.database import AsyncDatabase

# The profiler's collection holds 1 MB unless somebody has made it larger.
_ENTRIES_MAX = 50_000
_QUESTION_MS = 20_000
_TYPES = {"?number": 0, "?string": "", "?bool": True, "?date": 0, "?objectId": "", "?null": None}


async def from_server(
    database: AsyncDatabase[dict[str, Any]], collections: Collection[str] | None = None
) -> MongoWorkload:
    """The profiler's entries and $queryStats of this database, as far as they may be read. Nothing is switched on."""
    skipped: list[Skipped] = []
    seen = await _profiled(database, skipped)
    sources = ["system.profile"] if seen else []
    if not seen:
        seen = await _counted(database, skipped)
        sources = ["$queryStats"] if seen else []
    if collections is not None:
        seen = [one for one in seen if one.command.collection in collections]
    return fold(seen, ", ".join(sources) or "nothing counted", skipped)


async def _profiled(database: AsyncDatabase[dict[str, Any]], skipped: list[Skipped]) -> list[Seen]:
    """What the profiler has kept; empty where it never ran."""
    try:
        profile = database.get_collection("system.profile", read_preference=ReadPreference.PRIMARY_PREFERRED)
        asked = {"op": {"$in": ["query", "command", "update", "remove", "getmore"]}}
        found = profile.find(asked, limit=_ENTRIES_MAX, max_time_ms=_QUESTION_MS).sort("$natural", -1)
        entries = [one async for one in found]
    except OperationFailure as error:
        skipped.append(Skipped("system.profile", f"it cannot be read: {error.details and error.details.get('errmsg')}"))
        return []
    seen: list[Seen] = []
    for entry in entries:
        if "$truncated" in (entry.get("command") or {}):
            skipped.append(Skipped(str(entry.get("ns")), "the profiler has cut it short"))
        elif entry.get("appName") != "tercet":
            seen.extend(of_entry(entry, database.name))
    return seen


async def _counted(database: AsyncDatabase[dict[str, Any]], skipped: list[Skipped]) -> list[Seen]:
    """Shapes of $queryStats, which knows no values: told of, and not run."""
    try:
        found = await database.client.admin.aggregate([{"$queryStats": {}}], maxTimeMS=_QUESTION_MS)
        entries = [one async for one in found]
    except OperationFailure as error:
        skipped.append(Skipped("$queryStats", f"not here: {error.details and error.details.get('errmsg')}"))
        return []
    return [one for entry in entries for one in [of_shape(entry, database.name)] if one is not None]


def of_shape(entry: Mapping[str, Any], database: str) -> Seen | None:
    """One entry of $queryStats; None if it is another database's, or no command with conditions."""
    shape: Mapping[str, Any] = (entry.get("key") or {}).get("queryShape") or {}
    where = shape.get("cmdNs") or {}
    command = command_of(_valued(shape), collection=str(where.get("coll", "")))
    if command is None or where.get("db") != database:
        return None
    metrics = entry.get("metrics") or {}
    calls = float(metrics.get("execCount", 1)) or 1.0
    micros = float((metrics.get("totalExecMicros") or {}).get("sum", 0))
    return Seen(command, micros / calls / 1e3, calls, unrunnable="$queryStats keeps no values to run it with")


def _valued(shape: Any) -> Any:
    """The shape with something in place of its types, so that it reads as a command."""
    if isinstance(shape, dict):
        if shape.get("command") in {"find", "aggregate", "distinct", "count"}:
            name, where = str(shape["command"]), shape.get("cmdNs") or {}
            rest = {key: _valued(one) for key, one in shape.items() if key not in {"command", "cmdNs"}}
            return {name: where.get("coll", ""), **{k: v for k, v in rest.items() if k not in {"limit", "skip"}}}
        return {key: _valued(one) for key, one in shape.items()}
    if isinstance(shape, list):
        return [_valued(one) for one in shape]
    return _TYPES.get(shape, shape) if isinstance(shape, str) else shape
