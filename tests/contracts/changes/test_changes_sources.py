"""What every source of changes does, whatever it reads; a new one is a line in SOURCES."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

import pytest
import pytest_asyncio
from sqlalchemy.exc import DBAPIError

from tercet import Tercet
from tercet.changes import Change, Commit, Source, Wants
from tercet.changes.fallback import postgres_poll, postgres_triggers
from tercet.changes.fallback.postgres_poll import PostgresPoll
from tercet.changes.fallback.postgres_triggers import PostgresTriggers
from tercet.changes.feeding.place import Place
from tercet.changes.setup.apply import apply
from tercet.changes.setup.choose import Kind
from tercet.changes.setup.look import look
from tercet.changes.setup.plan import plan
from tercet.changes.stream.postgres import PostgresEdge
from tercet.errors import FeedRefused, PositionLost
from tercet.settings import Settings

# Patience for what must come; nothing here is about speed.
PATIENCE = 60.0

WANTS = Wants({"orders": frozenset({"id", "user_id", "note"}), "sales.Odd table": None, "parts": None})
# Of these the old values must be known, too.
OLD = {"orders": {"user_id"}}

TABLES = (
    "create table orders (id bigint primary key, user_id bigint not null, note text, secret text)",
    "create schema sales",
    'create table sales."Odd table" ("a ""key" int, b text, "Value" numeric, primary key ("a ""key", b))',
    "create table parts (id int, region text, primary key (id, region)) partition by list (region)",
    "create table parts_east partition of parts for values in ('east')",
    "create table parts_west partition of parts for values in ('west')",
)


class Opened(Protocol):
    """Makes a source of one kind, for one reading of a place."""

    def __call__(self, db: Tercet, url: str, place: Place) -> Source:
        """Not opened yet."""
        ...


@dataclass(frozen=True)
class Made:
    """A kind of source, and how a database is made ready for it."""

    kind: Kind
    make: Opened


SOURCES = {
    "stream": Made("stream", lambda _, url, place: PostgresEdge(Settings.read({"postgres": url})).source(place)),
    "poll": Made("poll", lambda db, _, place: PostgresPoll.of(db.postgres, place)),
    "triggers": Made("triggers", lambda db, _, place: PostgresTriggers.of(db.postgres, place)),
}


@dataclass
class World:
    """A database that is set up, and sources of one kind that read it."""

    db: Tercet
    url: str
    made: Made
    begun: set[str] = field(default_factory=set)

    def source(self, name: str | None = None, *, anew: bool = False) -> Source:
        """Not opened yet; with a name its place is kept, without one it is not."""
        place = Place("contract", name or "passing", durable=name is not None, anew=anew)
        return self.made.make(self.db, self.url, place)

    async def run(self, *statements: str) -> None:
        """In one transaction."""
        async with self.db.postgres.transaction() as connection:
            for statement in statements:
                await connection.exec_driver_sql(statement)

    @asynccontextmanager
    async def reading(self, name: str | None = None, wants: Wants = WANTS) -> AsyncIterator[Reader]:
        """A source that is open, and closed afterwards; a place is begun anew where it has not been read yet."""
        source = self.source(name, anew=name is not None and name not in self.begun)
        try:
            await source.open(wants, None)
            async with aclosing(source.commits()) as commits:
                yield Reader(source, commits)
            self.begun.add(name or "")
        finally:
            await source.close()


class Reader:
    """Reads a source up to what is waited for."""

    def __init__(self, source: Source, commits: Any) -> None:
        self.source = source
        self._commits = commits
        self._read: list[Commit] = []

    async def take(self, number: int) -> list[Commit]:
        """The next commits, parts counted each."""
        async with asyncio.timeout(PATIENCE):
            while len(self._read) < number:
                self._read += await anext(self._commits)
        taken, self._read = self._read[:number], self._read[number:]
        return taken

    async def one(self) -> Change:
        """The one change of the next commit."""
        (commit,) = await self.take(1)
        (change,) = commit.changes
        return change

    async def confirm(self, commits: Sequence[Commit]) -> None:
        """These are taken care of."""
        await self.source.confirm(commits[-1].position)


@pytest_asyncio.fixture(params=SOURCES)
async def world(request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[World]:
    """A fresh database, ready for one kind of source; its slots are dropped whatever happens."""
    made = SOURCES[request.param]
    async with Tercet(postgres=postgres_url, postgres_pool_size=8) as db:
        ready = World(db, postgres_url, made)
        await ready.run(*TABLES)
        await apply(db.postgres, plan(await look(db.postgres, WANTS), WANTS, feed=made.kind, old=OLD))
        try:
            yield ready
        finally:
            await _drop_slots(db)


async def _drop_slots(db: Tercet) -> None:
    """A database with a slot cannot be dropped; one that was given up may be busy for a moment still."""
    async with db.postgres.autocommit() as connection:
        while (
            await connection.exec_driver_sql(
                "select pg_drop_replication_slot(slot_name) from pg_replication_slots "
                "where database = current_database() and not active"
            )
        ).all() or (
            await connection.exec_driver_sql(
                "select slot_name from pg_replication_slots where database = current_database() and not temporary"
            )
        ).all():
            await asyncio.sleep(0.01)


async def test_an_insert_an_update_and_a_delete_are_told_as_they_were(world: World) -> None:
    """Each with what is wanted of it and nothing else, and with its commit's own facts."""
    async with world.reading() as reader:
        await world.run("insert into orders values (1, 10, 'new', 'hidden')")
        (commit,) = await reader.take(1)
        assert commit.last
        assert commit.moment.source.startswith("pg:")
        assert abs(commit.at - datetime.now(UTC)) < timedelta(hours=1)
        (change,) = commit.changes
        assert (change.kind, change.name) == ("insert", "orders")
        assert (change.new, change.old) == ({"id": 1, "user_id": 10, "note": "new"}, {})
        await world.run("update orders set user_id = 20 where id = 1")
        change = await reader.one()
        assert (change.kind, change.new) == ("update", {"id": 1, "user_id": 20, "note": "new"})
        assert {"id": 1, "user_id": 10}.items() <= change.old.items()
        await world.run("delete from orders")
        change = await reader.one()
        assert (change.kind, change.new) == ("delete", {})
        assert {"id": 1, "user_id": 20}.items() <= change.old.items()


