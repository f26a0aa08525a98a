"""The outbox while everything around it is killed: is anything lost, made up, out of order, or done twice?

python bench/changes/outbox_faults.py [--seconds 600] [--every 4] [--seed 1] [--durable auto|table] [--out FILE]

Writers count up keys in PostgreSQL and emit an event with each step, in transactions of which many roll back. Relays
hand the events to three consumers, whose effects are in PostgreSQL, MongoDB and Redis. Meanwhile a tormentor sends
SIGKILL to writers, relays, PostgreSQL, mongod and Redis at random, and starts them again. In the end the truth, which
is a table that the writers' own transactions have filled, is compared with the effects.

The servers are its own, in a folder that is gone afterwards, and durable as they would be for real: PostgreSQL with
fsync, mongod with its journal, Redis with an append-only file that is synced before each answer (appendfsync always):
a Redis that forgets what it has acknowledged forgets marks too, and an effect may happen twice then.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asked
import redis.asyncio as driver
from pymongo import AsyncMongoClient
from sqlalchemy import text

from tercet import Tercet
from tercet.changes.feeding.place import Place
from tercet.changes.outbox import Event, Outbox
from tercet.changes.stream.postgres import postgres_changes
from tercet.clock import SystemClock
from tercet.errors import Refused, TercetError
from tercet.servers import Addresses, Servers, status
from tercet.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

SERVICE, PLACE = "storm", "outbox"
STORES = ("postgres", "mongo", "redis")
KEYS = 40
WRITERS = 2
RELAYS = 2
# What a killed process has locked in MongoDB stays so until the server ends its transaction: after a minute, unless it
# is told otherwise.
TRANSACTION_SECONDS = 3
# Of a hundred transactions so many roll back, and so many events that commit are refused by one consumer for good.
ROLLED_BACK, REFUSED = 30, 2
# Of a hundred events so many fail at first, and so many take longer than a place is held back.
FAILING, SLOW = 3, 1
# After the last kill the relays have as long as they need, while something goes on; beside the leases, nothing may
# stand still for so long.
STILL_SECONDS = 120.0
# The first events have to be handled within this, on a machine that is busy with other things.
BEGIN_SECONDS = 300.0


class Counted(Event, key="key", name_as="storm.Counted"):
    """A key was counted up; `mark` is this very step, which no other transaction has."""

    key: int
    n: int
    mark: str
    refused: bool


def tables() -> Sequence[str]:
    """What the writers and the consumer in PostgreSQL need."""
    return (
        "create table counters (key int primary key, n bigint not null)",
        f"insert into counters select k, 0 from generate_series(1, {KEYS}) k",  # noqa: S608 - a constant
        "create table truth (key int, n bigint, mark text primary key, refused boolean not null)",
        "create table effects (seq bigint generated always as identity primary key, key int, mark text)",
        "create publication tercet",
    )


def drawn(seed: int) -> random.Random:
    """Chance that can be repeated; nothing is secured by it."""
    return random.Random(seed)  # noqa: S311 - see above


# ---- the processes that are killed


async def under(work: Callable[[argparse.Namespace], Awaitable[None]], options: argparse.Namespace) -> None:
    """Do this for as long as whoever started us lives."""
    parent, task = os.getppid(), asyncio.ensure_future(work(options))
    while not task.done() and os.getppid() == parent:
        await asyncio.wait([task], timeout=0.5)
    if not task.done():
        os.kill(os.getpid(), signal.SIGKILL)
    await task


async def write(options: argparse.Namespace) -> None:
    """Count up keys for ever; the lock on a counter makes an order of all writers of a key."""
    chance = drawn(options.seed)
    async with Tercet(postgres=options.urls["postgres"]) as db:
        outbox = make_outbox(db, options)
        while True:
            try:
                await step(db, outbox, chance)
                await asyncio.sleep(options.pace)
            except Exception as error:  # noqa: BLE001 - a server that is away, whatever it is called here
                complain(error)
                await asyncio.sleep(0.05)


async def step(db: Tercet, outbox: Outbox, chance: random.Random) -> None:
    """One transaction, of one to four events of some keys."""
    keys = sorted(chance.sample(range(1, KEYS + 1), chance.randint(1, 3)))
    async with db.postgres.connection() as connection:
        for key in keys:
            rows = await connection.execute(
                text("update counters set n = n + 1 where key = :key returning n"), {"key": key}
            )
            event = Counted(key, rows.scalar_one(), uuid.uuid4().hex, chance.randrange(100) < REFUSED)
            await connection.execute(
                text("insert into truth values (:key, :n, :mark, :refused)"),
                {"key": key, "n": event.n, "mark": event.mark, "refused": event.refused},
            )
            await outbox.emit(connection, [event])
        if chance.randrange(10) == 0:
            async with connection.begin_nested() as savepoint:
                await outbox.emit(connection, [Counted(keys[0], 0, f"ghost {uuid.uuid4().hex}", False)])
                await savepoint.rollback()
        if chance.randrange(100) < ROLLED_BACK:
            await connection.rollback()
        else:
            await connection.commit()


async def relay(options: argparse.Namespace) -> None:
    """Hand events on for ever, from the log and from the table."""
    chance = drawn(options.seed)
    async with Tercet(**options.urls) as db:
        feed = postgres_changes(db.settings, clock=SystemClock(), telemetry=Telemetry(), service=SERVICE)
        outbox = make_outbox(db, options, feed)
        consumers(db, outbox, chance)
        try:
            async with outbox:
                await asyncio.Event().wait()
        finally:
            await feed.close()


def make_outbox(db: Tercet, options: argparse.Namespace, feed: Any = None) -> Outbox:
    """The outbox of all processes; only relays have the other stores."""
    stores = {"mongo": db.mongo, "redis": db.redis} if feed is not None else {}
    slot = Place(SERVICE, PLACE, durable=True).slot
    place = {} if options.durable == "table" else {"slot": slot, "feed": feed, "place": PLACE}
    return Outbox(db.postgres, durable=options.durable, lease=options.lease, **place, **stores)  # type: ignore[arg-type]  # the words of --durable


def consumers(db: Tercet, outbox: Outbox, chance: random.Random) -> None:
    """Three, whose effects are what the checker reads."""

    async def trouble(event: Counted) -> None:
        if event.refused:
            raise Refused("This one was refused, as was agreed.")
        luck = chance.randrange(100)
        if luck < FAILING:
            raise ValueError("It fails at first.")
        if luck < FAILING + SLOW:
            await asyncio.sleep(3.0)

    @outbox.on(Counted, once="postgres", name="postgres")
    async def postgres(event: Counted, tx: Any) -> None:
        row = {"key": event.key, "mark": event.mark}
        await tx.execute(text("insert into effects (key, mark) values (:key, :mark)"), row)
        await trouble(event)

    @outbox.on(Counted, once="mongo", name="mongo")
    async def mongo(event: Counted, tx: Any) -> None:
        push = {"$push": {"marks": event.mark}}
        await db.mongo["effects"].update_one({"_id": event.key}, push, upsert=True, session=tx)
        await trouble(event)

    @outbox.on(Counted, once="redis", name="redis")
    async def redis(event: Counted, tx: Any) -> None:
        tx.rpush(f"effects:{event.key}", event.mark)
        await trouble(event)


def complain(error: object) -> None:
    """For whoever looks for the reason of a run that went wrong."""
    if os.environ.get("STORM_VERBOSE"):
        sys.stderr.write(f"{type(error).__name__}: {str(error)[:200]}\n")


# ---- the tormentor


class Own:
    """One server of ours, which is killed and started again in its place."""

    def __init__(self, store: str, folder: Path) -> None:
        self.store, self.folder = store, folder / store
        self._servers: Servers | None = None
        self.url = ""

    async def start(self) -> None:
        """Start it, however often that takes: what was killed may still hold its files for a moment."""
        until = time.monotonic() + 120
        while True:
            servers = Servers(self.folder, (self.store,), ready_seconds=60, sources=asked.SOURCES)
            try:
                found = getattr(await servers.start(), self.store)
            except TercetError as error:
                complain(error)
                await servers.stop()
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.5)
                continue
            self._servers = servers
            if self.url not in {"", found}:
                raise RuntimeError(f"{self.store} has come up elsewhere: {found}")
            self.url = found
            break
        if self.store == "redis":
            async with driver.from_url(self.url) as client:
                await client.config_set("appendfsync", "always")
        if self.store == "mongo":
            async with AsyncMongoClient[dict[str, Any]](self.url) as mongo:
                await mongo.admin.command({"setParameter": 1, "transactionLifetimeLimitSeconds": TRANSACTION_SECONDS})

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone; PostgreSQL's other processes see that and end by themselves."""
        (found,) = (one for one in await status(self.folder) if one.store == self.store)
        if found.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(found.pid, signal.SIGKILL)
        if self._servers is not None:
            await self._servers.stop()
            self._servers = None

    async def stop(self) -> None:
        """The end."""
        if self._servers is not None:
            await self._servers.stop()


