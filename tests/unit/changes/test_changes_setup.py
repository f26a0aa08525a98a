"""Which feed a server can give, and which steps a set-up takes: as values, without a server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tercet.changes import Wants
from tercet.changes.fallback.pace import BUSY_SECONDS, IDLE_SECONDS, Pace
from tercet.changes.fallback.places import Place
from tercet.changes.setup.apply import migration
from tercet.changes.setup.choose import choose
from tercet.changes.setup.findings import (
    Column,
    Findings,
    Publication,
    Published,
    Server,
    Slot,
    Table,
    place_of,
    written_of,
)
from tercet.changes.setup.identity import gaps
from tercet.changes.setup.plan import plan
from tercet.errors import FeedRefused, PublicationUnsafe

SERVER = Server(
    version="18.1",
    number=180_001,
    replica=False,
    wal_level="logical",
    slots_max=10,
    slots=2,
    senders_max=10,
    senders=1,
    keep_bytes=None,
    login="shop",
    database="shop",
    superuser=False,
    replication=True,
    may_create=True,
)
FILLED, NULLABLE, GENERATED = Column(not_null=True), Column(not_null=False), Column(not_null=True, generated=True)
ORDERS = Table(
    ("public", "orders"),
    "table",
    {"id": FILLED, "user_id": FILLED, "note": NULLABLE, "twice": GENERATED, "total": FILLED},
    primary=("id",),
)
LOG = Table(("public", "log"), "table", {"at": FILLED, "line": NULLABLE})
OURS = Publication(
    "tercet", all_tables=False, insert=True, update=True, delete=True, truncate=True, via_root=True, ours=True
)


def _found(*tables: Table, publications: tuple[Publication, ...] = (), server: Server = SERVER) -> Findings:
    return Findings(server, publications=publications, tables={table.place: table for table in tables})


def _statements(findings: Findings, tables: dict[str, frozenset[str] | None], **more: object) -> list[str]:
    steps = plan(findings, Wants(tables), **more)  # type: ignore[arg-type] # the tests' own words
    return [statement for step in steps for statement in step.statements]


USER = {"orders": frozenset({"user_id"})}


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({}, "stream", "over a replication connection"),
        ({"replica": True}, "stream", "over a replication connection"),
        ({"pooled": True}, "poll", "a pooler is in between"),
        ({"senders": 10}, "poll", "raise max_wal_senders"),
        ({"wal_level": "replica"}, "triggers", "wal_level is replica (set it to logical"),
        ({"replication": False}, "triggers", "the login shop may not replicate"),
        ({"slots": 10}, "triggers", "all 10 replication slots are taken"),
        ({"wal_level": "replica", "may_create": False}, None, "may make no schema in shop"),
        ({"replica": True, "number": 150_004}, None, "they decode their log from PostgreSQL 16 on"),
        ({"replica": True, "wal_level": "replica"}, None, "A replica takes no triggers"),
    ],
)
def test_the_best_feed_that_the_server_gives_is_chosen(change: dict[str, object], kind: str | None, says: str) -> None:
    """Stream before polling before triggers, each with the reason against what is better."""
    choice = choose(_found(server=replace(SERVER, **change)))  # type: ignore[arg-type] # names of its fields
    assert choice.kind == kind
    assert says in str(choice)


def test_what_was_tried_counts_more_than_what_is_supposed() -> None:
    """A replication connection that was refused is none; one that was let in is one, pooler or not."""
    refused = choose(_found(), replication=False)
    assert (refused.kind, "pg_hba.conf" in str(refused)) == ("poll", True)
    assert choose(_found(server=replace(SERVER, pooled=True)), replication=True).kind == "stream"


def test_a_slot_that_is_there_is_read_also_where_all_are_taken() -> None:
    """It needs no other: whoever goes on where it was must not be told to make triggers meanwhile."""
    ours = Slot("tercet_shop_orders", "pgoutput", False, False, "reserved", True, 0, 0, None)
    full = replace(_found(server=replace(SERVER, slots=10)), slots=(ours,))
    assert choose(full, slot="tercet_shop_orders").kind == "stream"
    assert choose(full, slot="tercet_shop_users").kind == "triggers"


def test_where_there_can_be_no_feed_the_plan_is_refused() -> None:
    """With the reasons, and what to do."""
    with pytest.raises(FeedRefused, match=r"wal_level is replica.*ask the primary"):
        plan(_found(ORDERS, server=replace(SERVER, wal_level="replica", replica=True)), Wants(USER))


def test_the_key_alone_needs_no_index() -> None:
    """The usual identity tells it already."""
    assert _statements(_found(ORDERS), {"orders": frozenset({"id"})}) == [
        'create publication "tercet" for table "public"."orders" ("id") with (publish_via_partition_root = true)'
    ]


def test_a_wanted_column_becomes_part_of_the_identity_before_it_is_published() -> None:
    """By a unique index, built while everybody works; what is published covers it."""
    build, switch, publish = _statements(_found(ORDERS), USER)
    assert build.startswith('create unique index concurrently "orders_tercet_identity_')
    assert build.endswith('on "public"."orders" using "btree" ("user_id", "id")')
    assert switch.startswith('alter table "public"."orders" replica identity using index "orders_tercet_identity_')
    assert '"public"."orders" ("id", "user_id") with' in publish


def test_all_columns_are_published_where_all_are_wanted_or_lists_are_unknown() -> None:
    """PostgreSQL 14 knows no lists."""
    assert "(" not in _statements(_found(ORDERS), {"orders": None})[-1].partition(" with ")[0]
    old = _found(ORDERS, server=replace(SERVER, number=140_010))
    assert "(" not in _statements(old, USER)[-1].partition(" with ")[0]


def test_a_list_that_is_there_is_widened_before_the_identity_grows() -> None:
    """Otherwise PostgreSQL would refuse the table's UPDATEs in between."""
    there = replace(OURS, tables={ORDERS.place: Published(("id", "note"))})
    build, out, back, switch = _statements(_found(ORDERS, publications=(there,)), USER)
    assert "create unique index" in build
    assert out == 'alter publication "tercet" drop table "public"."orders"'
    assert back == 'alter publication "tercet" add table "public"."orders" ("id", "user_id", "note")'
    assert "replica identity using index" in switch


