"""What locks ask of the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tercet.wire import Script


class Link(Protocol):
    """Scripts, commands and messages over one connection; every call has its deadline."""

    def run(
        self,
        script: Script,
        keys: Sequence[bytes],
        words: Sequence[bytes | str | int | float] = (),
        *,
        deadline: float | None = None,
        always: bool = False,
    ) -> Awaitable[Any]:
        """Run a script; with `always` also while the server is left alone because it did not answer."""
        ...

    def call(
        self, *words: bytes | str | float, key: bytes | None = None, deadline: float | None = None
    ) -> Awaitable[Any]:
        """Run one command on the server that has the key."""
        ...

    async def listen(self, channel: bytes, hear: Callable[[bytes | None], None]) -> None:
        """Hand over every message of the channel; None says that some may have been lost."""
        ...

    async def unlisten(self, channel: bytes, hear: Callable[[bytes | None], None]) -> None:
        """Listen no more."""
        ...