async def test_the_moment_of_a_commit_is_its_transaction(world: World) -> None:
    """By the 64-bit id that PostgreSQL itself gives it."""
    async with world.reading() as reader:
        async with world.db.postgres.transaction() as connection:
            await connection.exec_driver_sql("insert into orders values (1, 10)")
            xid = (await connection.exec_driver_sql("select pg_current_xact_id()::text::bigint")).all()[0][0]
        (commit,) = await reader.take(1)
        assert commit.moment.at == xid


async def test_a_key_that_changes_is_told_with_the_old_one(world: World) -> None:
    """As one update, of a composite key with odd names too."""
    async with world.reading() as reader:
        await world.run("insert into orders values (1, 10)", """insert into sales."Odd table" values (1, 'x', 1.50)""")
        await reader.take(1)
        await world.run("update orders set id = 2")
        change = await reader.one()
        assert (change.kind, change.new["id"], change.old["id"]) == ("update", 2, 1)
        await world.run("""update sales."Odd table" set b = 'y'""")
        change = await reader.one()
        assert change.name == "sales.Odd table"
        assert change.new == {'a "key': 1, "b": "y", "Value": Decimal("1.50")}
        assert {'a "key': 1, "b": "x"}.items() <= change.old.items()


async def test_a_truncate_is_one_change_of_its_table(world: World) -> None:
    """However many rows there were."""
    async with world.reading() as reader:
        await world.run("insert into orders select i, 1 from generate_series(1, 5) i")
        await reader.take(1)
        await world.run("truncate orders")
        change = await reader.one()
        assert (change.kind, change.name, change.new, change.old) == ("truncate", "orders", {}, {})


async def test_what_is_rolled_back_is_not_told(world: World) -> None:
    """Neither a whole transaction nor a savepoint of one."""
    async with world.reading() as reader:
        with pytest.raises(DBAPIError):
            await world.run("insert into orders values (1, 1)", "select 1 / 0")
        await world.run(
            "insert into orders values (2, 2)",
            "savepoint s",
            "insert into orders values (3, 3)",
            "rollback to s",
            "insert into orders values (4, 4)",
        )
        (commit,) = await reader.take(1)
        assert [change.new["id"] for change in commit.changes] == [2, 4]