def test_what_is_there_already_is_planned_no_more() -> None:
    """Nothing to do is nothing done."""
    ready = replace(ORDERS, identity="index", index="i", index_columns=("user_id", "id"))
    there = replace(OURS, tables={ORDERS.place: Published(("id", "user_id"))})
    assert _statements(_found(ready, publications=(there,)), USER) == []
    everything = replace(OURS, all_tables=True, tables={ORDERS.place: Published()})
    assert _statements(_found(ready, publications=(everything,)), USER) == []


def test_an_identity_that_somebody_uses_is_not_narrowed() -> None:
    """Its columns stay part of it."""
    used = replace(ORDERS, identity="index", index="i", index_columns=("total", "id"))
    assert '("total", "user_id", "id")' in _statements(_found(used), USER)[0]
    whole = replace(ORDERS, identity="full")
    assert [one.partition(" ")[0] for one in _statements(_found(whole), USER)] == ["create"]


def test_a_key_that_is_checked_at_the_commit_is_no_identity() -> None:
    """An index of its own is, over the same columns."""
    late = replace(ORDERS, deferrable=True)
    assert late.covered == frozenset()
    assert 'using "btree" ("id")' in _statements(_found(late), {"orders": None})[0]


def test_whole_rows_are_told_where_that_is_asked_for() -> None:
    """Of a table without a key, and of a column that may be NULL."""
    switch, publish = _statements(_found(LOG), {"log": frozenset({"line"})}, full={"log"})
    assert switch == 'alter table "public"."log" replica identity full'
    assert publish.startswith('create publication "tercet" for table "public"."log" with')


