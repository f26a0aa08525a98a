"""What is asked of MongoDB, as values: one command in one form, and all commands of one shape folded together."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

# Field names to values as PyMongo brings them; a document may hold anything.
Document: TypeAlias = Mapping[str, Any]
Keys: TypeAlias = tuple[tuple[str, Any], ...]
CommandKind = Literal["find", "aggregate", "update", "delete", "count", "distinct", "findAndModify"]

# One for each class of values is what plans depend on; more show nothing that these do not.
EXAMPLES_MAX = 8
_ANCHORED = re.compile(r"\^[^.*+?|()\[\]{}\\$^]+")
_SHAPE_CHARS = 16


@dataclass(frozen=True, slots=True)
class Command:
    """One command, in one form whoever wrote it down; `filter` is a find's filter, an update's `q` and so on."""

    kind: CommandKind
    collection: str
    filter: Document = field(default_factory=dict)
    sort: Keys = ()
    projection: Document | None = None
    limit: int = 0
    skip: int = 0
    pipeline: tuple[Document, ...] = ()
    collation: Document | None = None
    # The field of a distinct.
    key: str = ""
    let: Document | None = None
    hinted: bool = False

    @property
    def writing(self) -> bool:
        """Whether it changes what it finds."""
        return self.kind in {"update", "delete", "findAndModify"}

    def with_pipeline(self, pipeline: Sequence[Document]) -> Command:
        """The same question by other stages."""
        return replace(self, pipeline=tuple(pipeline))


@dataclass(frozen=True)
class Query:
    """All commands of one shape: how often they are asked, how long they take, and examples with real values."""

    examples: tuple[Command, ...]
    calls: float = 1.0
    # Mean milliseconds of one call as somebody measured it; None where nobody did.
    ms: float | None = None
    label: str = ""
    # Why its examples cannot be run, if they cannot ($queryStats knows no values).
    unrunnable: str = ""

    @property
    def command(self) -> Command:
        """The one that speaks for all."""
        return self.examples[0]

    @property
    def collection(self) -> str:
        """Where it reads first."""
        return self.command.collection

    @cached_property
    def fingerprint(self) -> str:
        """What it is known by."""
        return fingerprint(self.command)

    @property
    def weight(self) -> float:
        """Milliseconds of all calls; one a call where no time is known."""
        return self.calls * (1.0 if self.ms is None else self.ms)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A command that could not be taken up, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class MongoWorkload:
    """What is asked of a MongoDB database, the heaviest first."""

    queries: tuple[Query, ...]
    source: str
    skipped: tuple[Skipped, ...] = ()


def fingerprint(command: Command) -> str:
    """The hash of a command's canonical shape."""
    return hashlib.sha256(canonical(command).encode()).hexdigest()[:_SHAPE_CHARS]


def canonical(command: Command) -> str:
    """The command with its values replaced by their classes, and with the conditions of a filter in one order."""
    parts = {
        "kind": command.kind,
        "in": command.collection,
        "filter": filter_shape(command.filter),
        "sort": [[name, str(way)] for name, way in command.sort],
        "projection": None if command.projection is None else _expression(command.projection),
        "paged": [bool(command.limit), bool(command.skip)],
        "stages": [_stage(one) for one in command.pipeline],
        "collation": None if command.collation is None else sorted(map(str, command.collation.items())),
        "key": command.key,
    }
    return json.dumps(parts, sort_keys=True, separators=(",", ":"))


def filter_shape(condition: Document) -> Any:
    """A filter by its fields, operators and classes of values; the order of its conditions says nothing."""
    shaped = []
    for name, value in condition.items():
        if name in {"$and", "$or", "$nor"} and isinstance(value, Sequence):
            parts = sorted((filter_shape(one) for one in value if isinstance(one, Mapping)), key=json.dumps)
            shaped.append([name, parts])
        elif name == "$expr":
            shaped.append([name, _expression(value)])
        elif is_operators(value):
            shaped.append([name, sorted([operator, _operand(operator, one)] for operator, one in value.items())])
        else:
            shaped.append([name, [["$eq", value_class(value)]]])
    return sorted(shaped, key=json.dumps)


def is_operators(value: object) -> bool:
    """Whether this is {"$gt": …} rather than a document to be equal to."""
    return isinstance(value, Mapping) and bool(value) and str(next(iter(value))).startswith("$")


def value_class(value: object) -> str:
    """The class of a value, as far as plans differ by it: number, string, date, anchored pattern and so on."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "bool"
    kind = type(value).__name__
    if isinstance(value, int | float) or kind in {"Int64", "Decimal128"}:
        return "number"
    if isinstance(value, Mapping):
        return "document"
    if isinstance(value, list | tuple):
        return "[" + ",".join(sorted({value_class(one) for one in value})) + "]"
    if kind in {"Regex", "Pattern"}:
        return "prefix" if anchored(value) else "pattern"
    return {"str": "string", "datetime": "date", "DatetimeMS": "date"}.get(kind, kind)


def anchored(pattern: object) -> bool:
    """Whether a pattern begins with a fixed text, case and all, so that an index can be entered by it."""
    text, flags = getattr(pattern, "pattern", pattern), getattr(pattern, "flags", 0)
    return isinstance(text, str) and not int(flags) & re.IGNORECASE and _ANCHORED.match(text) is not None


def _operand(operator: str, value: object) -> Any:
    match operator, value:
        case "$elemMatch" | "$not", Mapping():
            return filter_shape({"": value} if is_operators(value) else value)
        case "$exists" | "$type" | "$options", _:
            return str(value)
        case "$regex", str():
            return "prefix" if anchored(value) else "pattern"
        case _:
            return value_class(value)


def _stage(stage: Document) -> Any:
    name, value = next(iter(stage.items()), ("", None))
    match name, value:
        case "$match", Mapping():
            return [name, filter_shape(value)]
        case "$sort", Mapping():
            return [name, [[key, str(way)] for key, way in value.items()]]
        case "$facet", Mapping():
            return [name, {key: [_stage(one) for one in stages] for key, stages in value.items()}]
        case "$lookup" | "$unionWith", Mapping():
            rest = {key: _expression(one) for key, one in value.items() if key not in {"pipeline", "from", "coll"}}
            inner = [_stage(one) for one in value.get("pipeline") or ()]
            return [name, str(value.get("from", value.get("coll"))), _names(value), rest, inner]
        case _:
            return [name, _expression(value)]


def _names(lookup: Document) -> list[str]:
    return [str(lookup.get(key)) for key in ("localField", "foreignField", "as")]


def _expression(value: object) -> Any:
    """An expression with its constants by class; what begins with $ is a field, a variable or an operator."""
    if isinstance(value, Mapping):
        return {str(key): _expression(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_expression(one) for one in value]
    if isinstance(value, str) and value.startswith("$"):
        return value
    return value_class(value)
