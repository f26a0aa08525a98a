"""Every rewriting answers the same on a real mongod: with missing fields, nulls, arrays and empty arrays about."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from pymongo.asynchronous.database import AsyncDatabase

from tercet.advisor.mongo import Command
from tercet.advisor.mongo.rules import RULES, Facts, rewritten
from tercet.advisor.mongo.trial import Desk, Throwaway
from tercet.advisor.mongo.trial.mongo_server import client

Database = AsyncDatabase[dict[str, Any]]

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Whatever a field may hold that a comparison, a join or a group could stumble over; MISSING leaves it out.
MISSING = object()
VALUES = (0, 1, 2, 1.0, "1", "a", None, MISSING, [1, 2], [1], [], [None], [[1]], True, {"b": 1}, {"b": [1, 2]})
UNIQUE = Facts(frozenset({("others", "key")}))

BY_A = {"from": "others", "localField": "a", "foreignField": "f", "as": "o"}
BY_LET = {
    "from": "others",
    "let": {"mine": "$a"},
    "pipeline": [{"$match": {"$expr": {"$eq": ["$f", "$$mine"]}}}],
    "as": "o",
}
KEEPING = {"path": "$o", "preserveNullAndEmptyArrays": True}
SORTED = ({"$sort": {"n": 1}}, {"$limit": 7})

# Each with the rules that must have done something; none for what must stay as it is.
PIPELINES: tuple[tuple[tuple[dict[str, Any], ...], tuple[str, ...]], ...] = (
    (({"$lookup": BY_A}, {"$match": {"c": 1}}), ("match_first",)),
    (({"$lookup": BY_A}, {"$match": {"o.f": 1}}), ()),
    (({"$unwind": "$a"}, {"$match": {"c": 1}}), ("match_first",)),
    (({"$unwind": "$a"}, {"$match": {"a": 1}}), ()),
    (({"$unwind": {"path": "$a", "includeArrayIndex": "c"}}, {"$match": {"c": 1}}), ()),
    (({"$addFields": {"x": {"$type": "$a"}}}, {"$match": {"c": {"$in": [1, None]}}}), ("match_first",)),
    (({"$addFields": {"c": 1}}, {"$match": {"c": 1}}), ()),
    (({"$set": {"c.b": 1}}, {"$match": {"c": {"b": 1}}}), ()),
    (({"$project": {"a": 0}}, {"$match": {"c": {"$gte": 1}}}), ("match_first",)),
    (({"$project": {"c": 0}}, {"$match": {"c": None}}), ()),
    (({"$project": {"c": 1}}, {"$match": {"a": None}}), ()),
    (({"$unset": ["a", "x"]}, {"$match": {"c": 1}}), ("match_first",)),
    (({"$sort": {"n": 1}}, {"$match": {"$or": [{"c": 1}, {"a": 2}]}}), ("match_first",)),
    (({"$sort": {"n": 1}}, {"$limit": 9}, {"$match": {"c": 1}}), ()),
    (({"$group": {"_id": "$c", "k": {"$sum": 1}}}, {"$match": {"_id": 1}}), ("match_before_group",)),
    (({"$group": {"_id": "$c", "k": {"$sum": 1}}}, {"$match": {"_id": {"$gt": 0, "$lt": 2}}}), ("match_before_group",)),
    (({"$group": {"_id": "$c", "k": {"$sum": 1}}}, {"$match": {"_id": {"$in": [1, "a"]}}}), ("match_before_group",)),
    (({"$group": {"_id": {"x": "$c"}, "k": {"$sum": 1}}}, {"$match": {"_id.x": 1}}), ("match_before_group",)),
    (({"$group": {"_id": "$c", "k": {"$sum": 1}}}, {"$match": {"_id": None}}), ()),
    (({"$group": {"_id": "$c", "k": {"$sum": 1}}}, {"$match": {"_id": {"$ne": 1}}}), ()),
    (({"$group": {"_id": "$c", "k": {"$sum": 1}}}, {"$match": {"k": {"$gt": 1}}}), ()),
    (({"$group": {"_id": "$c.b", "k": {"$sum": 1}}}, {"$match": {"_id": 1}}), ()),
    (({"$lookup": BY_A}, {"$addFields": {"x": "$c"}}, *SORTED), ("lookup_later",)),
    (({"$lookup": BY_A}, *SORTED, {"$project": {"o": 1, "n": 1}}), ("lookup_later",)),
    (({"$lookup": BY_A}, {"$addFields": {"a": 1}}, *SORTED), ()),
    (({"$lookup": BY_A}, {"$addFields": {"x": {"$size": "$o"}}}, {"$sort": {"x": 1, "n": 1}}, {"$limit": 5}), ()),
    (({"$lookup": BY_A}, {"$unwind": "$o"}, *SORTED), ()),
    (({"$lookup": BY_A}, {"$unwind": KEEPING}, *SORTED), ()),
    (
        (
            {"$lookup": {"from": "others", "localField": "_id", "foreignField": "key", "as": "o"}},
            {"$unwind": KEEPING},
            *SORTED,
        ),
        ("lookup_later",),
    ),
    (({"$lookup": BY_LET},), ("lookup_by_field",)),
    (({"$lookup": {**BY_LET, "let": {"mine": "$a.b"}}},), ()),
    (({"$lookup": BY_LET}, {"$match": {"c": 1}}, *SORTED), ("match_first", "lookup_later", "lookup_by_field")),
)


def _documents() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    dice = random.Random(7)
    pairs = list(itertools.product(VALUES, VALUES))
    dice.shuffle(pairs)
    mine = [{"_id": n, "n": n, "a": a, "c": c} for n, (a, c) in enumerate(pairs)]
    # Without empty arrays: the one thing that a join by fields does not find, and that is asked before.
    theirs = [{"_id": n, "key": n, "f": f} for n, f in enumerate(one for one in VALUES * 2 if one != [])]
    return [_kept(one) for one in mine], [_kept(one) for one in theirs]


def _kept(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not MISSING}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place() -> AsyncIterator[Database]:
    """A throw-away server with documents of every kind."""
    async with await Throwaway.start() as server, client(server.url) as own:
        mine, theirs = _documents()
        await own["rules"].mine.insert_many(mine)
        await own["rules"].others.insert_many(theirs)
        yield own["rules"]


@pytest.mark.parametrize(("pipeline", "wanted"), PIPELINES, ids=lambda one: str(one)[:60])
async def test_a_rewritten_pipeline_answers_the_same(
    place: Database, pipeline: tuple[dict[str, Any], ...], wanted: tuple[str, ...]
) -> None:
    """Row for row, whatever their order; and a rule does something where it may, and nothing where it must not."""
    after, names, _ = rewritten(pipeline, UNIQUE)
    assert names == wanted
    desk = Desk(place)
    first = await desk.answer(Command("aggregate", "mine", pipeline=pipeline))
    second = await desk.answer(Command("aggregate", "mine", pipeline=after))
    assert first == second
    assert first is not None
    assert first[1]


async def test_an_empty_array_is_why_a_join_by_fields_has_a_condition(place: Database) -> None:
    """The rule names the field; with such a document the answers do differ, so it is not asked for nothing."""
    after, _, unless = rewritten(({"$lookup": BY_LET},), Facts())
    assert unless == (("others", "f"),)
    # Versions before 5.0 take either fields or a pipeline.
    assert rewritten(({"$lookup": BY_LET},), Facts(version=(4, 4, 29)))[1] == ()
    desk = Desk(place)
    await place.others.insert_one({"_id": "empty", "key": "empty", "f": []})
    try:
        first = await desk.answer(Command("aggregate", "mine", pipeline=({"$lookup": BY_LET},)))
        second = await desk.answer(Command("aggregate", "mine", pipeline=after))
    finally:
        await place.others.delete_one({"_id": "empty"})
    assert first != second


async def test_each_rule_is_tried_here_and_says_why_it_is_equal() -> None:
    """No rule without a pipeline above that it changes."""
    tried = {name for _, names in PIPELINES for name in names}
    assert tried == {rule.name for rule in RULES}
    assert all(rule.why for rule in RULES)
