"""`tercet changes`, as a person types it: what waits, what is dead, and what comes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tercet import Tercet
from tercet.changes.outbox import Event, Outbox
from tercet.cli.main import run
from tercet.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

ROOT = Path(__file__).parents[3]
# For a program of its own, on a machine that is busy with other things.
PATIENCE_SECONDS = 200


class Wished(Event, key="order_id", name_as="cli.Wished"):
    """A wish that a consumer may refuse."""

    order_id: int
    words: str = ""


@pytest.fixture(autouse=True)
def _here(postgres_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The settings name the database; no file of another folder does."""
    monkeypatch.setenv("TERCET_POSTGRES_URL", postgres_url)
    monkeypatch.chdir(tmp_path)


def _with_outbox(work: Callable[[Outbox, Tercet, list[int]], Coroutine[object, object, None]]) -> list[int]:
    seen: list[int] = []

    async def main() -> None:
        async with Tercet() as db:
            outbox = Outbox(db.postgres, durable="table", keep="7d")

            @outbox.on(Wished, name="shop.wishes")
            async def handle(event: Wished) -> None:
                if event.order_id == 1 and event.words != "mended" and not seen:
                    raise Refused("No such order\x1b[31m.")
                seen.append(event.order_id)

            await outbox.relay.enrol()
            await work(outbox, db, seen)

    asyncio.run(main())
    return seen


async def _one_is_dead(outbox: Outbox, db: Tercet, _seen: list[int]) -> None:
    async with db.postgres.transaction() as connection:
        await outbox.emit(connection, [Wished(order_id=1), Wished(order_id=1), Wished(order_id=2)])
    await outbox.relay.drain()


async def _retried(outbox: Outbox, _db: Tercet, seen: list[int]) -> None:
    seen.append(0)
    await outbox.relay.retry()
    await outbox.relay.settled()


def _told(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    code = run(["changes", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_without_tables_every_question_names_the_mend(capsys: pytest.CaptureFixture[str]) -> None:
    """And the mend is a command, which may be given twice. Who has no outbox may still have slots to look at."""
    assert run(["changes", "status"]) == 0
    assert run(["changes", "dead"]) == 2
    assert "tercet changes install" in capsys.readouterr().err
    assert run(["changes", "install"]) == 0
    capsys.readouterr()
    assert _told(capsys, "install") == (0, {"installed": True})
    assert run(["changes", "status"]) == 0
    assert run(["changes", "dead"]) == 0
    assert "No letter is dead." in capsys.readouterr().out


def test_a_dead_letter_is_told_tried_again_and_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    """With its error; nothing of it reaches the terminal as a command to that."""
    assert run(["changes", "install"]) == 0
    assert _with_outbox(_one_is_dead) == [2]
    capsys.readouterr()
    assert run(["changes", "status"]) == 1
    shown = capsys.readouterr().out
    assert "outbox tercet: 0 in the table, 1 parked, 1 dead, 3 kept; the oldest for" in shown
    assert "shop.wishes" in shown
    assert run(["changes", "dead"]) == 0
    listed = capsys.readouterr().out
    assert ("Refused" in listed, "\x1b" in listed) == (True, False)
    _, (letter,) = _told(capsys, "dead")
    assert (letter["consumer"], letter["event"]["body"]["order_id"]) == ("shop.wishes", 1)
    assert run(["changes", "dead", "--retry"]) == 2
    assert run(["changes", "dead", "--retry", "--drop", "--all"]) == 2
    assert run(["changes", "dead", "--drop", "nonsense"]) == 2
    capsys.readouterr()
    assert _told(capsys, "dead", "--retry", letter["id"]) == (0, {"events": 1})
    assert _with_outbox(_retried) == [0, 1, 1]
    assert _told(capsys, "dead") == (0, [])
    assert _told(capsys, "dead", "--drop", "--all") == (0, {"events": 0})


def test_what_was_kept_is_delivered_again_to_the_consumer_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """By id or by time; a consumer of other types is given nothing."""
    assert run(["changes", "install"]) == 0
    assert _with_outbox(_one_is_dead) == [2]
    capsys.readouterr()
    assert run(["changes", "replay", "--consumer", "shop.wishes"]) == 2
    words = ("replay", "--since", "2000-01-01", "--consumer")
    assert _told(capsys, *words, "nobody") == (0, {"events": 0})
    # One is dead and one is parked already: those are not given twice.
    assert _told(capsys, *words, "shop.wishes") == (0, {"events": 1})
    assert _told(capsys, "replay", "--until", "2000-01-01", "--consumer", "shop.wishes") == (0, {"events": 0})
    assert sorted(_with_outbox(_retried)) == [0, 1, 2]


def test_tail_shows_rows_and_events_as_they_are_committed(postgres_url: str) -> None:
    """In another process, for programs; its temporary slot is gone with it."""

    async def prepare() -> None:
        async with Tercet() as db, db.postgres.autocommit() as connection:
            await connection.exec_driver_sql("create table wishes (id int primary key, words text)")
            await connection.exec_driver_sql("create publication tercet for all tables")

    asyncio.run(prepare())
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TERCET_POSTGRES_URL": postgres_url}
    program = [sys.executable, "-m", "tercet.cli.main", "changes", "tail", "--json", "--count", "3"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True) as tail:
        try:
            assert tail.stderr is not None
            # It says so when it has begun.
            while "from here on" not in tail.stderr.readline():
                assert tail.poll() is None
            asyncio.run(_write())
            out, _ = tail.communicate(timeout=PATIENCE_SECONDS)
        finally:
            tail.kill()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line.get("table") for line in lines] == ["wishes", "wishes", None]
    assert (lines[0]["new"]["words"], lines[1]["kind"]) == ("one", "delete")
    assert lines[2]["event"]["body"] == {"order_id": 7, "words": ""}
    assert asyncio.run(_slots()) == []


async def _write() -> None:
    async with Tercet() as db, db.postgres.transaction() as connection:
        await connection.exec_driver_sql("insert into wishes values (1, 'one')")
        await connection.exec_driver_sql("delete from wishes")
        # Nobody reads it for good; that it passes is enough here.
        content = await _content()
        await connection.exec_driver_sql(
            "select pg_logical_emit_message(true, 'tercet:outbox:tercet', $1::bytea)", (content,)
        )


async def _content() -> bytes:
    from tercet.changes.outbox.event import wrap
    from tercet.clock import SystemClock

    return wrap(Wished(order_id=7), clock=SystemClock())[1]


async def _slots() -> list[Any]:
    async with Tercet() as db, db.postgres.transaction() as connection:
        rows = await connection.exec_driver_sql(
            "select 1 from pg_replication_slots where database = current_database()"
        )
        return list(rows.all())
