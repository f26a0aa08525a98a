"""Transactions of protocol 1: what becomes of each message."""

from __future__ import annotations

from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.changes.change import NOTHING, Change, Wants
from tercet.changes.pgoutput import XLOG_HEADER
from tercet.errors import FeedBroken
from tercet.witness import Moment

INT, TEXT = 23, 25
ORDERS = (("id", INT), ("user_id", INT), ("note", TEXT))


def _said(change: Change) -> tuple[object, ...]:
    return (change.kind, change.name, dict(change.new), dict(change.old))


def _changes(server: Any, *payloads: bytes, wants: Wants | None = None) -> list[tuple[object, ...]]:
    """What is said of the changes between a Begin and a Commit."""
    decoder = server.decoder(wants or server.everything)
    commits = server.read(decoder, server.begin(7), *payloads, server.commit())
    return [_said(change) for commit in commits for change in commit.changes]


def test_a_transaction_is_one_commit_with_its_moment_and_position(server: Any) -> None:
    """The xid is widened, the time is in UTC, and the position is behind the commit."""
    decoder = server.decoder(near=(5 << 32) + 10)
    [commit] = server.read(
        decoder,
        server.begin(7, lsn=100, at=1_000_001),
        server.relation(1, "orders", ORDERS),
        server.insert(1, 41, None, "é"),
        server.commit(lsn=100, end=164, at=1_000_001),
    )
    assert commit.moment == Moment("pg:1", (5 << 32) + 7)
    assert commit.position == decoder.position == 164
    assert commit.at == datetime(2000, 1, 1, 0, 0, 1, 1, tzinfo=UTC)
    assert commit.last
    assert [_said(change) for change in commit.changes] == [
        ("insert", "orders", {"id": 41, "user_id": None, "note": "é"}, {})
    ]


def test_a_payload_is_read_where_it_lies_in_its_frame(server: Any) -> None:
    """The frame's own header need not be cut off."""
    decoder = server.decoder()
    payloads = (server.begin(7), server.relation(1, "t", ORDERS), server.insert(1, 1, 2, "x"), server.commit())
    commits = [commit for payload in payloads for commit in decoder.feed(b"w" + bytes(24) + payload, XLOG_HEADER)]
    assert [_said(change) for change in commits[0].changes] == [
        ("insert", "t", {"id": 1, "user_id": 2, "note": "x"}, {})
    ]


def test_an_update_without_an_old_row_knows_nothing_of_before(server: Any) -> None:
    """PostgreSQL sends none where the identity is the same."""
    decoder = server.decoder()
    [commit] = server.read(
        decoder, server.begin(7), server.relation(1, "t", ORDERS), server.update(1, 1, 2, "x"), server.commit()
    )
    assert commit.changes[0].old is NOTHING


def test_an_old_key_tells_only_what_the_identity_has(server: Any) -> None:
    """The other columns come as NULL, and are not."""
    relation = server.relation(1, "t", ORDERS, key=("id", "user_id"))
    assert _changes(
        server,
        relation,
        server.update(1, 2, 5, "x", key=(1, 5, None)),
        server.delete(1, key=(2, 5, None)),
    ) == [
        ("update", "t", {"id": 2, "user_id": 5, "note": "x"}, {"id": 1, "user_id": 5}),
        ("delete", "t", {}, {"id": 2, "user_id": 5}),
    ]


def test_an_old_row_tells_all_and_its_nulls_are_real(server: Any) -> None:
    """That is what REPLICA IDENTITY FULL sends."""
    relation = server.relation(1, "t", ORDERS, key=("id", "user_id", "note"), identity="f")
    assert _changes(
        server, relation, server.update(1, 1, 5, "x", old=(1, None, "w")), server.delete(1, old=(1, 5, None))
    ) == [
        ("update", "t", {"id": 1, "user_id": 5, "note": "x"}, {"id": 1, "user_id": None, "note": "w"}),
        ("delete", "t", {}, {"id": 1, "user_id": 5, "note": None}),
    ]


