"""A slot that nobody reads on: is the log that it holds back bounded, was it told before, and does all come back?

    python bench/changes/slot.py [--cap 64] [--times 4]

A durable place with max_slot_wal_keep_size, and writes of several times that. Two ways to stand still, each on a server
of its own: the listener does not return (its process lives, and warns in its log), and the process is stopped with
SIGSTOP (whoever looks with `tercet changes status` is warned, by its exit code). `kept_mb_max` is the most that pg_wal
has held, and `bound_mb` is the cap with what the server keeps for itself. Afterwards the listener goes on, or
the process does: it has to be told once to begin anew, and then of each new row.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import asked
import asyncpg

from tercet.changes import Wants
from tercet.changes.outbox.postgres import statements
from tercet.changes.stream.postgres import postgres_changes
from tercet.clock import SystemClock
from tercet.settings import Settings
from tercet.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tercet.changes import Commit

PLACE = "bench"
# The log is cut by checkpoints. Here there is one after so much, as a busy server makes them by max_wal_size; beside
# what slots hold back, a server keeps what it has written since the last one, and a file in advance.
CHECKPOINT_MB, FILE_MB = 16, 16
OWN_MB = CHECKPOINT_MB + FILE_MB
# Written between two looks; one message of the log is half a megabyte.
STEP_MB, MESSAGE_BYTES = 4, 512 << 10
# The feed looks at its slot every second.
STEP_SECONDS = 0.6
PATIENCE_SECONDS = 90.0
NEW_ROWS = 100
WAYS = ("listener stands still", "process stopped")

PREPARED = (
    "CREATE TABLE t (id bigint PRIMARY KEY)",
    "CREATE PUBLICATION tercet FOR TABLE t",
    "ALTER SYSTEM SET min_wal_size = '32MB'",
)
FILLED = "SELECT count(pg_logical_emit_message(false, 'noise', repeat('x', $1))) FROM generate_series(1, $2)"
KEPT = "SELECT sum(size) FROM pg_ls_waldir()"
STATUS = "SELECT wal_status FROM pg_replication_slots WHERE NOT temporary"


class Ear:
    """Notes what it is told, and stands still when it is to."""

    wants = Wants({"t": frozenset({"id"})})

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.why: list[str] = []
        self.goes = asyncio.Event()
        self.goes.set()

    async def hear(self, commits: Sequence[Commit]) -> None:
        """Note the rows."""
        await self.goes.wait()
        self.rows += [int(str(change.new["id"])) for commit in commits for change in commit.changes]

    async def resync(self, why: str) -> None:
        """Note why."""
        self.why.append(why)


async def read(url: str) -> None:
    """Read the durable place; each line that comes is a question, or has the listener stand still or go on."""
    ear, warned = Ear(), list[str]()

    class Log(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warned.append(record.getMessage())

    logging.getLogger("tercet.changes").addHandler(Log(logging.WARNING))
    settings = Settings.read({"postgres": url}, environ={})
    changes = postgres_changes(settings, clock=SystemClock(), telemetry=Telemetry(), service="bench")
    subscription = changes.subscribe(ear, durable=PLACE)
    await subscription.ready()
    while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
        if line == "stand":
            ear.goes.clear()
        elif line == "go":
            ear.goes.set()
        state = subscription.status().state
        print(json.dumps({"state": state, "rows": ear.rows, "why": ear.why, "warned": warned}), flush=True)
    await changes.close()


class Reader:
    """The process that reads."""

    def __init__(self, url: str) -> None:
        program = [sys.executable, __file__, "--read", url]
        self._process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - it is this very file

    async def ask(self, word: str = "how") -> dict[str, Any]:
        """What it says now."""
        return await asyncio.to_thread(self._ask, word)

    def _ask(self, word: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def send(self, number: signal.Signals) -> None:
        """A signal."""
        os.kill(self._process.pid, number)

    def close(self) -> None:
        """The end."""
        self._process.kill()
        self._process.wait()


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> float:
    """Wait for it; the seconds that it took."""
    began = time.monotonic()
    while not await holds():
        assert time.monotonic() - began < PATIENCE_SECONDS, f"in vain: {what}"
        await asyncio.sleep(0.1)
    return time.monotonic() - began


def looked(url: str) -> bool:
    """Whether `tercet changes status` says that something is not well."""
    words = ["-c", "from tercet.cli.main import main; main()", "changes", "status", "--postgres", url, "--json"]
    done = subprocess.run([sys.executable, *words], check=False, capture_output=True, text=True)  # noqa: S603 - our own command
    slots = json.loads(done.stdout)["slots"]
    return done.returncode == 1 and any(one["wal_status"] == "unreserved" for one in slots)


class Case:
    """One way to stand still, on a server of its own."""

    def __init__(self, url: str, connection: asyncpg.Connection, way: str, options: argparse.Namespace) -> None:
        self.url, self.connection, self.way = url, connection, way
        self.cap, self.whole = options.cap, options.cap * options.times
        self.reader = Reader(url)
        self.kept = 0.0
        self.warned_at: int | None = None
        self.lost_at: int | None = None

    async def run(self) -> dict[str, Any]:
        """Stand still, write, come back."""
        try:
            await until(self._reads, "the place is read")
            await self.connection.execute("INSERT INTO t VALUES (0)")
            await until(lambda: self._told(1), "a row is told")
            before = len((await self.reader.ask("stand" if self.way == WAYS[0] else "how"))["why"])
            if self.way == WAYS[1]:
                self.reader.send(signal.SIGSTOP)
            # What it has not taken: without it, a listener would not stand still.
            await self.connection.execute("INSERT INTO t VALUES (1)")
            await self._write()
            return await self._back(before)
        finally:
            self.reader.close()

    async def _write(self) -> None:
        written = 0
        while written < self.whole:
            await self.connection.execute(FILLED, MESSAGE_BYTES, (STEP_MB << 20) // MESSAGE_BYTES)
            written += STEP_MB
            if written % CHECKPOINT_MB == 0:
                await self.connection.execute("CHECKPOINT")
            self.kept = max(self.kept, float(await self.connection.fetchval(KEPT)) / (1 << 20))
            await asyncio.sleep(STEP_SECONDS)
            # First whether it is lost: a warning that came at the same time came too late.
            lost = await self.connection.fetchval(STATUS) == "lost"
            if self.lost_at is None and lost:
                self.lost_at = written
            if self.warned_at is None and not lost and await self._is_warned():
                self.warned_at = written

    async def _is_warned(self) -> bool:
        if self.way == WAYS[1]:
            return await asyncio.to_thread(looked, self.url)
        return any("max_slot_wal_keep_size" in line for line in (await self.reader.ask())["warned"])

    async def _back(self, before: int) -> dict[str, Any]:
        if self.way == WAYS[0]:
            await self.reader.ask("go")
        else:
            self.reader.send(signal.SIGCONT)

        async def resynced() -> bool:
            said = await self.reader.ask()
            return len(said["why"]) > before and said["state"] == "reading"

        seconds = await until(resynced, "it begins anew")
        for row in range(10, 10 + NEW_ROWS):
            await self.connection.execute("INSERT INTO t VALUES ($1)", row)
        wanted = list(range(10, 10 + NEW_ROWS))

        async def all_told() -> bool:
            rows: list[int] = (await self.reader.ask())["rows"]
            return rows[-NEW_ROWS:] == wanted

        await until(all_told, "the new rows are told, in order")
        said = await self.reader.ask()
        return {
            "written_mb": self.whole,
            "kept_mb_max": round(self.kept, 1),
            "bound_mb": self.cap + OWN_MB,
            "warned_after_mb": self.warned_at,
            "lost_after_mb": self.lost_at,
            "warned_before": self.warned_at is not None and (self.lost_at is None or self.warned_at < self.lost_at),
            "resyncs": len(said["why"]) - before,
            "why": said["why"][before:],
            "normal_after_seconds": round(seconds, 2),
            "slot_after": await self.connection.fetchval(STATUS),
        }

    async def _reads(self) -> bool:
        state: str = (await self.reader.ask())["state"]
        return state == "reading"

    async def _told(self, count: int) -> bool:
        return len((await self.reader.ask())["rows"]) >= count


async def whole(options: argparse.Namespace) -> dict[str, Any]:
    """Both ways."""
    ways, servers = dict[str, Any](), list[str]()
    for way in WAYS:
        async with asked.running("postgres") as addresses:
            url = addresses.postgres or ""
            servers = await asked.versions(addresses)
            connection = await asyncpg.connect(url)
            # Without the outbox's tables, tercet changes status says only that they are missing.
            installed = statements()["install"].text.split(";\n")
            for statement in (*installed, *PREPARED, f"ALTER SYSTEM SET max_slot_wal_keep_size = '{options.cap}MB'"):
                await connection.execute(statement)
            await connection.execute("SELECT pg_reload_conf()")
            await connection.execute("CHECKPOINT")
            ways[way] = await Case(url, connection, way, options).run()
            await connection.close()
    return {"servers": servers, "cap_mb": options.cap, "ways": ways}


def main() -> None:
    """Measure and print, or be the reader."""
    if sys.argv[1:2] == ["--read"]:
        asyncio.run(read(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cap", type=int, default=64, help="max_slot_wal_keep_size in megabytes")
    parser.add_argument("--times", type=int, default=4, help="how many times that much is written")
    asked.told(asyncio.run(whole(parser.parse_args())))


if __name__ == "__main__":
    main()
