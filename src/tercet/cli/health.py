"""`tercet health`: how the stores are, for people, probes and load balancers."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from tercet.cli.main import FAILED
from tercet.cli.opening import opened
from tercet.cli.options import folder_option
from tercet.cli.screen import Screen
from tercet.clock import SystemClock
from tercet.errors import UsageError
from tercet.rollups import standing
from tercet.servers import status as ask_servers
from tercet.settings import Settings
from tercet.stores import HealthCheck, probes, replica_probes
from tercet.telemetry import Telemetry
from tercet.units import duration, size

if TYPE_CHECKING:
    from pathlib import Path

    from tercet.rollups import Standing
    from tercet.stores import Health, StoreHealth

_HEADER = ("store", "status", "answered in", "role", "version", "connections", "")
_FIGURES = (2, 5)
_KEPT_HEADER = ("kept", "status", "age", "by", "last", "took", "size", "")
_KEPT_FIGURES = (2, 4, 5, 6)
# The stores have answered by then; what is kept is told by a few rows of one of them.
_KEPT_SECONDS = 5.0


@click.command()
@folder_option
@click.option("--json", "as_json", is_flag=True, help="The values of application/health+json, for programs.")
@click.pass_context
def health(context: click.Context, folder: Path, *, as_json: bool) -> None:
    """Ask every store how it is, each within a second.

    The addresses come from the environment and tercet.toml; without any, the servers that run in the folder
    are asked. The exit code is 0 while every critical store answers, else 1.

    Of PostgreSQL's views and rollups that are kept up to date it says how old each is, and whether anybody keeps it.
    """
    found, kept = asyncio.run(_look(folder))
    screen = Screen()
    if as_json:
        screen.result(json.dumps(_as_json(found, kept or ()), ensure_ascii=False, indent=2))
    else:
        screen.table(_HEADER, [_row(one) for one in found.stores], right=_FIGURES)
        if kept:
            screen.table(_KEPT_HEADER, [_kept_row(one) for one in kept], right=_KEPT_FIGURES)
        if kept is None:
            screen.aside("how views and rollups are kept could not be asked")
    context.exit(FAILED if found.status == "fail" else 0)


async def _look(folder: Path) -> tuple[Health, tuple[Standing, ...] | None]:
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
        found = await check.look()
    finally:
        await check.close()
    return found, await _kept(settings, found)


async def _kept(settings: Settings, found: Health) -> tuple[Standing, ...] | None:
    """What is kept in PostgreSQL; None if it did not say."""
    postgres = found.store("postgres")
    if postgres is None:
        return ()
    if postgres.status != "fail":
        # Whatever is the matter there, the stores have answered.
        with suppress(Exception):
            async with asyncio.timeout(_KEPT_SECONDS), opened(settings) as db:
                return await standing(db.postgres)
    return None


def _as_json(found: Health, kept: tuple[Standing, ...]) -> dict[str, object]:
    """The values of application/health+json, with one check for each view and rollup."""
    told = found.as_json()
    ill = any(not one.well for one in kept)
    checks = told["checks"]
    if kept and isinstance(checks, dict):
        checks["rollups:age"] = [_kept_json(one, found.at.isoformat()) for one in kept]
    return {**told, "status": "warn" if ill and told["status"] == "pass" else told["status"]}


def _kept_json(one: Standing, time: str) -> dict[str, object]:
    return {
        "componentId": one.name, "componentType": "component", "status": "pass" if one.well else "warn", "time": time,
        "observedValue": one.age, "observedUnit": "s", "policy": one.policy, "state": one.state,
        "refreshedBefore": one.refreshed, "refreshSeconds": one.seconds, "everySeconds": one.every,
        "sizeBytes": one.size_bytes, "logBytes": one.log_bytes, **({"output": one.reason} if one.reason else {}),
    }  # fmt: skip


def _kept_row(one: Standing) -> tuple[str, ...]:
    def ago(seconds: float | None) -> str:
        return "" if seconds is None else duration(seconds)

    log = f" + {size(one.log_bytes)} log" if one.log_bytes else ""
    who = {"refresh": "refreshes", "log": "a log", "triggers": "triggers"}[one.policy]
    every = f", every {duration(one.every)}" if one.every is not None else ""
    return (
        one.name.replace('"', ""),
        "pass" if one.well else "warn",
        "none" if one.age == 0 else ago(one.age),
        f"{who}{every}",
        "" if one.policy == "triggers" else ago(one.refreshed),
        ago(one.seconds),
        f"{size(one.size_bytes)}{log}",
        one.reason or _state(one),
    )


def _state(one: Standing) -> str:
    """Whether somebody keeps it."""
    match one.policy, one.state:
        case _, "working":
            return "somebody is at it"
        case "triggers", _:
            return "kept within each write"
        case _, "by hand" | "never":
            return "nobody keeps it"
        case _:
            return "somebody keeps it"


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