def test_what_was_not_sent_again_is_left_out_or_taken_from_the_old_row(server: Any) -> None:
    """A large value that has not changed is not in the new row; NULL is another thing."""
    relation = server.relation(1, "t", ORDERS)
    assert _changes(
        server,
        relation,
        server.update(1, 1, None, ...),
        server.update(1, 2, 5, ..., key=(1, None, None)),
        server.update(1, 2, 5, ..., old=(1, 5, "large")),
        server.update(1, 2, ..., ..., old=(1, ..., "large")),
    ) == [
        ("update", "t", {"id": 1, "user_id": None}, {}),
        ("update", "t", {"id": 2, "user_id": 5}, {"id": 1}),
        ("update", "t", {"id": 2, "user_id": 5, "note": "large"}, {"id": 1, "user_id": 5, "note": "large"}),
        ("update", "t", {"id": 2, "note": "large"}, {"id": 1, "note": "large"}),
    ]


def test_a_truncate_is_one_change_for_each_of_its_tables_that_is_wanted(server: Any) -> None:
    """Whatever its options are."""
    described = (
        server.relation(1, "orders", ORDERS),
        server.relation(2, "secret", ORDERS),
        server.relation(3, "orders", ORDERS, schema="sales"),
    )
    wants = Wants({"orders": frozenset({"id"}), "sales.orders": None})
    assert _changes(server, *described, server.truncate(1, 2, 3, options=3), wants=wants) == [
        ("truncate", "orders", {}, {}),
        ("truncate", "sales.orders", {}, {}),
    ]


@pytest.mark.parametrize(
    ("tables", "rows"),
    [
        ({"orders": None}, [{"id": 1, "user_id": 2, "note": "x"}]),
        ({"public.orders": {"id"}}, [{"id": 1}]),
        ({"orders": {"note"}}, [{"note": "x"}]),
        ({"orders": {"id", "gone"}}, [{"id": 1}]),
        ({"orders": set()}, [{}]),
        ({"orders": {"id"}, "public.orders": {"user_id"}}, [{"id": 1, "user_id": 2}]),
        ({"*": {"user_id"}, "orders": {"id"}}, [{"id": 1, "user_id": 2}]),
        ({"*": None, "orders": {"id"}}, [{"id": 1, "user_id": 2, "note": "x"}]),
        ({"sales.orders": None}, []),
        ({}, []),
    ],
)
def test_only_what_is_wanted_is_told(server: Any, tables: dict[str, set[str] | None], rows: list[object]) -> None:
    """Of two that want other columns of a table, both are told theirs."""
    wants = Wants({name: None if some is None else frozenset(some) for name, some in tables.items()})
    told = _changes(server, server.relation(1, "orders", ORDERS), server.insert(1, 1, 2, "x"), wants=wants)
    assert [row for _, _, row, _ in told] == rows


def test_old_rows_tell_only_what_is_wanted(server: Any) -> None:
    """The new row is found behind an old one of which most is skipped."""
    relation = server.relation(1, "t", ORDERS, key=("id", "user_id"))
    wants = Wants({"t": frozenset({"user_id"})})
    assert _changes(server, relation, server.update(1, 1, 6, "x", key=(1, 5, None)), wants=wants) == [
        ("update", "t", {"user_id": 6}, {"user_id": 5})
    ]


def test_a_table_may_change_in_mid_stream(server: Any) -> None:
    """From its new description on, its rows are read by that, also within a transaction."""
    assert _changes(
        server,
        server.relation(1, "t", (("id", INT), ("note", TEXT))),
        server.insert(1, 1, "x"),
        server.relation(1, "u", (("id", TEXT), ("more", INT), ("note", TEXT))),
        server.insert(1, 2, 3, "y"),
    ) == [("insert", "t", {"id": 1, "note": "x"}, {}), ("insert", "u", {"id": "2", "more": 3, "note": "y"}, {})]


def test_a_domain_is_read_as_the_type_beneath_it(server: Any) -> None:
    """A type that somebody made otherwise is text, and an array of it a list of text."""
    columns = (("id", 9001), ("mood", 9002), ("moods", 9003), ("ints", 9004), ("never_told", 9005))
    assert _changes(
        server,
        server.type(9001, "int4", schema=""),
        server.type(9002, "mood"),
        server.type(9003, "_mood"),
        server.type(9004, "_int4", schema=""),
        server.relation(1, "t", columns),
        server.insert(1, 1, "so so", '{a,"so so",NULL}', "{1,2}", "{1,2}"),
    ) == [
        (
            "insert",
            "t",
            {"id": 1, "mood": "so so", "moods": ["a", "so so", None], "ints": [1, 2], "never_told": "{1,2}"},
            {},
        )
    ]


