"""The decoder on what a real server sends: a slot read through SQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tercet.changes.change import Change, Commit, Wants
from tercet.changes.pgoutput import SETTINGS, Decoder, lsn_read, lsn_text
from tercet.witness import Snapshot

EVERYTHING = Wants({"*": None}, prefixes=("",))
STREAM_START = b"S"

# A commit is in the log when it returns, also where the test's server is in a hurry: a slot is read so far only.
COMMITS = {"synchronous_commit": "on"}
READS = {name.lower(): value for name, value in SETTINGS.items()} | COMMITS


@dataclass
class Slot:
    """A database with a publication of all its tables, read by two slots."""

    url: str
    connection: Any
    name: str
    kinds: list[bytes] = field(default_factory=list)

    async def begin(self, *statements: str) -> None:
        """Run these, and read from then on."""
        for statement in statements:
            await self.connection.execute(statement)
        await self.connection.execute("CREATE PUBLICATION p FOR ALL TABLES WITH (publish_via_partition_root = true)")
        for number in (1, 2):
            await self.connection.execute(
                "SELECT pg_create_logical_replication_slot($1, 'pgoutput')", f"{self.name}_{number}"
            )

    async def run(self, *statements: str) -> None:
        """Run each in a transaction of its own."""
        for statement in statements:
            await self.connection.execute(statement)

    async def decoder(self, wants: Wants = EVERYTHING, protocol: int = 1, **options: int) -> Decoder:
        """One that is near the server's present."""
        near = await self.connection.fetchval("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        return Decoder(wants, source="pg:1", near=near, protocol=protocol, **options)

    async def read(self, decoder: Decoder, protocol: int = 1) -> list[Commit]:
        """What has been committed since the last time; each protocol has a slot of its own."""
        more = ("streaming", "on") if protocol > 1 else ()
        rows = await self.connection.fetch(
            "SELECT data FROM pg_logical_slot_get_binary_changes($1, NULL, NULL, VARIADIC $2::text[])",
            f"{self.name}_{protocol}",
            ["proto_version", str(protocol), "publication_names", "p", "messages", "true", *more],
        )
        self.kinds = [row["data"][:1] for row in rows]
        return [commit for row in rows for commit in decoder.feed(row["data"])]

    async def changes(self, wants: Wants = EVERYTHING) -> list[tuple[Any, ...]]:
        """What is said of the changes since the last time."""
        commits = await self.read(await self.decoder(wants))
        return [_said(change) for commit in commits for change in commit.changes]


def _said(change: Change) -> tuple[Any, ...]:
    return (change.kind, change.name, dict(change.new), dict(change.old))


@pytest.fixture
async def slot(postgres_url: str) -> AsyncIterator[Slot]:
    """A slot, which is gone afterwards: a database that has one cannot be dropped."""
    connection = await asyncpg.connect(postgres_url, server_settings=READS)
    # Slots are named once a server.
    name = "decoded_" + postgres_url.rpartition("/")[2]
    slot = Slot(postgres_url, connection, name)
    try:
        yield slot
    finally:
        await slot.connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = ANY($1)",
            [f"{name}_1", f"{name}_2"],
        )
        await slot.connection.close()


