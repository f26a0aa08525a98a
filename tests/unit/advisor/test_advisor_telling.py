"""What was found becomes advice: numbered, in order, each thing once, and what did not hold is told and not advised."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from tercet.advisor import Candidate, Catalog, Example, Query, Rewrite, Workload
from tercet.advisor.advice import Proof
from tercet.advisor.candidates import Finding, housekeeping
from tercet.advisor.catalog import Activity, Column, ForeignKey, Standing, Table
from tercet.advisor.choice import Choice, Dropped, Outlook, Picked, WriteCost
from tercet.advisor.flow.draft import Draft, Form, Wishes
from tercet.advisor.flow.indexing import Indexing
from tercet.advisor.flow.leaving import why_alone
from tercet.advisor.flow.proving import Proved
from tercet.advisor.flow.stand import Stand, joins, tables_of
from tercet.advisor.flow.telling.telling import Found, tell
from tercet.advisor.port import Supposed
from tercet.advisor.verify.change import Drop, Held, Measured, Verdicts, Verified
from tercet.advisor.views import Answer, ViewCandidate
from tercet.sql import Index, Node, Plan, Statement, View

if TYPE_CHECKING:
    from tercet.advisor import Advice
    from tercet.advisor.verify.change import Outcome
    from tercet.sql.port import Database

TABLE = ("public", "orders")
BY_USER = Index("orders_user_id_idx", TABLE, ("user_id",))
BY_TOTAL = Index("orders_total_idx", TABLE, ("total",))
OLD = Index("orders_old", TABLE, ("note",))
VIEW = View(("public", "sums"), "select user_id, sum(total) as total from orders group by user_id", ("user_id",))


def query(sql: str, ms: float | None = 100.0, calls: float = 10.0) -> Query:
    return Query(Statement(sql), (Example(sql),), calls=calls, ms=ms, label=sql[:30])


def draft(sql: str, ms: float, after: float, calls: float = 10.0) -> Draft:
    made = Draft(query(sql, ms, calls))
    made.forms = [Form(made.query)]
    made.outlook = Outlook(made.fingerprint, ms, after, calls, 100.0, 10.0)
    return made


def picked(index: Index, *helps: Draft) -> Picked:
    candidate = Candidate(index, "equality", "finds the rows", frozenset(one.fingerprint for one in helps))
    return Picked(
        candidate, Supposed(index.name, 8192), 1.0, tuple((one.fingerprint, 1.0) for one in helps), WriteCost(5.0, 0.1)
    )


def catalog(*indexes: Standing, pages: int = 1000) -> Catalog:
    columns = tuple(Column(name, at, "integer") for at, name in enumerate(("id", "user_id", "total", "note"), 1))
    orders = Table(
        TABLE, rows=1e5, pages=pages, size_bytes=pages * 8192, columns=columns, indexes=indexes,
        foreign_keys=(ForeignKey("orders_user_fk", ("user_id",), ("public", "users"), ("id",)),),
        activity=Activity(inserted=100, seconds=100.0),
    )  # fmt: skip
    key = Standing(Index("users_pkey", ("public", "users"), ("id",), unique=True), "create", 9, constraint="p")
    users = Table(
        ("public", "users"), rows=1e4, pages=100, size_bytes=819200, columns=columns[:1], indexes=(key,),
        activity=Activity(deleted=5),
    )  # fmt: skip
    return Catalog(MappingProxyType({TABLE: orders, users.name: users}), version=180000)


def told(
    drafts: list[Draft],
    picks: tuple[Picked, ...] = (),
    *,
    dropped: tuple[Dropped, ...] = (),
    findings: tuple[Finding, ...] = (),
    views: tuple[ViewCandidate, ...] = (),
    held: tuple[Held, ...] = (),
    known: Catalog | None = None,
    others: tuple[Query, ...] = (),
    budget: int | None = None,
    sizes: tuple[Supposed, ...] = (),
) -> Found:
    """What the stages would have come to."""
    known = known or catalog()
    wishes = Wishes(budget_bytes=budget)
    outlooks = tuple(one.outlook for one in drafts if one.outlook is not None)
    choice = Choice(picks, dropped, outlooks, 1.0, 1.0, 1, 0.0, notes=("one note", "one note"))
    verdicts = (Verdicts("sandbox", (), held, "run"),) if held else ()
    stand = Stand(cast("Database", None), None, known, wishes)
    workload = Workload(tuple(one.query for one in drafts), "test")
    indexing = Indexing(choice, (), findings, {one.name: one for one in sizes})
    return Found(
        workload, known, wishes, drafts, indexing, views, Proved(verdicts), stand,
        others=others,
    )  # fmt: skip


def test_pieces_are_numbered_and_statements_are_in_the_order_of_what_they_save() -> None:
    """The statement that saves most comes first, and each names its pieces by their numbers."""
    small, large = (
        draft("select 1 from orders where user_id = 1", 10, 9),
        draft("select * from orders where total = 1", 90, 1),
    )
    advice = tell(told([small, large], (picked(BY_USER, small), picked(BY_TOTAL, large))))
    assert [one.number for one in advice.pieces] == [1, 2]
    assert [(one.fingerprint, one.pieces) for one in advice.statements] == [
        (large.fingerprint, (2,)), (small.fingerprint, (1,))
    ]  # fmt: skip
    assert advice.statements[0].proof == Proof("plan", estimated_ms=1)
    assert advice.notes == ("one note",)
    assert advice.piece(1) == advice.pieces[0]


def test_what_did_not_hold_is_withdrawn_and_told() -> None:
    """An index that a run refuted is no piece; its statement is left alone with the reason; what is unproved stays."""
    one, other = (
        draft("select 1 from orders where user_id = 1", 10, 1),
        draft("select 2 from orders where total = 1", 90, 1),
    )
    refuted, doubted = Held(BY_USER, "withdrawn", "it was slower"), Held(BY_TOTAL, "unproved", "no time")
    advice = tell(told([one, other], (picked(BY_USER, one), picked(BY_TOTAL, other)), held=(refuted, doubted)))
    (piece,) = advice.pieces
    assert piece.value == BY_TOTAL
    assert "not proved: no time" in piece.why
    left = next(each for each in advice.statements if each.fingerprint == one.fingerprint)
    assert left.pieces == ()
    assert left.ms_after == left.ms_before
    assert left.notes[0].startswith("left alone: what the planner promised")
    assert any("it was slower" in note for note in left.notes)
    assert any(note.startswith("withdrawn after running: index orders_user_id_idx") for note in advice.notes)


def test_an_index_of_a_rewrite_helps_the_statement_as_it_is_asked() -> None:
    """The index is chosen for the other text; its piece and the rewrite's name the statement that people know."""
    one = draft("select 1 from orders where user_id + 0 = 1", 10, 1)
    rewrite = Rewrite(
        one.fingerprint, one.query.sql, "select 1 from orders where user_id = 1", ("arithmetic",), ("so",)
    )
    form = Form(query(rewrite.after), rewrite)
    one.forms = [form, *one.forms]
    pick = picked(BY_USER)
    pick = Picked(pick.candidate, pick.supposed, 1.0, ((form.query.fingerprint, 9.0),), WriteCost())
    advice = tell(told([one], (pick,)))
    assert [piece.kind for piece in advice.pieces] == ["index", "rewrite"]
    assert all(piece.helps == (one.fingerprint,) for piece in advice.pieces)
    assert advice.statements[0].sql_after == rewrite.after


