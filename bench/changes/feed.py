"""How soon a listener is told of a commit, and how fast a backlog is read; on a server of its own.

    python bench/changes/feed.py [--rows 100000] [--seconds 20] [--rate 100] [--runs 3]

It prints JSON. `commit_to_listener_ms` is from the moment when COMMIT has returned in another process until the
listener was called in this one; it is negative where the listener was first, and `cpu_share` is what that took of a
core. `one_row_commits` and `rows_of_one_commit` are a second: a durable place is closed, so much is written, and it is
read to its end, with connecting and opening; only the key is wanted of each row, of four columns with some 60 bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import asked
import psycopg

from tercet.changes import Changes, Wants
from tercet.changes.stream.postgres import postgres_changes
from tercet.clock import SystemClock
from tercet.settings import Settings
from tercet.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.changes import Commit

SCHEMA = """
create table t (id bigint generated always as identity primary key, kind text, amount numeric, at timestamptz);
create publication tercet for table t;
create procedure fill(n int) language plpgsql as $$
begin
  for _ in 1..n loop
    insert into t (kind, amount, at) values ('page_view', 12.34, now());
    commit;
  end loop;
end $$
"""
ROW = "insert into t (kind, amount, at) values ('page_view', 12.34, now()) returning id"
ROWS = "insert into t (kind, amount, at) select 'page_view', 12.34, now() from generate_series(1, {n})"


class Ear:
    """A listener that notes when each row was told, or counts them, until it has heard of so many."""

    wants = Wants({"t": frozenset({"id"})})

    def __init__(self, rows: int, *, times: bool = False) -> None:
        self.at: dict[object, float] = {}
        self.rows = 0
        self.all = asyncio.Event()
        self._wanted, self._times = rows, times

    async def hear(self, commits: Sequence[Commit]) -> None:
        """Note it."""
        now = time.monotonic()
        for commit in commits:
            self.rows += len(commit.changes)
            if self._times:
                self.at |= {change.new["id"]: now for change in commit.changes}
        if self.rows >= self._wanted:
            self.all.set()

    async def resync(self, why: str) -> None:
        """Nothing was kept."""


def write(url: str, count: int, rate: float) -> None:
    """The writer, in a process of its own: prints when each COMMIT has returned."""
    with psycopg.connect(url, autocommit=True) as connection:
        due = time.monotonic()
        for _ in range(count):
            due += 1 / rate
            time.sleep(max(0.0, due - time.monotonic()))
            (row,) = connection.execute(ROW).fetchall()
            print(json.dumps([row[0], time.monotonic()]))


async def latency(url: str, count: int, rate: float) -> dict[str, float]:
    """The percentiles in milliseconds."""
    ear, changes = Ear(count, times=True), made(url)
    await changes.subscribe(ear).ready()
    program = [sys.executable, __file__, "--write", url, str(count), str(rate)]
    began, worked = time.monotonic(), time.process_time()
    writer = await asyncio.create_subprocess_exec(*program, stdout=subprocess.PIPE, env=dict(os.environ))
    told, _ = await writer.communicate()
    busy = (time.process_time() - worked) / (time.monotonic() - began)
    returned = dict(json.loads(line) for line in told.splitlines())
    await ear.all.wait()
    await changes.close()
    # The first ones pay for imports and plans.
    late = sorted((ear.at[key] - at) * 1000 for key, at in list(returned.items())[count // 20 :])
    shares: dict[str, float] = asked.shares(late)
    first = sum(one < 0 for one in late) / len(late)
    return shares | {"commits": len(late), "rate": rate, "cpu_share": round(busy, 4), "listener_first": round(first, 3)}


async def backlog(url: str, rows: int, statement: str) -> float:
    """Rows a second."""
    ear, changes = Ear(1), made(url)
    await changes.subscribe(ear, durable="bench").ready()
    execute(url, ROW)
    await ear.all.wait()
    await changes.close()
    await asyncio.to_thread(execute, url, "set synchronous_commit = off", statement, "checkpoint")
    ear, changes = Ear(rows), made(url)
    began = time.perf_counter()
    changes.subscribe(ear, durable="bench")
    await ear.all.wait()
    seconds = time.perf_counter() - began
    assert ear.rows == rows
    await changes.close()
    return rows / seconds


def execute(url: str, *statements: str) -> None:
    """Run these."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def made(url: str) -> Changes:
    """The feed as a service has it."""
    settings = Settings.read({"postgres": url}, environ={})
    return postgres_changes(settings, clock=SystemClock(), telemetry=Telemetry(), service="bench")


async def measure(rows: int, seconds: float, rate: float, runs: int) -> dict[str, object]:
    """All of it."""
    async with asked.running("postgres") as addresses:
        url = addresses.postgres or ""
        execute(url, SCHEMA)
        late = await latency(url, round(seconds * rate), rate)
        many = [await backlog(url, rows, f"call fill({rows})") for _ in range(runs)]
        large = [await backlog(url, rows, ROWS.format(n=rows)) for _ in range(runs)]
        return {
            "servers": await asked.versions(addresses),
            "rows": rows,
            "commit_to_listener_ms": late,
            "one_row_commits": [round(one) for one in many],
            "rows_of_one_commit": [round(one) for one in large],
        }


def main() -> None:
    """Print what was measured."""
    if sys.argv[1:2] == ["--write"]:
        write(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
        return
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rows", type=int, default=100_000)
    words.add_argument("--seconds", type=float, default=20.0)
    words.add_argument("--rate", type=float, default=100.0)
    words.add_argument("--runs", type=int, default=3)
    given = words.parse_args()
    asked.told(asyncio.run(measure(given.rows, given.seconds, given.rate, given.runs)))


if __name__ == "__main__":
    main()