# Each column: its type, the value as SQL, and what is told of it.
VALUES: tuple[tuple[str, str, object], ...] = (
    ("boolean", "true", True),
    ("smallint", "-32768", -32768),
    ("integer", "2147483647", 2147483647),
    ("bigint", "9223372036854775807", 9223372036854775807),
    ("oid", "4294967295", 4294967295),
    ("real", "0.1", 0.1),
    ("double precision", "0.1::float8 + 0.2::float8", 0.1 + 0.2),
    ("double precision", "'-infinity'", float("-inf")),
    ("numeric", "12345678901234567890.1234567890", Decimal("12345678901234567890.1234567890")),
    ("numeric", "'infinity'", Decimal("Infinity")),
    ("text", "E'caf\\u00e9 \\t \"q\" \\\\'", 'café \t "q" \\'),
    ("varchar(20)", "''", ""),
    ("char(4)", "'ab'", "ab  "),
    ("name", "'n'", "n"),
    ('"char"', "'c'", "c"),
    ("bytea", "'\\x00ff27'", b"\x00\xff'"),
    ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
    ("date", "'2026-11-22'", date(2026, 11, 22)),
    ("date", "'infinity'", "infinity"),
    ("date", "'0044-03-15 BC'", "0044-03-15 BC"),
    ("time", "'12:34:56.1'", time(12, 34, 56, 100_000)),
    ("time", "'24:00'", "24:00:00"),
    ("timetz", "'12:34:56+05:30'", time(12, 34, 56, tzinfo=timezone(timedelta(hours=5, minutes=30)))),
    ("timestamp", "'2026-11-22 03:04:05.000007'", datetime(2026, 11, 22, 3, 4, 5, 7)),
    ("timestamp", "'-infinity'", "-infinity"),
    ("timestamptz", "'2026-11-22 12:04:05.5+09'", datetime(2026, 11, 22, 3, 4, 5, 500_000, tzinfo=UTC)),
    ("timestamptz", "'1890-01-01 00:00+00'", datetime(1890, 1, 1, tzinfo=UTC)),
    ("timestamptz", "'294276-12-31 23:59:59+00'", "294276-12-31 23:59:59+00"),
    ("timestamptz", "'0044-03-15 00:00+00 BC'", "0044-03-15 00:00:00+00 BC"),
    ("interval", "'-1 days +02:03:04.000001'", timedelta(days=-1, hours=2, minutes=3, seconds=4, microseconds=1)),
    ("interval", "'-0.25 seconds'", timedelta(seconds=-0.25)),
    ("interval", "'0'", timedelta(0)),
    ("interval", "'1 year 2 mons 3 days'", "P1Y2M3D"),
    ("json", '\'{"a": [1, 2.5, null, "é"]}\'', {"a": [1, 2.5, None, "é"]}),
    ("jsonb", "'123456789012345678901234567890'", 123456789012345678901234567890),
    ("jsonb", "repeat('[', 6000)::text || repeat(']', 6000)", "[" * 6000 + "]" * 6000),
    ("text[]", """ARRAY['a', NULL, 'NULL', '', 'b "q" \\ {x},y']""", ["a", None, "NULL", "", 'b "q" \\ {x},y']),
    ("text[]", "'{}'", []),
    ("text[]", "ARRAY[['a', 'b'], ['c', NULL]]", [["a", "b"], ["c", None]]),
    ("integer[]", "'[0:0][-1:1]={{1,2,3}}'", [[1, 2, 3]]),
    ("bytea[]", "ARRAY['\\x00ff'::bytea, '\\x']", [b"\x00\xff", b""]),
    ("numeric[]", "ARRAY[1.50]", [Decimal("1.50")]),
    ("timestamptz[]", "ARRAY['2026-11-22 03:04:05+00'::timestamptz]", [datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)]),
    ("interval[]", "ARRAY[interval '1 day']", [timedelta(days=1)]),
    ("jsonb[]", """ARRAY['{"a": 1}'::jsonb]""", [{"a": 1}]),
    ("inet", "'10.0.0.1'", "10.0.0.1"),
    ("int4range[]", "ARRAY[int4range(1, 5)]", ["[1,5)"]),
    ("point", "'(1,2)'", "(1,2)"),
    ("email", "'a@b'", "a@b"),
    ("positive", "5", 5),
    ("ratings", "ARRAY[1, 2]", [1, 2]),
    ("mood", "'so so'", "so so"),
    ("mood[]", "ARRAY['so so', 'glad']::mood[]", ["so so", "glad"]),
    ("pair", "ROW(1, 'x')", "(1,x)"),
    ("integer", "NULL", None),
    ("text[]", "NULL", None),
)


async def test_every_type_comes_as_the_value_it_is(slot: Slot) -> None:
    """On a database whose own settings write everything otherwise."""
    columns = ", ".join(f"c{place} {kind}" for place, (kind, _, _) in enumerate(VALUES))
    database = slot.url.rpartition("/")[2]
    hostile = {
        "DateStyle": "German",
        "IntervalStyle": "sql_standard",
        "bytea_output": "escape",
        "TimeZone": "Asia/Seoul",
        "extra_float_digits": "-15",
    }
    await slot.begin(
        "CREATE DOMAIN email AS text CHECK (value LIKE '%@%')",
        "CREATE DOMAIN positive AS integer CHECK (value > 0)",
        "CREATE DOMAIN ratings AS integer[]",
        "CREATE TYPE mood AS ENUM ('so so', 'glad')",
        "CREATE TYPE pair AS (n integer, t text)",
        f"CREATE TABLE typed ({columns})",
        *(f"""ALTER DATABASE "{database}" SET {name} = '{value}'""" for name, value in hostile.items()),
    )
    before, slot.connection = slot.connection, await asyncpg.connect(slot.url, server_settings=READS)
    await before.close()
    # Written out as text, and cast by the column: only here do two ways of writing a document meet.
    await slot.run(
        "INSERT INTO typed SELECT "
        + ", ".join(f"({value})::{'' if kind != 'jsonb' else 'text::'}{kind}" for kind, value, _ in VALUES)
    )
    [(_, _, row, _)] = await slot.changes()
    told = list(row.values())
    assert [(type(value), value) for value in told] == [(type(value), value) for _, _, value in VALUES]


