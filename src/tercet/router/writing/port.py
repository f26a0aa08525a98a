"""What applying a save asks of the edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.router.key import Key
    from tercet.router.plan import Field, Source


class Writer(Protocol):
    """Writes fields of one thing into one store, unless a newer version of them is there."""

    async def write(self, source: Source, key: Key, values: Mapping[Field, Any], version: int) -> None:
        """Write these; twice is once, and an older version changes nothing. None takes a value away."""
        ...

    async def sweep(self, source: Source, fields: tuple[Field, ...], before: int) -> None:
        """Take away what was last written before this version: a rebuild has not found its row any more."""
        ...