def test_a_drop_is_told_once_and_stays_if_what_replaces_it_does_not_come() -> None:
    """The finding gives its way back; without the index that was to do its work, nothing is dropped."""
    standing = Standing(OLD, "CREATE INDEX orders_old ON public.orders USING btree (note)", 7, size_bytes=4096)
    known = catalog(standing)
    one = draft("select 1 from orders where user_id = 1", 10, 1)
    finding = Finding(
        "unused", "drop", TABLE, OLD, "nobody reads it", ("mind",), ("drop index x",), ("create index x",)
    )
    drop = Dropped(standing, "nobody reads it", by=BY_USER.name)
    advice = tell(told([one], (picked(BY_USER, one),), dropped=(drop,), findings=(finding,), known=known))
    (piece,) = [each for each in advice.pieces if each.kind == "drop_index"]
    assert (piece.ddl, piece.undo, piece.size_bytes) == (("drop index x;",), ("create index x;",), 4096)
    assert piece.why == "nobody reads it (mind)"
    withdrawn = Held(BY_USER, "withdrawn", "no")
    kept = tell(told([one], (picked(BY_USER, one),), dropped=(drop,), held=(withdrawn,), known=known))
    assert kept.pieces == ()
    refuted = tell(
        told([one], dropped=(Dropped(standing, "x"),), held=(Held(Drop(OLD), "withdrawn", "used"),), known=known)
    )
    assert refuted.pieces == ()
    assert any(note.startswith("kept after running: index orders_old") for note in refuted.notes)