async def test_a_table_may_change_while_it_is_read(slot: Slot) -> None:
    """Within one transaction and between two; names are whatever somebody has chosen, and computed columns not sent."""
    await slot.begin(
        'CREATE SCHEMA "My Shop"',
        """CREATE TABLE "My Shop"."Order ""x"" é" (id integer PRIMARY KEY, "a.b" text, twice integer
           GENERATED ALWAYS AS (id * 2) STORED)""",
    )
    name = '"My Shop"."Order ""x"" é"'
    await slot.run(
        f"INSERT INTO {name} VALUES (1, 'x')",
        f"BEGIN; INSERT INTO {name} VALUES (2, 'x'); ALTER TABLE {name} ADD COLUMN more integer DEFAULT 7; "
        f"INSERT INTO {name} VALUES (3, 'x'); COMMIT",
        f"""ALTER TABLE {name} DROP COLUMN "a.b" """,
        f"ALTER TABLE {name} ALTER COLUMN more TYPE text",
        f"INSERT INTO {name} (id, more) VALUES (4, 'new')",
        f'ALTER TABLE {name} RENAME TO "after"',
        'UPDATE "My Shop"."after" SET more = NULL WHERE id = 4',
    )
    before = 'My Shop.Order "x" é'
    assert await slot.changes() == [
        ("insert", before, {"id": 1, "a.b": "x"}, {}),
        ("insert", before, {"id": 2, "a.b": "x"}, {}),
        ("insert", before, {"id": 3, "a.b": "x", "more": 7}, {}),
        ("insert", before, {"id": 4, "more": "new"}, {}),
        ("update", "My Shop.after", {"id": 4, "more": None}, {}),
    ]


async def test_old_values_are_what_the_replica_identity_covers(slot: Slot) -> None:
    """The primary key (of two columns), all, an index, nothing; a large value that did not change is not sent again."""
    large = "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 2000) n)"
    await slot.begin(
        "CREATE TABLE plain (a integer, b integer, t text, PRIMARY KEY (b, a))",
        "CREATE TABLE whole (a integer, t text, n integer)",
        "CREATE TABLE indexed (a integer PRIMARY KEY, tag integer NOT NULL, t text)",
        "CREATE TABLE nothing (a integer)",
        "CREATE UNIQUE INDEX indexed_tag ON indexed (tag, a)",
        "ALTER TABLE whole REPLICA IDENTITY FULL",
        "ALTER TABLE indexed REPLICA IDENTITY USING INDEX indexed_tag",
        "ALTER TABLE nothing REPLICA IDENTITY NOTHING",
        f"INSERT INTO plain VALUES (1, 2, {large})",
        f"INSERT INTO whole VALUES (1, {large}, NULL)",
        "INSERT INTO indexed VALUES (1, 5, 'x')",
    )
    text = await slot.connection.fetchval("SELECT t FROM plain")
    await slot.run(
        "UPDATE plain SET a = a",
        "UPDATE plain SET a = 3",
        "UPDATE plain SET t = NULL",
        "DELETE FROM plain",
        "UPDATE whole SET a = 2",
        "DELETE FROM whole",
        "UPDATE indexed SET t = 'y'",
        "UPDATE indexed SET tag = 6",
        "DELETE FROM indexed",
        "INSERT INTO nothing VALUES (1)",
    )
    assert await slot.changes() == [
        ("update", "plain", {"a": 1, "b": 2}, {}),
        ("update", "plain", {"a": 3, "b": 2}, {"a": 1, "b": 2}),
        ("update", "plain", {"a": 3, "b": 2, "t": None}, {}),
        ("delete", "plain", {}, {"a": 3, "b": 2}),
        ("update", "whole", {"a": 2, "t": text, "n": None}, {"a": 1, "t": text, "n": None}),
        ("delete", "whole", {}, {"a": 2, "t": text, "n": None}),
        ("update", "indexed", {"a": 1, "tag": 5, "t": "y"}, {}),
        ("update", "indexed", {"a": 1, "tag": 6, "t": "y"}, {"a": 1, "tag": 5}),
        ("delete", "indexed", {}, {"a": 1, "tag": 6}),
        ("insert", "nothing", {"a": 1}, {}),
    ]


