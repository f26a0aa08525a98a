"""`tercet changes`: what is committed as it comes, how the feeds and outboxes stand, and dead letters."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from tercet.changes import Wants
from tercet.changes.outbox.event import shown
from tercet.changes.outbox.postgres import PREFIX, install
from tercet.changes.outbox.postgres_desk import PAGE, Desk
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

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from tercet.changes import Change, Commit, Message
    from tercet.changes.outbox.postgres_desk import DeadLetter, OutboxState, SlotState

# Longer values are cut on a person's screen; the JSON has them whole.
VALUE_CHARS = 60


@dataclass(frozen=True, slots=True)
class _Where:
    """Which database is meant."""

    postgres: str | None
    folder: Path


def _of_a_database(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which database is meant, and how the answer is to be written."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="For programs."),
        folder_option,
        click.option("--postgres", metavar="URL", help="Where; the settings say it otherwise."),
    ):
        command = option(command)
    return command


_outbox_option = click.option("--outbox", default="tercet", show_default=True, help="The outbox's name.")


@click.group()
def changes() -> None:
    """See what is committed, how feeds and outboxes stand, and what became of events."""


@changes.command(name="install", short_help="Make the tables of the outbox.")
@_of_a_database
def install_(postgres: str | None, folder: Path, *, as_json: bool) -> None:
    """Make the schema `tercet` with the outbox's tables where they are missing; a step of a deployment."""

    async def work() -> None:
        async with _database(_Where(postgres, folder)) as db:
            await install(db.postgres)

    asyncio.run(work())
    Screen().result(json.dumps({"installed": True}) if as_json else "The outbox's tables are there.")


@changes.command(short_help="Show slots with their lag, and what waits or is dead.")
@_of_a_database
@click.pass_context
def status(context: click.Context, postgres: str | None, folder: Path, *, as_json: bool) -> None:
    """Show every slot with its lag and its reader, and of each outbox what waits, is parked or is dead.

    The exit code is 1 where a slot is lost or about to be, or something is dead.
    """

    async def work() -> tuple[Sequence[SlotState], Sequence[OutboxState]]:
        async with _database(_Where(postgres, folder)) as db:
            desk = Desk(db.postgres)
            return await desk.slots(), await desk.outboxes()

    slots, outboxes = asyncio.run(work())
    screen = Screen()
    if as_json:
        told = {"slots": [asdict(one) for one in slots], "outboxes": [asdict(one) for one in outboxes]}
        screen.result(json.dumps(told, indent=2))
    else:
        _show_slots(screen, slots)
        _show_outboxes(screen, outboxes)
    unwell = any(one.wal_status in {"lost", "unreserved"} for one in slots) or any(one.dead for one in outboxes)
    context.exit(FAILED if unwell else 0)


@changes.command(short_help="List dead letters, try them again, or drop them.")
@click.argument("ids", nargs=-1, metavar="[ID…]")
@click.option("--retry", is_flag=True, help="Try them again, behind what waits of their keys by now.")
@click.option("--drop", is_flag=True, help="Throw them away.")
@click.option("--all", "every", is_flag=True, help="All of them, where no ID is given.")
@_outbox_option
@_of_a_database
def dead(
    ids: tuple[str, ...],
    outbox: str,
    postgres: str | None,
    folder: Path,
    *,
    retry: bool,
    drop: bool,
    every: bool,
    as_json: bool,
) -> None:
    """List the events that consumers did not take, with why; or --retry or --drop those named, or --all."""
    if retry and drop:
        raise UsageError("--retry and --drop were given together.", "Give one of them.")
    if (retry or drop) and bool(ids) == every:
        raise UsageError("It is not said which dead letters are meant.", "Name their IDs, or say --all.")

    async def work() -> int | Sequence[DeadLetter]:
        async with _database(_Where(postgres, folder)) as db:
            desk = Desk(db.postgres)
            if retry or drop:
                return await (desk.revive if retry else desk.drop)(outbox, None if every else ids)
            return await desk.dead(outbox)

    found, screen = asyncio.run(work()), Screen()
    if isinstance(found, int):
        _count(screen, found, "will be tried again" if retry else "dropped", as_json=as_json)
    elif as_json:
        screen.result(json.dumps([asdict(one) for one in found], indent=2, default=str))
    else:
        _show_dead(screen, found)