def test_a_foreign_key_and_a_candidate_for_its_columns_are_one_index() -> None:
    """Whatever leads with the key's columns is enough; without it the missing index is told, for who deletes."""
    known = catalog()
    findings = housekeeping(known, [])
    assert [one.kind for one in findings] == ["foreign_key"]
    one = draft("select 1 from orders where user_id = 1", 10, 1)
    both = tell(told([one], (picked(BY_USER, one),), findings=findings))
    assert len(both.pieces) == 1
    deleting = draft("delete from users where id = 1", 10, 10)
    alone = tell(told([deleting], findings=findings))
    assert [(piece.kind, piece.helps) for piece in alone.pieces] == [("index", (deleting.fingerprint,))]
    assert (alone.statements[0].ms_after, alone.statements[0].proof) == (None, None)


def test_an_index_of_a_foreign_key_is_bound_by_the_budget_too() -> None:
    """It is advised as long as there is room beside the chosen ones, else told with the sentence that there is none."""
    findings = housekeeping(catalog(), [])
    one = draft("select * from orders where total = 1", 90, 1)
    deleting = draft("delete from users where id = 1", 10, 10)

    def advised(budget: int, *sizes: Supposed) -> Advice:
        chosen = (picked(BY_TOTAL, one),)
        return tell(told([one, deleting], chosen, findings=findings, budget=budget, sizes=sizes))

    needed = Supposed(BY_USER.name, 8192)
    fits = advised(16_384, needed)
    assert [piece.columns for piece in fits.pieces] == [("total",), ("user_id",)]
    for without in (advised(16_383, needed), advised(16_384)):
        assert [piece.columns for piece in without.pieces] == [("total",)]
        (note,) = [note for note in without.notes if "no room" in note]
        assert note.startswith("left out: index on public.orders (user_id): foreign key orders_user_fk has no index")
        assert any("no room" in note for note in without.statements[1].notes)
    assert not any("no room" in note for note in fits.notes)


def test_a_broken_index_is_built_anew_and_not_made_twice() -> None:
    """The candidate that equals an invalid index becomes its rebuilding, with what it helps."""
    broken = Standing(Index("orders_u", TABLE, ("user_id",)), "create", 7, valid=False)
    known = catalog(broken)
    one = draft("select 1 from orders where user_id = 1", 10, 1)
    advice = tell(told([one], (picked(BY_USER, one),), findings=housekeeping(known, [one.query]), known=known))
    (piece,) = advice.pieces
    assert piece.ddl == ('reindex index concurrently "public"."orders_u";',)
    assert (piece.helps, piece.size_bytes) == ((one.fingerprint,), 8192)


def ran(one: Draft, outcome: Outcome, *indexes: str) -> Verified:
    """A statement as it would have been run with these indexes in its plan."""
    plan = Plan(Node("Append", 1.0, 1.0, children=tuple(Node("Index Scan", 1.0, 1.0, index=name) for name in indexes)))
    return Verified(
        one.fingerprint, "x", outcome, Proof("run", True), "s", Measured((9.0,), None), Measured((1.0,), plan)
    )


