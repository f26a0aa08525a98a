"""`tercet down`: the servers, stopped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from tercet.cli.options import folder_option
from tercet.cli.screen import Screen
from tercet.servers import down as stop

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@folder_option
def down(folder: Path) -> None:
    """Stop the servers that run here; their data stays."""
    stopped = asyncio.run(stop(folder))
    Screen().result(f"Stopped: {', '.join(stopped)}." if stopped else f"No server runs in {folder}.")
