"""Indexes that need not be: those that begin a longer one, that nobody uses, that no document can be found by."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.mongo.parsing.access import accesses
from tercet.advisor.mongo.parsing.condition import paths_of
from tercet.advisor.mongo.parsing.paths import touch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from tercet.advisor.mongo.index import MongoIndex
    from tercet.advisor.mongo.shape import Query

# A report of the end of a week, and a week-end without one, are both within it.
USED_SECONDS_MIN = 7 * 86_400.0
_ALIKE = 0.8


@dataclass(frozen=True)
class Drop:
    """An index that can go, and why; `sure` if that follows from the indexes alone."""

    index: MongoIndex
    why: str
    sure: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """How often an index was used on all nodes together, and for how long every one of them has counted."""

    times: int
    seconds: float


def redundant(indexes: Sequence[MongoIndex]) -> Iterator[Drop]:
    """Plain indexes with which a longer one begins."""
    for one in indexes:
        longer = next((other for other in indexes if other.plain and one.begins(other)), None)
        if longer is not None and one.plain and not one.dutiful:
            yield Drop(one, f"{longer.called} begins with it and answers whatever it answers", sure=True)


def unused(indexes: Sequence[MongoIndex], usage: Mapping[str, Usage], queries: Sequence[Query]) -> Iterator[Drop]:
    """Indexes that no node has used for a week or longer, and that no query here could use."""
    asked = _asked(queries)
    for one in indexes:
        told = usage.get(one.name)
        if told is None or told.times or told.seconds < USED_SECONDS_MIN or one.dutiful:
            continue
        if not any(touch(one.fields[0], path) for path in asked):
            yield Drop(one, f"no node has used it in {told.seconds / 86_400:.0f} days")


def misspelled(
    indexes: Sequence[MongoIndex], empty: Collection[str], queries: Sequence[Query], fields: Collection[str]
) -> Iterator[Drop]:
    """Indexes (by name in `empty`) on a field that no document has and no query asks, with the field that was meant."""
    asked = _asked(queries)
    for one in indexes:
        first = one.fields[0]
        if one.name not in empty or one.dutiful or any(touch(first, path) for path in asked):
            continue
        near = _near(first, fields)
        meant = f"; was {near} meant?" if near else ""
        yield Drop(one, f"no document has {first}, and no query asks for it{meant}")


def _near(path: str, fields: Collection[str]) -> str:
    """The field whose name is most like this one, also if only a part of the path is misspelled."""
    found = difflib.get_close_matches(path, fields, n=1, cutoff=_ALIKE)
    return found[0] if found else ""


def _asked(queries: Sequence[Query]) -> set[str]:
    """Every path that a query asks or sorts by, anywhere."""
    found: set[str] = set()
    for query in queries:
        for command in query.examples:
            found |= paths_of(command.filter) | {name for name, _ in command.sort}
            for access in accesses(command):
                found |= access.conditions.reads | {name for name, _ in access.sort} | (access.needed or set())
    return found
