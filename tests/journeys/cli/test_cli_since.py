"""What has changed since advice was given is said in one line, before it is explained or applied."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from tercet import Tercet
from tercet.advisor import Advice, Piece, Rewrite, StatementAdvice
from tercet.advisor.report import Kept, schema_digest, table_digests
from tercet.cli.keeping import keep, last
from tercet.cli.main import run
from tercet.cli.opening import place_of
from tercet.settings import Settings
from tercet.sql import Index, View

ORDERS = ("public", "orders")
BY_USER = Index("orders_by_user", ORDERS, ("user_id",))
SUMS = View(("public", "sums"), "select user_id, sum(total) as total from public.orders group by user_id", ("user_id",))
REWRITE = Rewrite("ab", "select * from orders, users", "select 1", ("count_star",))
PIECES = (
    Piece("index", "It is looked up.", (f"{BY_USER.create()};",), (f"{BY_USER.drop()};",), "public.orders",
          value=BY_USER, number=1),
    Piece("view", "It is added up.", (f"{SUMS.create()};",), (f"{SUMS.drop()};",), "public.sums", value=SUMS, number=2),
    Piece("rewrite", "It is the same.", ("select 1",), value=REWRITE, number=3),
)  # fmt: skip


async def _do(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _advised(url: str) -> Kept:
    await _do(url, "create table orders (id bigint primary key, user_id bigint, total int)")
    await _do(url, "create table users (id bigint primary key); create table others (id bigint)")
    async with Tercet(postgres=url) as db:
        schema, tables = await schema_digest(db.postgres), await table_digests(db.postgres)
    told = StatementAdvice("ab", "select 1", "all", 1.0, 1.0, 0.1, (1,))
    place = place_of(Settings.read({"postgres": url}))
    return Kept(Advice((told,), PIECES, None, "slow.sql"), place, time.time(), schema, tables)


@pytest.fixture
def url(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database that has been advised, and a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    keep(asyncio.run(_advised(postgres_url)), Path(".tercet"))
    return postgres_url


def _explained(url: str, number: int, capsys: pytest.CaptureFixture[str]) -> str:
    """What is said of changes."""
    assert run(["advise", url, "--explain", str(number)]) == 0
    told = capsys.readouterr().err.splitlines()
    return "".join(line for line in told if line.startswith(("changed since", "whether it still holds")))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("alter table others add more int; create table news (id int)", ("", "", "")),
        ("alter table users add more int", ("", "", "public.users has other columns")),
        ("create index on orders (total)", ("public.orders has other indexes",) * 3),
        ("create index orders_by_user on orders (user_id)", ("the index orders_by_user exists now", "", "")),
        (
            "create index same on orders (user_id)",
            ("public.orders has other indexes; the index same does this already",)
            + ("public.orders has other indexes",) * 2,
        ),
        ("drop table orders", ("there is no table public.orders",) * 3),
        (
            "alter table orders rename user_id to owner_id",
            ("public.orders has other columns; the table orders has no column user_id",)
            + ("public.orders has other columns",) * 2,
        ),
    ],
)  # fmt: skip
def test_what_a_piece_is_about_is_compared(
    url: str, capsys: pytest.CaptureFixture[str], change: str, says: tuple[str, str, str]
) -> None:
    """Its tables' columns and indexes, and what is there already; other tables may change."""
    assert [_explained(url, number, capsys) for number in (1, 2, 3)] == ["", "", ""]
    asyncio.run(_do(url, change))
    told = [_explained(url, number, capsys) for number in (1, 2, 3)]
    assert told == [f"changed since it was advised: {one}" if one else "" for one in says]


def test_it_is_said_before_it_is_applied(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And what was applied by us is not told as somebody's change, but as being there."""
    asyncio.run(_do(url, "alter table orders add more int"))
    assert run(["advise", url, "--apply", "1,2"]) == 0
    err = capsys.readouterr().err
    assert "1  changed since it was advised: public.orders has other columns" in err
    assert _explained(url, 2, capsys) == (
        "changed since it was advised: public.orders has other columns; public.sums exists now"
    )


def test_what_cannot_be_compared_is_said(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Another database, none at all, and advice that an older tercet has kept."""
    other = url.rpartition("/")[0] + "/postgres"
    assert "whether it still holds was not asked: that is told by " in _explained(other, 1, capsys)
    assert run(["advise", "--explain", "1"]) == 0
    assert "could not be asked: There is no PostgreSQL to ask." in capsys.readouterr().err
    kept = last(Path(".tercet"))
    keep(replace(kept, tables={}), Path(".tercet"))
    assert _explained(url, 1, capsys) == ""
    asyncio.run(_do(url, "alter table others add more int"))
    told = "changed since it was advised: tables, columns or indexes, nobody knows which"
    assert _explained(url, 1, capsys) == told
