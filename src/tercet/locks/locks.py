"""Locks, pairs of reading and writing, and semaphores, among all processes that share one Redis."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from tercet.clock import Clock, SystemClock
from tercet.locks.desk import Desk
from tercet.locks.lease import checked_count, checked_ttl, checked_wait
from tercet.locks.lock import Here, Lock, ReadWrite, Terms
from tercet.locks.name import LockName, checked_namespace, wake_prefix
from tercet.locks.waiting import Farewells, Post
from tercet.telemetry import Telemetry

if TYPE_CHECKING:
    from tercet.locks.name import Kind, Mode
    from tercet.locks.port import Link

# A semaphore of more permits limits nothing, and its holders are all kept in one key.
PERMITS_MAX = 100_000
# More replicas than anybody has.
REPLICAS_MAX = 100


class Locks:
    """The locks of one Redis: `async with locks.lock("settle:42") as held`.

    What a lock in Redis can promise and what it cannot is said in the docs; what protects the data is the fence,
    `tercet.locks.postgres.fence` and `tercet.locks.mongo.fence`, which refuses an older token.
    """

    def __init__(
        self,
        wire: Link,
        *,
        namespace: str = "tercet",
        clock: Clock | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._wire = wire
        self._namespace = checked_namespace(namespace)
        self._clock = clock or SystemClock()
        self._telemetry = telemetry or Telemetry()
        self._at: tuple[asyncio.AbstractEventLoop, int] | None = None
        self._here: Here | None = None

    def lock(
        self,
        name: str,
        *,
        ttl: str | float = "10s",
        wait: str | float = "5s",
        reentrant: bool = False,
        replicas: int = 0,
    ) -> Lock:
        """A lock for one holder at a time.

        It is renewed while it is held; `ttl` is how long it outlives a holder that has died, and how long Redis may
        be away before it is lost. `wait=0` tries once, at once. `reentrant` lets a task enter again what it holds.
        `replicas` waits until so many have the grant, which makes it rarer that a failover loses it.
        """
        return self._lock("lock", name, "x", 0, ttl, wait, replicas, reentrant=reentrant)

    def read_write(
        self, name: str, *, ttl: str | float = "10s", wait: str | float = "5s", replicas: int = 0
    ) -> ReadWrite:
        """A pair of locks: `.read()` beside other readers, `.write()` alone."""
        return ReadWrite(
            self._lock("read_write", name, "s", 0, ttl, wait, replicas),
            self._lock("read_write", name, "x", 0, ttl, wait, replicas),
        )

    def semaphore(
        self, name: str, permits: int, *, ttl: str | float = "10s", wait: str | float = "5s", replicas: int = 0
    ) -> Lock:
        """A lock for up to `permits` holders at a time; everybody should name the same number."""
        permits = checked_count(permits, 1, PERMITS_MAX, "permits", f"The semaphore {name!r}")
        return self._lock("semaphore", name, "s", permits, ttl, wait, replicas)

    async def close(self) -> None:
        """Be told no more; what is held stays held until it is given back or its lease ends."""
        here, self._here, at, self._at = self._here, None, self._at, None
        if here is not None and at is not None and at[0] is asyncio.get_running_loop():
            await here.farewells.close()
            await here.post.close()

    def _lock(
        self,
        kind: Kind,
        name: str,
        mode: Mode,
        permits: int,
        ttl: str | float,
        wait: str | float,
        replicas: int,
        *,
        reentrant: bool = False,
    ) -> Lock:
        found = LockName.of(self._namespace, kind, name)
        where = found.title
        terms = Terms(
            name=found,
            mode=mode,
            permits=permits,
            ttl=checked_ttl(ttl, where),
            wait=checked_wait(wait, where),
            replicas=checked_count(replicas, 0, REPLICAS_MAX, "replicas", where),
            reentrant=reentrant,
        )
        return Lock(self._where_we_are, terms)

    def _where_we_are(self) -> Here:
        """What belongs to this event loop and this process; another one begins anew, under another name."""
        at = (asyncio.get_running_loop(), os.getpid())
        if self._here is None or self._at != at:
            prefix = wake_prefix(self._namespace)
            desk = Desk(self._wire, prefix)
            self._at = at
            self._here = Here(
                clock=self._clock,
                telemetry=self._telemetry,
                desk=desk,
                post=Post(self._wire, prefix),
                farewells=Farewells(desk),
                held={},
            )
        return self._here
