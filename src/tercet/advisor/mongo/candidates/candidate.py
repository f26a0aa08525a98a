"""Indexes proposed for a workload: each once, with whom it may help, those that exist already left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tercet.advisor.mongo.candidates.orders import orders
from tercet.advisor.mongo.index import MongoIndex
from tercet.advisor.mongo.parsing.access import accesses
from tercet.advisor.mongo.parsing.paths import WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tercet.advisor.mongo.parsing.access import Access
    from tercet.advisor.mongo.shape import Document, Query

# So many single fields below one path, each asked alone, are a case for a wildcard.
_WILD_FROM = 4


@dataclass(frozen=True)
class Candidate:
    """An index with the reason for it, and the fingerprints of those that it was thought of for."""

    index: MongoIndex
    why: str
    helps: tuple[str, ...]


def propose(queries: Sequence[Query], existing: Mapping[str, Sequence[MongoIndex]]) -> tuple[Candidate, ...]:
    """Every candidate for these queries, in the order of the queries' weight."""
    found: dict[MongoIndex, Candidate] = {}
    for query in sorted(queries, key=lambda one: -one.weight):
        for index, why in _for(query):
            known = next((one for one in found if one.same(index)), None)
            if known is not None:
                candidate = found[known]
                helps = tuple(dict.fromkeys((*candidate.helps, query.fingerprint)))
                found[known] = replace(candidate, helps=helps)
            elif not any(_there(index, one) for one in existing.get(index.collection, ())):
                found[index] = Candidate(index, why, (query.fingerprint,))
    return (*found.values(), *_wild(queries, existing))


def _there(index: MongoIndex, one: MongoIndex) -> bool:
    return (one.same(index) and one.plain) or one.keys == (("_id", 1),) == index.keys


def _for(query: Query) -> Iterator[tuple[MongoIndex, str]]:
    for access in accesses(query.command):
        if access.joined and access.conditions.of("equal") == ("_id",):
            continue
        options: dict[str, Any] = {"collation": dict(access.collation)} if access.collation else {}
        seen = []
        for keys, why in orders(access):
            index = MongoIndex(access.collection, keys, options)
            if keys not in seen and keys[0][0] != "_id":
                seen.append(keys)
                yield index, "the other side of a $lookup" if access.joined else why
        yield from _partial(query, access, seen, options)


def _partial(query: Query, access: Access, seen: Sequence[Any], options: dict[str, Any]) -> Iterator[Any]:
    """Only the documents that every example asks for: {status: "completed"} left out of the keys, or $exists."""
    fixed = _fixed(query, access.collection)
    if not fixed:
        return
    for keys in seen[:2]:
        rest = tuple((name, way) for name, way in keys if name not in fixed)
        if rest:
            whole = {**options, "partialFilterExpression": dict(fixed)}
            yield MongoIndex(access.collection, rest, whole), "only the documents that are asked for"


def _fixed(query: Query, collection: str) -> Document:
    """Conditions that are the same in all examples, and that a partial index may have as its own.

    A single example says nothing: its value may be another one the next time. A text or a truth value in it is taken
    for a part of the question only if there are others.
    """
    if len(query.examples) < 2 or collection != query.collection:  # noqa: PLR2004 - one of them proves nothing
        return {}
    first, *others = [{one.path: one for one in accesses(command)[0].conditions.all_of} for command in query.examples]
    fixed: dict[str, Any] = {}
    for path, one in first.items():
        mates = [other.get(path) for other in others]
        if one.exists and all(mate is not None and mate.exists for mate in mates):
            fixed[path] = {"$exists": True}
        elif (
            one.single
            and isinstance(one.value, str | bool)
            and all(mate is not None and mate.single and mate.value == one.value for mate in mates)
        ):
            fixed[path] = one.value
    return fixed


def _wild(queries: Iterable[Query], existing: Mapping[str, Sequence[MongoIndex]]) -> Iterator[Candidate]:
    """A wildcard below a path of which many different fields are asked alone."""
    helped: dict[tuple[str, str], dict[str, str]] = {}
    for query in queries:
        access = accesses(query.command)[0]
        alone = access.conditions.of("equal") + access.conditions.of("range")
        if len(alone) == 1 and "." in alone[0] and WHOLE not in alone:
            parent = alone[0].rpartition(".")[0]
            helped.setdefault((access.collection, parent), {})[alone[0]] = query.fingerprint
    asked = Counter({place: len(fields) for place, fields in helped.items()})
    for (collection, parent), count in asked.items():
        index = MongoIndex(collection, ((f"{parent}.$**", 1),), {})
        if count >= _WILD_FROM and not any(one.keys == index.keys for one in existing.get(collection, ())):
            why = f"{count} different fields below {parent} are asked, each alone"
            yield Candidate(index, why, tuple(helped[collection, parent].values()))
