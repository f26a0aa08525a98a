"""How a command enters its collections: conditions, order, and which fields it needs of each document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tercet.advisor.mongo.parsing.condition import Condition, Conditions, conditions, paths_of
from tercet.advisor.mongo.parsing.paths import WHOLE, read_by
from tercet.advisor.mongo.rules.rule import stage
from tercet.advisor.mongo.rules.rules import match_moved

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.mongo.rules.rule import Pipeline
    from tercet.advisor.mongo.shape import Command, Document, Keys


@dataclass(frozen=True)
class Access:
    """One walk through one collection."""

    collection: str
    conditions: Conditions
    sort: Keys = ()
    # All fields that are needed; None for the whole document.
    needed: frozenset[str] | None = None
    limited: bool = False
    # The keys of a $group that needs only the first of each, or of a distinct.
    grouped: tuple[str, ...] = ()
    collation: Document | None = None
    # Of a $lookup: asked once for each document.
    joined: bool = False


def accesses(command: Command) -> tuple[Access, ...]:
    """Every walk that an index could help; the first is the command's own collection."""
    if command.kind == "aggregate":
        found = tuple(_of_pipeline(command.collection, command.pipeline))
    elif command.kind == "distinct":
        asked = conditions(command.filter)
        found = (Access(command.collection, asked, needed=asked.reads | {command.key}, grouped=(command.key,)),)
    else:
        found = (_of_find(command),)
    return tuple(replace(one, collation=command.collation) for one in found)


def _of_find(command: Command) -> Access:
    asked = conditions(command.filter)
    needed = _projected(command.projection)
    if command.kind == "count":
        needed = frozenset()
    if needed is not None:
        needed |= asked.reads | {name for name, _ in command.sort}
    limited = bool(command.limit) or command.kind == "findAndModify"
    return Access(command.collection, asked, command.sort, None if needed and WHOLE in needed else needed, limited)


def _projected(projection: Document | None) -> frozenset[str] | None:
    """What an including projection keeps."""
    if not projection or any(_off(value) for key, value in projection.items() if key != "_id"):
        return None
    if set(projection) == {"_id"} and not projection["_id"]:
        return None
    own = set() if _off(projection.get("_id")) else {"_id"}
    for name, value in projection.items():
        if name != "_id":
            own |= {name} if value == 1 else read_by(value)
    return frozenset(own)


def _off(value: Any) -> bool:
    return isinstance(value, int | float) and not value


def _of_pipeline(collection: str, given: Pipeline) -> Iterator[Access]:
    pipeline = match_moved(given)
    asked: list[Document] = []
    at = 0
    while at < len(pipeline) and stage(pipeline[at])[0] == "$match":
        asked.append(stage(pipeline[at])[1])
        at += 1
    sort: Keys = ()
    if at < len(pipeline) and stage(pipeline[at])[0] == "$sort":
        sort = tuple(stage(pipeline[at])[1].items())
        at += 1
    rest = pipeline[at:]
    held = conditions({"$and": asked} if asked else {})
    needed = _needed(rest)
    if needed is not None:
        needed |= held.reads | {name for name, _ in sort}
        needed = None if WHOLE in needed else needed
    limited = bool(rest) and stage(rest[0])[0] == "$limit"
    yield Access(collection, held, sort, needed, limited, grouped=_grouped(rest))
    for one in rest:
        yield from _joined(one)


def _grouped(rest: Pipeline) -> tuple[str, ...]:
    """The keys of a $group that takes of each group no more than one document, as a distinct scan can."""
    name, given = stage(rest[0]) if rest else ("", None)
    if name != "$group" or not isinstance(given, Mapping):
        return ()
    key = given.get("_id")
    firsts = all(isinstance(one, Mapping) and set(one) <= {"$first", "$last"} for k, one in given.items() if k != "_id")
    return (key[1:],) if firsts and isinstance(key, str) and key.startswith("$") and key[1:2] != "$" else ()


def _joined(one: Document) -> Iterator[Access]:
    """What a stage asks of other collections."""
    name, given = stage(one)
    if not isinstance(given, Mapping):
        return
    if name == "$lookup" and "from" in given:
        yield from _looked_up(given)
    elif name == "$graphLookup":
        by = Conditions((Condition(str(given.get("connectToField")), "equal"),))
        yield Access(str(given.get("from")), by, joined=True)
    elif name == "$unionWith" and given.get("pipeline"):
        yield from _of_pipeline(str(given.get("coll")), tuple(given["pipeline"]))
    elif name == "$facet":
        for stages in given.values():
            for inner in stages:
                yield from _joined(inner)


def _looked_up(given: Document) -> Iterator[Access]:
    """By the foreign field, with what the pipeline asks first beside it."""
    inner = tuple(_of_pipeline(str(given["from"]), tuple(given.get("pipeline") or ())))
    first, *others = inner
    asked = first.conditions
    by = [Condition(str(given["foreignField"]), "equal")] if "foreignField" in given else []
    by += [Condition(name, "equal") for name in _compared(given) if name not in {one.path for one in by}]
    if by:
        together = Conditions((*by, *asked.all_of), (), asked.special, asked.reads | {one.path for one in by})
        yield replace(first, conditions=together, joined=True)
    yield from others


def _compared(given: Document) -> list[str]:
    """Foreign fields that the pipeline compares with variables by $expr, which an index can be entered by."""
    name, condition = stage(given["pipeline"][0]) if given.get("pipeline") else ("", None)
    if name != "$match" or not isinstance(condition, Mapping):
        return []
    found, todo = [], [condition.get("$expr")]
    while todo:
        one = todo.pop()
        if not isinstance(one, Mapping):
            continue
        todo.extend(one.get("$and") or ())
        sides = one.get("$eq")
        if isinstance(sides, list | tuple) and any(isinstance(s, str) and s.startswith("$$") for s in sides):
            found += [s[1:] for s in sides if isinstance(s, str) and s.startswith("$") and s[1:2] != "$"]
    return found


def _needed(rest: Pipeline) -> frozenset[str] | None:
    """What the stages after the first ones read of a document; None if it may be all."""
    found: set[str] = set()
    made: set[str] = set()
    for one in rest:
        name, given = stage(one)
        read, ends = _read(name, given)
        if WHOLE in read:
            return None
        found |= {path for path in read if not any(path == m or path.startswith(m + ".") for m in made)}
        if ends:
            return frozenset(found)
        if name in {"$addFields", "$set"}:
            made |= set(map(str, given))
        elif name == "$lookup":
            made.add(str(given.get("as")))
    return None


def _read(name: str, given: Any) -> tuple[set[str], bool]:
    """What a stage reads, and whether nothing but what it names goes on."""
    match name:
        case "$group" | "$sortByCount" | "$bucket" | "$bucketAuto":
            return read_by(given), True
        case "$count":
            return set(), True
        case "$project":
            kept = _projected(given)
            return ({WHOLE}, False) if kept is None else (set(kept), True)
        case _:
            return _passing(name, given), False


def _passing(name: str, given: Any) -> set[str]:
    """What a stage reads that hands on the rest of each document."""
    found = {WHOLE}
    match name:
        case "$match":
            found = paths_of(given)
        case "$sort":
            found = set(map(str, given))
        case "$limit" | "$skip":
            found = set()
        case "$unwind":
            found = read_by(given if isinstance(given, str) else given.get("path"))
        case "$addFields" | "$set":
            found = read_by(given)
        case "$lookup":
            own = {str(given["localField"])} if "localField" in given else set()
            found = own | read_by(given.get("let") or {})
    return found
