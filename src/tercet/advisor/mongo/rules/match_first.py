"""A $match goes before a stage that neither makes nor changes what it looks at, and drops no other documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tercet.advisor.mongo.parsing.condition import paths_of
from tercet.advisor.mongo.parsing.paths import WHOLE, touches
from tercet.advisor.mongo.rules.rule import Facts, Found, Rule, stage

if TYPE_CHECKING:
    from tercet.advisor.mongo.rules.rule import Pipeline
    from tercet.advisor.mongo.shape import Document


def apply(pipeline: Pipeline, _facts: Facts) -> Found | None:
    """Move the first $match that can be moved by one place."""
    for at in range(1, len(pipeline)):
        name, condition = stage(pipeline[at])
        if name != "$match" or not isinstance(condition, Mapping):
            continue
        moved = _swapped(pipeline[at - 1], condition)
        if moved is not None:
            return Found((*pipeline[: at - 1], moved, pipeline[at - 1], *pipeline[at + 1 :]))
    return None


def _swapped(before: Document, condition: Document) -> Document | None:
    """The $match as it stands before that stage; None where it must stay."""
    paths = paths_of(condition)
    if WHOLE in paths or not paths:
        return None
    name, given = stage(before)
    return {"$match": condition} if not touches(paths, made_by(name, given)) else None


def made_by(name: str, given: Any) -> set[str]:
    """The paths that a stage makes or changes; WHOLE for a stage that a condition must not pass."""
    made = {WHOLE}
    match name, given:
        case "$sort", _:
            made = set()
        case "$lookup", Mapping():
            made = {str(given.get("as"))}
        case "$unwind", str():
            made = {given.removeprefix("$")}
        case "$unwind", Mapping():
            made = {str(given.get("path", "$")).removeprefix("$")}
            made |= {str(given["includeArrayIndex"])} if given.get("includeArrayIndex") else set()
        case "$addFields" | "$set", Mapping():
            # A document as a value sets its parts and leaves others; its head is told, which is more.
            made = set(map(str, given))
        case "$unset", str():
            made = {given}
        case "$unset", list() | tuple():
            made = set(map(str, given))
        case "$project", Mapping() if _excluding(given):
            made = set(map(str, given))
    return made


def _excluding(given: Document) -> bool:
    return bool(given) and all(value is False or value == 0 for value in given.values()) and set(given) != {"_id"}


RULE = Rule(
    "match_first",
    "the conditions look only at fields that the stage before leaves as they are, and it drops no document by itself",
    apply,
)