def test_an_origin_changes_nothing(server: Any) -> None:
    """A transaction that came from elsewhere is told as any other."""
    assert _changes(server, server.origin("far"), server.relation(1, "t", ORDERS), server.insert(1, 1, 2, "x"))


def test_messages_of_a_transaction_come_with_it(server: Any) -> None:
    """Those whose prefix begins as somebody wants it."""
    decoder = server.decoder(Wants(prefixes=("tercet.", "a")))
    [commit] = server.read(
        decoder,
        server.begin(7),
        server.message("tercet.outbox", b"\0\xff"),
        server.message("other", b"x"),
        server.message("a", b""),
        server.commit(),
    )
    assert [(message.prefix, message.content) for message in commit.messages] == [
        ("tercet.outbox", b"\0\xff"),
        ("a", b""),
    ]
    assert commit.changes == ()


def test_a_message_of_no_transaction_is_not_handed_on_but_moves_the_position(server: Any) -> None:
    """Its writer may have rolled back: nobody may be told of it as of something committed."""
    decoder = server.decoder()
    assert server.read(decoder, server.message("tercet.outbox", b"x", transactional=False, lsn=70)) == []
    assert decoder.position == 70


def test_a_transaction_that_says_nothing_wanted_only_moves_the_position(server: Any) -> None:
    """Servers before 15 send the empty ones too."""
    decoder = server.decoder(Wants({"other": None}))
    assert decoder.position == 0
    payloads = (server.begin(7), server.relation(1, "t", ORDERS), server.insert(1, 1, 2, "x"), server.commit(end=170))
    assert server.read(decoder, *payloads, server.begin(8), server.commit(end=180)) == []
    assert decoder.position == 180


def test_a_large_transaction_comes_in_parts(server: Any) -> None:
    """Only the last one's position is behind it: whoever goes on from an earlier one gets all of it again."""
    decoder = server.decoder(part=2)
    rows = [server.insert(1, number, 2, "x") for number in range(5)]
    commits = server.read(
        decoder, server.begin(7, lsn=100), server.relation(1, "t", ORDERS), *rows, server.commit(lsn=100, end=150)
    )
    assert [[change.new["id"] for change in commit.changes] for commit in commits] == [[0, 1], [2, 3], [4]]
    assert [commit.last for commit in commits] == [False, False, True]
    assert [commit.position for commit in commits] == [100, 100, 150]
    assert {commit.moment.at for commit in commits} == {7}


def test_a_transaction_whose_parts_come_out_even_still_has_a_last_one(server: Any) -> None:
    """It is empty; the next transaction does not think that it was in parts."""
    decoder = server.decoder(part=2)
    rows = [server.insert(1, number, 2, "x") for number in range(2)]
    described = server.relation(1, "t", ORDERS)
    commits = server.read(
        decoder, server.begin(7), described, *rows, server.commit(), server.begin(8), server.commit(end=180)
    )
    assert [(len(commit.changes), commit.last) for commit in commits] == [(2, False), (0, True)]


def test_large_rows_come_in_smaller_parts(server: Any) -> None:
    """A part is bounded by its bytes too; unwanted rows count for nothing."""
    decoder = server.decoder(Wants({"t": None}))
    large = server.insert(1, 1, 2, "x" * (6 << 20))
    unwanted = server.insert(2, 1, 2, "x" * (6 << 20))
    described = (server.relation(1, "t", ORDERS), server.relation(2, "u", ORDERS))
    commits = server.read(decoder, server.begin(7), *described, *[unwanted] * 6, *[large] * 4, server.commit())
    assert [len(commit.changes) for commit in commits] == [3, 1]


