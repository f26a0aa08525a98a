"""`tercet advise`: what would make the slow statements faster, with its price and its proof."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from tercet.advisor.report import Kept, explained, schema_digest, table_digests, to_bytes, to_html, to_text
from tercet.advisor.workload import from_files, from_log, from_statistics, from_text
from tercet.cli import advise_mongo
from tercet.cli.advise_apply import Wish, apply
from tercet.cli.advise_review import review_advice
from tercet.cli.advise_save import save_advice
from tercet.cli.advise_since import changed_since
from tercet.cli.advise_views import keeping
from tercet.cli.keeping import keep, last
from tercet.cli.main import FAILED
from tercet.cli.opening import opened, place_of, settings_of
from tercet.cli.options import folder_option
from tercet.cli.screen import Screen
from tercet.errors import DocumentInvalid, UsageError
from tercet.settings import Settings
from tercet.units import duration, size_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tercet.advisor import Advice, Workload
    from tercet.advisor.port import Progress

_STDIN = "-"


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a person has asked for."""

    address: str | None
    piped: bool
    files: tuple[Path, ...]
    logs: tuple[Path, ...]
    folder: Path
    budget: int | None
    thorough: bool
    verify: str | None
    replica: str | None


def _budget(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    try:
        return None if text is None else size_bytes(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from error


_file = click.Path(path_type=Path)


@click.command()
@click.argument("where", metavar="[URL] [-]", nargs=-1)
@click.option("--query", "queries", metavar="FILE", type=_file, multiple=True, help="The statements of an SQL file.")
@click.option("--workload", "folders", metavar="DIR", type=_file, multiple=True, help="Those of a folder of them.")
@click.option("--log", "logs", metavar="FILE", type=_file, multiple=True, help="Those of a server's log, or a folder.")
@click.option("--collection", "collections", metavar="NAME", multiple=True, help="One of MongoDB's, and no others.")
@click.option("--pipeline", "pipelines", metavar="FILE", type=_file, multiple=True, help="Commands of MongoDB as JSON.")
@click.option("--budget", metavar="SIZE", callback=_budget, help="What new indexes may take together: 500MB.")
@click.option(
    "--quick/--thorough", "quick", default=False, help="In two seconds, or searching on.  [default: thorough]"
)
@click.option("--verify", type=click.Choice(("on", "replica", "sample", "off")), help="Where what is said is run.")
@click.option(
    "--replica",
    "replicas",
    metavar="URL",
    multiple=True,
    help="Its reads count, too; for --verify replica and --review.",
)
@click.option("--explain", "number", metavar="NUMBER", type=int, help="All about one piece of the last advice.")
@click.option("--apply", "apply_numbers", metavar="NUMBERS", help="Do pieces of the last advice: 1,2.")
@click.option(
    "--wait", metavar="DURATION", default="10m", show_default=True, help="For old transactions, with --apply."
)
@click.option("--measure", is_flag=True, help="With --apply, run what is helped before and after, READ ONLY.")
@click.option("--save", "into", metavar="DIR", type=_file, help="The last advice as a migration of Alembic's.")
@click.option("--review", is_flag=True, help="Whether what was applied is used.")
@click.option(
    "--days", type=click.IntRange(min=1), default=7, show_default=True, help="Unused for so long, for --review."
)
@click.option("--html", metavar="FILE", type=_file, help="Also as a page to look at.")
@click.option("--fail-on-advice", is_flag=True, help="Exit with 1 if there is something to do.")
@folder_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def advise(
    context: click.Context,
    /,
    where: tuple[str, ...],
    queries: tuple[Path, ...],
    folders: tuple[Path, ...],
    logs: tuple[Path, ...],
    number: int | None,
    html: Path | None,
    folder: Path,
    **options: Any,
) -> None:
    """Say what would make the slow statements faster: indexes, rewrites, views, caches; with price and proof.

    The statements are those that pg_stat_statements has counted, unless they are given: as SQL files, as a server's
    log, or on the standard input (-). Nothing is changed. Without a URL the settings say which database is meant.
    """
    address, piped = _where(where)
    if number is not None:
        _explain(address, folder, number)
        return
    if options["into"] is not None or options["apply_numbers"] is not None or options["review"]:
        context.exit(_later(address, folder, options))
    asked_of_mongo = advise_mongo.mongo_address(address)
    if asked_of_mongo is not None:
        given = advise_mongo.MongoWish(
            asked_of_mongo, folder, options["collections"], options["pipelines"], logs,
            options["budget"], not options["quick"], options["verify"],
        )  # fmt: skip
        with Screen().bars() as bars:
            kept = advise_mongo.ask(given, bars.tell)
        keep(kept, folder)
        context.exit(_show(kept.advice, html, options))
    if options["collections"] or options["pipelines"]:
        raise UsageError("--collection and --pipeline are MongoDB's.", "Give its URL: mongodb://localhost/shop")
    wish = _Wish(
        address, piped, (*queries, *folders), logs, folder, options["budget"], not options["quick"],
        options["verify"], options["replicas"][0] if options["replicas"] else None,
    )  # fmt: skip
    if (wish.piped + bool(wish.files) + bool(wish.logs)) > 1:
        raise UsageError("Statements were given in several ways.", "Give files, or logs, or the standard input (-).")
    context.exit(_show(_ask(wish), html, options))


def _show(advice: Advice, html: Path | None, options: dict[str, Any]) -> int:
    """Print the advice in the form that is wanted; the exit code."""
    if html is not None:
        _write(html, to_html(advice))
    screen = Screen()
    if options["as_json"]:
        screen.result(to_bytes(advice).decode())
    else:
        screen.lines(to_text(advice, width=screen.width))
    todo = any(piece.kind != "none" for piece in advice.pieces)
    return FAILED if options["fail_on_advice"] and todo else 0


def _later(address: str | None, folder: Path, options: dict[str, Any]) -> int:
    """What is done with advice that was given before; the exit code."""
    screen = Screen()
    if options["review"]:
        undo = review_advice(address, folder, options["replicas"], options["days"], screen)
        return FAILED if undo and options["fail_on_advice"] else 0
    if options["into"] is not None:
        save_advice(address, folder, options["into"], screen)
    if options["apply_numbers"] is not None and advise_mongo.is_for_mongo(last(folder)):
        stand = advise_mongo.apply(last(folder), address, folder, options["apply_numbers"], screen)
        return 0 if stand else FAILED
    if options["apply_numbers"] is not None:
        apply(Wish(address, folder, options["apply_numbers"], options["wait"], options["measure"]), screen)
    return 0


def _explain(address: str | None, folder: Path, number: int) -> None:
    """Show one piece of the last advice, how old that is, and what has changed since."""
    kept, screen = last(folder), Screen()
    lines = explained(kept.advice, number)
    if lines is None:
        there = ", ".join(str(piece.number) for piece in kept.advice.pieces) or "none"
        raise UsageError(f"The last advice has no piece {number}.", f"Its pieces are: {there}.")
    screen.aside(f"advice for {kept.place}, {duration(max(0.0, time.time() - kept.made_at))} old")
    piece = kept.advice.piece(number)
    if piece is not None and not advise_mongo.is_for_mongo(kept):
        since = asyncio.run(changed_since(piece, kept, address, folder))
        if since:
            screen.aside(since)
        if piece.kind == "view":
            screen.aside(f"--apply makes it so that it is {keeping(piece).words}")
    screen.lines(lines)


def _where(given: tuple[str, ...]) -> tuple[str | None, bool]:
    """The address, if there is one, and whether the statements come by the standard input."""
    addresses = [one for one in given if one != _STDIN]
    if len(addresses) > 1:
        raise UsageError("Several databases were named.", "Give one URL.")
    address = addresses[0] if addresses else None
    if address is not None and not address.startswith(("postgres://", "postgresql://", "mongodb://", "mongodb+srv://")):
        mend = "It begins with postgresql:// or mongodb://"
        raise UsageError(f"{address!r} is no address of PostgreSQL or MongoDB.", mend)
    return address, _STDIN in given


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        mend = "Name a file that can be written with --html."
        raise UsageError(f"The page cannot be written to {path}: {error.strerror}.", mend) from error


def _ask(wish: _Wish) -> Advice:
    """The advice, with bars on the way, and kept for the next command."""
    with Screen().bars() as bars:
        workload = _given(wish, bars.tell)
        kept = asyncio.run(_advise(wish, workload, bars.tell))
    keep(kept, wish.folder)
    return kept.advice


def _given(wish: _Wish, told: Progress) -> Workload | None:
    """The statements that were given; None if they are to be those that the server has counted."""
    if wish.piped:
        workload = from_text(sys.stdin.read())
        if not workload.queries:
            raise UsageError("The standard input holds no statement that reads or writes a table.", "Pipe SQL into it.")
        return workload
    if wish.files:
        return from_files(wish.files)
    return _told_by(wish.logs, told) if wish.logs else None


def _told_by(logs: Sequence[Path], told: Progress) -> Workload:
    """The statements of logs; there has to be one."""
    workload = from_log(logs, on_progress=told)
    if not workload.queries:
        reasons = "; ".join(one.why for one in workload.skipped)
        mend = "Let the server write what takes long (log_min_duration_statement), and give that log."
        raise DocumentInvalid(f"the log {workload.source}", reason=f"it tells of no statement: {reasons}", mend=mend)
    return workload


async def _advise(wish: _Wish, workload: Workload | None, told: Progress) -> Kept:
    # Loaded here: the search and its engines are not needed to explain what was found before.
    ask = cast("Callable[..., Awaitable[Advice]]", import_module("tercet.advisor.advisor").advise)
    async with AsyncExitStack() as stack:
        settings = await settings_of(wish.address, wish.folder)
        db = await stack.enter_async_context(opened(settings))
        replica = None
        if wish.verify == "replica" or wish.replica is not None:
            replica = (await stack.enter_async_context(opened(_of_the_replica(settings, wish)))).postgres
        if workload is None:
            workload = await from_statistics(db.postgres)
        schema, tables = await schema_digest(db.postgres), await table_digests(db.postgres)
        advice = await ask(
            db.postgres,
            workload,
            budget=wish.budget,
            thorough=wish.thorough,
            verify=wish.verify,
            replica=replica,
            on_progress=told,
        )
    return Kept(advice, place_of(settings), time.time(), schema, tables)


def _of_the_replica(settings: Settings, wish: _Wish) -> Settings:
    if wish.replica is not None:
        return Settings.read({"postgres": wish.replica})
    if not settings.replicas:
        mend = "Give --replica URL, or set TERCET_POSTGRES_REPLICA_URL."
        raise UsageError("It is not said which replica the statements are to be run on.", mend)
    return settings.replicas[0]
