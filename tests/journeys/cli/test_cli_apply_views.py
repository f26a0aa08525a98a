"""`tercet advise --apply`, `--save` and `--review` of views: what their policies say is made, told and taken back."""

from __future__ import annotations

import asyncio
import textwrap
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tercet import Tercet
from tercet.advisor import Advice, Piece, StatementAdvice
from tercet.advisor.report import Kept, schema_digest
from tercet.advisor.views import Policy
from tercet.cli.advise_views import Keeping, declared, keeping, make
from tercet.cli.keeping import keep, last
from tercet.cli.main import FAILED, run
from tercet.cli.opening import place_of
from tercet.rollups import Rollup, check, planned
from tercet.settings import Settings
from tercet.sql import Index, Key, Statement, View
from tercet.units import seconds

NAME = ("public", "spent by user")
SPENT = View(
    NAME,
    "select user_id, sum(total) as total, count(*) as orders from public.orders where note <> 'x' group by user_id",
    ("user_id",),
    (Index("spent_total", NAME, (Key("total", descending=True, nulls="last"),)),),
)
# None that its writers could keep.
THREE = View(
    ("public", "three"),
    "select u.id, sum(o.total) as total from public.orders o join public.users u on u.id = o.user_id"
    " join public.users w on w.id = u.id group by u.id",
    ("id",),
)
ASKED, ANSWERED = "select sum(total) from orders where note <> 'x'", 'select sum(total) from "spent by user"'
REFRESHED = Policy("concurrently", "a refresh takes 2 s", 44.7)
TRIGGERED = Policy("triggers", "nothing may be behind")
LOGGED = Policy("delta", "a merge costs less than refreshes", 30.0)


