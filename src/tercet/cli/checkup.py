"""What `tercet doctor` asks MongoDB and Redis, and what it thinks of the answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tercet.changes.setup.verdicts import Level, Verdict
from tercet.units import duration, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.tercet import Tercet

# Change streams tell what is durable, and a single member makes that so as often as this; then it is felt.
JOURNAL_MS = 10
# MongoDB before this one has no pre- and post-images.
MONGO_MAJOR = 6
# Beyond it, every cached read is slower than a query by a key.
PING_SECONDS = 0.005
PINGS = 5
# Above this share, the next writes may already be refused.
FULL = 0.9
# Collections that are named in one line.
_NAMED = 5


async def mongo(db: Tercet) -> list[Verdict]:
    """Whether it tells its changes, how soon, and which old documents."""
    hello = await db.mongo.command("hello")
    build = await db.mongo.command("buildInfo")
    version = str(build["version"])
    found = [_mongo_version(version, hello)]
    if not (hello.get("setName") or hello.get("msg") == "isdbgrid"):
        mend = "Start it with --replSet and call rs.initiate(); one member is enough."
        return [*found, _verdict("mongo", "bad", "it is a standalone: it has no change streams", mend)]
    found.append(_verdict("mongo", "ok", "change streams: it is a replica set"))
    if len(hello.get("hosts") or ()) == 1:
        found.append(await _journal(db))
    found.append(await _images(db))
    return found


def _mongo_version(version: str, hello: Mapping[str, Any]) -> Verdict:
    role = "mongos" if hello.get("msg") == "isdbgrid" else "primary" if hello.get("isWritablePrimary") else "secondary"
    if int(version.partition(".")[0]) < MONGO_MAJOR:
        mend = f"Use MongoDB {MONGO_MAJOR} or newer."
        return _verdict("mongo", "warn", f"MongoDB {version} knows no images of what a document was before", mend)
    return _verdict("mongo", "ok", f"MongoDB {version}, {role}")


async def _journal(db: Tercet) -> Verdict:
    asked = await db.mongo.client.admin.command({"getParameter": 1, "journalCommitInterval": 1})
    interval = int(asked["journalCommitInterval"])
    if interval > JOURNAL_MS:
        says = (
            f"a change is told up to {interval} ms late: a single member waits for its journal (journalCommitInterval)"
        )
        return _verdict("mongo", "warn", says, f"Set storage.journal.commitIntervalMs to {JOURNAL_MS // 2}.")
    return _verdict("mongo", "ok", f"a change is told within {interval} ms (journalCommitInterval)")


async def _images(db: Tercet) -> Verdict:
    names = [
        str(one["name"])
        async for one in await db.mongo.list_collections(filter={"type": "collection"})
        if (one.get("options") or {}).get("changeStreamPreAndPostImages", {}).get("enabled")
    ]
    if not names:
        says = "no collection keeps pre-images: of a deleted document the key is told"
        return _verdict("mongo", "ok", says)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return _verdict("mongo", "ok", f"old documents are told of {', '.join(sorted(names)[:_NAMED])}{more}")


async def redis(db: Tercet) -> list[Verdict]:
    """What it is, whether it may throw locks and sessions away, and how soon it answers."""
    info: Mapping[str, Any] = await db.redis.info()
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info.get("redis_version")
    role = "primary" if info.get("role") == "master" else "replica"
    level: Level = "ok" if role == "primary" else "bad"
    mend = "" if role == "primary" else "Give the address of the primary."
    return [
        _verdict("redis", level, f"{name} {version}, {role}", mend),
        _memory(info),
        await _answers(db),
    ]


def _memory(info: Mapping[str, Any]) -> Verdict:
    policy, limit, used = str(info.get("maxmemory_policy")), int(info.get("maxmemory", 0)), int(info["used_memory"])
    if policy != "noeviction":
        says = (
            f"maxmemory-policy is {policy}: under pressure it throws away locks and sessions as well as cached values"
        )
        mend = "Keep locks and sessions in a Redis of their own with noeviction."
        return _verdict("redis", "warn" if limit else "ok", says if limit else f"{says}; it has no maxmemory", mend)
    if not limit:
        mend = "Set maxmemory below what the machine has."
        return _verdict("redis", "warn", f"it has no maxmemory ({size(used)} used): it grows until it is killed", mend)
    if used > FULL * limit:
        mend = "Give it more memory; what is cached needs a time to live."
        return _verdict("redis", "warn", f"{size(used)} of {size(limit)} are used: soon it refuses writes", mend)
    return _verdict("redis", "ok", f"noeviction: nothing is thrown away; {size(used)} of {size(limit)} are used")


async def _answers(db: Tercet) -> Verdict:
    took = []
    for _ in range(PINGS):
        started = time.perf_counter()
        await db.redis.ping()
        took.append(time.perf_counter() - started)
    median = sorted(took)[PINGS // 2]
    level: Level = "ok" if median <= PING_SECONDS else "warn"
    mend = "" if level == "ok" else "Is it in the same network? See its slow log."
    return _verdict("redis", level, f"it answers in {duration(median)}", mend)


def _verdict(store: str, level: Level, says: str, mend: str = "") -> Verdict:
    return Verdict(store, level, says, mend)
