"""What MongoDB's events say, as changes and commits; without a server."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from tercet.changes import Change, Commit, Wants
from tercet.changes.mongo.event import brings, change_of
from tercet.changes.mongo.gathering import Gathering
from tercet.changes.mongo.scope import Scope
from tercet.errors import SchemaInvalid
from tercet.witness import Moment

WHEN = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Stamp:
    """A cluster time."""

    time: int
    inc: int


def scope(**tables: set[str] | None) -> Scope:
    """These fields of these collections of the shop."""
    return Scope.of("shop", Wants({name: None if some is None else frozenset(some) for name, some in tables.items()}))


def event(operation: str, number: int = 1, *, table: str = "orders", **more: Any) -> dict[str, Any]:
    """An event as a server tells it; the number is its time, its token and its document."""
    return {
        "_id": {"_data": f"{number:04}"},
        "operationType": operation,
        "clusterTime": Stamp(1, number),
        "wallTime": WHEN,
        "ns": {"db": "shop", "coll": table},
        "documentKey": {"_id": number},
        **more,
    }


def told(what: dict[str, Any], where: Scope) -> Change:
    """The change that an event is."""
    change = change_of(what, where)
    assert change is not None
    return change


def projected(where: Scope) -> set[str]:
    """The fields of events that a server is asked for."""
    *_, stage = where.stages()
    fields: Any = stage["$project"]
    return set(fields)


def test_an_insert_tells_the_wanted_fields_and_the_key() -> None:
    """A field that the document does not have is known to be nothing."""
    document = {"_id": 1, "user": 7, "address": {"city": "Seoul"}, "secret": 1}
    change = told(event("insert", fullDocument=document), scope(orders={"user", "address.city", "gone"}))
    assert (change.kind, change.schema, change.table) == ("insert", "shop", "orders")
    assert change.new == {"_id": 1, "user": 7, "address.city": "Seoul", "gone": None}
    assert change.old == {}


def test_a_path_through_something_else_than_a_document_leads_to_nothing() -> None:
    """A text or a list has no fields."""
    document = {"_id": 1, "address": ["Seoul"], "user": "city"}
    change = told(event("insert", fullDocument=document), scope(orders={"address.city", "user.city"}))
    assert change.new == {"_id": 1, "address.city": None, "user.city": None}


def test_an_update_tells_what_it_has_set_at_below_and_above_what_is_wanted() -> None:
    """What is not touched is left out, for nobody knows it; what is taken away is None."""
    described = {
        "updatedFields": {"total": 5, "address.city": "Busan", "items.0.price": 2, "extra": {"a": {"b": 9}}, "no": 1},
        "removedFields": ["note"],
        "truncatedArrays": [],
    }
    wanted = scope(orders={"total", "address", "items", "extra.a.b", "extra.c", "note", "user"})
    change = told(event("update", updateDescription=described), wanted)
    assert change.kind == "update"
    assert change.new == {
        "_id": 1,
        "total": 5,
        "address.city": "Busan",
        "items.0.price": 2,
        "extra.a.b": 9,
        "extra.c": None,
        "note": None,
    }


def test_an_update_with_every_field_wanted_tells_all_that_it_has_set() -> None:
    """As the server writes it, by path."""
    described = {"updatedFields": {"a.b": 1}, "removedFields": ["c"]}
    assert told(event("update", updateDescription=described), scope(orders=None)).new == {"_id": 1, "a.b": 1, "c": None}


def test_images_are_told_where_they_come() -> None:
    """The document before and after an update, as far as it is wanted."""
    what = event("update", fullDocument={"_id": 1, "user": 8}, fullDocumentBeforeChange={"_id": 1, "user": 7, "x": 1})
    change = told(what, scope(orders={"user"}))
    assert (change.new, change.old) == ({"_id": 1, "user": 8}, {"_id": 1, "user": 7})


def test_a_looked_up_document_that_is_gone_leaves_what_the_update_has_set() -> None:
    """A null document is no document."""
    what = event("update", fullDocument=None, updateDescription={"updatedFields": {"user": 8}})
    assert told(what, scope(orders={"user"})).new == {"_id": 1, "user": 8}


def test_a_delete_tells_the_key_or_what_was_there() -> None:
    """As old, and nothing as new."""
    assert told(event("delete"), scope(orders=None)).old == {"_id": 1}
    image = event("delete", fullDocumentBeforeChange={"_id": 1, "user": 7})
    assert told(image, scope(orders={"user"})).old == {"_id": 1, "user": 7}
    assert told(image, scope(orders={"user"})).new == {}


@pytest.mark.parametrize("operation", ["drop", "rename"])
def test_a_collection_that_goes_is_a_truncate(operation: str) -> None:
    """Under its old name there is nothing any more."""
    change = told(event(operation, to={"db": "shop", "coll": "old"}), scope(orders=None))
    assert (change.kind, change.table, change.new, change.old) == ("truncate", "orders", {}, {})


def test_what_nobody_wants_is_no_change() -> None:
    """Other collections, and operations that change no document."""
    assert change_of(event("insert", table="else", fullDocument={}), scope(orders=None)) is None
    assert change_of(event("createIndexes"), scope(orders=None)) is None
    assert change_of({"operationType": "dropDatabase", "ns": {"db": "shop"}}, scope(orders=None)) is None
    assert change_of({"operationType": "invalidate"}, scope(orders=None)) is None


def test_every_collection_but_the_hidden_one_is_meant_by_a_star() -> None:
    """What is written because of a change would come for ever."""
    every = Scope.of("shop", Wants({"*": frozenset({"_id"}), "orders": None}), hidden=("tercet_places",))
    assert every.wanted("else")
    assert not every.wanted("tercet_places")
    assert every.columns("orders") is None
    assert every.columns("else") == {"_id"}


def test_a_collection_that_is_renamed_to_a_wanted_name_is_found() -> None:
    """Its documents are new there, and none of them is told."""
    what = event("rename", table="fresh", to={"db": "shop", "coll": "orders"})
    assert brings(what, scope(orders=None)) == "orders"
    assert brings(what, scope(users=None)) is None
    assert brings({**what, "to": {"db": "else", "coll": "orders"}}, scope(orders=None)) is None


def test_the_server_is_asked_for_wanted_fields_only() -> None:
    """A path and what lies below it are not named both; keys alone need no document at all."""
    fields = projected(scope(orders={"a", "a.b", "c"}, users={"d"}))
    assert {"fullDocument.a", "fullDocument.c", "fullDocument.d", "fullDocumentBeforeChange.a"} <= fields
    assert "fullDocument.a.b" not in fields
    assert not any(name.startswith(("fullDocument", "update")) for name in projected(scope(orders={"_id"})))
    assert len(scope(orders=None, users={"a"}).stages()) == 1


def test_a_collection_may_be_named_with_its_database() -> None:
    """And both names together want what either of them wants."""
    both = Scope.of("shop", Wants({"shop.orders": frozenset({"a"}), "orders": frozenset({"b"})}))
    assert both.tables == {"orders": {"a", "b"}}
    assert both.single == "orders"


@pytest.mark.parametrize("name", ["", "$cmd", "a\0b"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    """Nothing of it becomes an operator."""
    with pytest.raises(SchemaInvalid):
        Scope.of("shop", Wants({name: None}))


@pytest.mark.parametrize("path", ["", "$where", "a.$b", "a..b", "a\0"])
def test_a_field_that_is_none_is_refused(path: str) -> None:
    """Nothing of it becomes an operator."""
    with pytest.raises(SchemaInvalid):
        Scope.of("shop", Wants({"orders": frozenset({path})}))


def insert(number: int, transaction: int | None = None, session: Any = b"s") -> dict[str, Any]:
    """An insert, in a transaction or by itself."""
    part = {} if transaction is None else {"lsid": {"id": session}, "txnNumber": transaction}
    made = event("insert", number, fullDocument={"_id": number}, **part)
    # The events of a transaction share their time.
    return made if transaction is None else {**made, "clusterTime": Stamp(2, transaction)}


def keys(commits: list[Commit]) -> list[tuple[list[object], bool, object]]:
    """What each commit has, whether it is whole, and where to go on from."""
    return [([change.new["_id"] for change in one.changes], one.last, one.position) for one in commits]


def gathering() -> Gathering:
    """Of the orders."""
    return Gathering(scope(orders=None), "mongo:rs0")


def test_each_event_by_itself_is_a_commit_with_its_moment() -> None:
    """The last one's position is where the stream stands."""
    commits = gathering().add([insert(1), insert(2)], end="0009")
    assert keys(commits) == [([1], True, "0001"), ([2], True, "0009")]
    assert commits[0].moment == Moment("mongo:rs0", (1 << 32) + 1)
    assert commits[0].at == WHEN


