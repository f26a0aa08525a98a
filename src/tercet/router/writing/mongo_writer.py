"""Values written into documents of MongoDB, each with the version that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tercet.errors import ExtraMissing
from tercet.router.reading.mongo_documents import SAVED
from tercet.router.writing.saved import document_value

try:
    from bson import Decimal128
    from pymongo.errors import DuplicateKeyError
except ImportError as error:
    raise ExtraMissing("Saving to mongo(…)", module="pymongo", extra="mongo") from error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from tercet.router.key import Key
    from tercet.router.plan import Field, Source
    from tercet.router.port import Mongo
    from tercet.router.source import InDocument

# Before any version.
_NONE = -1


class MongoWriter:
    """Writes by one update with a pipeline, which compares versions and writes in one step."""

    def __init__(self, database: Mongo) -> None:
        self._database = database

    async def write(self, source: Source, key: Key, values: Mapping[Field, Any], version: int) -> None:
        """Write these; twice is once, and an older version changes nothing. None takes a value away."""
        declared = cast("InDocument", source.declared)
        where = {declared.on: {"$eq": source.key_of(key)}}
        change = [{"$set": _assignments(values, version, declared.on)}]
        collection = self._database[declared.collection]
        # A document is made for a value, never to say that there is none.
        upsert = any(value is not None for value in values.values())
        try:
            await collection.update_one(where, change, upsert=upsert)
        except DuplicateKeyError:
            # Somebody else has made the document between our look and our insert; now it is there.
            await collection.update_one(where, change, upsert=upsert)

    async def sweep(self, source: Source, fields: tuple[Field, ...], before: int) -> None:
        """Take away what was last written before this version."""
        declared = cast("InDocument", source.declared)
        for field in fields:
            gone = [{"$unset": [*_paths(field, declared.on)]}]
            await self._database[declared.collection].update_many({_mark(field): {"$lt": before}}, gone)


def _assignments(values: Mapping[Field, Any], version: int, on: str) -> dict[str, Any]:
    """What each path becomes: the new value if it is newer than what is there, else what is there."""
    sets: dict[str, Any] = {}
    for field, value in values.items():
        newer = {"$gt": [version, {"$ifNull": [f"${_mark(field)}", _NONE]}]}
        plain = _kept(document_value(value))
        for path in _paths(field, on):
            part = plain if path == cast("InDocument", field.declared).field else _part(plain, path)
            sets[path] = {"$cond": [newer, _literal(part), f"${path}"]}
        sets[_mark(field)] = {"$max": [f"${_mark(field)}", version]}
    return sets


_ABSENT = object()


def _part(document: Any, name: str) -> Any:
    return document.get(name, _ABSENT) if isinstance(document, dict) else _ABSENT


def _literal(value: Any) -> Any:
    # As a literal, so that no value is ever read as an expression.
    return "$$REMOVE" if value is _ABSENT else {"$literal": value}


def _paths(field: Field, on: str) -> tuple[str, ...]:
    """Where a field's value lies: one path, or each name of a whole document's type but the key's own."""
    path = cast("InDocument", field.declared).field
    if path is not None:
        return (path,)
    return tuple(name for name in field.names or () if name not in {on, "_id"})


def _mark(field: Field) -> str:
    return f"{SAVED}.{field.entity}-{field.name}"


def _kept(value: Any) -> Any:
    """The value with Decimals as MongoDB has them."""
    match value:
        case dict():
            return {name: _kept(one) for name, one in value.items()}
        case list() | tuple():
            return [_kept(one) for one in value]
        case _ if type(value).__name__ == "Decimal":
            return Decimal128(cast("Decimal", value))
        case _:
            return value
