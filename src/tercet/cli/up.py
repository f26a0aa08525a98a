"""`tercet up`: the servers, running until `tercet down`."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING

import click

from tercet.cli.options import folder_option, only_option
from tercet.cli.screen import Screen
from tercet.servers import Addresses, Servers, status

if TYPE_CHECKING:
    from pathlib import Path

    from tercet.telemetry.event import Store


@click.command()
@folder_option
@only_option
def up(folder: Path, only: tuple[Store, ...]) -> None:
    """Start PostgreSQL, mongod and Redis here and leave them running.

    What runs already is left as it is. The output is for a shell: eval "$(tercet up)" sets the addresses.
    """
    screen = Screen()
    asyncio.run(_up(screen, folder, only))


async def _up(screen: Screen, folder: Path, only: tuple[Store, ...]) -> None:
    with screen.steps(*only) as steps:

        def told(store: str, what: str) -> None:
            steps.tell(store, what, last=what == "ready")

        addresses = await Servers(folder, only, detached=True, on_progress=told).start()
    running = [one for one in await status(folder) if one.store in only]
    rows = [(one.store, one.version or "", one.source or "", one.url or "") for one in running]
    screen.table(("store", "version", "from", "url"), rows, aside=True)
    for store, url in _urls(addresses):
        screen.result(f"export TERCET_{store.upper()}_URL={shlex.quote(url)}")


def _urls(addresses: Addresses) -> tuple[tuple[str, str], ...]:
    every = (("postgres", addresses.postgres), ("mongo", addresses.mongo), ("redis", addresses.redis))
    return tuple((store, url) for store, url in every if url is not None)
