"""`tercet demo`: real servers, a shop, and one slow query taken up the ladder."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tercet.cli.options import folder_option
from tercet.cli.screen import Screen
from tercet.errors import ExtraMissing
from tercet.servers import STORES, Servers
from tercet.units import duration

if TYPE_CHECKING:
    from tercet.proof import Ladder
    from tercet_shop.demo import Filled, Plan
    from tercet_shop.ladder import Climbed
    from tercet_shop.loaded import Loaded

# What fits into three minutes on two cores, download of the packages not counted.
USERS, ORDERS = 200_000, 1_000_000

# The other way round than for a service: the locked wheels first, so that figures from two machines compare.
_SOURCES = ("wheel", "path")


@click.command()
@click.option("--users", type=click.IntRange(min=1), default=USERS, show_default=True, help="How many users.")
@click.option("--orders", type=click.IntRange(min=1), default=ORDERS, show_default=True, help="How many orders.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Another seed, other data.")
@click.option(
    "--data",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A real order file instead (Parquet or CSV, the columns of the UCI Online Retail set).",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Where ladder.json and ladder.svg go; here, unless said.",
)
@click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    help="Put them there instead, under a name that says the size and the day.",
)
@folder_option
def demo(users: int, orders: int, seed: int, data: Path | None, out: Path, results: Path | None, folder: Path) -> None:
    """Start real servers, fill a shop, and climb the ladder on it.

    The servers are stopped at the end, or on Ctrl-C; their data stays, and a second run finds it.
    """
    try:
        from tercet_shop.demo import Plan  # noqa: PLC0415 - numpy and pyarrow come with the extra
    except ImportError as error:
        raise ExtraMissing("tercet demo", module=error.name or "tercet_shop", extra="demo") from error
    screen = Screen()
    # Looked at before anything is started: a folder that cannot be written to is no news for the end.
    target = results or out
    target.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    climbed = asyncio.run(_demo(screen, folder, Plan(users, orders, seed, data)))
    ladder = climbed.ladder
    stem = f"ladder-{users}-{orders}-{ladder.at:%Y-%m-%d}" if results and not data else "ladder"
    written = _write(target, stem, ladder)
    for line in climbed.told:
        screen.aside(line)
    screen.result(str(ladder.table()))
    screen.aside(f"{' and '.join(map(str, written))}, after {duration(time.monotonic() - started)}")


async def _demo(screen: Screen, folder: Path, plan: Plan) -> Climbed:
    from tercet_shop import demo as shop  # noqa: PLC0415 - see above

    with screen.steps(*STORES) as steps:
        servers = Servers(
            folder,
            sources=_SOURCES,
            on_progress=lambda store, what: steps.tell(store, what, last=what == "ready"),
        )
        addresses = await servers.start()
    try:
        async with shop.opened(addresses) as db:
            for budget in db.budgets():
                screen.aside(str(budget))
            with screen.bars() as bars:
                filled = await shop.fill(db, plan, bars.tell)
            _tell_filled(screen, filled)
            with screen.bars() as bars:
                return await shop.ladder(db, filled, bars.tell)
    finally:
        await servers.stop()


def _tell_filled(screen: Screen, filled: Filled) -> None:
    for store, loaded in (("PostgreSQL", filled.postgres), ("MongoDB", filled.mongo)):
        screen.aside(f"{store}: {_told(loaded)}")
    if filled.cleaned:
        kept, lines = filled.cleaned, _count(filled.cleaned.lines)
        screen.aside(
            f"The file: {lines} lines; {_count(kept.kept_lines)} kept, in {_count(kept.kept_orders)} orders "
            f"of {_count(kept.customers)} customers"
        )
        screen.aside("Dropped: " + ", ".join(f"{_count(many)} {why}" for why, many in kept.dropped.items() if many))


def _told(loaded: Loaded | None) -> str:
    if loaded is None:
        return "the shop stood there already"
    return (
        f"{_count(loaded.rows)} rows in {duration(loaded.seconds)}, "
        f"{_count(loaded.rows_a_cpu_second)} for each second of this process's CPU"
    )


def _count(number: float) -> str:
    return f"{number:,.0f}".replace(",", "\u202f")


def _write(folder: Path, stem: str, ladder: Ladder) -> tuple[Path, Path]:
    document, picture = folder / f"{stem}.json", folder / f"{stem}.svg"
    document.write_bytes(ladder.json())
    picture.write_text(ladder.svg(), encoding="utf-8")
    return document, picture