async def test_the_changes_of_a_transaction_come_in_their_order(world: World) -> None:
    """Over several tables, and in one commit."""
    async with world.reading() as reader:
        await world.run(
            "insert into orders values (1, 1)",
            "insert into parts values (1, 'east')",
            "update orders set user_id = 2",
            "delete from orders",
        )
        (commit,) = await reader.take(1)
        assert [(one.kind, one.table) for one in commit.changes] == [
            ("insert", "orders"),
            ("insert", "parts"),
            ("update", "orders"),
            ("delete", "orders"),
        ]


async def test_a_partition_is_told_as_its_table(world: World) -> None:
    """Also where it was written to directly, and where a row moves from one to another."""
    async with world.reading() as reader:
        await world.run("insert into parts values (1, 'east')")
        await world.run("insert into parts_west values (2, 'west')")
        first, second = await reader.take(2)
        assert [one.changes[0].name for one in (first, second)] == ["parts", "parts"]
        await world.run("update parts set region = 'west' where id = 1")
        (commit,) = await reader.take(1)
        assert [one.kind for one in commit.changes] == ["delete", "insert"]
        assert commit.changes[0].old["region"] == "east"
        assert commit.changes[1].new == {"id": 1, "region": "west"}


async def test_commits_come_in_an_order_in_which_rows_can_be_followed(world: World) -> None:
    """A transaction that began earlier and commits later comes later, and its change of the same row with it."""
    await world.run("insert into orders values (1, 0)")
    async with world.reading() as reader:
        async with world.db.postgres.transaction() as early:
            # It has its id now, which is the smaller one.
            await early.exec_driver_sql("insert into orders values (2, 0)")
            await world.run("update orders set user_id = 1 where id = 1")
            await early.exec_driver_sql("update orders set user_id = 2 where id = 1")
        late, then = await reader.take(2)
        assert [one.new["user_id"] for one in late.changes] == [1]
        assert [one.new["user_id"] for one in then.changes] == [0, 2]
        assert then.moment.at < late.moment.at


async def test_a_slow_transaction_with_a_smaller_id_is_not_missed(world: World) -> None:
    """Faster ones are told, confirmed, and even gone on from, before it commits."""
    async with world.reading("kept") as reader:
        async with world.db.postgres.transaction() as slow:
            await slow.exec_driver_sql("insert into orders values (1, 1)")
            await world.run("insert into orders values (2, 2)")
            fast = await reader.take(1)
            assert fast[0].changes[0].new["id"] == 2
            await reader.confirm(fast)
            await world.run("insert into orders values (3, 3)")
            await reader.take(1)
        change = await reader.one()
        assert change.new["id"] == 1


async def test_the_same_across_readings(world: World) -> None:
    """What was begun before one reading ended and committed before the next one is told by that."""
    async with world.reading("kept") as reader:
        await world.run("insert into orders values (0, 0)")
        await reader.confirm(await reader.take(1))
    async with world.db.postgres.transaction() as slow, world.reading("kept") as reader:
        await slow.exec_driver_sql("insert into orders values (1, 1)")
        await world.run("insert into orders values (2, 2)")
        await reader.confirm(await reader.take(1))
    async with world.reading("kept") as reader:
        assert (await reader.one()).new["id"] == 1


async def test_a_reading_goes_on_where_the_last_one_was_confirmed(world: World) -> None:
    """What was not confirmed comes again, what was written meanwhile comes, and what was confirmed does not."""
    async with world.reading("kept") as reader:
        for number in range(1, 4):
            await world.run(f"insert into orders values ({number}, 0)")
        read = await reader.take(3)
        await reader.confirm(read[:2])
    await world.run("insert into orders values (4, 0)")
    async with world.reading("kept") as reader:
        assert [one.changes[0].new["id"] for one in await reader.take(2)] == [3, 4]


async def test_confirmed_with_the_last_question_is_confirmed(world: World) -> None:
    """Closing keeps it; a reading after that finds nothing old."""
    async with world.reading("kept") as reader:
        await world.run("insert into orders values (1, 0)")
        await reader.confirm(await reader.take(1))
    async with world.reading("kept") as reader:
        await world.run("insert into orders values (2, 0)")
        assert (await reader.one()).new["id"] == 2


async def test_a_place_that_is_not_there_is_told(world: World) -> None:
    """Whoever comes to a place of which nothing is kept has to begin anew, and is not begun anew quietly."""
    source = world.source("another")
    with pytest.raises(PositionLost, match="another"):
        await source.open(WANTS, None)
    await source.close()