@changes.command(short_help="Deliver again to a consumer what the outbox has kept.")
@click.argument("ids", nargs=-1, metavar="[ID…]")
@click.option("--consumer", required=True, help="Whom: as status shows it.")
@click.option("--since", type=click.DateTime(), help="Kept from then on; in this machine's time.")
@click.option("--until", type=click.DateTime(), help="Kept before then.")
@_outbox_option
@_of_a_database
def replay(
    ids: tuple[str, ...],
    consumer: str,
    since: datetime | None,
    until: datetime | None,
    outbox: str,
    postgres: str | None,
    folder: Path,
    *,
    as_json: bool,
) -> None:
    """Deliver again to one consumer what was kept: the events named, or those of a time.

    Only an outbox with keep="7d" keeps events that were handled: PostgreSQL's log has them no more. Effects with
    once=… that were made are not made again.
    """
    if not ids and since is None and until is None:
        raise UsageError("It is not said which events are meant.", "Name their IDs, or say --since and --until.")

    async def work() -> int:
        async with _database(_Where(postgres, folder)) as db:
            bounds = {"since": since and since.astimezone(), "until": until and until.astimezone()}
            return await Desk(db.postgres).replay(outbox, consumer, ids=ids or None, **bounds)

    _count(Screen(), asyncio.run(work()), "will be delivered again", as_json=as_json)


@changes.command(short_help="Show what is committed, as it comes.")
@click.argument("tables", nargs=-1, metavar="[TABLE…]")
@click.option("--count", type=click.IntRange(1), metavar="NUMBER", help="End after so many.")
@_outbox_option
@_of_a_database
def tail(
    tables: tuple[str, ...],
    count: int | None,
    outbox: str,
    postgres: str | None,
    folder: Path,
    *,
    as_json: bool,
) -> None:
    """Show the changes of these tables, or of all, and the outbox's events, as they are committed.

    It reads a temporary slot, which is gone when it ends, and takes nothing from anybody. Ctrl-C ends it.
    """

    async def work() -> None:
        async with _database(_Where(postgres, folder)) as db:
            await _tail(db.settings, _Tail(tables, PREFIX + outbox, count, as_json))

    asyncio.run(work())


class _Tail:
    """A listener that prints, and has its own end."""

    def __init__(self, tables: Sequence[str], prefix: str, count: int | None, as_json: bool) -> None:
        self.wants = Wants(dict.fromkeys(tables or ("*",)), (prefix,))
        self._left, self._json, self._screen = count, as_json, Screen()
        self.ended = asyncio.Event()

    async def hear(self, commits: Sequence[Commit]) -> None:
        """Print each change and event, up to the count."""
        for commit in commits:
            happened: tuple[Change | Message, ...] = (*commit.changes, *commit.messages)
            for told in happened:
                if self._left == 0:
                    return
                self._screen.result(self._line(commit, told))
                if self._left is not None:
                    self._left -= 1
                    if not self._left:
                        self.ended.set()

    async def resync(self, why: str) -> None:
        """Say that there may be a gap, for the person only."""
        self._screen.aside(f"from here on: {why}")

    def _line(self, commit: Commit, told: Change | Message) -> str:
        plain = _plain(told)
        if self._json:
            head = {"at": commit.at.isoformat(), "transaction": commit.moment.at}
            return json.dumps({**head, **plain}, default=str)
        words = f"{plain.get('kind', 'event')} {plain.get('table', '')}".rstrip()
        values = plain.get("event") or plain.get("new") or plain.get("old")
        pairs = values.items() if isinstance(values, dict) else ()
        return f"{commit.at:%H:%M:%S.%f} {words}  " + "  ".join(f"{key}={_cut(value)}" for key, value in pairs)