async def test_partitions_are_told_as_their_root_and_truncates_as_what_they_emptied(slot: Slot) -> None:
    """A row that moves to another partition is deleted and inserted, as PostgreSQL does it."""
    await slot.begin(
        "CREATE TABLE orders (id integer, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
        "CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
        "CREATE TABLE orders_2 (day date NOT NULL, id integer NOT NULL)",
        "ALTER TABLE orders ATTACH PARTITION orders_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
        "CREATE TABLE parent (id integer PRIMARY KEY)",
        "CREATE TABLE child (id integer REFERENCES parent)",
    )
    await slot.run(
        "INSERT INTO orders VALUES (1, '2026-01-05')",
        "UPDATE orders SET day = '2026-02-05'",
        "TRUNCATE orders",
        "TRUNCATE parent RESTART IDENTITY CASCADE",
    )
    first, second = date(2026, 1, 5), date(2026, 2, 5)
    told = await slot.changes(Wants({"orders": None, "child": None}))
    assert told == [
        ("insert", "orders", {"id": 1, "day": first}, {}),
        ("delete", "orders", {}, {"id": 1, "day": first}),
        ("insert", "orders", {"id": 1, "day": second}, {}),
        ("truncate", "orders", {}, {}),
        ("truncate", "child", {}, {}),
    ]


async def test_only_what_was_committed_is_told(slot: Slot) -> None:
    """Rows and messages alike; a message of no transaction is none of those."""
    await slot.begin("CREATE TABLE t (id integer PRIMARY KEY)")
    await slot.run(
        "BEGIN; INSERT INTO t VALUES (1); SELECT pg_logical_emit_message(true, 'p.a', 'gone'); ROLLBACK",
        "BEGIN; INSERT INTO t VALUES (2); SELECT pg_logical_emit_message(false, 'p.b', 'at once'); ROLLBACK",
        "BEGIN; SELECT pg_logical_emit_message(true, 'p.c', '\\x00ff'::bytea); SAVEPOINT s; "
        "INSERT INTO t VALUES (3); SELECT pg_logical_emit_message(true, 'p.d', 'undone'); ROLLBACK TO s; "
        "INSERT INTO t VALUES (4); RELEASE s; INSERT INTO t VALUES (5); COMMIT",
        "SELECT pg_logical_emit_message(true, 'other', 'unwanted')",
    )
    decoder = await slot.decoder(Wants({"t": None}, prefixes=("p.",)))
    [commit] = await slot.read(decoder)
    assert [_said(change) for change in commit.changes] == [
        ("insert", "t", {"id": 4}, {}),
        ("insert", "t", {"id": 5}, {}),
    ]
    assert [(message.prefix, message.content) for message in commit.messages] == [("p.c", b"\x00\xff")]
    assert isinstance(commit.position, int)
    assert decoder.position > commit.position


async def test_whoever_goes_on_from_a_part_gets_the_whole_transaction_again(slot: Slot) -> None:
    """From the last part on it is over; each part's position is one that can be confirmed."""
    await slot.begin("CREATE TABLE t (id integer PRIMARY KEY)")
    await slot.run("INSERT INTO t SELECT generate_series(1, 5)", "INSERT INTO t VALUES (6)")
    parts = await slot.read(await slot.decoder(protocol=2, part=2), 2)
    assert [commit.last for commit in parts] == [False, False, True, True]
    for commit, left in ((parts[0], [[1, 2, 3, 4, 5], [6]]), (parts[2], [[6]])):
        # Slot 2 was read to its end: a copy of slot 1 stands where both began.
        await slot.connection.execute("SELECT pg_drop_replication_slot($1)", f"{slot.name}_2")
        await slot.connection.execute(
            "SELECT pg_copy_logical_replication_slot($1, $2)", f"{slot.name}_1", f"{slot.name}_2"
        )
        assert isinstance(commit.position, int)
        await slot.connection.execute(
            "SELECT pg_replication_slot_advance($1, $2::text::pg_lsn)", f"{slot.name}_2", lsn_text(commit.position)
        )
        again = await slot.read(await slot.decoder(protocol=2), 2)
        assert [[change.new["id"] for change in made.changes] for made in again] == left