def _sql(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """The rows of the last of these."""

    async def ask() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return [tuple(row) for row in await connection.fetch(statements[-1])]
        finally:
            await connection.close()

    return asyncio.run(ask())


def _objects(url: str) -> list[tuple[Any, ...]]:
    """All relations, functions and triggers of the schema."""
    return _sql(
        url,
        "select 'relation', relname::text from pg_class where relnamespace = 'public'::regnamespace"
        " union all select 'function', proname::text from pg_proc where pronamespace = 'public'::regnamespace"
        " union all select 'trigger', tgname::text from pg_trigger where not tgisinternal order by 1, 2",
    )


def _advise(url: str, *views: tuple[View, Policy], refresh: float | None = None) -> None:
    """Keep these views as the last advice for the database as it is now."""

    async def digest() -> str:
        async with Tercet(postgres=url) as db:
            return await schema_digest(db.postgres)

    told = StatementAdvice(
        Statement(ASKED).fingerprint, ASKED, "all that was spent", 100.0, 12.0, 0.1, (1,), sql_after=ANSWERED
    )
    pieces = tuple(
        Piece("view", "It is added up.", (f"{view.create()};",), (f"{view.drop()};",), ".".join(view.name), value=view,
              policy=policy, refresh_seconds=refresh, helps=(told.fingerprint,), number=at)
        for at, (view, policy) in enumerate(views, 1)
    )  # fmt: skip
    place = place_of(Settings.read({"postgres": url}))
    keep(Kept(Advice((told,), pieces, None, "slow.sql"), place, time.time(), asyncio.run(digest())), Path(".tercet"))


@pytest.fixture
def url(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database with five thousand orders, and a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    _sql(
        postgres_url,
        "create table users (id bigint primary key)",
        "insert into users select generate_series(0, 499)",
        "create table orders (id bigint primary key, user_id bigint, total numeric(12,2), note text)",
        "insert into orders select i, i % 500, i % 7, 'N' || i from generate_series(1, 5000) i",
        "vacuum analyze orders",
        "select 1",
    )
    return postgres_url


def _pasted(out: str) -> tuple[list[Any], list[tuple[Any, dict[str, Any]]]]:
    """What the lines that were shown make when they are pasted: the values, and what was kept how."""
    lines = out[out.index("to keep it up") :].splitlines()[1:]
    shown = textwrap.dedent("\n".join(line for line in lines if line.startswith("      ")).partition("\n\n")[0])
    program = "\n".join(line for line in shown.splitlines() if line.startswith(("from ", "SPENT", "THREE", "db.")))
    kept: list[tuple[Any, dict[str, Any]]] = []

    class Db:
        def keep(self, what: Any, **how: Any) -> None:
            kept.append((what, how))

    made: dict[str, Any] = {"db": Db()}
    exec(compile(program, "pasted", "exec"), made)  # noqa: S102 - what a person would paste
    return [one for one in made.values() if isinstance(one, View | Rollup)], kept


def test_a_refreshed_view_is_made_and_its_lines_are_shown(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the unique index of its key; the lines declare the same view and keep it as the policy says."""
    _advise(url, (SPENT, REFRESHED))
    assert run(["advise", url, "--apply", "1"]) == 0
    out = capsys.readouterr().out
    assert "refreshed while it is read" in out
    values, kept = _pasted(out)
    assert values == [SPENT]
    assert kept == [(SPENT, {"every": "44.7s", "concurrently": True})]
    assert f"ask it instead, for all that was spent:\n      {ANSWERED}" in out
    assert 'to take it back: drop materialized view if exists "public"."spent by user";' in out
    assert _sql(
        url, "select indisunique, indisvalid from pg_index where indexrelid = '\"spent by user_key\"'::regclass"
    )
    assert run(["advise", url, "--apply", "1"]) == 0
    assert "is there already" in capsys.readouterr().out
    assert run(["advise", url, "--review"]) == 0
    assert "old, and nobody keeps it" in capsys.readouterr().out


@pytest.mark.parametrize("policy", [TRIGGERED, LOGGED], ids=lambda policy: policy.way)
def test_a_view_that_its_writers_keep_is_made_and_taken_back(
    url: str, capsys: pytest.CaptureFixture[str], policy: Policy
) -> None:
    """Table, functions, triggers and what was there before; a review tells of it, and takes all of it away."""
    before = _objects(url)
    _advise(url, (SPENT, policy))
    assert run(["advise", url, "--apply", "1"]) == 0
    out = capsys.readouterr().out
    rollup = planned(SPENT, policy)
    assert isinstance(rollup, Rollup)
    values, kept = _pasted(out)
    assert values == [rollup]
    assert kept == ([(rollup, {"every": "30s"})] if policy is LOGGED else [])
    assert ANSWERED in out
    _sql(url, "update orders set user_id = 3 where id % 9 = 0", "delete from orders where id < 20", "select 1")
    same = f'({SPENT.query}) except select user_id, total, orders from "spent by user"'
    assert _sql(url, f"select count(*) from ({same}) x") == [(0,)]
    assert run(["advise", url, "--apply", "1"]) == 0
    assert "is there already" in capsys.readouterr().out

    async def wrong() -> int:
        async with Tercet(postgres=url) as db:
            return (await check(db.postgres, rollup)).wrong

    assert asyncio.run(wrong()) == 0
    assert run(["advise", url, "--review"]) == 0
    told = capsys.readouterr().out
    assert "rollup public.spent by user" in told
    assert "0 of 500 groups wrong" in told
    assert "never behind" in told
    _review_away(url, capsys)
    assert _objects(url) == before
    assert _sql(url, "select count(*) from tercet.rollups") == [(0,)]


def _review_away(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody has read it for some days: the review offers to drop it, and --apply does."""
    reads = _sql(url, "select seq_scan + idx_scan - n_tup_ins - n_tup_upd from pg_stat_all_tables"
                      " where relname = 'spent by user_kept'")[0][0]  # fmt: skip
    day = f"tercet advice: 2024-01-01 size=1 reads={reads + 20} helps="
    _sql(url, f"comment on index \"spent by user_kept_key\" is '{day}'", "select 1")
    assert run(["advise", url, "--review", "--fail-on-advice"]) == FAILED
    assert "was not read once in" in capsys.readouterr().out
    assert [piece.kind for piece in last(Path(".tercet")).advice.pieces] == ["drop_view"]
    assert run(["advise", url, "--apply", "1"]) == 0
    assert "dropped with all that kept it" in capsys.readouterr().out
    assert run(["advise", url, "--apply", "1"]) == 0
    assert "is gone already" in capsys.readouterr().out


def test_an_unread_view_is_taken_back_by_the_review(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A materialized view goes with its indexes, and the statements that make it again are shown."""
    before = _objects(url)
    _advise(url, (SPENT, REFRESHED))
    assert run(["advise", url, "--apply", "1"]) == 0
    day = "tercet advice: 2024-01-01 size=1 reads=1000 helps="
    _sql(url, f"comment on index \"spent by user_key\" is '{day}'", "select 1")
    assert run(["advise", url, "--review", "--fail-on-advice"]) == FAILED
    undo = last(Path(".tercet")).advice.pieces[0].undo
    capsys.readouterr()
    assert run(["advise", url, "--save", "made"]) == 0
    up, _, down = Path(capsys.readouterr().out.strip()).read_text().partition("def downgrade")
    assert "drop materialized view if exists" in up
    assert "create materialized view" in down
    assert run(["advise", url, "--apply", "1"]) == 0
    assert "dropped with all that kept it" in capsys.readouterr().out
    assert _objects(url) == before
    _sql(url, *undo, "select 1")
    assert _sql(url, 'select count(*) from "spent by user"') == [(500,)]


def test_what_writers_use_up_is_not_taken_for_reads(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Triggers find each group by its key, which is nobody's use of it; a reader's is."""
    _advise(url, (SPENT, TRIGGERED))
    assert run(["advise", url, "--apply", "1"]) == 0
    for _ in range(3):
        _sql(url, "update orders set total = total + 1 where id < 100", "select 1")
    capsys.readouterr()
    assert run(["advise", url, "--review"]) == 0
    assert "not read yet: say again in 7 days" in capsys.readouterr().out
    _sql(url, 'select * from "spent by user"', "select pg_stat_force_next_flush()")
    assert run(["advise", url, "--review"]) == 0
    assert "  used; never behind" in capsys.readouterr().out


def test_a_failure_half_way_says_what_remains(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is there can be taken away by the lines that are shown, or gone on with after the mend."""
    view = View(NAME, "select user_id, sum(100 / total) as total from public.orders group by user_id", ("user_id",))
    before = _objects(url)
    _advise(url, (view, TRIGGERED))
    for taken_back in (True, False):
        assert run(["advise", url, "--apply", "1"]) == FAILED
        err = capsys.readouterr().err
        assert "its tables and triggers are there, and it is not filled to the end" in err
        lines = err[err.index("to take it away:") :].splitlines()[1:]
        undo = [line for line in lines if line.startswith("   ") and line.endswith(";")]
        assert _objects(url) != before
        if taken_back:
            _sql(url, "begin", *undo, "commit", "select 1")
            assert _objects(url) == before
    _sql(url, "alter table orders disable trigger user", "delete from orders where total = 0",
         "alter table orders enable trigger user", "select 1")  # fmt: skip
    assert run(["advise", url, "--apply", "1"]) == 0
    assert "kept by triggers" in capsys.readouterr().out


def test_a_view_whose_query_fails_leaves_nothing(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is made and filled by one transaction, and that is said."""
    view = View(NAME, "select user_id, sum(100 / total) as total from public.orders group by user_id", ("user_id",))
    before = _objects(url)
    _advise(url, (view, REFRESHED))
    assert run(["advise", url, "--apply", "1"]) == FAILED
    err = capsys.readouterr().err
    assert "nothing of it was made" in err
    assert 'PostgreSQL cannot make "public"."spent by user": ' in err
    assert "division by zero" in err
    assert _objects(url) == before


def test_a_view_that_writers_cannot_keep_is_refreshed_instead(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The reason is said, and it is refreshed as often as that can be done."""
    _advise(url, (THREE, LOGGED), refresh=3.0)
    assert run(["advise", url, "--apply", "1"]) == 0
    out = capsys.readouterr().out
    assert "cannot be kept by what writers do" in out
    values, kept = _pasted(out)
    assert values == [THREE]
    assert kept == [(THREE, {"every": "12s", "concurrently": True})]


@pytest.mark.parametrize(
    ("every", "shown"), [(0.05, "0.1s"), (0.25, "0.25s"), (99.54, "99.5s"), (86_399.6, "86400s"), (2e7, "20000000s")]
)
def test_an_interval_is_written_as_the_keeper_reads_it(every: float, shown: str) -> None:
    """However short or long it is."""
    line = declared(Keeping(SPENT, Policy("plain", "", every)))[-1]
    assert line == f'db.keep(SPENT_BY_USER, every="{shown}", concurrently=False)'
    assert seconds(shown) == pytest.approx(max(every, 0.1), rel=0.01)


def test_views_are_saved_as_what_keeps_them(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A rollup stands there as statements, with how it is declared; the database is only asked."""
    before = _objects(url)
    other = View(("public", "others"), SPENT.query, SPENT.key)
    _advise(url, (SPENT, LOGGED), (other, REFRESHED))
    assert run(["advise", url, "--save", "made"]) == 0
    path = Path(capsys.readouterr().out.strip())
    text = path.read_text()
    compile(text, "revision", "exec")
    assert text.count("_make_rollup(") == 2
    assert text.count("_make_view(") == 2
    assert '#     db.keep(SPENT_BY_USER, every="30s")' in text
    assert '#     db.keep(OTHERS, every="44.7s", concurrently=True)' in text
    assert _objects(url) == before
    assert _sql(url, "select to_regclass('tercet.rollups')") == [(None,)]
    assert run(["advise", url, "--save", "made"]) == 0
    assert "were saved there before" in capsys.readouterr().err


async def test_who_is_interrupted_is_told_what_remains(url: str) -> None:
    """Ctrl-C between two steps: what was begun is said, and the same call goes on with it."""
    said: list[str] = []
    kept = keeping(Piece("view", "", value=SPENT, policy=LOGGED))

    def interrupt(_: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async with Tercet(postgres=url) as db:
        made = asyncio.create_task(make(db.postgres, kept, SPENT, interrupt, said.append))
        with pytest.raises(asyncio.CancelledError):
            await made
        assert "not filled to the end" in said[0]
        assert not (await make(db.postgres, kept, SPENT, lambda _: None, said.append)).existed
        assert isinstance(kept.what, Rollup)
        assert (await check(db.postgres, kept.what)).wrong == 0
