"""Tokens taken from Redis ahead of their use, so that a hot key costs a round trip only now and then."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tercet.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tercet.clock import Clock
    from tercet.limits.decision import Decision

    Take = Callable[[str, tuple[int, ...]], Awaitable[tuple[int, Decision]]]

# How long tokens are held after they came; then they are given up. A token is used this much later than it was
# counted at most.
HOLD_SECONDS = 1.0

# Keys of which tokens or a refusal are held; beyond it the one not used for longest is given up. Some 3 MB.
KEYS_MAX = 10_000

# How often a caller joins a fetch and finds what it brought used up by others, before it asks for itself.
JOINED_MAX = 3


@dataclass(slots=True)
class Batch:
    """What is held of one key: tokens until some moment, or a refusal until some moment."""

    tokens: int = 0
    until: float = 0.0
    # How many the batch had when it came, and the answer with which it came.
    taken: int = 0
    came: float = 0.0
    known: Decision | None = None
    # A call of this cost is refused until then, certainly: levels only fall with time.
    refused: Decision | None = None
    refused_cost: int = 0
    refused_at: float = 0.0
    refused_until: float = 0.0
    # What the callers that wait for a fetch cost together.
    waiting: int = 0
    flight: asyncio.Task[StoreError | None] | None = None

    def answer(self, cost: int, now: float) -> Decision | None:
        """The decision on such a call as far as it can be made here; None if Redis has to be asked."""
        if self.known is not None and cost <= self.tokens and now < self.until:
            self.tokens -= cost
            return replace(
                self.known,
                remaining=self.known.remaining + self.tokens,
                reset_after=max(0.0, self.known.reset_after - (now - self.came)),
            )
        if self.refused is not None and cost == self.refused_cost and now < self.refused_until:
            passed = now - self.refused_at
            return replace(
                self.refused,
                retry_after=max(0.0, self.refused.retry_after - passed),
                reset_after=max(0.0, self.refused.reset_after - passed),
            )
        return None

    def held(self, now: float) -> int:
        """How many tokens can still be used."""
        return self.tokens if now < self.until else 0

    def amounts(self, cost: int, most: int, now: float) -> tuple[int, ...]:
        """What to ask for: as many as will be used by what was seen last, else only what this call needs."""
        if now >= self.until:
            many = max(1, self.taken - self.tokens) if now < self.until + HOLD_SECONDS else 1
            self.tokens = 0
        else:
            # Used up while it was held: there is more to do than was thought.
            many = 2 * self.taken
        many = min(max(many, self.waiting), most - self.tokens)
        return (many, cost) if many > cost else (cost,)

    def granted(self, tokens: int, decision: Decision, now: float) -> None:
        """So many came."""
        self.tokens += tokens
        self.taken = self.tokens
        self.until = now + HOLD_SECONDS
        self.known, self.came, self.refused = decision, now, None

    def turned_down(self, cost: int, decision: Decision, sent: float, now: float) -> None:
        """Nothing came: that is certain from when it was asked, and told from when the answer was there."""
        self.refused, self.refused_cost, self.refused_at = decision, cost, now
        # No longer than tokens are held: another process may reset the key.
        self.refused_until = sent + min(decision.retry_after, HOLD_SECONDS)


class Batches:
    """The batches of one limit in this process: bounded in tokens a key, in time and in keys."""

    __slots__ = ("_batches", "_clock", "_most", "_take")

    def __init__(self, take: Take, *, most: int, clock: Clock) -> None:
        self._take = take
        self._most = most
        self._clock = clock
        self._batches: OrderedDict[str, Batch] = OrderedDict()

    async def check(self, key: str, cost: int) -> Decision:
        """The decision, from what is held here if it can be made of that, else from Redis."""
        batch = self._of(key)
        for _ in range(JOINED_MAX):
            now = self._clock.monotonic()
            decision = batch.answer(cost, now)
            if decision is not None:
                return decision
            if cost + batch.held(now) > self._most:
                # It would be more than may be held; what is there stays for calls that cost less.
                break
            await self._fetched(batch, key, cost)
        _, decision = await self._take(key, (cost,))
        return decision

    def held(self, key: str) -> int:
        """How many tokens of the key could be used here now."""
        batch = self._batches.get(key)
        return batch.held(self._clock.monotonic()) if batch is not None else 0

    def forget(self, key: str) -> None:
        """Give up what is held of the key."""
        self._batches.pop(key, None)

    def _of(self, key: str) -> Batch:
        batch = self._batches.get(key)
        if batch is None:
            batch = self._batches[key] = Batch()
            if len(self._batches) > KEYS_MAX:
                self._batches.popitem(last=False)
        else:
            self._batches.move_to_end(key)
        return batch

    async def _fetched(self, batch: Batch, key: str, cost: int) -> None:
        """Wait for the fetch that is under way, or for one begun here; it goes on though its callers are cancelled."""
        loop = asyncio.get_running_loop()
        flight = batch.flight
        # One of a loop that has ended never comes back.
        if flight is None or flight.done() or flight.get_loop() is not loop:
            flight = batch.flight = loop.create_task(self._fetch(batch, key, cost))
        batch.waiting += cost
        try:
            failed = await asyncio.shield(flight)
        finally:
            batch.waiting -= cost
        if failed is not None:
            # To each caller its own: an exception that several raise collects all their tracebacks.
            raise copy(failed) from failed

    async def _fetch(self, batch: Batch, key: str, cost: int) -> StoreError | None:
        sent = self._clock.monotonic()
        try:
            taken, decision = await self._take(key, batch.amounts(cost, self._most, sent))
        except StoreError as error:
            return error
        now = self._clock.monotonic()
        if taken:
            batch.granted(taken, decision, now)
        else:
            batch.turned_down(cost, decision, sent, now)
        return None
