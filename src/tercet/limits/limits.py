"""Limits: how often something may be done, counted for all processes together."""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, get_args

from tercet.clock import Clock, SystemClock
from tercet.errors import RateExceeded, SettingInvalid, StoreError, UsageError
from tercet.limits.batches import Batches
from tercet.limits.counter import Counter
from tercet.limits.decision import Decision
from tercet.limits.key import named
from tercet.limits.rate import COUNT_MAX, Rate, whole
from tercet.telemetry import LimitChecked, Telemetry

if TYPE_CHECKING:
    from tercet.limits.port import Line

WhenAway = Literal["allow", "refuse", "raise"]

# Limits that are found again when they are asked for again. A program has a few; one that makes them out of
# its data gets new objects for those it has not used lately, which count in Redis all the same.
LIMITS_KEPT = 256

# Rates of one limit: each costs the script a little, and nobody means more than a handful.
RATES_MAX = 8

# When a caller is told to come back whom nobody could count: the wire has asked again by then.
AWAY_SECONDS = 1.0

_log = logging.getLogger("tercet.limits")


class Limits:
    """Makes limits that live on one wire; the same rates and name give the same limit."""

    __slots__ = ("_clock", "_line", "_made", "_namespace", "_telemetry")

    def __init__(
        self,
        wire: Line,
        *,
        namespace: str = "tercet",
        telemetry: Telemetry | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._line = wire
        self._namespace = named(namespace, "namespace")
        self._telemetry = telemetry or Telemetry()
        self._clock = clock or SystemClock()
        self._made: OrderedDict[tuple[object, ...], Limit] = OrderedDict()

    def limit(
        self,
        *rates: str | Rate,
        burst: int | None = None,
        when_away: WhenAway = "allow",
        local: int = 0,
        name: str | None = None,
    ) -> Limit:
        """The limit of these rates, all of which a call must keep.

        `burst` is how many may come at once: that of the rate with the shortest period, which is its count unless
        it is given; `Rate.of("10/second", burst=20)` gives any other rate its own. `when_away` decides where Redis
        cannot be asked. `local` lets this process take up to so many tokens at once and hand them out itself. A
        `name` keeps what was used when a count is changed, and keeps apart limits of the same rates.

        Raises SettingInvalid for a rate, a name or a number that cannot be meant.
        """
        asked = (rates, burst, when_away, local, name)
        try:
            limit = self._made.get(asked)
        except TypeError:
            # A list, say: nothing that can be kept, and no rate either, which is what it will be told.
            return self._make(rates, burst, when_away, local, name)
        if limit is None:
            limit = self._made[asked] = self._make(rates, burst, when_away, local, name)
            if len(self._made) > LIMITS_KEPT:
                self._made.popitem(last=False)
        else:
            self._made.move_to_end(asked)
        return limit

    def _make(
        self, written: tuple[str | Rate, ...], burst: int | None, when_away: WhenAway, local: int, name: str | None
    ) -> Limit:
        rates = _rates(written, burst)
        most = min(rate.burst for rate in rates)
        if when_away not in get_args(WhenAway):
            raise SettingInvalid(
                "when_away", where="A limit", shown=repr(when_away), wanted="'allow', 'refuse' or 'raise'"
            )
        if not whole(local, 0, most):
            raise SettingInvalid(
                "local", where="A limit", shown=repr(local), wanted=f"a whole number from 0 to the burst, {most:,}"
            )
        counter = Counter(
            self._line, rates, namespace=self._namespace, name=None if name is None else named(name, "name")
        )
        batches = Batches(counter.take, most=local, clock=self._clock) if local else None
        # Without a name it is called what was written, which says more to people than 60s.
        label = name or ", ".join(map(str, written))
        return Limit(counter, batches, when_away=when_away, name=label, telemetry=self._telemetry)


class Limit:
    """So much in a period, for each key; made by `Limits.limit`."""

    __slots__ = ("_away", "_batches", "_counter", "_most", "_telemetry", "_when_away", "name")

    def __init__(
        self,
        counter: Counter,
        batches: Batches | None,
        *,
        when_away: WhenAway,
        name: str,
        telemetry: Telemetry,
    ) -> None:
        self.name = name
        self._counter = counter
        self._batches = batches
        self._most = min(rate.burst for rate in counter.rates)
        self._when_away = when_away
        self._telemetry = telemetry
        # Whether the last call could not be checked: the log is told of the change, not of each call.
        self._away = False

    def __repr__(self) -> str:
        return f"Limit({self.name!r})"

    async def check(self, key: str, *, cost: int = 1) -> Decision:
        """Whether a call of this cost may go on now; it is counted if it may, and costs nothing if not.

        Where Redis does not answer, `when_away` decides; the decision says so by `checked`. Raises UsageError for
        a cost that is above the burst, which could never pass.
        """
        if cost != 1:
            self._sound(cost)
        try:
            if self._batches is not None:
                decision = await self._batches.check(key, cost)
            else:
                _, decision = await self._counter.take(key, (cost,))
        except StoreError as error:
            decision = self._without(error)
        else:
            self._away = False
        if self._telemetry.heard:
            self._tell(decision)
        return decision

    async def hit(self, key: str, *, cost: int = 1) -> Decision:
        """Count a call of this cost; RateExceeded with `retry_after` where it may not go on."""
        decision = await self.check(key, cost=cost)
        if not decision.allowed:
            raise RateExceeded(self.name, retry_after=decision.retry_after)
        return decision

    async def peek(self, key: str, *, cost: int = 1) -> Decision:
        """What `check` would say now; nothing is counted, and nothing is changed."""
        self._sound(cost)
        try:
            decision = await self._counter.look(key, cost)
        except StoreError as error:
            return self._without(error)
        held = self._batches.held(key) if self._batches is not None else 0
        if held < cost:
            return decision
        return replace(decision, allowed=True, retry_after=0.0, remaining=max(held, decision.remaining))

    async def reset(self, key: str) -> None:
        """Forget what this key has used; other processes give up what they hold within a second."""
        if self._batches is not None:
            self._batches.forget(key)
        await self._counter.forget(key)

    def _sound(self, cost: int) -> None:
        if not whole(cost, 1, COUNT_MAX):
            raise UsageError(
                f"A call cannot cost {cost!r}.",
                f"Give it a whole number, 1 to {COUNT_MAX:,}; peek() looks and costs nothing.",
            )
        if cost > self._most:
            raise UsageError(
                f"A call that costs {cost:,} can never pass {self.name}, of which {self._most:,} may come at once.",
                f"Allow a burst of {cost:,} with burst=, or split the call.",
            )

    def _without(self, error: StoreError) -> Decision:
        if self._when_away == "raise":
            raise error
        if not self._away:
            self._away = True
            _log.warning("%s cannot be checked (%s): calls are %s", self, type(error).__name__, _DONE[self._when_away])
        allowed = self._when_away == "allow"
        return Decision(
            allowed, 0, 0.0 if allowed else AWAY_SECONDS, 0.0 if allowed else AWAY_SECONDS, self._most, checked=False
        )

    def _tell(self, decision: Decision) -> None:
        outcome: Literal["allowed", "refused"] = "allowed" if decision.allowed else "refused"
        self._telemetry.tell(LimitChecked(self.name, outcome, decision.checked))


_DONE = {"allow": "let through", "refuse": "refused"}


def _rates(written: tuple[str | Rate, ...], burst: int | None) -> tuple[Rate, ...]:
    """The rates, the shortest period first; that one has the burst that was given."""
    if not 1 <= len(written) <= RATES_MAX:
        raise SettingInvalid("rates", where="A limit", shown=f"{len(written)} of them", wanted=f"1 to {RATES_MAX}")
    rates = sorted(map(Rate.of, written), key=lambda rate: (rate.period_us, rate.count, rate.burst))
    if burst is not None:
        rates[0] = Rate.of(rates[0], burst=burst)
    return tuple(rates)