def test_columns_are_told_without_their_old_values_where_these_are_not_wanted() -> None:
    """Only what `old` names has to be part of the identity."""
    (publish,) = _statements(_found(ORDERS), {"orders": frozenset({"note"})}, old={"orders": set()})
    assert '"public"."orders" ("id", "note") with' in publish


@pytest.mark.parametrize(
    ("table", "columns", "says"),
    [
        (LOG, None, "log: it has no primary key, so PostgreSQL would refuse its UPDATEs and DELETEs"),
        (ORDERS, {"note"}, "note may be NULL.*set not null.*--full orders"),
        (ORDERS, {"twice"}, "twice is a generated column"),
        (ORDERS, {"User_id"}, "there is no column User_id"),
        (replace(ORDERS, identity="nothing", primary=()), {"id"}, "it has no primary key"),
        (replace(ORDERS, form="unlogged"), {"id"}, "leaves no trace in the log.*by triggers"),
        (replace(ORDERS, form="view"), None, "a view has no changes of its own"),
        (replace(ORDERS, form="foreign"), None, "a foreign table"),
        (replace(ORDERS, form="temporary"), None, "one connection only"),
    ],
)
def test_what_would_break_the_program_is_refused_with_a_mend(table: Table, columns: set[str] | None, says: str) -> None:
    """Before anything is changed."""
    wanted = None if columns is None else frozenset(columns)
    with pytest.raises(PublicationUnsafe, match=says):
        plan(_found(table), Wants({str(table): wanted}))


def test_all_problems_are_told_at_once() -> None:
    """Whoever mends one does not find the next one then."""
    with pytest.raises(PublicationUnsafe) as caught:
        plan(_found(LOG, ORDERS), Wants({"log": None, "orders": frozenset({"note"}), "gone": None}))
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["gone", "log", "orders"]


@pytest.mark.parametrize(
    ("published", "says"),
    [
        (Published(("id", "note")), "the publication theirs does not list user_id"),
        (Published(None, "(total > 3)"), "the publication theirs filters rows by total"),
    ],
)
def test_what_would_break_another_publication_is_refused(published: Published, says: str) -> None:
    """PostgreSQL refuses an UPDATE for any of them."""
    theirs = replace(OURS, name="theirs", ours=False, tables={ORDERS.place: published})
    with pytest.raises(PublicationUnsafe, match=says):
        plan(_found(ORDERS, publications=(theirs,)), Wants(USER))


def test_a_publication_of_somebody_else_is_left_alone() -> None:
    """Ours would need its owner."""
    with pytest.raises(PublicationUnsafe, match="does not belong to shop"):
        plan(_found(ORDERS, publications=(replace(OURS, ours=False),)), Wants(USER))


def test_a_publication_that_tells_less_is_completed() -> None:
    """All kinds of changes, and partitions as their table."""
    leaf = replace(ORDERS, place=("public", "orders_1"))
    root = replace(ORDERS, form="partitioned", leaves=(leaf,))
    there = replace(OURS, truncate=False, via_root=False)
    kinds, via_root, add = _statements(_found(root, publications=(there,)), {"orders": None})
    assert "publish = 'insert, update, delete, truncate'" in kinds
    assert "publish_via_partition_root = true" in via_root
    assert add == 'alter publication "tercet" add table "public"."orders"'


def test_each_partition_gets_its_own_index() -> None:
    """An identity is not handed down."""
    leaves = tuple(replace(ORDERS, place=("public", f"orders_{number}")) for number in (1, 2))
    root = replace(ORDERS, form="partitioned", leaves=leaves)
    made = _statements(_found(root), USER)
    assert [statement.partition(" on ")[2].partition(" using")[0] for statement in made[:2]] == [
        '"public"."orders_1"',
        '"public"."orders_2"',
    ]
    assert all("replica identity using index" in statement for statement in made[2:4])


