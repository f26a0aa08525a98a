"""`tercet health` tells of the views and rollups that are kept: how old, by what, and whether anybody does."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tercet import Tercet
from tercet.cli.main import run
from tercet.rollups import Keeper, Measure, Rollup, create_rollup, create_view, standing
from tercet.sql import View

TOTALS = View(("public", "totals"), "select user_id, count(*) as n from orders group by user_id", ("user_id",))
LOGGED = Rollup(("public", "logged"), "orders", ("user_id",), {"n": Measure("count")}, way="delta")
INSTANT = Rollup(("public", "in stant"), "orders", ("user_id",), {"n": Measure("count")})
# Both cores may be taken by others.
PATIENCE_SECONDS = 60.0


async def _do(url: str, *statements: str) -> None:
    async with Tercet(postgres=url) as db, db.postgres.transaction() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)


async def _made(url: str) -> None:
    await _do(url, "create table orders (user_id int, total int)", "insert into orders values (1, 1), (2, 2)")
    async with Tercet(postgres=url) as db:
        await create_view(db.postgres, TOTALS)
        await create_rollup(db.postgres, LOGGED)
        await create_rollup(db.postgres, INSTANT)


async def _kept(url: str, every: float) -> None:
    """Let a service keep both until it has said so."""
    async with Tercet(postgres=url) as db, Keeper(db.postgres) as keeper:
        keeper.keep(TOTALS, every=every)
        keeper.keep(LOGGED, every=every)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while {one.every for one in await standing(db.postgres) if one.policy != "triggers"} != {every}:
                await asyncio.sleep(0.01)


def _health(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The checks of what is kept, by name, and the status of all under ""."""
    monkeypatch.setenv("TERCET_POSTGRES_URL", url)
    assert run(["health", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    found = {one["componentId"].replace('"', ""): one for one in told["checks"].get("rollups:age", [])}
    return {**found, "": told["status"]}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the test's own."""
    monkeypatch.chdir(tmp_path)


def test_each_is_shown_with_its_age_and_who_keeps_it(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody keeps is told so; what somebody does, with how often, and is overdue when that has long passed."""
    assert _health(postgres_url, monkeypatch, capsys) == {"": "pass"}
    asyncio.run(_made(postgres_url))
    before = _health(postgres_url, monkeypatch, capsys)
    assert {name: (one["policy"], one["state"]) for name, one in before.items() if name} == {
        "public.totals": ("refresh", "by hand"),
        "public.logged": ("log", "by hand"),
        "public.in stant": ("triggers", "kept"),
    }
    assert before["public.totals"]["observedValue"] > 0
    assert before["public.logged"]["observedValue"] == 0
    assert before["public.logged"]["logBytes"] > 0
    asyncio.run(_kept(postgres_url, 3_600.0))
    after = _health(postgres_url, monkeypatch, capsys)
    assert [after[name]["state"] for name in ("public.totals", "public.logged")] == ["kept", "kept"]
    assert after["public.totals"]["everySeconds"] == 3_600
    assert run(["health"]) == 0
    out = capsys.readouterr().out
    assert "public.totals    pass" in out
    assert "refreshes, every 1 h 0 min" in out
    assert "kept within each write" in out
    asyncio.run(_do(postgres_url, "update tercet.rollups set as_of = as_of - interval '3 hours'"))
    late = _health(postgres_url, monkeypatch, capsys)
    assert (late["public.totals"]["status"], late["public.in stant"]["status"]) == ("warn", "pass")
    assert "and nobody keeps it: is a service with db.keep running" in late["public.totals"]["output"]
    assert late[""] == "warn"


def test_what_is_broken_is_told_with_its_mend(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trigger that is disabled, a rollup that is filled to the half, a view without data; one that is gone is not."""
    asyncio.run(_made(postgres_url))
    asyncio.run(
        _do(
            postgres_url,
            'alter table orders disable trigger "in stant_insert"',
            "update tercet.rollups set state = 'filling' where name ~ 'logged'",
            "refresh materialized view totals with no data",
        )
    )
    found = _health(postgres_url, monkeypatch, capsys)
    assert {name: one["state"] for name, one in found.items() if name} == {
        "public.totals": "empty",
        "public.logged": "half filled",
        "public.in stant": "unwatched",
    }
    asyncio.run(_do(postgres_url, "drop materialized view totals"))
    assert "public.totals" not in _health(postgres_url, monkeypatch, capsys)


async def test_one_that_somebody_is_at_is_told_so(postgres_url: str) -> None:
    """Whoever refreshes or merges holds its lock, and is seen by that."""
    await _made(postgres_url)
    async with Tercet(postgres=postgres_url) as db, db.postgres.transaction() as connection:
        text = "select pg_advisory_xact_lock(hashtextextended('{}', 0))"
        await connection.exec_driver_sql(text.format('the upkeep of the rollup "public"."logged"'))
        await connection.exec_driver_sql(text.format('the refresh of the materialized view "public"."totals"'))
        states = {one.name: one.state for one in await standing(db.postgres)}
    assert states == {'"public"."totals"': "working", '"public"."logged"': "working", '"public"."in stant"': "kept"}


async def test_a_memory_that_an_older_tercet_has_made_is_mended(postgres_url: str) -> None:
    """Its table lacks what newer ones remember: it is read all the same, and gets it from whoever keeps something."""
    await _made(postgres_url)
    await _do(postgres_url, "alter table tercet.rollups drop column every")
    async with Tercet(postgres=postgres_url) as db:
        assert {one.every for one in await standing(db.postgres)} == {None}
    await _kept(postgres_url, 3_600.0)
