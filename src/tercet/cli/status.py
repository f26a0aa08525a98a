"""`tercet status`: which servers run, where, and how they are."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from tercet.cli.main import FAILED
from tercet.cli.options import folder_option
from tercet.cli.screen import Screen
from tercet.servers import ServerStatus
from tercet.servers import status as ask
from tercet.units import duration, size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_HEADER = ("store", "state", "version", "pid", "port", "up", "data", "url")
_FIGURES = (3, 4, 5, 6)


@click.command()
@folder_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def status(context: click.Context, folder: Path, *, as_json: bool) -> None:
    """Show which servers run here, where, and how they are.

    The exit code is 0 when every server that this folder has runs and answers, else 1.
    """
    screen = Screen()
    servers = asyncio.run(ask(folder))
    if as_json:
        screen.result(json.dumps([asdict(one) for one in servers], ensure_ascii=False, indent=2))
    else:
        screen.table(_HEADER, [_row(one) for one in servers], right=_FIGURES)
        for one in servers:
            if one.reason:
                screen.aside(f"{one.store}: {one.reason}")
    context.exit(0 if _all_well(servers) else FAILED)


def _all_well(servers: Sequence[ServerStatus]) -> bool:
    here = [one.state for one in servers if one.state != "absent"]
    return bool(here) and all(state == "running" for state in here)


def _row(one: ServerStatus) -> tuple[str, ...]:
    return (
        one.store,
        one.state,
        one.version or "",
        str(one.pid or ""),
        str(one.port or ""),
        duration(one.uptime) if one.uptime is not None else "",
        size(one.data_bytes) if one.data_bytes else "",
        one.url or "",
    )
