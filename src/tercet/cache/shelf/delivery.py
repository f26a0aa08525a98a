"""Delivery: a drop that Redis did not take is kept until it does, and one that it may have lost is sent again."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Literal, TypeAlias

from tercet.cache.moments.span import folded
from tercet.cache.shelf.owed import DELIVERIES_MAX, Owed
from tercet.cache.shelf.port import Drop
from tercet.errors import DeadlinePassed, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tercet.cache.shelf.port import Shelf
    from tercet.clock import Clock

# How long between tries while Redis is away; a new connection is a try at once.
RETRY_SECONDS = 0.5

# A failover may lose what the old primary had acknowledged: replicas follow it by a second or so, and it takes
# some seconds until one is promoted. Drops younger than this are sent again on a new connection.
RECENT_SECONDS = 10.0

# Who is told what has become of drops, and of how many.
Noted: TypeAlias = "Callable[[Literal['drop kept', 'drop delivered'], int], None]"

_log = logging.getLogger("tercet.cache")


def _unnoted(what: Literal["drop kept", "drop delivered"], count: int) -> None:
    """Nobody asks."""


class Delivery:
    """Brings drops to a shelf: at once where it can, later where it must, in any order, none lost by an error.

    What is kept is kept in this process: it does not outlive it.
    """

    def __init__(self, shelf: Shelf, *, clock: Clock, noted: Noted = _unnoted) -> None:
        self._shelf = shelf
        self._clock = clock
        # Told how many names, tags and patterns were kept, and how many of what was kept were delivered.
        self._noted = noted
        # On its way for the first time, with a caller who waits for it; and what failed and is tried again.
        self._flying = Owed()
        self._kept = Owed()
        self._trying = Owed()
        self._recent: deque[tuple[float, Drop]] = deque()
        self._recent_size = 0
        # Whether the shelf did not answer when last tried: then nobody waits for it again but the retries.
        self._away = False
        self._task: asyncio.Task[None] | None = None
        self._kick = asyncio.Event()
        self._done = asyncio.Event()
        # Whether the shelf knows of everything; every read asks that twice, so it is no question but a fact.
        self.quiet = True
        shelf.watch(self._connected)

    @property
    def pending(self) -> int:
        """How many names, tags and patterns the shelf does not know of yet."""
        return len(self._flying) + self._owes

    @property
    def _owes(self) -> int:
        return len(self._kept) + len(self._trying)

    def covers(self, name: str, tags: Sequence[str], full: str = "") -> bool:
        """Whether a drop of this entry is still on its way, so that what the shelf has is not to be believed.

        `full` is the whole key of a shortened name; without it, a shortened name is covered by any pattern.
        """
        return any(owed.covers(name, tags, full) for owed in (self._flying, self._kept, self._trying) if owed)

    async def deliver(self, drop: Drop) -> bool:
        """Whether the shelf knows of it now; if not, it is kept and tried again until it does."""
        if not drop:
            return True
        if not drop.drops:
            return await self._tell(drop)
        if self._owes and self._away:
            # The retries are at it, and will see first when it is back.
            self._keep(drop)
            return False
        self._flying.add(drop)
        self.quiet = False
        try:
            await self._shelf.drop(drop)
        except StoreError as error:
            self._away = error.retryable
            self._keep(drop)
            _log.warning("a drop did not reach Redis (%s): it is kept and tried again", type(error).__name__)
            return False
        except asyncio.CancelledError:
            # Perhaps it got there, perhaps not.
            self._keep(drop)
            raise
        finally:
            self._flying.remove(drop)
            self._weigh()
        self._away = False
        self._remember(drop)
        return True

    async def _tell(self, drop: Drop) -> bool:
        """Tell what makes nothing old; whoever waits for it waits no longer than it is news, so it is not kept."""
        try:
            await self._shelf.drop(drop)
        except StoreError:
            return False
        return True

    async def delivered(self, wait: float) -> None:
        """Return when nothing is kept any more; raises DeadlinePassed when that took longer than `wait` seconds."""
        try:
            async with asyncio.timeout(wait):
                while self._owes:
                    self._retry_soon()
                    await self._done.wait()
        except TimeoutError as error:
            what = f"the delivery of {self._owes} drops"
            raise DeadlinePassed("redis", what=what, deadline=wait) from error

    async def close(self) -> None:
        """Try once more, and say how much did not arrive; no task is left."""
        task, self._task = self._task, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait([task])
        if self._owes:
            await self._try()
        if self._owes:
            _log.warning("%d drops did not reach Redis before the cache was closed", self._owes)

    def _keep(self, drop: Drop) -> None:
        self._noted("drop kept", _count(drop))
        self._kept.add(drop)
        self._kept.bound()
        self._weigh()
        self._retry_soon()

    def _weigh(self) -> None:
        """See whether anything is on its way, after each change of what is."""
        self.quiet = self._flying.empty and self._kept.empty and self._trying.empty

    def _retry_soon(self) -> None:
        """See to it that somebody tries, in this loop."""
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            # Events belong to the loop in which they were first waited for.
            self._kick, self._done = asyncio.Event(), asyncio.Event()
            self._task = loop.create_task(self._retry(), name="tercet-cache-delivery")

    async def _retry(self) -> None:
        while True:
            # Cleared before it is tried: a connection that comes meanwhile is not overlooked.
            self._kick.clear()
            await self._try()
            if not self._owes:
                break
            try:
                async with asyncio.timeout(RETRY_SECONDS):
                    await self._kick.wait()
            except TimeoutError:
                pass
        self._done.set()

    async def _try(self) -> None:
        """Try what is kept, part by part; what comes meanwhile, even the same, is another matter."""
        self._trying.take(self._kept)
        self._trying.bound()
        self._weigh()
        for part in [*self._trying.parts()]:
            try:
                await self._shelf.drop(part)
            except StoreError as error:
                self._away = error.retryable
                _log.debug("drops did not reach Redis (%s)", type(error).__name__)
            else:
                self._away = False
                self._trying.settle(part)
                self._weigh()
                self._remember(part)
                self._noted("drop delivered", _count(part))

    def _remember(self, drop: Drop) -> None:
        """Keep in mind what was delivered lately; too much of it is remembered as everything."""
        now = self._clock.monotonic()
        self._recent.append((now, drop))
        self._recent_size += _size(drop)
        while self._recent[0][0] < now - RECENT_SECONDS:
            self._recent_size -= _size(self._recent.popleft()[1])
        if self._recent_size > DELIVERIES_MAX:
            moments = folded(span for _, one in self._recent for span in one.moments)
            self._recent.clear()
            self._recent.append((now, Drop(everything=True, moments=moments)))
            self._recent_size = 1

    def _connected(self) -> None:
        """A new connection, perhaps to another server, which may not know what the last one was told."""
        self._away = False
        since = self._clock.monotonic() - RECENT_SECONDS
        for moment, drop in self._recent:
            if moment >= since:
                self._kept.add(drop)
        self._recent.clear()
        self._recent_size = 0
        if self._owes:
            self._kept.bound()
            self._weigh()
            self._retry_soon()
            self._kick.set()


def _size(drop: Drop) -> int:
    return len(drop.names) + len(drop.tags) + len(drop.patterns) + len(drop.moments) + 1


def _count(drop: Drop) -> int:
    """How many things a drop says; everything is one."""
    return max(1, len(drop.names) + len(drop.tags) + len(drop.patterns))
