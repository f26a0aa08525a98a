"""Commands of one shape become one query: how often, how long, and examples of different values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tercet.advisor.mongo.shape import (
    EXAMPLES_MAX,
    Command,
    CommandKind,
    Document,
    MongoWorkload,
    Query,
    Skipped,
    fingerprint,
)

# The heaviest of them decide; the rest of a long list is not worth anybody's waiting.
QUERIES_MAX = 200
_LABEL_MAX = 60
_KINDS: Mapping[str, CommandKind] = {
    "find": "find", "aggregate": "aggregate", "count": "count", "distinct": "distinct",
    "findAndModify": "findAndModify", "findandmodify": "findAndModify", "update": "update", "delete": "delete",
    "remove": "delete",
}  # fmt: skip
# Collections of the server's own.
_OWN = ("system.", "$cmd")


@dataclass(frozen=True)
class Seen:
    """A command that was seen once, or so often in all; `more` if it only went on with one seen before."""

    command: Command
    ms: float | None = None
    calls: float = 1.0
    label: str = ""
    more: bool = False
    unrunnable: str = ""


@dataclass
class _Fold:
    label: str = ""
    calls: float = 0.0
    ms: float = 0.0
    timed: bool = False
    unrunnable: str = ""
    examples: dict[str, Command] = field(default_factory=dict)


def fold(seen: Iterable[Seen], source: str, skipped: Sequence[Skipped] = ()) -> MongoWorkload:
    """The queries, the heaviest first."""
    folds: dict[str, _Fold] = {}
    for one in seen:
        into = folds.setdefault(fingerprint(one.command), _Fold(unrunnable=one.unrunnable))
        into.label = into.label or one.label
        into.calls += 0 if one.more else one.calls
        if one.ms is not None:
            into.ms, into.timed = into.ms + one.ms * one.calls, True
        if into.unrunnable and not one.unrunnable:
            into.unrunnable, into.examples = "", {}
        if len(into.examples) < EXAMPLES_MAX and (bool(one.unrunnable) == bool(into.unrunnable)):
            into.examples.setdefault(repr(one.command), one.command)
    queries = [
        Query(
            tuple(one.examples.values()),
            calls=max(one.calls, 1.0),
            ms=one.ms / max(one.calls, 1.0) if one.timed else None,
            label=one.label or label(next(iter(one.examples.values()))),
            unrunnable=one.unrunnable,
        )
        for one in folds.values()
    ]
    queries.sort(key=lambda query: -query.weight)
    return MongoWorkload(tuple(queries[:QUERIES_MAX]), source, tuple(skipped))


def label(command: Command) -> str:
    """A short name: "orders.aggregate $match $group"."""
    if command.kind == "aggregate":
        words = " ".join(str(next(iter(one), "")) for one in command.pipeline)
    else:
        words = ", ".join((*command.filter, *(f"by {name}" for name, _ in command.sort)))
    return f"{command.collection}.{command.kind} {words}".strip()[:_LABEL_MAX]


def command_of(told: Document, *, collection: str = "") -> Command | None:
    """A command as the server writes it down, or as a person does; None if it is none that reads by conditions."""
    kind = next((_KINDS[name] for name in told if name in _KINDS), None)
    if kind is None:
        kind, told = _guessed(told)
    if kind is None:
        return None
    name = next((told[one] for one in told if one in _KINDS and isinstance(told[one], str)), None)
    where = str(name or told.get("collection") or collection)
    if not where or where.startswith(_OWN) or told.get("$truncated") is not None:
        return None
    pipeline = told.get("pipeline") or ()
    # An aggregate that begins like this reads no collection by conditions.
    if pipeline and set(pipeline[0]) & {"$changeStream", "$indexStats", "$collStats", "$currentOp", "$search"}:
        return None
    return Command(
        kind=kind,
        collection=where,
        filter=_first(told, "filter", "query", "q") or {},
        sort=_keys(told.get("sort")),
        projection=_first(told, "projection", "fields"),
        limit=abs(int(told.get("limit") or 0)) if kind in {"find", "count"} else 0,
        skip=int(told.get("skip") or 0),
        pipeline=tuple(pipeline),
        collation=told.get("collation") or None,
        key=str(told.get("key", "")) if kind == "distinct" else "",
        let=told.get("let") or None,
        hinted=bool(told.get("hint")),
    )


def several(told: Document) -> Iterable[Document]:
    """A command that holds several ({update: …, updates: […]}) as that many."""
    for many, kind in (("updates", "update"), ("deletes", "delete")):
        if isinstance(told.get(many), list | tuple):
            return [{kind: told.get(kind), **one} for one in told[many]]
    return [told]


def _guessed(told: Document) -> tuple[CommandKind | None, Document]:
    """What a person leaves out: {pipeline: […]} is an aggregate, {filter: …} a find."""
    if "pipeline" in told:
        return "aggregate", told
    if "key" in told and "collection" in told:
        return "distinct", told
    if {"filter", "sort", "projection", "query"} & set(told):
        return "find", told
    # An update or a delete of the profiler: its name stands beside the command.
    return (("update" if "u" in told or "multi" in told else "delete") if "q" in told else None), told


def _first(told: Document, *names: str) -> Any:
    return next((told[name] for name in names if isinstance(told.get(name), Mapping)), None)


def _keys(sort: Any) -> tuple[tuple[str, Any], ...]:
    if isinstance(sort, Mapping):
        return tuple((str(name), int(way) if isinstance(way, int | float) else way) for name, way in sort.items())
    return tuple((str(name), way) for name, way in sort) if isinstance(sort, list | tuple) else ()