def test_an_index_helps_those_too_for_whom_another_would_do() -> None:
    """By what was run with it, and by plan where nothing was run; not who was run and gained nothing."""
    proved = draft("select 1 from orders where user_id = 1", 10, 1)
    either = draft("select 2 from orders where user_id = 1 and total = 2", 10, 1)
    locking = draft("select 3 from orders where user_id = 1 for update", 10, 1)
    idle = draft("select note from orders where user_id = 1", 10, 10)
    either.verified, idle.verified = ran(either, "faster", BY_USER.name), ran(idle, "same", BY_USER.name)
    idle.outlook = Outlook(idle.fingerprint, 10, 1, 1, 9, 1, used=frozenset({BY_USER.name}))
    pick = picked(BY_USER, proved, locking, idle)
    held = Held(BY_USER, "kept", "", (proved.fingerprint,))
    advice = tell(told([proved, either, locking, idle], (pick,), held=(held,)))
    assert advice.pieces[0].helps == tuple(one.fingerprint for one in (proved, either, locking))
    left = next(one for one in advice.statements if one.fingerprint == idle.fingerprint)
    assert left.notes == (
        f"left alone: run with {BY_USER.name}, which the planner takes for it, it is not a tenth faster",
    )


def test_an_index_of_a_partitioned_table_is_made_as_one_can_be() -> None:
    """PostgreSQL builds and drops none concurrently there; whoever applies the advice gets it part by part."""
    one = draft("select 1 from orders where user_id = 1", 10, 1)
    parts = Table(TABLE, kind="p", partitions=(("public", "part"),))
    known = Catalog(MappingProxyType({TABLE: parts}), version=180000)
    (piece,) = tell(told([one], (picked(BY_USER, one),), known=known)).pieces
    assert piece.ddl == (f"{BY_USER.create(concurrently=False)};",)
    assert piece.undo == (f"{BY_USER.drop(concurrently=False)};",)
    assert "part by part" in piece.why


def test_that_nobody_knows_what_is_written_is_told_once() -> None:
    """Not with each index, and not where the counters say it."""
    one = draft("select 1 from orders where user_id = 1 and total = 1", 10, 1)
    known, unknown = picked(BY_USER, one), picked(BY_TOTAL, one)
    assert not any("writes" in note for note in tell(told([one], (known,))).notes)
    advice = tell(told([one], (known, replace(unknown, write_cost=WriteCost(5.0)))))
    assert [note.partition(":")[0] for note in advice.notes if "writes" in note] == [
        "nobody knows for how long the tables' writes were counted"
    ]
    assert all("writes" not in piece.why for piece in advice.pieces)


def test_a_view_stands_above_the_index_and_says_how_it_is_kept() -> None:
    """Both rungs are pieces; the times are those of the upper one; the lower one is told with its own."""
    one = draft("select user_id, sum(total) from orders group by user_id", 3000, 600)
    over = Rewrite(one.fingerprint, one.query.sql, "select * from sums", ("view",))
    one.view, one.over_view, one.view_ms = VIEW, over, 2.0
    one.view_verified = Verified(
        one.fingerprint, "x", "faster", Proof("run", True, (900.0, 1100.0)), "s",
        Measured((2000.0,), None), Measured((2.0,), None),
    )  # fmt: skip
    candidate = ViewCandidate(VIEW, (Answer(over, one.query.examples),), 1e4, 1e5, "adds up once")
    kept = (Held(VIEW, "kept", "", (one.fingerprint,), 4096, 0.5), Held(over, "kept", ""))
    advice = tell(told([one], (picked(BY_USER, one),), views=(candidate,), held=kept))
    index, view = advice.pieces
    assert (index.kind, view.kind) == ("index", "view")
    assert view.policy is not None
    assert view.refresh_seconds == 0.5
    assert "measured; 1 changes a second" in view.why
    (statement,) = advice.statements
    assert (statement.ms_before, statement.ms_after, statement.sql_after) == (2000.0, 2.0, "select * from sums")
    assert any(note.startswith("without the view: 600 ms (by estimate), piece 1") for note in statement.notes)
    wrong = (*kept[:1], Held(over, "withdrawn", "other rows"))
    assert [piece.kind for piece in tell(told([one], views=(candidate,), held=wrong)).pieces] == []


