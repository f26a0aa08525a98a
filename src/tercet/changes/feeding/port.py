"""What a feed asks of the edges: a source for each reading, and a leader that lets one process read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from tercet.changes.feeding.place import Place
    from tercet.changes.port import Source


@dataclass(frozen=True, slots=True)
class Lag:
    """What the store keeps for a place that has not been read yet."""

    # None where the store does not say.
    bytes: int | None = None
    # At most so much is kept, and then the place is lost; None where there is no end, or the store does not say.
    bytes_max: int | None = None
    # What is to be said about it to whoever runs the server; empty while all is well.
    warning: str = ""


class Leader(Protocol):
    """Lets one process of a service lead; one for each place."""

    async def lead(self, follows: Callable[[], None]) -> None:
        """Return once this process leads; `follows` is called when another one does. Raises a StoreError."""
        ...

    async def led(self, note: Callable[[Lag], None]) -> None:
        """Return when this process leads no more, or raise the StoreError for which that is not known."""
        ...

    async def close(self) -> None:
        """Lead no more, and let go of the connection; twice is fine."""
        ...


# What reads one place once. Called again for each reading, with `place.anew` when the store has lost the place:
# `open` of a durable place raises PositionLost when the store has nothing kept for it, also where it never had.
Sources: TypeAlias = "Callable[[Place], Source]"
Leaders: TypeAlias = "Callable[[Place], Leader]"
