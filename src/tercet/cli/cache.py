"""`tercet cache`: what Redis knows of one entry, and of a whole cache."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from tercet.cache import Cache
from tercet.cache.shelf.survey import similar, survey
from tercet.cli.main import FAILED
from tercet.cli.options import folder_option
from tercet.cli.screen import Screen
from tercet.clock import SystemClock
from tercet.errors import UsageError
from tercet.servers import status as ask_servers
from tercet.settings import Settings
from tercet.telemetry import Telemetry
from tercet.tercet import Tercet
from tercet.units import duration, size
from tercet.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from tercet.cache import Copy, Explanation
    from tercet.cache.shelf import Drop
    from tercet.cache.shelf.census import Report
    from tercet.cache.shelf.port import Figures
    from tercet.cache.shelf.survey import Survey

    _Table: TypeAlias = tuple[Sequence[str], Sequence[Sequence[str]], Sequence[int]]

# A person waits for the answer, and Redis may be far away: more patience than a service has.
DEADLINE_SECONDS = 5.0

# Functions and beginnings of keys that are listed; the others stand in the JSON.
GROUPS_SHOWN = 10

# How each figure of a process is headed, and by what name it is told: what was asked of it since its start, and
# how its memory stands.
_READS = (
    ("memory", "memory_hits"),
    ("redis", "redis_hits"),
    ("loads", "loads"),
    ("failed", "failed"),
    ("stale", "stale_served"),
    ("joined", "joined"),
    ("late", "late_fills_refused"),
    ("early", "early_refreshes"),
)
_STANDS = (
    ("up", "up_seconds"),
    ("entries", "entries"),
    ("size", "bytes"),
    ("evicted", "evicted"),
    ("loading", "loading"),
    ("owed drops", "undelivered"),
    ("bus lag", "bus_lag_seconds"),
)

# What the names of times end with.
_TIME = "_seconds"


@dataclass(frozen=True, slots=True)
class _Where:
    """Which cache is meant."""

    redis: str | None
    namespace: str
    folder: Path


def _of_a_cache(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which cache is meant, and how the answer is to be written."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="For programs."),
        folder_option,
        click.option("--namespace", default="tercet", show_default=True, help="The cache's own."),
        click.option("--redis", metavar="URL", help="Where; the settings say it otherwise."),
    ):
        command = option(command)
    return command


@click.group()
def cache() -> None:
    """Ask Redis about a cache and its entries; nothing is changed by it."""


@cache.command(short_help="Say where KEY is, how old, what it depends on, who loads it.")
@click.argument("key")
@_of_a_cache
@click.pass_context
def explain(
    context: click.Context, key: str, redis: str | None, namespace: str, folder: Path, *, as_json: bool
) -> None:
    """Say where KEY is, how old it is, what it depends on, and who is loading it.

    KEY is a key of set(), or what a function's key(…) returns. The exit code is 1 where nothing is known of it.
    """
    found, near = asyncio.run(_explained(key, _Where(redis, namespace, folder)))
    screen = Screen()
    known = bool(found.copies or found.holder)
    if as_json:
        document = {**asdict(found), "similar": near}
        screen.result(json.dumps(document, indent=2, default=str))
    elif known:
        screen.table(("key", _printable(key)), _told(found))
    else:
        screen.result(found.away or f"Nothing is known of {key!r} under the namespace {namespace!r}.")
        if near:
            screen.result(f"Similar: {', '.join(map(_printable, near))}")
    context.exit(0 if known else FAILED)


@cache.command(short_help="Say how much is there, who loads what, how processes do.")
@click.option("--all", "everything", is_flag=True, help="Read all names, however many there are.")
@_of_a_cache
def stats(redis: str | None, namespace: str, folder: Path, *, everything: bool, as_json: bool) -> None:
    """Say how much lies there, who loads what, what was dropped last, and how each process does.

    Sizes are estimated by samples. The figures of a process are a few seconds old, and count since its start.
    """
    found = asyncio.run(_surveyed(_Where(redis, namespace, folder), everything=everything))
    screen = Screen()
    if as_json:
        screen.result(json.dumps(asdict(found), indent=2, default=bytes.hex))
        return
    for line in _summary(found):
        screen.result(line)
    for header, rows, right in _tables(found):
        if rows:
            screen.result("")
            screen.table(header, rows, right=right)


async def _explained(key: str, where: _Where) -> tuple[Explanation, tuple[str, ...]]:
    async with _redis(where) as client:
        async with Cache(client, namespace=where.namespace, deadline=DEADLINE_SECONDS) as asked:
            found = await asked.explain(key)
        if found.copies or found.holder or found.away:
            return found, ()
        async with _wire(client) as wire:
            return found, await similar(wire, where.namespace, key)


async def _surveyed(where: _Where, *, everything: bool) -> Survey:
    async with _redis(where) as client, _wire(client) as wire:
        return await survey(wire, where.namespace, everything=everything)


@asynccontextmanager
async def _redis(where: _Where) -> AsyncIterator[Any]:
    """A client of the Redis that is meant: the one named, that of the settings, or that of the folder."""
    settings = Settings.read({"redis": where.redis})
    if settings.redis_url is None:
        running = {one.store: one.url for one in await ask_servers(where.folder) if one.url is not None}
        settings = settings.at({store: url for store, url in running.items() if store == "redis"})
    if settings.redis_url is None:
        raise UsageError(
            "There is no Redis to ask.",
            "Say --redis URL, set TERCET_REDIS_URL, or start one with: tercet up --only redis",
        )
    async with Tercet.of(replace(settings, postgres_url=None, mongo_url=None)) as db:
        yield db.redis


@asynccontextmanager
async def _wire(client: Any) -> AsyncIterator[Wire]:
    wire = Wire(lambda: client, deadline=DEADLINE_SECONDS, clock=SystemClock(), telemetry=Telemetry())
    try:
        yield wire
    finally:
        await wire.close()


# ---- one entry ----


def _told(found: Explanation) -> list[tuple[str, str]]:
    """What is known of an entry, line by line."""
    lines = [line for copy in found.copies for line in _of_copy(copy)]
    if not found.copies:
        lines.append(("tier", "none: it is not there yet"))
    lines.append(("loading", _printable(found.holder or "nobody")))
    return lines


def _of_copy(copy: Copy) -> list[tuple[str, str]]:
    lines = [("tier", copy.tier), ("state", _state(copy))]
    if copy.created is not None:
        age = max(0.0, (datetime.now(UTC) - copy.created).total_seconds())
        took = f", in {duration(copy.load_seconds)}" if copy.load_seconds else ""
        lines.append(("loaded", f"{duration(age)} ago{took}"))
    lines.append(("size", size(copy.bytes) + (f", packed by {copy.packing}" if copy.packing else "")))
    tags = [*map(_printable, copy.tags)]
    width = max(map(len, tags), default=0)
    for tag, current in zip(tags, copy.current, strict=True):
        lines.append(("tag", f"{tag:<{width}}  {'as when it was loaded' if current else 'dropped since'}"))
    return lines


def _state(copy: Copy) -> str:
    shown = copy.left + copy.grace
    match copy.state:
        case "fresh":
            stale = f", then shown as stale for {duration(copy.grace)}" if copy.grace else ""
            return f"fresh for another {duration(copy.left)}{stale}"
        case "stale":
            return f"stale for {duration(-copy.left)}, shown for another {duration(shown)} while it is loaded anew"
        case "dropped":
            return "dropped: it is shown to nobody"
        case _:
            return f"ended {duration(-shown)} ago"


# ---- all of them ----


def _summary(found: Survey) -> list[str]:
    entries = ("at least " if found.cut else "") + _many(found.entries, "entry", "entries")
    lines = [
        f"{entries}, about {size(found.bytes)}; {_many(found.tags, 'tag')}; {_many(found.leases, 'load')} under way",
        f"bus: {_many(found.messages, 'message')} kept; {_last(found)}",
    ]
    if found.cut:
        lines.append("There are more names than were read; --all reads on.")
    return lines


def _last(found: Survey) -> str:
    if found.last_drop is None or found.last_drop_seconds is None:
        return "no drop among the last"
    return f"the last drop {duration(found.last_drop_seconds)} ago: {_dropped(found.last_drop)}"


def _dropped(drop: Drop) -> str:
    if drop.everything:
        return "everything"
    parts = (("key", drop.names), ("tag", drop.tags), ("pattern", drop.patterns))
    return ", ".join(
        f"{word} {_printable(some[0].removeprefix('k:'))}" if len(some) == 1 else _many(len(some), word)
        for word, some in parts
        if some
    )


def _tables(found: Survey) -> list[_Table]:
    """Names by size, loads under way, processes: each with its header, its rows, and which columns are figures."""
    groups = [(_count(one.entries), size(one.bytes), _printable(one.name)) for one in found.groups[:GROUPS_SHOWN]]
    loading = [(duration(one.seconds), _printable(one.name), _printable(one.who)) for one in found.loading]
    return [
        (("entries", "size", "name"), groups, (0, 1)),
        (("since", "loading", "by"), loading, (0,)),
        _processes(found.processes, _READS),
        _processes(found.processes, _STANDS),
    ]


def _processes(processes: Sequence[Report], columns: Sequence[tuple[str, str]]) -> _Table:
    """Some figures of each process, and their sums; of times there is none."""
    names = [name for _, name in columns]
    told = [{**one.figures, "up_seconds": one.up_seconds} for one in processes]
    rows = [
        (_printable(f"{one.pid} on {one.host}"), *(_figure(figures, name) for name in names))
        for one, figures in zip(processes, told, strict=True)
    ]
    if len(rows) > 1:
        added = {name: sum(one.get(name) or 0 for one in told) for name in names if not name.endswith(_TIME)}
        rows.append(("all", *(_figure(added, name) for name in names)))
    header = ("process", *(title for title, _ in columns))
    return header, rows, range(1, len(header))


def _figure(figures: Figures, name: str) -> str:
    """One figure of a process; another release may not tell it."""
    value = figures.get(name)
    if value is None:
        return ""
    if name.endswith(_TIME):
        return duration(value)
    return size(int(value)) if name == "bytes" else _count(value)


def _many(number: int, one: str, more: str = "") -> str:
    return f"{_count(number)} {one if number == 1 else more or one + 's'}"


def _count(number: float) -> str:
    return f"{number:,.0f}".replace(",", "\u202f")


def _printable(text: str) -> str:
    """A name that a terminal does not take for a command; keys are often made of what users have typed."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