def test_statements_for_which_there_was_no_time_are_told() -> None:
    """They come last, with their own times and the reason."""
    one = draft("select 1 from orders where user_id = 1", 10, 1)
    advice = tell(told([one], others=(query("select 5 from orders", 3.0),)))
    assert [each.ms_after for each in advice.statements] == [10, 3.0]
    assert advice.statements[1].notes[0].startswith("left alone: others take more time")


def test_who_is_left_alone_is_told_why() -> None:
    """Refused, too small, nothing to ask by, no gain, not worth its price: each in its own words."""

    def why(one: Draft, *candidates: Candidate, known: Catalog | None = None, passed: str = "") -> str:
        over = ((one.fingerprint, passed),) if passed else ()
        choice = Choice((), (), (), 1.0, 1.0, 1, 0.0, passed=over)
        return why_alone(one, candidates, known or catalog(), choice)

    one = draft("select 1 from orders where user_id = 1", 10, 10)
    mine = Candidate(BY_USER, "equality", "", frozenset({one.fingerprint}))
    other = Candidate(BY_TOTAL, "equality", "", frozenset({one.fingerprint}))
    assert "at most 8 pages" in why(one, known=catalog(pages=4))
    assert why(one).startswith("it asks for nothing")
    assert why(one, other) == "the one index that was tried does not make it a tenth faster"
    assert why(one, mine, other) == "none of 2 indexes that were tried makes it a tenth faster"
    assert why(one, mine, passed="it saves too little") == "it saves too little"
    adding = draft("insert into orders (user_id) values (1)", 10, 10)
    assert why(adding) == "it only adds rows, and each index makes that dearer"
    parts = Table(TABLE, kind="p", partitions=(("public", "part"),))
    part = Table(("public", "part"), rows=1e5, pages=1000, parent=TABLE)
    divided = Catalog(tables=MappingProxyType({TABLE: parts, part.name: part}))
    assert why(one, mine, known=divided, passed="it saves too little") == "it saves too little"
    assert "may not read orders" in why(one, known=Catalog(hidden=(TABLE,)))
    odd = draft('select 1 from "Odd shop"."a.""b"', 10, 10)
    assert 'may not read "Odd shop"' in why(odd, known=Catalog(hidden=(("Odd shop", 'a."b'),)))
    assert "may not read" not in why(odd, known=Catalog(hidden=(TABLE,)))
    one.refused = "relation is missing"
    assert why(one) == "it could not be planned: relation is missing"


def test_a_day_that_the_session_decides_is_said_to_be_no_index_s() -> None:
    """A cast of a moment with a zone is not IMMUTABLE: that is the reason, rather than that nothing is asked."""
    at = Column("at", 1, "timestamp with time zone", "D")
    events = Table(("public", "events"), rows=1e5, pages=1000, columns=(at,))
    known = Catalog(MappingProxyType({events.name: events}), version=180000)
    choice = Choice((), (), (), 1.0, 1.0, 1, 0.0)
    one = draft("select count(*) from events where at::date = date '2025-03-05'", 10, 10)
    said = "at::date depends on the session's TimeZone, so it is not IMMUTABLE and no index can hold it"
    assert why_alone(one, (), known, choice) == said


def test_tables_and_undeclared_joins_of_a_statement_are_found() -> None:
    """Quoted names, views' tables and joins by a key that no foreign key declares."""
    known = catalog()
    joined = query("select 1 from orders o join users u on u.id = o.total")
    assert tables_of(joined, known) == {TABLE, ("public", "users")}
    assert list(joins(joined, known)) == [(TABLE, ForeignKey("", ("total",), ("public", "users"), ("id",)))]
    assert tables_of(query("delete from users where id = 1"), known) == {("public", "users")}
    assert tables_of(query("select 1 from nowhere"), known) == frozenset()