async def test_a_commit_knows_its_transaction_its_time_and_its_place(slot: Slot) -> None:
    """By the server's own counts: a snapshot says whether it sees it."""
    await slot.begin("CREATE TABLE t (id integer PRIMARY KEY)")
    before = Snapshot.read("pg:1", await slot.connection.fetchval("SELECT pg_current_snapshot()::text"))
    async with slot.connection.transaction():
        xid = await slot.connection.fetchval("SELECT pg_current_xact_id()::text::bigint")
        await slot.connection.execute("INSERT INTO t VALUES (1)")
    after = Snapshot.read("pg:1", await slot.connection.fetchval("SELECT pg_current_snapshot()::text"))
    end = await slot.connection.fetchval("SELECT pg_current_wal_insert_lsn()::text")
    now = await slot.connection.fetchval("SELECT clock_timestamp()")
    [commit] = await slot.read(await slot.decoder())
    assert commit.moment.at == xid
    assert (before.sees(xid), after.sees(xid)) == (False, True)
    assert now - timedelta(minutes=10) < commit.at <= now
    assert isinstance(commit.position, int)
    assert 0 < commit.position <= lsn_read(end)


async def test_streamed_transactions_tell_what_whole_ones_tell(slot: Slot) -> None:
    """Several at once, with savepoints and a table that changes: by protocol 2, through files, and by protocol 1."""
    await slot.begin(
        "CREATE TABLE t (id integer PRIMARY KEY, note text)",
        "CREATE TABLE u (id integer PRIMARY KEY)",
        "CREATE DOMAIN positive AS integer",
    )
    await slot.run("SET logical_decoding_work_mem = '64kB'")
    fill = "INSERT INTO t (id, note) SELECT n, repeat('x', 50) FROM generate_series({}, {}) n"
    one, two = [await asyncpg.connect(slot.url, server_settings=COMMITS) for _ in range(2)]
    streamed = await slot.decoder(protocol=2, memory=30_000, part=700)
    try:
        with closing(streamed):
            for statement in ("BEGIN", fill.format(1, 2000), "SAVEPOINT s", fill.format(2001, 4000)):
                await one.execute(statement)
            for statement in ("BEGIN", fill.format(10_001, 13_000), "INSERT INTO u VALUES (1)"):
                await two.execute(statement)
            await slot.run("INSERT INTO u VALUES (2)")
            # Both run still: some of them is sent already, and will be sent again.
            early = await slot.read(streamed, 2)
            started = slot.kinds.count(STREAM_START)
            for statement in ("ROLLBACK TO s", "INSERT INTO u VALUES (3)", fill.format(5001, 6500)):
                await one.execute(statement)
            await two.execute("SELECT pg_logical_emit_message(true, 'p', 'said')")
            await two.execute("COMMIT")
            await one.execute("COMMIT")
            await slot.run(
                "BEGIN; INSERT INTO u SELECT generate_series(10, 2000); ALTER TABLE u ADD COLUMN p positive; "
                "INSERT INTO u SELECT n, n FROM generate_series(2001, 4000) n; COMMIT",
                "INSERT INTO u VALUES (5000, 1)",
            )
            late = await slot.read(streamed, 2)
    finally:
        for connection in (one, two):
            await connection.close()
    whole = await slot.read(await slot.decoder(part=700), 1)
    assert started > 0
    assert [len(commit.changes) for commit in early] == [1]
    assert _by_transaction(early + late) == _by_transaction(whole)
    assert max(len(commit.changes) for commit in late) == 700
    assert (early + late)[-1].position == whole[-1].position


def _by_transaction(commits: list[Commit]) -> list[tuple[object, ...]]:
    """What each transaction told, its parts put together."""
    told: list[tuple[object, ...]] = []
    changes: list[object] = []
    messages: list[object] = []
    for commit in commits:
        changes += [_said(change) for change in commit.changes]
        messages += [(message.prefix, message.content) for message in commit.messages]
        if commit.last:
            told.append((commit.moment, commit.at, commit.position, tuple(changes), tuple(messages)))
            changes, messages = [], []
    return told