def test_what_is_cut_off_anywhere_is_a_fault(server: Any) -> None:
    """Each message, after each of its bytes."""
    described = server.relation(1, "t", ORDERS)
    before = (server.begin(7), described)
    for whole in (
        described,
        server.type(9001, "mood"),
        server.insert(1, 1, None, "x"),
        server.update(1, 1, 2, "x", key=(1, None, None)),
        server.delete(1, old=(1, 2, ...)),
        server.truncate(1),
        server.message("p", b"content"),
        server.commit(),
    ):
        for length in range(len(whole)):
            decoder = server.decoder()
            server.read(decoder, *before)
            with pytest.raises(FeedBroken):
                server.read(decoder, whole[:length])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda _: b"Z", "a message of the kind 'Z' within a transaction (protocol 1)"),
        (lambda _: b"\x07", "a message of the kind 0x07 within a transaction (protocol 1)"),
        (lambda server: server.begin(8), "a message of the kind 'B' within a transaction (protocol 1)"),
        (lambda server: server.insert(9, 1), "a change of relation 9, which was not described"),
        (lambda server: server.insert(1, 1, 2), "a row of 2 columns for public.t, which has 3"),
        (lambda server: server.insert(1, "se cret", 2, "x"), "a value in public.t.id that is not of its type"),
        (lambda _: b"I\0\0\0\x01K", "a row of the kind 'K' in a change of public.t"),
        (lambda _: b"D\0\0\0\x01N", "a row of the kind 'N' in a change of public.t"),
        (lambda _: b"I\0\0\0\x01N\0\x03b\0\0\0\x01x", "a value of the kind 'b' in public.t.id"),
        (lambda _: b"", "an empty message"),
    ],
)
def test_a_fault_says_what_was_seen_and_no_value(server: Any, make: Any, says: str) -> None:
    """Neither its sentence nor what stands behind it tells anybody's data."""
    decoder = server.decoder()
    server.read(decoder, server.begin(7), server.relation(1, "t", ORDERS))
    with pytest.raises(FeedBroken) as fault:
        server.read(decoder, make(server))
    assert fault.value.reason == says
    assert fault.value.__suppress_context__ or "se cret" not in str(fault.value.__context__)


@given(st.data())
def test_whatever_comes_is_read_or_is_a_fault(server: Any, data: st.DataObject) -> None:
    """Messages with other bytes in the middle, or nothing that was ever a message: no other error comes of them."""
    described = server.relation(1, "t", (*ORDERS, ("n", 1700), ("tags", 1009), ("at", 1184)))
    row = (1, None, "x", "1.5", '{a,"b"}', "2026-11-22 03:04:05+00")
    whole = data.draw(
        st.sampled_from(
            [
                server.begin(7),
                described,
                server.type(9001, "mood"),
                server.insert(1, *row),
                server.update(1, *row, old=row),
                server.truncate(1),
                server.message("p", b"content"),
                server.commit(),
                server.stream_start(900, first=True),
            ]
        )
    )
    place = data.draw(st.integers(0, len(whole)))
    length = data.draw(st.integers(0, 4))
    odd = whole[:place] + data.draw(st.binary(max_size=4)) + whole[place + length :]
    for before in ((), (server.begin(7), described), (server.stream_start(900, first=True),)):
        with closing(server.decoder(protocol=2)) as decoder:
            server.read(decoder, *before)
            with suppress(FeedBroken):
                server.read(decoder, odd)


def test_outside_of_a_transaction_there_are_no_changes(server: Any) -> None:
    """And no streams, where none were asked for."""
    for payload in (server.insert(1, 1), server.commit(), server.stream_start(7, first=True), server.message("p", b"")):
        with pytest.raises(FeedBroken):
            server.read(server.decoder(), payload)


def test_a_commit_may_be_of_an_older_transaction_than_the_one_before(server: Any) -> None:
    """Also where the counter has begun again in between."""
    decoder = server.decoder(near=(1 << 32) - 2)
    ids = [(1 << 32) - 1, 5, (1 << 32) - 3, 3, 4_000]
    payloads = [payload for xid in ids for payload in (server.begin(xid), server.message("p", b""), server.commit())]
    assert [commit.moment.at - (1 << 32) for commit in server.read(decoder, *payloads)] == [-1, 5, -3, 3, 4_000]


def test_times_are_microseconds_since_2000(server: Any) -> None:
    """None is lost."""
    decoder = server.decoder()
    micros = 846_000_000_123_457
    [commit] = server.read(decoder, server.begin(7), server.message("p", b""), server.commit(at=micros))
    assert commit.at - datetime(2000, 1, 1, tzinfo=UTC) == timedelta(microseconds=micros)