class Children:
    """Processes of one role, each started again when it is gone."""

    def __init__(self, role: str, number: int, words: Sequence[str], chance: random.Random) -> None:
        self._role, self._words, self._chance = role, words, chance
        self._running: list[subprocess.Popen[bytes] | None] = [None] * number
        self.wanted = True

    def tend(self) -> None:
        """Start what is not there."""
        for place, child in enumerate(self._running):
            if self.wanted and (child is None or child.poll() is not None):
                seed = str(self._chance.randrange(2**31))
                program = [sys.executable, __file__, "--role", self._role, "--seed", seed, *self._words]
                quiet = None if os.environ.get("STORM_VERBOSE") else subprocess.DEVNULL
                self._running[place] = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=quiet)  # noqa: S603 - it is this very file

    def kill(self, *, every: bool = False) -> None:
        """One of them, or all."""
        alive = [child for child in self._running if child is not None and child.poll() is None]
        for child in alive if every else alive[:1] and [self._chance.choice(alive)]:
            child.kill()
            child.wait()


async def storm(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All of it; what the checker says."""
    chance = drawn(options.seed)
    owns = {store: Own(store, folder) for store in STORES}
    await asyncio.gather(*(own.start() for own in owns.values()))
    urls = {store: own.url for store, own in owns.items()}
    servers = await asked.versions(Addresses(**urls))
    async with Tercet(postgres=urls["postgres"]) as db:
        await make_outbox(db, options).install()
        async with db.postgres.autocommit() as connection:
            for statement in tables():
                await connection.exec_driver_sql(statement)
    words = [
        "--durable",
        options.durable,
        "--lease",
        str(options.lease),
        "--pace",
        str(options.pace),
        "--urls",
        json.dumps(urls),
    ]
    writers = Children("write", WRITERS, words, chance)
    relays = Children("relay", RELAYS, words, chance)
    killed: Counter[str] = Counter()
    try:
        await begun(urls, (writers, relays))
        await torment(options, owns, (writers, relays), killed, chance)
        writers.wanted = False
        writers.kill(every=True)
        began = time.monotonic()
        found = await drained(options, urls, relays)
        found |= {"killed": dict(killed), "drain_seconds": round(time.monotonic() - began, 1)}
    finally:
        for children in (writers, relays):
            children.wanted = False
            children.kill(every=True)
        await asyncio.gather(*(own.stop() for own in owns.values()))
    return {"servers": servers, "seconds": options.seconds, "seed": options.seed, "durable": options.durable, **found}


async def begun(urls: dict[str, str], children: tuple[Children, Children]) -> None:
    """Wait until there are effects in every store: before that, a kill would hit nothing."""
    until = time.monotonic() + BEGIN_SECONDS
    while time.monotonic() < until:
        for role in children:
            role.tend()
        if min((await compare(urls))["effects"].values()):
            return
        await asyncio.sleep(0.2)
    raise TimeoutError("nothing was handled")


async def torment(
    options: argparse.Namespace,
    owns: dict[str, Own],
    children: tuple[Children, Children],
    killed: Counter[str],
    chance: random.Random,
) -> None:
    """Kill something, again and again: every kind in turn, in an order that is drawn anew each round."""
    ends = time.monotonic() + options.seconds
    order: list[str] = []
    while time.monotonic() < ends or not order_done(killed):
        for role in children:
            role.tend()
        await asyncio.sleep(chance.uniform(0.5, 1.5) * options.every)
        order = order or chance.sample([*STORES, "writer", "relay"], 5)
        what = order.pop()
        if what in owns:
            await owns[what].kill()
            await asyncio.sleep(chance.uniform(0, 1.0))
            await owns[what].start()
        else:
            children[what == "relay"].kill()
        killed[what] += 1


def order_done(killed: Counter[str]) -> bool:
    """Whether each kind was killed at least once: a short run is to show something too."""
    return len(killed) == len(STORES) + 2


async def drained(options: argparse.Namespace, urls: dict[str, str], relays: Children) -> dict[str, Any]:
    """Wait until every event has its end, or nothing has changed for long; then compare."""
    found, stood, since = dict[str, Any](), (-1, -1), time.monotonic()
    while time.monotonic() - since < STILL_SECONDS + 3 * options.lease:
        relays.tend()
        await asyncio.sleep(0.5)
        try:
            found = await compare(urls)
            complain(f"{found['missing']} missing, {found['unsettled']} unsettled")
        except Exception as error:  # noqa: BLE001 - a server that has only just come back
            complain(error)
            continue
        stands = (found["missing"], found["unsettled"])
        if not any(stands):
            break
        if stands != stood:
            stood, since = stands, time.monotonic()
    return found


# ---- the checker


async def compare(urls: dict[str, Any]) -> dict[str, Any]:
    """The truth beside the effects of each store."""
    async with Tercet(**urls) as db:
        async with db.postgres.transaction() as connection:

            async def rows(statement: str) -> list[Any]:
                return [tuple(row) for row in (await connection.execute(text(statement))).all()]

            truth = await rows("select key, n, mark, refused from truth order by key, n")
            effects = {"postgres": by_key(await rows("select key, mark from effects order by seq"))}
            dead = await rows("select consumer, error from tercet.parked where dead")
            left = await rows(
                "select (select count(*) from tercet.outbox), (select count(*) from tercet.parked where not dead)"
            )
        effects["mongo"] = {row["_id"]: row["marks"] async for row in db.mongo["effects"].find({})}
        effects["redis"] = {
            key: [
                mark.decode() if isinstance(mark, bytes) else mark
                for mark in await db.redis.lrange(f"effects:{key}", 0, -1)
            ]
            for key in range(1, KEYS + 1)
        }
    wanted = by_key([(key, mark) for key, _, mark, refused in truth if not refused])
    refused = sum(row[3] for row in truth)
    verdict = {store: judged(wanted, made) for store, made in effects.items()}
    deaths = Counter(consumer for consumer, _ in dead)
    wrong_deaths = [error for _, error in dead if error != "Refused"]
    return {
        "events": len(truth),
        "refused": refused,
        "effects": {store: sum(map(len, made.values())) for store, made in effects.items()},
        **{
            kind: {store: verdict[store][kind] for store in STORES}
            for kind in ("lost", "made_up", "twice", "out_of_order")
        },
        "dead": dict(deaths),
        "dead_for_another_reason": len(wrong_deaths),
        "missing": sum(one["lost"] for one in verdict.values()) + sum(refused - deaths[store] for store in STORES),
        "unsettled": sum(left[0]),
        "well": not wrong_deaths
        and not any(sum(one.values()) for one in verdict.values())
        and all(deaths[store] == refused for store in STORES),
    }


def by_key(pairs: Sequence[tuple[int, str]]) -> dict[int, list[str]]:
    """The marks of each key, in their order."""
    found: dict[int, list[str]] = defaultdict(list)
    for key, mark in pairs:
        found[key].append(mark)
    return found


def judged(wanted: dict[int, list[str]], made: dict[int, list[str]]) -> dict[str, int]:
    """What is not there, what should not be there, what is there twice, and keys whose order is another."""
    found: Counter[str] = Counter(lost=0, made_up=0, twice=0, out_of_order=0)
    for key in {*wanted, *made}:
        right, seen = wanted.get(key, []), made.get(key, [])
        there = set(seen)
        found["lost"] += len(set(right) - there)
        found["made_up"] += len(there - set(right))
        found["twice"] += len(seen) - len(there)
        firsts = [mark for mark in dict.fromkeys(seen) if mark in set(right)]
        found["out_of_order"] += firsts != [mark for mark in right if mark in there]
    return dict(found)


def main() -> None:
    """Run it, or one of its processes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--every", type=float, default=4.0, help="seconds between kills, on average")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--durable", choices=["auto", "table"], default="auto")
    parser.add_argument("--lease", type=float, default=30.0, help="seconds after which a dead relay's events are taken")
    parser.add_argument("--pace", type=float, default=0.05, help="seconds between the transactions of a writer")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--role", choices=["write", "relay"], help=argparse.SUPPRESS)
    parser.add_argument("--urls", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        asyncio.run(under({"write": write, "relay": relay}[options.role], options))
        return
    folder = Path(tempfile.mkdtemp(prefix="storm"))
    try:
        told = json.dumps(asyncio.run(storm(options, folder)), indent=2)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(told)
    if options.out is not None:
        options.out.write_text(told + "\n", encoding="utf-8")
    sys.exit(0 if json.loads(told).get("well") else 1)


if __name__ == "__main__":
    main()
