"""Options that several commands share, so that they are spelt alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tercet.servers import STORES

if TYPE_CHECKING:
    from tercet.telemetry.event import Store

folder_option = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".tercet"),
    show_default=True,
    help="The folder of the servers.",
)


def _stores(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[Store, ...]:
    if text is None:
        return STORES
    named = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in named if name not in STORES]
    if unknown or not named:
        raise click.BadParameter(f"{text!r} should be some of {', '.join(STORES)}, with commas between.")
    return tuple(store for store in STORES if store in named)


only_option = click.option("--only", callback=_stores, metavar="STORES", help="Some of postgres,mongo,redis.")
