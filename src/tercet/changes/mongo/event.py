"""Change events of MongoDB as changes: what each kind of event says of its document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tercet.changes.change import NOTHING, Change, Row

if TYPE_CHECKING:
    from tercet.changes.change import Kind
    from tercet.changes.mongo.scope import Scope

Event = Mapping[str, Any]

_KINDS: Final[Mapping[str, Kind]] = {"insert": "insert", "update": "update", "replace": "update", "delete": "delete"}
# Both take the collection's name away, and with it all that was in it.
_EMPTIES = frozenset({"drop", "rename"})

_ABSENT = object()


def change_of(event: Event, scope: Scope) -> Change | None:
    """What happened, or None where that is nothing to whoever wants this scope.

    A dropped database has told of each of its collections before.
    """
    operation, place = event["operationType"], event.get("ns") or {}
    table = place.get("coll")
    if table is None or not scope.wanted(table):
        return None
    if operation in _EMPTIES:
        return Change("truncate", place["db"], table)
    kind = _KINDS.get(operation)
    if kind is None:
        return None
    columns, key = scope.columns(table), event["documentKey"]
    old, new = _old(event, kind, columns), NOTHING
    if kind != "delete":
        document = event.get("fullDocument")
        new = {**(_set(event, columns) if document is None else _of(document, columns)), **key}
    return Change(kind, place["db"], table, new, old)


def brings(event: Event, scope: Scope) -> str | None:
    """The wanted collection that this event has given new contents of which nothing is told, document by document."""
    target = event.get("to")
    if event["operationType"] != "rename" or target is None or target.get("db") != scope.database:
        return None
    table = str(target["coll"])
    return table if scope.wanted(table) else None


def _old(event: Event, kind: Kind, columns: frozenset[str] | None) -> Row:
    before = event.get("fullDocumentBeforeChange")
    if before is not None:
        return {**_of(before, columns), **event["documentKey"]}
    return dict(event["documentKey"]) if kind == "delete" else NOTHING


def _of(document: Row, columns: frozenset[str] | None) -> Row:
    """What is wanted of a whole document; a field that it does not have is None."""
    if columns is None:
        return document
    return {path: None if (value := _at(document, path)) is _ABSENT else value for path in columns}


def _at(value: object, path: str) -> object:
    """What stands at a path; nothing does where the path leads through something else than a document."""
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return _ABSENT
        value = value[name]
    return value


def _set(event: Event, columns: frozenset[str] | None) -> Row:
    """What an update has set of the wanted fields, and of what lies below them; None is what it has taken away."""
    described = event.get("updateDescription") or {}
    changed: dict[str, object] = dict.fromkeys(described.get("removedFields") or ())
    changed.update(described.get("updatedFields") or {})
    if columns is None:
        return changed
    found: dict[str, object] = {}
    for path, value in changed.items():
        for wanted in columns:
            if path == wanted or path.startswith(f"{wanted}."):
                found[path] = value
            elif wanted.startswith(f"{path}."):
                inside = _at(value, wanted[len(path) + 1 :])
                found[wanted] = None if inside is _ABSENT else inside
    return found
