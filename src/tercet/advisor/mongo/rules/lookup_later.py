"""A $lookup waits until the documents that it is not needed for are gone: after $limit, $skip, $match."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tercet.advisor.mongo.parsing.condition import paths_of
from tercet.advisor.mongo.parsing.paths import WHOLE, read_by, touches
from tercet.advisor.mongo.rules.match_first import made_by
from tercet.advisor.mongo.rules.rule import Facts, Found, Rule, stage

if TYPE_CHECKING:
    from tercet.advisor.mongo.rules.rule import Pipeline
    from tercet.advisor.mongo.shape import Document

# What leaves fewer documents: only then it was worth it.
_FEWER = frozenset({"$limit", "$match"})
_PASSED = frozenset({"$sort", "$limit", "$skip", "$match", "$addFields", "$set"})


def apply(pipeline: Pipeline, facts: Facts) -> Found | None:
    """Move the first $lookup behind the last stage that leaves fewer documents and does not need it."""
    for at, one in enumerate(pipeline):
        name, given = stage(one)
        if name != "$lookup" or not isinstance(given, Mapping):
            continue
        end = _with_it(pipeline, at, facts)
        if end is None:
            continue
        moved = pipeline[at:end]
        to = _passes(pipeline, end, moved)
        while to > end and stage(pipeline[to - 1])[0] not in _FEWER:
            to -= 1
        if to > end:
            return Found((*pipeline[:at], *pipeline[end:to], *moved, *pipeline[to:]))
    return None


def _with_it(pipeline: Pipeline, at: int, facts: Facts) -> int | None:
    """Where the group of stages ends that move together: the $lookup, and an $unwind that keeps the count."""
    given = stage(pipeline[at])[1]
    if at + 1 == len(pipeline) or stage(pipeline[at + 1])[0] != "$unwind":
        return at + 1
    unwind = stage(pipeline[at + 1])[1]
    path = unwind.get("path") if isinstance(unwind, Mapping) else unwind
    if path != f"${given.get('as')}":
        return at + 1
    keeping = isinstance(unwind, Mapping) and unwind.get("preserveNullAndEmptyArrays") is True
    # At most one partner, and none is one too: as many documents as before. An array may have several.
    single = "foreignField" in given and facts.is_unique(str(given.get("from")), str(given["foreignField"]))
    return at + 2 if keeping and single and given.get("localField") == "_id" else None


def _passes(pipeline: Pipeline, end: int, moved: Pipeline) -> int:
    """Up to where it may go."""
    made = set().union(*(made_by(*stage(one)) for one in moved))
    needed = _needed(stage(moved[0])[1])
    at = end
    while at < len(pipeline):
        name, given = stage(pipeline[at])
        if name not in _PASSED:
            break
        read = _read(name, given)
        # A made one could be overwritten, and what it is looked up by must be as it was.
        changed = made_by(name, given) if name in {"$addFields", "$set"} else set()
        if touches(read | changed, made) or touches(changed, needed):
            break
        at += 1
    return at


def _needed(given: Document) -> set[str]:
    found = {str(given["localField"])} if "localField" in given else set()
    return found | read_by(given.get("let") or {})


def _read(name: str, given: Any) -> set[str]:
    match name:
        case "$match":
            return paths_of(given)
        case "$sort":
            return {WHOLE} if any(isinstance(way, Mapping) for way in given.values()) else set(map(str, given))
        case "$addFields" | "$set":
            return read_by(given)
        case _:
            return set()


RULE = Rule(
    "lookup_later",
    "the stages between look at nothing that the $lookup brings, and it leaves as many documents as it got",
    apply,
)
