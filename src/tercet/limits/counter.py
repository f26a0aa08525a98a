"""One limit's rates on a wire: what is sent for a call, and what the answer says."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tercet.limits.decision import decided
from tercet.limits.gcra import fits, weight
from tercet.limits.key import suffix, tag
from tercet.wire import Script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.limits.decision import Decision
    from tercet.limits.port import Line
    from tercet.limits.rate import Rate

_TAKE = Script.beside(__file__, "take")

# Amounts whose words are kept ready: programs use a few costs, and one that uses many makes them each time.
AMOUNTS_KEPT = 64


class Counter:
    """Takes tokens of all rates of a limit, or of none, in one round trip."""

    __slots__ = ("_line", "_prefix", "_ready", "_suffix", "rates")

    def __init__(self, line: Line, rates: Sequence[Rate], *, namespace: str, name: str | None) -> None:
        self.rates = tuple(rates)
        self._line = line
        self._prefix = f"{namespace}:limit:{{".encode()
        self._suffix = b"}:" + suffix(name, rates)
        self._ready: dict[tuple[int, ...], tuple[bytes, ...]] = {}

    async def take(self, key: str, amounts: tuple[int, ...]) -> tuple[int, Decision]:
        """The first of these amounts that conforms, and the decision on it; 0 and a refusal of the last one."""
        got, levels = await self._ask(key, amounts)
        taken = amounts[got - 1] if got else 0
        return taken, decided(self.rates, levels, amounts[-1], allowed=bool(got))

    async def look(self, key: str, cost: int) -> Decision:
        """What a call of this cost would be told; nothing is changed."""
        _, levels = await self._ask(key, ())
        allowed = all(fits(rate, level, cost) for rate, level in zip(self.rates, levels, strict=True))
        return decided(self.rates, levels, cost, allowed=allowed)

    async def forget(self, key: str) -> None:
        """Nothing is used any more."""
        await self._line.call(b"UNLINK", self.where(key))

    def where(self, key: str) -> bytes:
        """The name in Redis."""
        return self._prefix + tag(key) + self._suffix

    async def _ask(self, key: str, amounts: tuple[int, ...]) -> tuple[int, list[int]]:
        words = self._ready.get(amounts) or self._words(amounts)
        reply = cast("list[int]", await self._line.run(_TAKE, (self.where(key),), words))
        if len(reply) == 3:  # noqa: PLR2004 - what was taken, and one rate's level in two numbers
            return reply[0], [reply[1] * self.rates[0].count + reply[2]]
        pairs = zip(self.rates, reply[1::2], reply[2::2], strict=True)
        return reply[0], [us * rate.count + parts for rate, us, parts in pairs]

    def _words(self, amounts: tuple[int, ...]) -> tuple[bytes, ...]:
        numbers = [len(amounts)]
        for rate in self.rates:
            numbers += (rate.count, *weight(rate, rate.burst))
            for amount in amounts:
                numbers += weight(rate, amount)
        words = tuple(b"%d" % number for number in numbers)
        if len(self._ready) < AMOUNTS_KEPT:
            self._ready[amounts] = words
        return words