def test_the_gaps_of_what_is_followed_come_with_the_command_that_mends_them() -> None:
    """Which old values are missing, table by table; nothing where all are told."""
    found = _found(ORDERS, LOG)
    first, second = gaps(found, {"orders": {"id", "user_id"}, "gone": {"x"}})
    assert str(first) == (
        "orders: the old value of user_id would not be told. "
        "Widen its replica identity: tercet doctor --setup orders:id,user_id"
    )
    assert second.says == "there is no such table"
    assert gaps(found, {"orders": {"id"}}) == ()
    assert gaps(_found(replace(ORDERS, triggers=("tercet_feed_update",))), {"orders": {"user_id"}}) == ()


def test_a_plan_is_saved_with_what_waits_for_it() -> None:
    """Every step has its line, and says whether it stands alone."""
    text = migration(plan(_found(ORDERS), Wants(USER)))
    assert "SHARE UPDATE EXCLUSIVE on orders while it is built: nobody who reads or writes waits" in text
    assert "Outside of a transaction." in text
    assert "ACCESS EXCLUSIVE on orders for a moment" in text
    assert text.count(";\n") == 3


def test_triggers_are_planned_where_the_log_tells_nothing() -> None:
    """The table of changes once, then the table's triggers, with the columns that nobody wants left out."""
    silent = replace(SERVER, wal_level="replica")
    made = _statements(_found(ORDERS, server=silent), USER)
    assert made[0] == "create schema if not exists tercet"
    on_update = next(one for one in made if "tercet_feed_update after" in one)
    assert "row_changed(E'public', E'orders', E'note', E'total', E'twice')" in on_update
    ready = replace(
        ORDERS,
        triggers=tuple(f"tercet_feed_{name}" for name in ("insert", "delete", "update", "truncate")),
        silent=("note", "total", "twice"),
    )
    there = replace(silent, change_table=True)
    assert _statements(_found(ready, server=there), USER) == []
    wider = _statements(_found(ready, server=there), {"orders": frozenset({"total"})})
    assert any("E'note', E'twice')" in one for one in wider)


def test_a_name_of_a_table_cannot_end_a_literal() -> None:
    """Quotes and backslashes in it are its own."""
    odd = replace(ORDERS, place=("public", "o'r\\d\"s"))
    made = _statements(_found(odd, server=replace(SERVER, wal_level="replica")), {"o'r\\d\"s": None})
    assert any("""on "public"."o'r\\d""s\"""" in one and "E'o''r\\\\d\"s'" in one for one in made)


def test_a_place_is_written_as_people_write_it() -> None:
    """The usual schema is left out, unless the name would then be read as another one."""
    assert [place_of(text) for text in ("orders", "sales.orders")] == [("public", "orders"), ("sales", "orders")]
    assert [written_of(place) for place in (("public", "a"), ("s", "a"), ("public", "a.b"))] == [
        "a",
        "s.a",
        "public.a.b",
    ]


def test_a_pause_grows_until_something_comes() -> None:
    """From the busy one to the idle one, and back at once."""
    pace = Pace()
    pauses = [pace.pause() for _ in range(20)]
    assert pauses[0] == BUSY_SECONDS
    assert pauses[-1] == IDLE_SECONDS
    assert pauses == sorted(pauses)
    pace.found()
    assert pace.pause() == BUSY_SECONDS


@pytest.mark.parametrize("place", [Place("10:20:11,12"), Place("10:20:", "12:30:15", 7)])
def test_a_place_among_changes_comes_back_from_its_text(place: Place) -> None:
    """As a position it is text."""
    assert Place.read(str(place)) == place


@pytest.mark.parametrize("text", ["", "7", "0/16B3748", "1:2:/3"])
def test_a_text_that_is_no_place_is_refused(text: str) -> None:
    """A position of another feed, for one."""
    with pytest.raises(ValueError, match=r"place|unpack"):
        Place.read(text)