def test_a_transaction_is_one_commit_once_something_else_has_come() -> None:
    """Also when it is the same session's next one."""
    made = gathering()
    assert keys(made.add([insert(1, 5), insert(2, 5)], end="0002")) == []
    assert made.holds
    assert keys(made.add([insert(3, 5), insert(4, 6)], end="0004")) == [
        ([1, 2], False, "0002"),
        ([3], True, "0003"),
    ]
    assert keys(made.add([], end="0008")) == [([4], True, "0008")]
    assert not made.holds


def test_a_transaction_is_whole_where_the_stream_is_beyond_it() -> None:
    """Nothing is held then."""
    made = gathering()
    assert keys(made.add([insert(1, 5), insert(2, 5)], end="0009")) == [([1, 2], True, "0009")]
    assert not made.holds


def test_a_transaction_with_an_end_in_the_next_batch_is_told_whole_before_what_follows() -> None:
    """It is held, not lost, and not mixed with what comes after it."""
    made = gathering()
    assert made.add([insert(1), insert(2, 5)], end="0002")[0].last
    assert keys(made.add([insert(3)], end="0003")) == [([2], True, "0002"), ([3], True, "0003")]


def test_two_sessions_with_the_same_number_are_two_transactions() -> None:
    """Also where the driver gives a session's id as a UUID."""
    one, two = UUID(int=1), UUID(int=2)
    commits = gathering().add([insert(1, 5, one), insert(2, 5, two)], end="0009")
    assert [len(commit.changes) for commit in commits] == [1, 1]


def test_nothing_is_told_from_a_replaced_collection_on() -> None:
    """What came before it is."""
    made = gathering()
    rename = event("rename", 2, table="fresh", to={"db": "shop", "coll": "orders"})
    assert keys(made.add([insert(1, 5), rename, insert(3)], end="0009")) == [([1], True, "0001")]
    assert made.replaced == "orders"


def test_a_server_without_a_wall_clock_tells_the_second() -> None:
    """With its zone."""
    bare = {name: value for name, value in insert(1).items() if name != "wallTime"}
    (commit,) = gathering().add([bare], end="0009")
    assert commit.at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
