"""What limits ask of the world: scripts and a command on a Redis that several processes share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from tercet.wire import Script


class Line(Protocol):
    """What is used of a wire; each raises a StoreError within its deadline where Redis does not do it."""

    def run(self, script: Script, keys: Sequence[bytes], words: Sequence[bytes] = ...) -> Awaitable[object]:
        """Run a script; its reply as it came."""
        ...

    def call(self, *words: bytes) -> Awaitable[object]:
        """Send one command; its reply as it came."""
        ...
