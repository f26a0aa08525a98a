"""Whether something may be used here and now: open, in the process and the event loop that opened it."""

from __future__ import annotations

import asyncio
import os
from typing import Literal

from tercet.errors import NotOpen, WrongLoop


class Gate:
    """Remembers where it was opened, and refuses everybody else; a check costs less than a microsecond."""

    __slots__ = ("_loop", "_pid", "_state", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._state: Literal["new", "open", "closed"] = "new"
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has been opened and not yet closed."""
        return self._state == "open"

    @property
    def is_closed(self) -> bool:
        """Whether it has been closed."""
        return self._state == "closed"

    @property
    def is_abroad(self) -> bool:
        """Whether this is another process than the one that opened it."""
        return self._pid not in {0, os.getpid()}

    def open(self) -> None:
        """From now on this process and this event loop may pass."""
        self._pid = os.getpid()
        self._loop = asyncio.get_running_loop()
        self._state = "open"

    def close(self) -> None:
        """From now on nobody may pass."""
        self._state = "closed"

    def check(self) -> None:
        """Pass, or raise NotOpen or WrongLoop."""
        if self._state != "open":
            raise NotOpen(self._what, closed=self._state == "closed")
        if self._pid != os.getpid():
            raise WrongLoop(self._what, forked=True)
        if self._loop is not _running_loop():
            raise WrongLoop(self._what, forked=False)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
