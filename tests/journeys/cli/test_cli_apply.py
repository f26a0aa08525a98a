"""`tercet advise --apply`, `--save` and `--review` on a real database, with advice that was kept before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from tercet import Tercet
from tercet.advisor import Advice, Piece, Rewrite, StatementAdvice
from tercet.advisor.reading import read
from tercet.advisor.report import Kept, schema_digest
from tercet.cli.keeping import keep, last
from tercet.cli.main import FAILED, MISUSED, run
from tercet.cli.opening import place_of
from tercet.settings import Settings
from tercet.sql import Expression, Index, Statement, View

ORDERS = ("public", "orders")
BY_USER = Index("orders_by_user", ORDERS, ("user_id",))
LOWER = Index("orders_lower", ORDERS, (Expression("lower(note)"),))
ONE_EACH = Index("one_each", ORDERS, ("user_id",), unique=True)
OLD = Index("orders_old", ORDERS, ("total",))
SUMS = View(("public", "sums"), "select user_id, sum(total) as total from public.orders group by user_id", ("user_id",))
ASKED = "select * from orders where user_id = 7"


def _sql(url: str, *statements: str) -> list[asyncpg.Record]:
    """The rows of the last of these."""

    async def ask() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            found: list[asyncpg.Record] = await connection.fetch(statements[-1])
            return found
        finally:
            await connection.close()

    return asyncio.run(ask())


def _index(url: str, name: str) -> bool | None:
    """Whether an index is valid; None if there is none."""
    rows = _sql(url, f"select indisvalid from pg_index where indexrelid = to_regclass('{name}')")
    return rows[0][0] if rows else None


def _advise(url: str, pieces: Sequence[Piece], folder: Path = Path(".tercet")) -> None:
    """Keep these pieces as the last advice for the database as it is now."""

    async def digest() -> str:
        async with Tercet(postgres=url) as db:
            return await schema_digest(db.postgres)

    statement = Statement(ASKED)
    told = StatementAdvice(statement.fingerprint, ASKED, "orders of a user", 100.0, 12.0, 0.1, (1,))
    numbered = tuple(
        replace(piece, number=at, helps=(statement.fingerprint,) if piece.kind == "index" else ())
        for at, piece in enumerate(pieces, 1)
    )
    place = place_of(Settings.read({"postgres": url}))
    keep(Kept(Advice((told,), numbered, None, "slow.sql"), place, time.time(), asyncio.run(digest())), folder)


def _build(index: Index) -> Piece:
    return Piece("index", "It is looked up.", (f"{index.create()};",), (f"{index.drop()};",), "public.orders",
                 size_bytes=81_920, value=index)  # fmt: skip


def _drop(index: Index, definition: str) -> Piece:
    return Piece("drop_index", "Nobody reads it.", (f"{index.drop()};",), (definition,), "public.orders",
                 size_bytes=81_920, value=index)  # fmt: skip


@pytest.fixture
def url(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database with five thousand orders, and a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    _sql(
        postgres_url,
        "create table orders (id bigint primary key, user_id bigint, total numeric(12,2), note text)",
        "insert into orders select i, i % 500, i % 7, 'N' || i from generate_series(1, 5000) i",
        "create index orders_old on orders (total)",
        "vacuum analyze orders",
        "select 1",
    )
    return postgres_url


def _old(url: str) -> Piece:
    """The drop of orders_old, as it was read."""

    async def standing() -> Piece:
        async with Tercet(postgres=url) as db:
            table = (await read(db.postgres)).tables[ORDERS]
        one = next(one for one in table.indexes if one.index.name == "orders_old")
        return _drop(one.index, one.definition)

    return asyncio.run(standing())


def test_a_piece_is_built_marked_and_measured(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What was promised stands beside what was measured; the mark holds no statement; twice does nothing."""
    _advise(url, [_build(BY_USER), _build(LOWER)])
    assert run(["advise", url, "--apply", "1,2", "--measure"]) == 0
    out, err = capsys.readouterr()
    assert "1  index  " in out
    assert "(80 kB were promised), valid" in out
    assert 'to take it back: drop index concurrently if exists "public"."orders_by_user";' in out
    assert "now by orders_by_user, estimated 12 ms → 100 µs, measured " in out
    assert "as much again in temporary files" in err
    assert (_index(url, "orders_by_user"), _index(url, "orders_lower")) == (True, True)
    mark = _sql(url, "select obj_description('orders_by_user'::regclass)")[0][0]
    assert mark.startswith("tercet advice: ")
    assert Statement(ASKED).fingerprint in mark
    assert "select" not in mark
    assert _sql(url, "select count(*) from pg_stats where tablename = 'orders_lower'")[0][0] == 1
    assert run(["advise", url, "--apply", "2,1"]) == 0
    assert capsys.readouterr().out.count("is there already") == 2


