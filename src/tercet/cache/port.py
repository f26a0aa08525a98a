"""What the cache asks of the world: a Tercet to live on, and a shelf that several processes share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.clock import Clock
    from tercet.telemetry import Telemetry


class Home(Protocol):
    """What a cache lives on: a Tercet.

    `redis` is asked for at each use, never when the cache is made: decorators stand before anything is open.
    It raises StoreMissing where there is no Redis, and the cache is in memory only.
    """

    @property
    def redis(self) -> object:
        """The redis-py client."""
        ...

    @property
    def clock(self) -> Clock:
        """The time; known before the Tercet is open."""
        ...

    @property
    def telemetry(self) -> Telemetry:
        """Where to tell what happens; known before the Tercet is open."""
        ...


class Client(Protocol):
    """A redis-py asyncio client: what is asked of it."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command and wait for its answer."""
        ...

    def pipeline(self, transaction: bool = ...) -> Any:
        """Several commands in one round trip."""
        ...


class Shelf(Protocol):
    """A place that several processes share: entries by key, and a version for every tag.

    Every method takes one round trip, and raises a StoreError within its deadline where the place is not
    there.
    """

    async def read(
        self, names: Sequence[str], tags: Sequence[str]
    ) -> tuple[tuple[bytes | None, ...], dict[str, bytes | None]]:
        """The entries of these names and the versions of these tags, of one moment; None is not there."""
        ...

    async def versions(self, tags: Sequence[str]) -> dict[str, bytes | None]:
        """The versions of these tags; one that has none is given a new one, which nobody has ever seen."""
        ...

    async def write(self, name: str, frame: bytes, seconds: float, tags: Sequence[str]) -> dict[str, bytes | None]:
        """Keep an entry for so long, and its tags' versions longer; returns the versions as they are then."""
        ...

    async def drop(self, names: Sequence[str], tags: Sequence[str]) -> None:
        """Forget these entries, and the versions of these tags: whatever carries one is no longer valid."""
        ...

    async def close(self) -> None:
        """Give back what this shelf opened itself, and nothing that it was handed."""
        ...
