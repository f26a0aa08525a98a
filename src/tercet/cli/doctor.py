"""`tercet doctor`: what is well with the three stores, which feed of changes they give, and its set-up."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from tercet.changes import Wants
from tercet.changes.setup.apply import apply, migration
from tercet.changes.setup.choose import choose
from tercet.changes.setup.findings import PUBLICATION
from tercet.changes.setup.look import look
from tercet.changes.setup.plan import plan
from tercet.changes.setup.verdicts import Verdict, verdicts
from tercet.cli import checkup
from tercet.cli.main import FAILED
from tercet.cli.options import folder_option
from tercet.cli.screen import Screen
from tercet.errors import TercetError, UsageError
from tercet.servers import status as ask_servers
from tercet.settings import Settings
from tercet.tercet import ALL_STORES, Tercet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tercet.changes.setup.choose import Choice, Kind
    from tercet.telemetry.event import Store

# The first words of an address, and whose it is.
_SCHEMES: tuple[tuple[str, Store], ...] = (("postgres", "postgres"), ("mongodb", "mongo"), ("redis", "redis"))
# Questions come one after the other; two let a step run while it is watched.
_POOL = 2


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is to be set up."""

    tables: dict[str, frozenset[str] | None]
    full: frozenset[str]
    feed: Kind | None
    publication: str


@click.command()
@click.argument("addresses", metavar="[URL]…", nargs=-1)
@click.option("--setup", metavar="TABLE[:COLUMN,…]", multiple=True, help="Plan a feed of this table; may be repeated.")
@click.option("--full", metavar="TABLE", multiple=True, help="Tell the whole old row of this table.")
@click.option("--feed", type=click.Choice(("stream", "poll", "triggers")), help="Plan for this feed.")
@click.option("--publication", default=PUBLICATION, show_default=True, help="The publication of the feed.")
@click.option("--apply", "run", is_flag=True, help="Run the plan instead of printing it.")
@folder_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def doctor(
    context: click.Context,
    /,
    addresses: tuple[str, ...],
    setup: tuple[str, ...],
    full: tuple[str, ...],
    feed: Kind | None,
    publication: str,
    folder: Path,
    **flags: bool,
) -> None:
    """Say what is well with the stores and what is not, which feed of changes there can be, and set it up.

    The addresses come from the settings unless they are given; without any, the servers of the folder are asked.
    With --setup the SQL of the set-up is printed, or run. The exit code is 1 if something is bad.
    """
    if flags["run"] and not setup:
        raise UsageError("--apply has nothing to run.", "Say what: --setup orders:user_id")
    settings = asyncio.run(_settings(addresses, folder))
    screen = Screen()
    if setup:
        wish = _Wish(dict(map(_wanted, setup)), frozenset(full), feed, publication)
        asyncio.run(_set_up(settings, wish, screen, run=flags["run"]))
        return
    found, choice = asyncio.run(_examine(settings, publication))
    if flags["as_json"]:
        document = {"verdicts": [asdict(one) for one in found], "feed": asdict(choice) if choice else None}
        screen.result(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        _show(screen, found)
    context.exit(FAILED if any(one.level == "bad" for one in found) else 0)


async def _settings(addresses: Sequence[str], folder: Path) -> Settings:
    if addresses:
        given = {store: address for address in addresses for start, store in _SCHEMES if address.startswith(start)}
        if len(given) < len(addresses):
            raise UsageError(
                "An address is of no store that is known, or there are two of one.",
                "Give at most one each of postgresql://…, mongodb://… and redis://…",
            )
        read = Settings.read()
        only = {f"{store}_url": None for store in ALL_STORES if store not in given}
        return replace(read, **only).at(given)  # type: ignore[arg-type] # addresses of stores, each may be None
    settings = Settings.read()
    if not settings.stores:
        settings = settings.at({one.store: one.url for one in await ask_servers(folder) if one.url is not None})
    if not settings.stores:
        raise UsageError(
            "There is no store to look at.",
            "Give an address, set TERCET_POSTGRES_URL, TERCET_MONGO_URL or TERCET_REDIS_URL, or: tercet up",
        )
    return settings


def _wanted(written: str) -> tuple[str, frozenset[str] | None]:
    """A table and its columns, as they are written; all columns where none are named."""
    table, _, columns = written.partition(":")
    names = frozenset(name.strip() for name in columns.split(",") if name.strip())
    return table.strip(), names or None


@asynccontextmanager
async def _only(settings: Settings, store: Store) -> AsyncIterator[Tercet]:
    """One store alone, so that another one that is down does not matter."""
    changed: dict[str, Any] = {f"{other}_url": None for other in ALL_STORES if other != store}
    changed[f"{store}_pool_size"] = _POOL
    async with Tercet.of(replace(settings, **changed)) as db:
        yield db


# ---- the examination ----


async def _examine(settings: Settings, publication: str) -> tuple[list[Verdict], Choice | None]:
    choices: list[Choice] = []
    examined = await asyncio.gather(
        *(_checked(settings, store, publication, choices) for store in ALL_STORES if settings.url(store) is not None)
    )
    return [one for found in examined for one in found], choices[0] if choices else None


async def _checked(settings: Settings, store: Store, publication: str, choices: list[Choice]) -> list[Verdict]:
    try:
        async with _only(settings, store) as db:
            match store:
                case "postgres":
                    findings = await look(db.postgres, Wants({"*": None}), pooled=settings.postgres_pooler)
                    choices.append(choose(findings))
                    return list(verdicts(findings, choices[0], publication=publication))
                case "mongo":
                    return await checkup.mongo(db)
                case _:
                    return await checkup.redis(db)
    except TercetError as error:
        return [Verdict(store, "bad", error.says, error.mend)]
    except Exception as error:  # noqa: BLE001 - a driver's: one question that is refused is a finding, no fault of ours
        mend = "May the login ask this?"
        return [Verdict(store, "bad", f"a question was not answered ({type(error).__name__})", mend)]


def _show(screen: Screen, found: Sequence[Verdict]) -> None:
    """The worst first; what is to be done below each."""
    for level in ("bad", "warn", "ok"):
        for one in found:
            if one.level == level:
                screen.result(f"{level:<4}  {one.store:<8}  {one.says}")
                if one.mend:
                    screen.result(f"{'':<16}{one.mend}")


# ---- the set-up ----


async def _set_up(settings: Settings, wish: _Wish, screen: Screen, *, run: bool) -> None:
    if settings.postgres_url is None:
        raise UsageError(
            "There is no PostgreSQL to set up.", "Give its address: tercet doctor postgresql://… --setup …"
        )
    wants = Wants(wish.tables)
    async with _only(settings, "postgres") as db:
        findings = await look(db.postgres, wants, pooled=settings.postgres_pooler)
        steps = plan(findings, wants, feed=wish.feed, publication=wish.publication, full=wish.full)
        if not steps:
            screen.result("-- All of it is there already.")
        elif run:
            for step in steps:
                screen.aside(f"{step.says} …")
                await apply(db.postgres, (step,))
            screen.result("-- One step was taken." if len(steps) == 1 else f"-- {len(steps)} steps were taken.")
        else:
            screen.result(migration(steps).rstrip())


# The name under which every command module is asked for its command.
command = doctor
