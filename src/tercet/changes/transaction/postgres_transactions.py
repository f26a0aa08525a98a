"""The flow of a transaction: its block, its events, COMMIT, and the wait for its own echo."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy.exc

from tercet.changes.transaction.postgres_doubt import DOUBT_SECONDS, committed
from tercet.changes.transaction.postgres_transaction import Transaction
from tercet.errors import DeadlinePassed, StoreUnreachable, UsageError
from tercet.telemetry.event import Operation
from tercet.units import seconds
from tercet.witness import Moment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tercet.changes.port import Emitter, Hearing
    from tercet.clock import Clock
    from tercet.stores.postgres import Isolation, Postgres
    from tercet.telemetry import Telemetry
    from tercet.telemetry.event import Outcome

T = TypeVar("T")

_log = logging.getLogger("tercet.changes")

# A feed tells a commit within a millisecond or a few; whoever waits longer than this waits for one that stands still.
HEAR_SECONDS = 0.25

# serialization_failure and deadlock_detected: nothing was done, and the same again may well pass.
_CONFLICTS = frozenset({"40001", "40P01"})
# Two that have met must not meet again: each waits a random part of this, doubled with each try.
_PAUSE_SECONDS = 0.02


class Transactions:
    """Makes transactions on PostgreSQL that emit events, and whose own process has heard of them when they return."""

    def __init__(
        self,
        postgres: Postgres,
        *,
        clock: Clock,
        telemetry: Telemetry,
        outbox: Callable[[], Emitter | None] = lambda: None,
        hear: str | float = HEAR_SECONDS,
        doubt: str | float = DOUBT_SECONDS,
    ) -> None:
        self._postgres, self._clock, self._telemetry = postgres, clock, telemetry
        self._outbox, self._hear, self._doubt = outbox, seconds(hear), seconds(doubt)
        self._followers: tuple[Hearing, ...] = ()
        # Whether it was said already that the echo does not come.
        self._deaf = False

    def followed_by(self, hearing: Hearing) -> Callable[[], None]:
        """From now on a commit waits until this one has heard of it; call what is returned to end that."""
        self._followers = (*self._followers, hearing)

        def end() -> None:
            self._followers = tuple(one for one in self._followers if one is not hearing)

        return end

    @asynccontextmanager
    async def begin(
        self,
        *,
        within: str | float | None = None,
        isolation: Isolation | None = None,
        hear: str | float | None = None,
    ) -> AsyncIterator[Transaction]:
        """A transaction that commits when the block ends well, and rolls back if it raises.

        `within` replaces the limit of each statement in it, `isolation` the server's usual level, and `hear` how
        long the end of the block waits until this process has heard of its own commit (0: not at all). Raises
        CommitUnknown when nobody can say whether it was committed.
        """
        patience = self._hear if hear is None else seconds(hear)
        async with self._postgres.session(within=within, isolation=isolation) as session:
            made = Transaction(self._postgres, session, self._outbox())
            try:
                yield made
                listening = tuple(one for one in self._followers if one.listening) if patience else ()
                moment = await self._commit(made, mark=bool(listening))
            finally:
                made.end()
        # The connection is back in the pool by now.
        if moment is not None and listening:
            await self._wait(listening, moment, patience)

    async def run(
        self,
        function: Callable[[Transaction], Awaitable[T]],
        *,
        retries: int = 3,
        within: str | float | None = None,
        isolation: Isolation | None = None,
    ) -> T:
        """Call `function` in a transaction, again from its beginning where another one was in its way.

        That is a serialization failure or a deadlock: what it did was rolled back, so it must have no other effect.
        """
        if retries < 0:
            raise UsageError(f"{retries} retries cannot be made.", "Give 0 or more.")
        for tried in range(retries + 1):
            try:
                async with self.begin(within=within, isolation=isolation) as made:
                    answer = await function(made)
            except sqlalchemy.exc.DBAPIError as error:
                if tried == retries or getattr(error.orig, "sqlstate", None) not in _CONFLICTS:
                    raise
                await asyncio.sleep(random.uniform(0, _PAUSE_SECONDS * 2**tried))  # noqa: S311 - no secret
            else:
                return answer
        raise AssertionError("the last try returns or raises")

    async def _commit(self, made: Transaction, *, mark: bool) -> Moment | None:
        xid = await made.finish(mark=mark)
        try:
            await made.commit()
        except (StoreUnreachable, DeadlinePassed):
            # A transaction that wrote nothing has nothing to be in doubt about.
            if not xid or not await self._was_committed(made, xid):
                raise
        source = self._postgres.source
        moment = Moment(source, xid) if xid and source is not None else None
        made.committed(moment)
        return moment

    async def _was_committed(self, made: Transaction, xid: int) -> bool:
        # Its own connection is dead, and must not be waited for.
        await made.session.invalidate()
        with self._telemetry.operation("changes", "commit in doubt", store="postgres"):
            return await committed(self._postgres, xid, clock=self._clock, patience=self._doubt)

    async def _wait(self, followers: tuple[Hearing, ...], moment: Moment, patience: float) -> None:
        """Until all have heard of it; whatever goes wrong here, the commit stands."""
        started = self._clock.monotonic()
        outcome: Outcome = "cancelled"
        error: str | None = None
        try:
            async with asyncio.timeout(patience):
                heard = await asyncio.gather(*(one.heard(moment, patience) for one in followers))
            outcome = "ok" if all(heard) else "timeout"
        except TimeoutError:
            outcome = "timeout"
        except Exception as caught:  # noqa: BLE001 - a follower's fault is not the transaction's; it is told
            outcome, error = "failed", type(caught).__name__
        finally:
            self._heard(outcome, error, self._clock.monotonic() - started)

    def _heard(self, outcome: Outcome, error: str | None, waited: float) -> None:
        if outcome in {"timeout", "failed"} and not self._deaf:
            _log.warning(
                "a commit was not heard of in its own process within %.0f ms (%s); its drops come later",
                waited * 1000,
                error or outcome,
            )
        if outcome != "cancelled":
            self._deaf = outcome != "ok"
        if self._telemetry.heard:
            self._telemetry.tell(Operation("changes", "hear", waited, outcome, "postgres", error))