async def test_a_place_that_is_begun_anew_is_there_once_it_is_read(world: World) -> None:
    """Whoever dies between has not begun, and what was there before is passed over."""
    async with world.reading("kept") as reader:
        await world.run("insert into orders values (1, 1)")
        await reader.take(1)
    world.begun.clear()
    async with world.reading("kept") as reader:
        await world.run("insert into orders values (2, 2)")
        assert (await reader.one()).new["id"] == 2
    source = world.source("fresh", anew=True)
    await source.open(WANTS, None)
    await source.close()
    source = world.source("fresh")
    with pytest.raises(PositionLost, match="fresh"):
        await source.open(WANTS, None)
    await source.close()


async def test_a_large_transaction_comes_in_parts(world: World) -> None:
    """The parts are of one moment, only the last one is the last, and a reading that ends between begins it anew."""
    rows = 25_000
    async with world.reading("kept") as reader:
        await world.run("insert into orders values (0, 0)")
        await reader.confirm(await reader.take(1))
        await world.run(f"insert into orders select i, i % 7 from generate_series(1, {rows}) i")
        await reader.take(1)
        await reader.confirm(await reader.take(1))
    async with world.reading("kept") as reader:
        parts: list[Commit] = []
        while not parts or not parts[-1].last:
            parts += await reader.take(1)
        assert len(parts) > 2
        assert len({part.moment for part in parts}) == 1
        assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
        assert [change.new["id"] for part in parts for change in part.changes] == [*range(1, rows + 1)]
        await reader.confirm(parts)
        await world.run("insert into orders values (-1, 0)")
        assert (await reader.one()).new["id"] == -1


async def test_what_was_not_confirmed_is_told_once_in_a_reading(world: World) -> None:
    """A listener that confirms late is not told the same again, however much it has not confirmed."""
    async with world.reading("kept") as reader:
        for number in range(1, 6):
            await world.run(f"insert into orders values ({number}, 0)")
            assert (await reader.one()).new["id"] == number


async def test_values_have_the_types_that_python_has_for_them(world: World) -> None:
    """As the log tells them, whatever the way; NULL is None."""
    await world.run(
        "create domain euros as numeric(12, 2)",
        "create type mood as enum ('well', 'ill')",
        """create table kinds (id int primary key, t bool, b bytea, n numeric, d euros, f float8, r real, day date,
            at timestamptz, local timestamp, u uuid, j jsonb, a int[], w text[], m mood, span interval, nothing text,
            moments timestamptz[], big bigint, nan float8)""",
    )
    wants = Wants({"kinds": None})
    await apply(world.db.postgres, plan(await look(world.db.postgres, wants), wants, feed=world.made.kind))
    async with world.reading(wants=wants) as reader:
        await world.run(
            "set local timezone = 'Asia/Seoul'",
            "set local extra_float_digits = 0",
            """insert into kinds values (1, true, '\\x00ff', 1.500, 2.50, 0.1, 0.25, '2026-02-03',
                '2026-02-03 04:05:06.789+00', '2026-02-03 04:05:06', '6ecd8c99-4036-403d-bf84-cf8400f67836',
                '{"k": [1, 2.5, null]}', '{{1,2},{3,null}}', '{"a,b","null",null}', 'ill', '1 day 02:03:04', null,
                '{2026-02-03 04:05:06+00}', 9223372036854775807, 'NaN')""",
        )
        new = dict((await reader.one()).new)
    nan = new.pop("nan")
    assert isinstance(nan, float)
    assert math.isnan(nan)
    at = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    expected: dict[str, object] = {
        "id": 1,
        "t": True,
        "b": b"\x00\xff",
        "n": Decimal("1.500"),
        "d": Decimal("2.50"),
        "f": 0.1,
        "r": 0.25,
        "day": date(2026, 2, 3),
        "at": at.replace(microsecond=789_000),
        "local": datetime(2026, 2, 3, 4, 5, 6),
        "u": uuid.UUID("6ecd8c99-4036-403d-bf84-cf8400f67836"),
        "j": {"k": [1, 2.5, None]},
        "a": [[1, 2], [3, None]],
        "w": ["a,b", "null", None],
        "m": "ill",
        "span": timedelta(days=1, hours=2, minutes=3, seconds=4),
        "nothing": None,
        "moments": [at],
        "big": 9223372036854775807,
    }
    assert new == expected
    assert {name: type(value) for name, value in new.items()} == {name: type(one) for name, one in expected.items()}


