"""What the cache asks of the world: a Tercet to live on, or a client of Redis. Its shelf has a port of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tercet.clock import Clock
    from tercet.telemetry import Telemetry
    from tercet.wire import Wire


class Home(Protocol):
    """What a cache lives on: a Tercet. All of it is known before the Tercet is open."""

    @property
    def wire(self) -> Wire:
        """The connection to Redis; its use raises StoreMissing where there is none, and the cache is in memory only."""
        ...

    @property
    def clock(self) -> Clock:
        """The time."""
        ...

    @property
    def telemetry(self) -> Telemetry:
        """Where to tell what happens."""
        ...


class Client(Protocol):
    """A redis-py asyncio client: what is asked of it."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command and wait for its answer."""
        ...
