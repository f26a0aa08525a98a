"""Documents of MongoDB by a field: one find a collection, whatever the number of keys."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from tercet.errors import ExtraMissing, FieldMismatch, StoreError

try:
    from bson import Decimal128, ObjectId
    from bson.errors import BSONError
    from pymongo.errors import PyMongoError
except ImportError as error:
    raise ExtraMissing("An entity with mongo(…)", module="pymongo", extra="mongo") from error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tercet.router.key import Key
    from tercet.router.plan import Source
    from tercet.router.port import Found, Mongo
    from tercet.router.source import InDocument

    Document: TypeAlias = dict[str, Any]

# How many documents beyond one a key are read before a field that should find one is taken not to.
SPARE_DOCUMENTS = 1_000

# Where a document keeps which saves it has seen; nothing that a type would name.
SAVED = "_tercet"

_AS_THEY_ARE = frozenset({str, int, float, bool, type(None), datetime})


class MongoDocuments:
    """Reads documents, or what lies in them, found by `$in`; they come in one batch, as far as 16 MB go."""

    faults: tuple[type[Exception], ...] = (StoreError, PyMongoError, BSONError)

    def __init__(self, database: Mongo) -> None:
        self._database = database

    async def read(self, source: Source, keys: Mapping[Key, Key]) -> Mapping[Key, Found]:
        """What lies in the document of each key that has one."""
        declared = cast("InDocument", source.declared)
        # A conversion may make one key of several.
        own: dict[Key, list[Key]] = {}
        for ours, theirs in keys.items():
            own.setdefault(theirs, []).append(ours)
        most = len(own) + SPARE_DOCUMENTS
        cursor = self._database[declared.collection].find(
            # Scalars, each converted to the type that was declared: none of them can be an operator.
            {declared.on: {"$in": list(own)}},
            projection(source),
            limit=most,
            batch_size=most,
        )
        documents = await cursor.to_list()
        if len(documents) >= most:
            raise _shared(source)
        found: dict[Key, Found] = {}
        for document in documents:
            for theirs in keys_in(document, declared.on):
                for key in own.get(theirs, ()):
                    found[key] = _shared(source) if key in found else taken(source, document)
        # A document without anything of what was asked for is one that was emptied.
        return {key: value for key, value in found.items() if value != ()}


def projection(source: Source) -> dict[str, int] | None:
    """What a find brings: the paths and the fields of types, without `_id` where nobody names it; None is all."""
    paths = {cast("InDocument", source.declared).on}
    for field in source.fields:
        path = cast("InDocument", field.declared).field
        if path is not None:
            paths.add(path)
        elif field.names is not None:
            paths.update(field.names)
        else:
            return None
    # MongoDB refuses a path together with one that it begins with; the shorter one brings both.
    shortest = [path for path in paths if not any(path.startswith(f"{other}.") for other in paths)]
    return {"_id": int("_id" in shortest), **dict.fromkeys(sorted(set(shortest) - {"_id"}), 1)}


def taken(source: Source, document: Document) -> tuple[Any, ...]:
    """The raw values of the source's fields; an empty tuple where a whole document has none of its type's."""
    values = []
    on = cast("InDocument", source.declared).on
    for field in source.fields:
        path = cast("InDocument", field.declared).field
        if path is not None:
            values.append(plain(_at(document, path)))
            continue
        if field.names is None:
            values.append({name: plain(one) for name, one in document.items() if name != SAVED})
            continue
        # Its own names and no others: a type may forbid what it does not know.
        own = {name: plain(document[name]) for name in field.names if name in document}
        if own.keys() <= {on} and set(field.names) != {on}:
            return ()
        values.append(own)
    return tuple(values)


def plain(value: Any) -> Any:
    """The value without types of MongoDB's own: ObjectId as text, Decimal128 as Decimal."""
    # By the exact type first: nearly every value is one of these, and is looked at once.
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is dict:
        return {name: plain(one) for name, one in value.items()}
    if kind is list:
        return [plain(one) for one in value]
    if kind is ObjectId:
        return str(value)
    return value.to_decimal() if kind is Decimal128 else value


def _at(document: Document, path: str) -> Any:
    value: Any = document
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def keys_in(document: Document, on: str) -> Iterable[Key]:
    """The key of a document; of an array MongoDB matches each element."""
    value = _at(document, on)
    if isinstance(value, list):
        return [one for one in value if not isinstance(one, dict | list)]
    return () if isinstance(value, dict) else (value,)


def _shared(source: Source) -> FieldMismatch:
    return FieldMismatch(
        "mongo", field=source.fields[0].label, source=source.name, reason="several documents have the same key"
    )