async def test_a_column_that_comes_and_one_that_goes_disturb_nobody(world: World) -> None:
    """The writer goes on writing, and the reader reading."""
    wants = Wants({"orders": frozenset({"id", "user_id", "note", "later"})})
    async with world.reading(wants=wants) as reader:
        await world.run("insert into orders values (1, 1, 'n')")
        await reader.take(1)
        await world.run("alter table orders drop column secret", "alter table orders add column later int")
        await world.run("insert into orders values (2, 2, 'm', 7)")
        new = (await reader.one()).new
        assert {"id": 2, "user_id": 2}.items() <= new.items()


async def test_nothing_is_left_behind(world: World) -> None:
    """A reading without a name leaves neither slot nor place, and none leaves a connection; closing twice is fine."""
    async with world.reading() as reader:
        await world.run("insert into orders values (1, 1)")
        await reader.take(1)
    await reader.source.close()
    left = await _left(world)
    assert left == (0, 0)
    assert world.db.postgres.pool().in_use == 0


async def _left(world: World) -> tuple[int, int]:
    async with world.db.postgres.transaction() as connection:
        slots = await connection.exec_driver_sql(
            "select count(*) from pg_replication_slots where database = current_database()"
        )
        number = slots.all()[0][0]
        if world.made.kind != "triggers":
            return number, 0
        places = await connection.exec_driver_sql("select count(*) from tercet.places")
        return number, places.all()[0][0]


async def test_a_reading_that_is_given_up_lets_go_of_its_connections(world: World) -> None:
    """Cancelled while it waits, and broken off within a large transaction."""
    async with world.reading("kept") as reader:
        await world.run("insert into orders values (0, 0)")
        await reader.confirm(await reader.take(1))
    for name in ("kept", None):
        async with world.reading(name) as reader:
            waiting = asyncio.create_task(reader.take(1))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
    await world.run("insert into orders select i, 0 from generate_series(1, 25000) i")
    async with world.reading("kept") as reader:
        await reader.take(1)
    assert world.db.postgres.pool().in_use == 0


async def test_a_feed_that_is_not_set_up_says_how_to_do_it(world: World) -> None:
    """Before anything is read."""
    async with world.db.postgres.autocommit() as connection:
        if world.made.kind == "triggers":
            await connection.exec_driver_sql("drop schema tercet cascade")
        else:
            await connection.exec_driver_sql("drop publication tercet")
    source = world.source()
    with pytest.raises(FeedRefused, match=r"tercet doctor|does not exist"):
        await source.open(WANTS, None)
    await source.close()


async def test_two_places_are_told_the_same_each_at_its_own_pace(world: World) -> None:
    """What one has confirmed still comes to the other."""
    async with world.reading("one") as one, world.reading("two") as two:
        for number in range(1, 4):
            await world.run(f"insert into orders values ({number}, 0)")
        await one.confirm(await one.take(3))
        await world.run("insert into orders values (4, 0)")
        await one.confirm(await one.take(1))
        assert [commit.changes[0].new["id"] for commit in await two.take(4)] == [1, 2, 3, 4]


async def test_many_writers_at_once_lose_nothing_and_no_row_goes_back(world: World) -> None:
    """Every committed change comes exactly once, and those of a row in the order in which they were made."""
    writers, rounds, rows = 4, 25, 3
    await world.run(*(f"insert into orders values ({row}, 0)" for row in range(rows)))
    async with world.reading("kept") as reader:

        async def write() -> None:
            for _ in range(rounds):
                async with world.db.postgres.transaction() as connection:
                    for row in range(rows):
                        await connection.exec_driver_sql(f"update orders set user_id = user_id + 1 where id = {row}")

        async with asyncio.TaskGroup() as group:
            for _ in range(writers):
                group.create_task(write())
            read = await reader.take(writers * rounds)
        for row in range(rows):
            seen = [one.new["user_id"] for commit in read for one in commit.changes if one.new["id"] == row]
            assert seen == [*range(1, writers * rounds + 1)]


def test_both_fallbacks_fetch_less_than_the_largest_part() -> None:
    """A part that is handed on is made of several fetches, so the tests above go through both ways."""
    assert postgres_poll.FETCH_ROWS < 10_000
    assert postgres_triggers.FETCH_ROWS < 10_000
