"""Sessions for reading: on a replica that has what the reader must see, or else on the primary."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.errors import DeadlinePassed, StoreError, StoreUnreachable, UsageError
from tercet.stores.reads.postgres_replica import LOOK_SECONDS, Replica
from tercet.stores.reads.token import UNNAMED, ReadToken
from tercet.units import seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncSession

    from tercet.clock import Clock
    from tercet.settings import Settings
    from tercet.stores.port import PoolState
    from tercet.stores.postgres import Postgres
    from tercet.telemetry import Telemetry

# Longer than a replica is behind on a good day, and shorter than a person notices.
WITHIN = "100ms"
# What it may take to get a connection of a replica's pool, however little is left by then: it has one at hand.
_ENTER_SECONDS = 0.05


class Replicas:
    """The replicas of one PostgreSQL, none of which is needed: the primary answers where they do not."""

    def __init__(
        self,
        primary: Postgres,
        settings: Settings,
        *,
        clock: Clock,
        telemetry: Telemetry,
        look: str | float = LOOK_SECONDS,
    ) -> None:
        self._primary, self._clock, self._telemetry = primary, clock, telemetry
        self._all = tuple(
            Replica(one, clock=clock, telemetry=telemetry, look=seconds(look)) for one in settings.replicas
        )
        self._turn = 0

    @property
    def probes(self) -> tuple[Replica, ...]:
        """What health asks."""
        return self._all

    def pools(self) -> tuple[PoolState, ...]:
        """The pools of those that have been opened; costs no round trip."""
        return tuple(replace(one.server.pool(), replica=one.replica) for one in self._all if one.server is not None)

    def open(self) -> None:
        """Begin to look for them; one that is away holds nobody up."""
        for one in self._all:
            one.open()

    async def close(self) -> None:
        """Let go of all; twice is fine."""
        await asyncio.gather(*(one.close() for one in self._all))

    @asynccontextmanager
    async def reading(
        self, token: ReadToken | str | None = None, *, within: str | float = WITHIN
    ) -> AsyncIterator[AsyncSession]:
        """A session that only reads: on a replica that has what `token` names within so long, or on the primary.

        Without a token any replica will do, however far it is behind. A write is refused wherever it runs.
        """
        patience = seconds(within)
        wanted = ReadToken.read(token) if isinstance(token, str) else token
        if wanted is not None and not wanted.source.startswith(UNNAMED):
            raise UsageError(
                "A session of PostgreSQL cannot wait for what another store has written.",
                "Hand it a token of a transaction in PostgreSQL, or none.",
            )
        session, replica = await self._session(wanted, patience)
        try:
            async with session:
                yield session
        except (StoreUnreachable, DeadlinePassed):
            if replica is not None:
                replica.failed()
            raise

    async def _session(self, token: ReadToken | None, patience: float) -> tuple[AsyncSession, Replica | None]:
        until = self._clock.monotonic() + patience
        if self._all:
            with self._telemetry.operation("stores", "find replica", store="postgres"):
                for replica in await self._fit(token, until):
                    session = await self._enter(replica, until)
                    if session is not None:
                        return session, replica
        return self._primary.session(read_only=True), None

    async def _fit(self, token: ReadToken | None, until: float) -> list[Replica]:
        """Those that may answer, the one whose turn it is first."""
        self._turn = (self._turn + 1) % len(self._all)
        in_turn = (*self._all[self._turn :], *self._all[: self._turn])
        ready = await asyncio.gather(*(one.ready(self._left(until)) for one in in_turn))
        there = [one for one, is_ready in zip(in_turn, ready, strict=True) if is_ready]
        if token is None:
            return there
        there = [one for one in there if one.server is not None and (one.server.source or UNNAMED) == token.source]
        have = [one for one in there if one.at >= token.at]
        return have or await self._first(there, token.at, until)

    async def _first(self, there: list[Replica], at: int, until: float) -> list[Replica]:
        """Those that come to this position first."""
        tasks = {asyncio.create_task(one.reaches(at, self._left(until))): one for one in there}
        waiting = set(tasks)
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if found := [tasks[task] for task in done if task.result()]:
                    return found
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        return []

    async def _enter(self, replica: Replica, until: float) -> AsyncSession | None:
        """A session on a connection that it has already, or None where none is to be had in time."""
        server = replica.server
        if server is None:
            return None
        session = server.session(read_only=True)
        try:
            async with asyncio.timeout(max(_ENTER_SECONDS, self._left(until))):
                await session.connection()
        except (StoreError, TimeoutError):
            await session.close()
            replica.failed()
            return None
        except BaseException:
            await session.close()
            raise
        return session

    def _left(self, until: float) -> float:
        return max(0.0, until - self._clock.monotonic())
