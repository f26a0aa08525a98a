"""A lock as it is asked for: waiting in line, holding it for a block, giving it back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tercet.errors import LockBusy, StoreError, StoreUnreachable
from tercet.locks.desk import Granted, Taken, is_passing
from tercet.locks.held import FAREWELL_SECONDS, Grant, Held
from tercet.locks.lease import Lease, Moment
from tercet.locks.name import holder_of, wish

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tercet.clock import Clock
    from tercet.locks.desk import Desk
    from tercet.locks.name import LockName, Mode
    from tercet.locks.waiting import Farewells, Post, Ticket
    from tercet.telemetry import Telemetry

# A place in the line is kept so long without a word (for a ttl, where that is shorter), and renewed three times
# meanwhile. So a waiter that died holds up the line for so long at most, and a message that was lost costs a second.
PLACE_SECONDS = 3.0
PLACE_SECONDS_MIN = 0.3
# How many questions are asked in the time for which a place is kept.
QUESTIONS_A_PLACE = 3

# Redis is asked again so often while it is away; the wire keeps most of that from the server.
_OUTAGE_PAUSE_SECONDS = 0.05
# A question has the wire's own deadline; a last one, when less than this is left of the wait, what is left.
_QUESTION_SECONDS = 0.25
_QUESTION_SECONDS_MIN = 0.05
# The end of somebody's lease is asked for after it, not at it.
_AFTER_SECONDS = 0.002


@dataclass(slots=True)
class Here:
    """One event loop of one process: its numbers, its channel, and what its tasks hold."""

    clock: Clock
    telemetry: Telemetry
    desk: Desk
    post: Post
    farewells: Farewells
    held: dict[tuple[asyncio.Task[object] | None, bytes, str], Held]
    number: int = 0

    def next(self) -> int:
        """A number that this process has not given to a wish yet."""
        self.number += 1
        return self.number


@dataclass(frozen=True, slots=True)
class Terms:
    """What is wanted: the lock, how it is held, for how long, and how long it is waited for."""

    name: LockName
    mode: Mode
    permits: int
    ttl: float
    wait: float
    replicas: int
    reentrant: bool


class Wait:
    """One wish, from its first question until it is granted or given up."""

    def __init__(self, here: Here, terms: Terms) -> None:
        self._here = here
        self._terms = terms
        self._wish = wish(terms.mode, terms.permits, terms.ttl, here.post.process, here.next())
        self._left_line = False
        self._place = max(PLACE_SECONDS_MIN, min(PLACE_SECONDS, terms.ttl))
        self._loop = asyncio.get_running_loop()
        self._begun = self._loop.time()

    async def granted(self) -> Grant:
        """Wait for the lock; raises LockBusy, or StoreUnreachable where Redis was away until the end.

        However it ends otherwise, cancelled too, nothing of it stays in Redis.
        """
        here, terms = self._here, self._terms
        ticket = here.post.open(self._wish)
        try:
            grant = await self._queue(ticket)
            return await self._copied(grant) if terms.replicas else grant
        except BaseException:
            if not self._left_line:
                farewell = here.farewells.say(terms.name, self._wish, 0, terms.ttl + FAREWELL_SECONDS)
                await asyncio.shield(farewell)
            raise
        finally:
            here.post.drop(self._wish)

    async def _queue(self, ticket: Ticket) -> Grant:
        terms = self._terms
        while True:
            sent = Moment.now(self._here.clock)
            left = self._left()
            try:
                answer = await self._ask(left)
            except StoreError as error:
                await self._outlast(error, ticket)
                continue
            if isinstance(answer, Granted):
                return Grant(terms.name, self._wish, answer.token, Lease(sent, terms.ttl))
            if left <= 0:
                # This question was the last one, and it has taken us out of the line.
                self._left_line = True
                raise self._busy(answer)
            token = await ticket.rest(self._rest(answer), after=answer.newest)
            lease = Lease(sent, terms.ttl)
            # Long after the last question nobody knows how much of the lease is left: Redis is asked again.
            if token is not None and lease.renew_in(Moment.now(self._here.clock)) > 0:
                return Grant(terms.name, self._wish, token, lease)

    async def _ask(self, left: float) -> Granted | Taken:
        here, terms = self._here, self._terms
        if left > 0:
            await here.post.listen()
        deadline = max(left, _QUESTION_SECONDS_MIN) if 0 < left < _QUESTION_SECONDS else None
        keep = self._place if left > 0 else 0.0
        return await here.desk.enter(terms.name, self._wish, keep=keep, deadline=deadline)

    async def _outlast(self, error: StoreError, ticket: Ticket) -> None:
        """Wait a little where that may help, and there is time for it."""
        if not is_passing(error):
            raise error
        left = self._left()
        if left <= 0:
            if isinstance(error, StoreUnreachable):
                raise error
            raise StoreUnreachable("redis", reason=f"{self._terms.name} could not be asked for") from error
        await ticket.rest(min(left, _OUTAGE_PAUSE_SECONDS))

    def _rest(self, answer: Taken) -> float:
        """How long to wait for the bell: the first in the line looks when the holder's lease ends."""
        patience = min(self._left(), self._place / QUESTIONS_A_PLACE)
        if answer.before == 0:
            patience = min(patience, answer.seconds + _AFTER_SECONDS)
        return max(patience, 0.0)

    async def _copied(self, grant: Grant) -> Grant:
        """The grant, once the replicas have it; they are waited for as long as the lock itself."""
        while True:
            sent = Moment.now(self._here.clock)
            try:
                ours = await self._here.desk.copy(grant.name, grant.wish, grant.token, self._terms.replicas)
            except StoreError as error:
                if self._left() <= 0 or not is_passing(error):
                    raise
                await asyncio.sleep(_OUTAGE_PAUSE_SECONDS)
                continue
            if not ours:
                raise StoreUnreachable("redis", reason="it has lost the lock while replicas were waited for")
            return Grant(grant.name, grant.wish, grant.token, Lease(sent, self._terms.ttl))

    def _left(self) -> float:
        return self._terms.wait - (self._loop.time() - self._begun) if self._terms.wait else 0.0

    def _busy(self, answer: Taken) -> LockBusy:
        terms = self._terms
        waited = self._loop.time() - self._begun if terms.wait else 0.0
        mine = (asyncio.current_task(), terms.name.keys[0], terms.mode) in self._here.held
        holder = "this very task, which reentrant=True would let in again" if mine else holder_of(answer.holder)
        return LockBusy(str(terms.name), holder=holder, waited=waited, retry_after=max(0.0, answer.seconds))