def test_a_drop_keeps_the_way_back_and_is_done_last(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What replaces comes before what goes, and our own work makes the rest of the advice no older."""
    _advise(url, [_old(url), _build(BY_USER)])
    assert run(["advise", url, "--apply", "1,2"]) == 0
    out = capsys.readouterr().out
    assert out.index("built in") < out.index("dropped, 80 kB given back")
    assert "to take it back: CREATE INDEX orders_old ON public.orders USING btree (total);" in out
    assert _index(url, "orders_old") is None
    assert run(["advise", url, "--apply", "1"]) == 0
    assert "nothing to do, the index orders_old is gone already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("alter table orders cluster on orders_old", "something rests on the index orders_old now: CLUSTER"),
        ("drop index orders_old; create index orders_old on orders (total desc)", "is another one now"),
        ("alter table orders add more int", "nobody knows whether orders_old is needed"),
    ],
)
def test_a_drop_that_does_not_hold_any_more_is_refused(
    url: str, capsys: pytest.CaptureFixture[str], change: str, says: str
) -> None:
    """The catalogue is read again, and what has come to rest on the index, or may have, keeps it."""
    _advise(url, [_old(url)])
    _sql(url, *change.split(";"), "select 1")
    assert run(["advise", url, "--apply", "1"]) == FAILED
    assert says in capsys.readouterr().err
    assert _index(url, "orders_old") is True


def test_an_index_whose_column_is_gone_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Advice for a table as it was is not tried on the table as it is."""
    _advise(url, [_build(BY_USER)])
    _sql(url, "alter table orders rename user_id to owner_id")
    assert run(["advise", url, "--apply", "1"]) == FAILED
    assert "the table orders has no column user_id. Nothing was changed" in capsys.readouterr().err


def test_a_unique_index_is_refused_where_values_are_double(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole table is read before a rule is made; no value is shown."""
    _advise(url, [_build(ONE_EACH)])
    assert run(["advise", url, "--apply", "1"]) == FAILED
    assert "are not all different, so one_each cannot be" in capsys.readouterr().err
    assert _index(url, "one_each") is None


def test_a_view_is_made_with_its_indexes_and_reviewed(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A second time it is there; its mark lies on the index of its key."""
    _advise(url, [Piece("view", "It is added up.", (SUMS.create(),), (SUMS.drop(),), "public.sums", value=SUMS)])
    assert run(["advise", url, "--apply", "1"]) == 0
    assert "made in " in capsys.readouterr().out
    assert run(["advise", url, "--apply", "1"]) == 0
    assert "is there already" in capsys.readouterr().out
    assert _sql(url, "select count(*) from sums")[0][0] == 500
    assert run(["advise", url, "--review"]) == 0
    assert "view public.sums" in capsys.readouterr().out


def test_what_a_killed_build_has_left_is_healed(url: str) -> None:
    """An invalid index of the name is built anew."""
    with pytest.raises(asyncpg.UniqueViolationError):
        _sql(url, "create unique index concurrently orders_by_user on orders (user_id)")
    assert _index(url, "orders_by_user") is False
    _advise(url, [_build(BY_USER)])
    assert run(["advise", url, "--apply", "1"]) == 0
    assert _index(url, "orders_by_user") is True


async def test_old_transactions_are_told_before_anything_is_locked(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who stands in the way is named with the mend, and nothing is left behind."""
    await asyncio.to_thread(_advise, url, [_build(BY_USER)])
    connection = await asyncpg.connect(url, server_settings={"application_name": "forgotten"})
    try:
        pid = connection.get_server_pid()
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("update orders set note = 'held' where id = 1")
        while not await connection.fetchval("select clock_timestamp() - now() > '1.2 s'"):
            await asyncio.sleep(0.05)
        assert await asyncio.to_thread(run, ["advise", url, "--apply", "1", "--wait", "0s"]) == FAILED
        err = capsys.readouterr().err
        assert f"process {pid} (forgotten, postgres), idle in transaction, its transaction is " in err
        assert f"select pg_terminate_backend({pid})" in err
        assert await asyncio.to_thread(_index, url, "orders_by_user") is None
        going = asyncio.create_task(asyncio.to_thread(run, ["advise", url, "--apply", "1"]))
        while f"waits for process {pid}" not in (err := capsys.readouterr().err):
            assert not going.done(), err
            await asyncio.sleep(0.05)
        await transaction.rollback()
        assert await going == 0
        assert await asyncio.to_thread(_index, url, "orders_by_user") is True
    finally:
        await connection.close()


async def test_two_appliers_do_not_meet(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The second is told who applies already."""
    await asyncio.to_thread(_advise, url, [_build(BY_USER)])
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("select pg_advisory_lock(hashtextextended('applying advice to this database', 0))")
        assert await asyncio.to_thread(run, ["advise", url, "--apply", "1"]) == FAILED
        wanted = f"Applying advice to this database is under way already, by process {connection.get_server_pid()}"
        assert wanted in capsys.readouterr().err
    finally:
        await connection.close()


def test_what_is_unused_after_some_days_can_be_taken_back(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The review offers the drop, with the way back, and --apply does it; an index that is read stays."""
    _advise(url, [_build(BY_USER), _build(LOWER)])
    assert run(["advise", url, "--apply", "1,2"]) == 0
    assert run(["advise", url, "--review", "--fail-on-advice"]) == 0
    assert "not read yet: say again in 7 days" in capsys.readouterr().out
    if _sql(url, "select stats_reset is not null from pg_stat_database where datname = current_database()")[0][0]:
        pytest.skip("this server (before 15) counts since the database was made, which is today")
    day = "comment on index {} is 'tercet advice: 2024-01-01 size=81920 reads=0 helps='"
    _sql(url, day.format("orders_by_user"), day.format("orders_lower"), "set enable_seqscan = off", ASKED)
    assert run(["advise", url, "--review", "--fail-on-advice"]) == FAILED
    out = capsys.readouterr().out
    used, unused = (next(line for line in out.splitlines() if name in line) for name in ("by_user", "lower"))
    assert used.endswith("used")
    assert unused.endswith("unused: let it go")
    assert unused.startswith("1")
    assert "tercet advise --apply 1" in out
    assert len(last(Path(".tercet")).advice.pieces) == 1
    assert run(["advise", url, "--apply", "1"]) == 0
    assert (_index(url, "orders_by_user"), _index(url, "orders_lower")) == (True, None)
    assert run(["advise", url, "--review", "--fail-on-advice"]) == 0


def test_advice_is_saved_with_what_no_migration_can_do(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plain folder gets one file; a rewrite stands in it as a comment; a second time nothing is written."""
    rewrite = Rewrite("ab", ASKED, "select 1\nfrom orders", ("count_star",))
    _advise(url, [_old(url), _build(BY_USER), Piece("rewrite", "It is the same.", (rewrite.after,), value=rewrite)])
    assert run(["advise", "--save", "made"]) == 0
    out, err = capsys.readouterr()
    text = Path(out.strip()).read_text()
    compile(text, "revision", "exec")
    assert text.index("orders_by_user") < text.index("index='\"orders_old\"'")
    assert "#     from orders" in text
    assert "has no env.py), so the revision follows none" in err
    assert "1 of 3 pieces are comments" in err
    assert run(["advise", "--save", "made"]) == 0
    assert "were saved there before" in capsys.readouterr().err
    assert len(list((tmp_path / "made").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--apply", "9"], "no piece 9"),
        (["--apply", "one"], "should be numbers"),
        (["--apply", "2"], "done in the program"),
    ],
)
def test_what_cannot_be_applied_is_said_before_anything_is_done(
    url: str, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    """A number that is not there, no number, a piece that is nothing of a database's."""
    rewrite = Rewrite("ab", ASKED, "select 1", ("count_star",))
    _advise(url, [_build(BY_USER), Piece("rewrite", "It is the same.", (rewrite.after,), value=rewrite)])
    assert run(["advise", url, *arguments]) == MISUSED
    assert says in capsys.readouterr().err


def test_advice_for_another_database_is_not_applied(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The database that was advised is named."""
    _advise(url, [_build(BY_USER)])
    other = url.rpartition("/")[0] + "/postgres"
    assert run(["advise", other, "--apply", "1"]) == MISUSED
    assert "and not for" in capsys.readouterr().err


def test_what_the_server_refuses_is_a_sentence(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A login that does not own the table: no page of a driver's, nothing left, and the mend."""
    _sql(url, "create role nobody_much login", "grant select on orders to nobody_much", "select 1")
    try:
        other = url.replace("postgres@", "nobody_much@")
        _advise(other, [_build(BY_USER)])
        assert run(["advise", other, "--apply", "1"]) == FAILED
        err = " ".join(capsys.readouterr().err.split())
        assert "PostgreSQL says no: must be owner of table orders. It takes the rights of the owner" in err
        assert _index(url, "orders_by_user") is None
    finally:
        _sql(url, "drop owned by nobody_much", "drop role nobody_much", "select 1")
