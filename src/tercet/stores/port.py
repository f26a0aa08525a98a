"""What Tercet asks of a store, and the values in which a store answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from tercet.stores.budget import Budget
    from tercet.telemetry.event import Store as StoreName

Role = Literal["primary", "replica", "unknown"]


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool at one moment; `holder` is the place that has held a connection longest, for `held` seconds."""

    store: StoreName
    size: int
    in_use: int
    idle: int
    waiting: int
    holder: str | None = None
    held: float | None = None
    # Which replica's pool this is, by its place; empty for the store itself.
    replica: str = ""

    @property
    def exhausted(self) -> bool:
        """Whether every connection is out and somebody waits for one."""
        return self.waiting > 0 and self.in_use >= self.size


@dataclass(frozen=True, slots=True)
class Vital:
    """What a server says about itself; None is what it does not tell us."""

    version: str
    role: Role
    connections_used: int | None
    connections_max: int | None
    # Of `connections_max`, what ordinary logins cannot have.
    connections_reserved: int = 0


class Probe(Protocol):
    """A connection of its own to a store, so that its health is known even when the pool is exhausted."""

    @property
    def store(self) -> StoreName:
        """Which store this is."""
        ...

    async def look(self) -> Vital:
        """Ask the server about itself; connects when it is not connected, and lets go when it fails."""
        ...

    async def close(self) -> None:
        """Let go of the connection; twice is fine."""
        ...


class ReplicaProbe(Probe, Protocol):
    """The same for a replica of a store, which is well while it follows, and never critical."""

    @property
    def replica(self) -> str:
        """Its place: host and port."""
        ...


class Store(Protocol):
    """One store: opened once, closed once, a pool in between."""

    @property
    def name(self) -> StoreName:
        """Which store this is."""
        ...

    @property
    def probe(self) -> Probe:
        """Its own connection for questions about the server."""
        ...

    @property
    def budget(self) -> Budget:
        """How the pool's size came about."""
        ...

    async def open(self) -> None:
        """Connect, and check that the pool fits into the server; raises StoreError or UsageError."""
        ...

    async def close(self) -> None:
        """Wait for callers as long as was set, then take their connections away; twice is fine."""
        ...

    async def ping(self) -> None:
        """One round trip through the pool; returns nothing, raises StoreError."""
        ...

    def pool(self) -> PoolState:
        """How the pool stands right now; costs no round trip."""
        ...
