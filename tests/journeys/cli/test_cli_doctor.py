"""`tercet doctor`, as a person types it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from pymongo import AsyncMongoClient

from tercet.cli.main import run

if TYPE_CHECKING:
    from pathlib import Path

# Nobody listens there.
NOBODY = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but those that a test gives."""
    for store in ("POSTGRES", "MONGO", "REDIS"):
        monkeypatch.delenv(f"TERCET_{store}_URL", raising=False)
    monkeypatch.chdir(tmp_path)


def _sql(url: str, *statements: str) -> None:
    async def main() -> None:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(main())


def _told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"verdicts", "feed"}
    return list(document["verdicts"])


def test_all_three_stores_are_looked_at(
    postgres_url: str,
    mongo_url: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As the settings name them; what is well is told, too."""
    monkeypatch.setenv("TERCET_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("TERCET_MONGO_URL", mongo_url)
    monkeypatch.setenv("TERCET_REDIS_URL", redis_url)

    async def collection() -> None:
        async with AsyncMongoClient[dict[str, Any]](mongo_url) as client:
            await client.get_default_database().create_collection(
                "tastes", changeStreamPreAndPostImages={"enabled": True}
            )

    asyncio.run(collection())
    assert run(["doctor", "--json"]) == 0
    found = _told(capsys)
    assert {one["store"] for one in found} == {"postgres", "mongo", "redis"}
    said = "\n".join(one["says"] for one in found)
    for part in ("feed by stream", "no publication tercet", "it is a replica set", "told of tastes", "it answers in"):
        assert part in said
    assert "journalCommitInterval" in said
    assert "noeviction: nothing is thrown away" in said


def test_a_store_that_is_down_is_bad_and_the_others_are_looked_at(
    postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, the worst first, and no password in it."""
    assert run(["doctor", f"redis://:hush@{NOBODY}", postgres_url]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("bad   redis")
    assert "hush" not in shown
    assert "feed by stream" in shown


def test_tables_that_take_no_update_and_slots_that_nobody_reads_are_found(
    postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the program finds them."""
    _sql(
        postgres_url,
        "create table log (line text)",
        "create table orders (id int primary key, user_id int not null)",
        "create publication naive for table log, orders (user_id)",
    )
    try:
        _sql(postgres_url, "select pg_create_logical_replication_slot('forgotten', 'pgoutput')")
        assert run(["doctor", postgres_url, "--json"]) == 1
    finally:
        _sql(
            postgres_url,
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = 'forgotten'",
        )
    found = _told(capsys)
    bad = [one["says"] for one in found if one["level"] == "bad"]
    assert bad == [
        f"PostgreSQL refuses UPDATE and DELETE on {why}"
        for why in (
            "log: the publication naive needs its replica identity, and it has none",
            "orders: the publication naive does not list id of its replica identity",
        )
    ]
    assert any(one["says"].startswith("slot forgotten is read by nobody right now") for one in found)
    assert any("max_slot_wal_keep_size" in one["says"] and one["level"] == "warn" for one in found)


def test_a_set_up_is_printed_then_run_and_then_there(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed changes nothing; what is run is not run twice."""
    _sql(postgres_url, "create table orders (id int primary key, user_id int not null)")
    setup = ["doctor", postgres_url, "--setup", "orders:user_id"]
    for _ in range(2):
        assert run(setup) == 0
        assert 'create publication "tercet" for table "public"."orders"' in capsys.readouterr().out
    assert run([*setup, "--apply"]) == 0
    assert "3 steps were taken" in capsys.readouterr().out
    assert run([*setup, "--apply"]) == 0
    assert "there already" in capsys.readouterr().out
    assert run(["doctor", postgres_url]) == 0
    assert "publication tercet tells orders" in capsys.readouterr().out
    _sql(postgres_url, "insert into orders values (1, 1)", "update orders set user_id = 2")


def test_a_set_up_for_triggers_is_told_by_the_doctor(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As SQL that can be saved, too."""
    _sql(postgres_url, "create table orders (id int primary key, user_id int not null)")
    assert run(["doctor", postgres_url, "--setup", "orders", "--feed", "triggers"]) == 0
    _sql(postgres_url, capsys.readouterr().out)
    assert run(["doctor", postgres_url, "--setup", "orders", "--feed", "triggers"]) == 0
    assert "there already" in capsys.readouterr().out


def test_a_set_up_that_would_break_writes_is_exit_code_2(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With what to do, on the standard error."""
    _sql(postgres_url, "create table log (line text)")
    assert run(["doctor", postgres_url, "--setup", "log", "--apply"]) == 2
    assert "--full log" in capsys.readouterr().err.replace("\n", " ")
    assert run(["doctor", postgres_url, "--setup", "log", "--full", "log", "--apply"]) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "There is no store to look at."),
        (["--apply"], "nothing to run"),
        (["http://example.com"], "of no store that is known"),
        ([f"redis://{NOBODY}", f"redis://{NOBODY}/1"], "two of one"),
        ([f"redis://{NOBODY}", "--setup", "orders"], "no PostgreSQL to set up"),
    ],
)
def test_a_command_that_cannot_be_meant_is_exit_code_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence says why."""
    assert run(["doctor", *arguments]) == 2
    assert says in capsys.readouterr().err
