"""Where the servers are, and how they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tercet.telemetry.event import Store

STORES: tuple[Store, ...] = ("postgres", "mongo", "redis")

State = Literal["running", "failing", "stopped", "absent"]


@dataclass(frozen=True, slots=True)
class Addresses:
    """The URL of each server that was wanted; None for the others."""

    postgres: str | None = None
    mongo: str | None = None
    redis: str | None = None


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server of a folder, and how it is.

    It is running, failing (it runs and does not answer), stopped, or absent (never started here).
    `data_bytes` is what its data takes on the disk, `uptime` seconds; `detached` ones outlive who started
    them.
    """

    store: Store
    state: State
    pid: int | None = None
    port: int | None = None
    url: str | None = None
    version: str | None = None
    source: str | None = None
    uptime: float | None = None
    detached: bool = False
    data_bytes: int = 0
    reason: str = ""