def _plain(told: Change | Message) -> dict[str, Any]:
    content = getattr(told, "content", None)
    if isinstance(content, bytes):
        return {"event": shown(content)}
    change: Any = told
    return {"kind": change.kind, "table": change.name, "new": dict(change.new), "old": dict(change.old)}


def _cut(value: object) -> str:
    text = "".join(character if character.isprintable() else "?" for character in str(value))
    return text if len(text) <= VALUE_CHARS else text[:VALUE_CHARS] + "…"


async def _tail(settings: Settings, listener: _Tail) -> None:
    # Here, so that only this command needs the extra that brings it.
    from tercet.changes.stream.postgres import postgres_changes  # noqa: PLC0415 - see above

    feed = postgres_changes(settings, clock=SystemClock(), telemetry=Telemetry(), service="tercet tail")
    try:
        await feed.subscribe(listener, place=f"tail_{secrets.token_hex(8)}").ready()
        await listener.ended.wait()
    finally:
        await feed.close()


@asynccontextmanager
async def _database(where: _Where) -> AsyncIterator[Any]:
    """A Tercet of the PostgreSQL that is meant: the one named, that of the settings, or that of the folder."""
    settings = Settings.read({"postgres": where.postgres})
    if settings.postgres_url is None:
        running = {one.store: one.url for one in await ask_servers(where.folder) if one.url is not None}
        settings = settings.at({store: url for store, url in running.items() if store == "postgres"})
    if settings.postgres_url is None:
        raise UsageError(
            "There is no PostgreSQL to ask.",
            "Say --postgres URL, set TERCET_POSTGRES_URL, or start one with: tercet up --only postgres",
        )
    async with Tercet.of(replace(settings, mongo_url=None, redis_url=None)) as db:
        yield db


def _show_slots(screen: Screen, slots: Sequence[SlotState]) -> None:
    if not slots:
        screen.result("No slot reads the log of this database.")
        return
    rows = [
        (
            one.name + (" (temporary)" if one.temporary else ""),
            "-" if one.lag_bytes is None else size(max(0, one.lag_bytes)),
            one.wal_status or "-",
            one.reader or "nobody",
        )
        for one in slots
    ]
    screen.table(("slot", "lag", "log", "read by"), rows, right=(1,))


def _show_outboxes(screen: Screen, outboxes: Sequence[OutboxState]) -> None:
    for one in outboxes:
        screen.result("")
        oldest = "" if one.oldest_seconds is None else f"; the oldest for {duration(max(0.0, one.oldest_seconds))}"
        screen.result(
            f"outbox {_cut(one.name)}: {one.waiting} in the table, {one.parked} parked, {one.dead} dead, "
            f"{one.kept} kept{oldest}"
        )
        rows = [
            (_cut(c.name), duration(max(0.0, c.seen_seconds)), str(c.parked), str(c.dead), c.error or "")
            for c in one.consumers
        ]
        if rows:
            screen.table(("consumer", "seen", "parked", "dead", "error"), rows, right=(1, 2, 3))


def _show_dead(screen: Screen, letters: Sequence[DeadLetter]) -> None:
    if not letters:
        screen.result("No letter is dead.")
        return
    rows = [
        (
            one.id,
            _cut(one.type),
            _cut(one.key),
            _cut(one.consumer),
            str(one.attempts),
            one.error or "",
            _cut(one.reason),
        )
        for one in letters
    ]
    screen.table(("id", "type", "key", "consumer", "attempts", "error", "reason"), rows, right=(4,))
    if len(letters) == PAGE:
        screen.aside(f"These are the oldest {PAGE}; there are more.")


def _count(screen: Screen, number: int, words: str, *, as_json: bool) -> None:
    screen.result(
        json.dumps({"events": number}) if as_json else f"{number} {'event' if number == 1 else 'events'} {words}."
    )
