"""A load in doubt: something was told of its tags lately, and what it brings is kept only if it has seen that."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from tercet.cache.moments import may_keep
from tercet.witness import Witness, current, watched

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tercet.cache.moments import Record

T = TypeVar("T")


class Doubt:
    """What one load must have seen, and the witness of what it did see."""

    __slots__ = ("_records", "_witness")

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records
        self._witness = Witness()

    def watching(self, load: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        """The same load, under a witness."""

        async def seen() -> T:
            outer = current()
            try:
                with watched(self._witness):
                    return await load()
            finally:
                # Whoever loads something that asks for this has read what this one has.
                if outer is not None:
                    outer.join(self._witness)

        return seen

    def settled(self) -> bool:
        """Whether it has seen all that it must."""
        return may_keep(self._records, self._witness)
