"""What the questions ask of a side."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


class Store(Protocol):
    """Values under keys in Redis, encoded and decoded as the peer's documentation does it."""

    async def put(self, key: str, value: Any) -> None:
        """Keep a value."""

    def get(self, key: str) -> Awaitable[Any]:
        """The value under a key, decoded."""

    def get_many(self, keys: Sequence[str]) -> Awaitable[Sequence[Any]]:
        """The values under these keys, decoded, in their order."""


class Tagged(Protocol):
    """Entries in Redis, some of which belong together."""

    async def put(self, number: int, *, member: bool) -> None:
        """Keep an entry; a member carries the tag."""

    async def has(self, number: int, *, member: bool) -> bool:
        """Whether an entry is there still."""

    async def drop(self) -> None:
        """Drop all members."""


@dataclass(frozen=True, slots=True)
class Function:
    """A decorated function, and how the result for some arguments is dropped; None when the peer cannot."""

    call: Callable[..., Awaitable[Any]]
    drop: Callable[..., Awaitable[Any]] | None


class Lock(Protocol):
    """A lock by name: entered, it is held."""

    def __call__(self, name: str) -> AbstractAsyncContextManager[Any]:
        """A lock of this name that can be entered once."""


# Whether one more call under this key is allowed.
Check = Callable[[str], Awaitable[bool]]