class Lock:
    """A lock among all processes on one Redis, for one holder at a time, in the order in which they came.

    `async with lock as held` waits, holds it while the block runs, renews it meanwhile, and gives it back. It can be
    used by many tasks at once, and again and again: it is only the way to ask.
    """

    def __init__(self, here: Callable[[], Here], terms: Terms) -> None:
        self._find = here
        self._terms = terms
        self._acquired: list[Held] = []
        self._entered: list[tuple[asyncio.Task[object] | None, Held]] = []

    @property
    def name(self) -> str:
        """The name as it was given."""
        return self._terms.name.text

    async def acquire(self) -> Held:
        """Wait for the lock, in line; give it back with release().

        Raises LockBusy when it has not come free within `wait` (with wait=0: is not free now), and
        StoreUnreachable when Redis was away until then.
        """
        held = await self._take()
        self._acquired.append(held)
        return held

    async def release(self) -> None:
        """Give back what this task has acquired last; once too often is fine.

        What another task has acquired is given back by its own Held.
        """
        task = asyncio.current_task()
        for at in range(len(self._acquired) - 1, -1, -1):
            if self._acquired[at].task is task:
                await self._acquired.pop(at).release()
                return

    async def __aenter__(self) -> Held:
        held = await self._take()
        held.guard()
        self._entered.append((asyncio.current_task(), held))
        return held

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = asyncio.current_task()
        mine = [at for at, (entered, _) in enumerate(self._entered) if entered is task]
        # A block may be left by another task than the one that entered it: then it is the latest one.
        _, held = self._entered.pop(mine[-1] if mine else -1)
        await held.leave(error)

    async def _take(self) -> Held:
        here = self._find()
        again = self._again(here)
        if again is not None:
            return again
        with here.telemetry.operation("locks", "acquire"):
            grant = await Wait(here, self._terms).granted()
        ended = partial(self._ended, here)
        held = Held(grant, clock=here.clock, desk=here.desk, farewells=here.farewells, ended=ended)
        here.held[held.task, self._terms.name.keys[0], self._terms.mode] = held
        return held

    def _again(self, here: Here) -> Held | None:
        """What this task holds already, if it may enter again."""
        if not self._terms.reentrant:
            return None
        held = here.held.get((asyncio.current_task(), self._terms.name.keys[0], self._terms.mode))
        if held is None:
            return None
        held.check()
        held.depth += 1
        return held

    def _ended(self, here: Here, held: Held) -> None:
        key = (held.task, self._terms.name.keys[0], self._terms.mode)
        if here.held.get(key) is held:
            del here.held[key]
        self._acquired = [one for one in self._acquired if one is not held]


class ReadWrite:
    """A pair of locks of one name: many may read at once, one may write, and then nobody reads.

    All stand in one line: who comes after a waiting writer waits behind it, so that writers are not starved.
    """

    def __init__(self, reading: Lock, writing: Lock) -> None:
        self._reading = reading
        self._writing = writing

    def read(self) -> Lock:
        """To be held beside other readers."""
        return self._reading

    def write(self) -> Lock:
        """To be held alone."""
        return self._writing
