"""A process of a service that reads a place and says what it hears; a test kills it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from tercet.changes import Commit, Wants
from tercet.changes.stream.postgres import postgres_changes
from tercet.clock import SystemClock
from tercet.settings import Settings
from tercet.telemetry import Telemetry


class Printer:
    """Prints the ids of the rows."""

    wants = Wants({"t": frozenset({"id"})})

    async def hear(self, commits: Sequence[Commit]) -> None:
        """A line for each row."""
        for commit in commits:
            for change in commit.changes:
                print("heard", change.new["id"], flush=True)

    async def resync(self, why: str) -> None:
        """A line."""
        print("resync", why, flush=True)


async def main(url: str, durable: str | None) -> None:
    """Read until killed, and say who leads."""
    settings = Settings.read({"postgres": url}, environ={})
    changes = postgres_changes(settings, clock=SystemClock(), telemetry=Telemetry(), service="shop")
    subscription = changes.subscribe(Printer(), durable=durable, place=None if durable else "cache")
    await subscription.ready()
    print("leads" if subscription.status().leading else "follows", flush=True)
    while not subscription.status().leading or subscription.status().state != "reading":
        await asyncio.sleep(0.01)
    print("reads", flush=True)
    await asyncio.sleep(600)


asyncio.run(main(sys.argv[1], sys.argv[2] or None))
