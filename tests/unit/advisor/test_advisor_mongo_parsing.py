"""Commands of MongoDB taken apart: shapes, conditions, walks, candidates, and indexes that need not be."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from tercet.advisor.mongo import Command, MongoIndex, from_specs
from tercet.advisor.mongo.candidates import Usage, misspelled, propose, redundant, unused
from tercet.advisor.mongo.parsing.access import accesses
from tercet.advisor.mongo.parsing.condition import conditions
from tercet.advisor.mongo.shape import fingerprint
from tercet.advisor.mongo.shell import line, written
from tercet.advisor.mongo.workload import fold
from tercet.advisor.mongo.workload.mongo_counted import of_shape
from tercet.errors import DocumentInvalid

NOW = datetime(2025, 6, 1, tzinfo=UTC)


def keys(*specs: dict, existing: tuple[MongoIndex, ...] = ()) -> list[tuple[str, tuple[str, ...]]]:
    """Collection and shown keys of everything that is proposed for these."""
    found = propose(from_specs(list(specs)).queries, {"orders": existing})
    return [(one.index.collection, one.index.shown()) for one in found]


def index(*fields: str, name: str = "", **options: object) -> MongoIndex:
    """One on orders; "-total" goes down."""
    pairs = tuple((one.removeprefix("-"), -1 if one.startswith("-") else 1) for one in fields)
    return MongoIndex("orders", pairs, options, name or "_".join(fields))


@given(st.integers(), st.integers(), st.text(max_size=5), st.text(max_size=5))
def test_values_do_not_change_a_shape(one: int, other: int, first: str, second: str) -> None:
    """Whatever number or text stands there; and in whichever order the conditions stand."""
    here = Command("find", "orders", {"status": first, "total": {"$gt": one}})
    there = Command("find", "orders", {"total": {"$gt": other}, "status": second})
    assert fingerprint(here) == fingerprint(there)


@pytest.mark.parametrize(
    "other",
    [
        {"status": "a", "total": {"$lt": 1}},
        {"status": 1, "total": {"$gt": 1}},
        {"status": "a", "total": {"$gt": "1"}},
        {"status": "a"},
        {"status": re.compile("^a"), "total": {"$gt": 1}},
    ],
)
def test_operators_and_classes_of_values_change_a_shape(other: dict) -> None:
    """Plans differ by them."""
    first = Command("find", "orders", {"status": "a", "total": {"$gt": 1}})
    assert fingerprint(first) != fingerprint(Command("find", "orders", other))


def test_conditions_are_equalities_ranges_and_others() -> None:
    """Short lists count as equality, an anchored pattern as a range, $ne as neither; $and and $elemMatch are opened."""
    asked = conditions(
        {
            "a": 1,
            "b": {"$in": [1, 2]},
            "c": {"$gte": 1, "$lt": 5},
            "d": {"$ne": 3},
            "e": re.compile("^abc"),
            "f": re.compile("abc"),
            "$and": [{"g": {"$eq": 2}}, {"h": {"$elemMatch": {"i": 1, "j": {"$gt": 2}}}}],
            "$expr": {"$eq": ["$k", 5]},
        }
    )
    assert asked.of("equal") == ("a", "b", "g", "h.i", "k")
    assert asked.of("range") == ("c", "e", "h.j")
    assert asked.reads == {"a", "b", "c", "d", "e", "f", "g", "h", "k"}


def test_candidates_stand_in_the_order_equality_sort_range() -> None:
    """And with the range before the sort, without the sort, and covering where few fields are asked for."""
    asked = {
        "find": "orders",
        "filter": {"status": "open", "total": {"$gt": 5}},
        "sort": {"created_at": -1},
        "projection": {"_id": 0, "user_id": 1},
    }
    found = [columns for _, columns in keys(asked)]
    assert found[:3] == [
        ("status", "created_at desc", "total"),
        ("status", "total", "created_at desc"),
        ("status", "total"),
    ]
    assert ("status", "created_at desc", "total", "user_id") in found


def test_a_lookup_wants_its_foreign_field_indexed_unless_it_is_the_id() -> None:
    """By foreignField, and by what its pipeline compares with a variable."""
    by_field = {"from": "users", "localField": "user_id", "foreignField": "userId", "as": "user"}
    compared = [{"$match": {"$expr": {"$eq": ["$userId", "$$mine"]}}}]
    by_pipeline = {"from": "users", "let": {"mine": "$user_id"}, "pipeline": compared, "as": "user"}
    by_id = {**by_field, "foreignField": "_id"}
    for lookup in (by_field, by_pipeline):
        assert ("users", ("userId",)) in keys({"aggregate": "orders", "pipeline": [{"$lookup": lookup}]})
    assert keys({"aggregate": "orders", "pipeline": [{"$lookup": by_id}]}) == []


def test_each_branch_of_an_or_has_its_own_candidate() -> None:
    """An $or is as quick as its slowest branch."""
    asked = {"find": "orders", "filter": {"status": "open", "$or": [{"a": 1}, {"b": {"$gt": 2}}]}}
    found = keys(asked)
    assert ("orders", ("status", "a")) in found
    assert ("orders", ("status", "b")) in found


def test_what_all_examples_share_becomes_a_partial_index() -> None:
    """The status is the same in both; the date is not."""
    asked = [{"find": "orders", "filter": {"status": "open", "day": {"$gt": day}}} for day in (1, 2)]
    found = propose(from_specs(asked).queries, {})
    partial = [one.index for one in found if one.index.partial]
    assert [(one.keys, one.partial) for one in partial] == [((("day", 1),), {"status": "open"})]
    assert not any(one.index.partial for one in propose(from_specs(asked[:1]).queries, {}))


def test_text_and_places_are_left_alone() -> None:
    """They have indexes of their own kinds."""
    assert keys({"find": "orders", "filter": {"$text": {"$search": "a"}, "status": 1}}) == []
    assert keys({"find": "orders", "filter": {"at": {"$near": [1, 2]}, "status": 1}}) == []


def test_what_exists_is_not_proposed_and_another_collation_is_another_index() -> None:
    """An index is only what it is under its collation."""
    plain = {"find": "orders", "filter": {"status": "open"}}
    assert keys(plain, existing=(index("status"),)) == []
    assert keys({**plain, "collation": {"locale": "de"}}, existing=(index("status"),)) == [("orders", ("status",))]


def test_a_covering_index_holds_all_that_a_group_reads() -> None:
    """Conditions first, then what is added up; a pipeline that keeps whole documents cannot be covered."""
    match = {"$match": {"status": "done", "created_at": {"$gte": NOW}}}
    group = {"$group": {"_id": {"$year": "$created_at"}, "sum": {"$sum": "$total"}}}
    assert accesses(Command("aggregate", "orders", pipeline=(match, group)))[0].needed == {
        "status",
        "created_at",
        "total",
    }
    assert accesses(Command("aggregate", "orders", pipeline=(match,)))[0].needed is None
    root = {"$group": {"_id": None, "all": {"$push": "$$ROOT"}}}
    assert accesses(Command("aggregate", "orders", pipeline=(match, root)))[0].needed is None


def test_an_index_with_which_another_begins_is_redundant_unless_it_has_a_duty() -> None:
    """Also turned round as a whole; never a unique, expiring, partial or sparse one."""
    longer = index("a", "-b", "c")
    assert [one.index for one in redundant([index("a"), index("-a", "b"), longer])] == [index("a"), index("-a", "b")]
    others = [
        index("a", unique=True),
        index("a", expireAfterSeconds=60),
        index("a", sparse=True),
        index("a", partialFilterExpression={"b": 1}),
        index("a", collation={"locale": "de"}),
        index("a", "b"),
        index("_id", name="_id_"),
    ]
    assert list(redundant([*others, longer])) == []


def test_an_unused_index_goes_only_after_a_week_and_if_nobody_asks_for_it() -> None:
    """A unique one never; one that a query here could use neither."""
    asked = from_specs({"find": "orders", "filter": {"b": 1}}).queries
    indexes = [index("a"), index("b"), index("c", unique=True), index("d"), index("e")]
    week = 8 * 86_400.0
    usage = {one.name: Usage(0, week) for one in indexes} | {"d": Usage(0, 3600.0), "e": Usage(3, week)}
    assert [one.index.name for one in unused(indexes, usage, asked)] == ["a"]


def test_a_misspelled_field_is_told_with_the_one_that_was_meant() -> None:
    """No document has it and no query asks for it; what a query asks for stays."""
    wrong, asked_for = index("shipping_adddess.country"), index("coupon")
    queries = from_specs({"find": "orders", "filter": {"coupon": "x"}}).queries
    fields = {"shipping_address", "shipping_address.country", "total"}
    (drop,) = misspelled([wrong, asked_for], {wrong.name, asked_for.name}, queries, fields)
    assert drop.index == wrong
    assert "was shipping_address.country meant?" in drop.why


def test_commands_are_written_as_mongosh_reads_them() -> None:
    """Values of BSON by their constructors; names that are no words in quotes."""
    id_ = ObjectId("0123456789abcdef01234567")
    values = {"a.b": None, "c": [True, NOW, id_], "d": re.compile("^a/b", re.IGNORECASE)}
    assert written(values) == (
        '{"a.b": null, c: [true, ISODate("2025-06-01T00:00:00.000Z"), ObjectId("0123456789abcdef01234567")],'
        " d: /^a\\/b/i}"
    )
    odd = Command("find", "odd name", {"a": "x"}, sort=(("a", 1),), limit=3)
    assert line(odd) == 'db.getCollection("odd name").find({a: "x"}).sort({a: 1}).limit(3)'


@pytest.mark.parametrize("wrong", [[{"nothing": 1}], [{"pipeline": []}], ["text"], [{"find": 3}]])
def test_what_is_no_query_is_refused_with_what_is_wanted(wrong: list) -> None:
    """The error shows the form."""
    with pytest.raises(DocumentInvalid) as caught:
        from_specs(wrong)
    assert '"aggregate": "orders"' in str(caught.value)


def test_a_pipeline_alone_is_asked_of_the_named_collection() -> None:
    """A list of stages is one question; a list of such documents is several."""
    one = from_specs([{"$match": {"a": 1}}, {"$limit": 3}], collection="orders")
    assert [query.command.collection for query in one.queries] == ["orders"]
    assert len(one.queries[0].command.pipeline) == 2


def test_a_shape_of_query_stats_is_told_without_values() -> None:
    """By its calls and their time; it leads to candidates, and says why it is not run."""
    shape = {
        "cmdNs": {"db": "shop", "coll": "orders"},
        "command": "find",
        "filter": {"$and": [{"status": {"$eq": "?string"}}, {"total": {"$gt": "?number"}}]},
        "sort": {"created_at": -1},
    }
    metrics = {"execCount": 4, "totalExecMicros": {"sum": 8_000, "max": 5_000}}
    entry = {"key": {"queryShape": shape}, "metrics": metrics}
    assert of_shape(entry, "another") is None
    seen = of_shape(entry, "shop")
    assert seen is not None
    (query,) = fold([seen], "$queryStats").queries
    assert (query.calls, query.ms, query.collection) == (4.0, 2.0, "orders")
    assert "no values" in query.unrunnable
    assert propose([query], {})[0].index.shown() == ("status", "created_at desc", "total")
    pipeline = {**shape, "command": "aggregate", "pipeline": [{"$match": {"status": {"$eq": "?string"}}}]}
    counted = of_shape({"key": {"queryShape": pipeline}, "metrics": metrics}, "shop")
    assert counted is not None
    assert counted.command.kind == "aggregate"
