"""`tercet health`: how the stores are, for people, probes and load balancers."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import click

from tercet.cli.main import FAILED
from tercet.cli.options import folder_option
from tercet.cli.screen import Screen
from tercet.clock import SystemClock
from tercet.errors import UsageError
from tercet.servers import status as ask_servers
from tercet.settings import Settings
from tercet.stores import HealthCheck, probes, replica_probes
from tercet.telemetry import Telemetry
from tercet.units import duration

if TYPE_CHECKING:
    from pathlib import Path

    from tercet.stores import Health, StoreHealth

_HEADER = ("store", "status", "answered in", "role", "version", "connections", "")
_FIGURES = (2, 5)


@click.command()
@folder_option
@click.option("--json", "as_json", is_flag=True, help="The values of application/health+json, for programs.")
@click.pass_context
def health(context: click.Context, folder: Path, *, as_json: bool) -> None:
    """Ask every store how it is, each within a second.

    The addresses come from the environment and tercet.toml; without any, the servers that run in the folder
    are asked. The exit code is 0 while every critical store answers, else 1.
    """
    found = asyncio.run(_look(folder))
    screen = Screen()
    if as_json:
        screen.result(json.dumps(found.as_json(), ensure_ascii=False, indent=2))
    else:
        screen.table(_HEADER, [_row(one) for one in found.stores], right=_FIGURES)
    context.exit(FAILED if found.status == "fail" else 0)


async def _look(folder: Path) -> Health:
    settings = Settings.read()
    if not settings.stores:
        running = {one.store: one.url for one in await ask_servers(folder) if one.url is not None}
        settings = settings.at(running)
    if not settings.stores:
        raise UsageError(
            "There is no store to ask.",
            "Set TERCET_POSTGRES_URL, TERCET_MONGO_URL or TERCET_REDIS_URL, or start servers with: tercet up",
        )
    critical = {store: settings.critical(store) for store in settings.stores}
    check = HealthCheck(
        probes(settings),
        clock=SystemClock(),
        telemetry=Telemetry(),
        critical=critical,
        replicas=replica_probes(settings),
    )
    try:
        return await check.look()
    finally:
        await check.close()


def _row(one: StoreHealth) -> tuple[str, ...]:
    vital = one.vital
    used = "" if vital is None or vital.connections_used is None else str(vital.connections_used)
    limit = f" of {vital.connections_max}" if vital is not None and vital.connections_max else ""
    return (
        f"{one.store} {one.replica}".rstrip(),
        one.status,
        duration(one.latency) if one.status != "fail" else "",
        one.role if vital else "",
        vital.version if vital else "",
        f"{used}{limit}",
        one.reason or "",
    )


# The name under which every command module is asked for its command.
command = health
