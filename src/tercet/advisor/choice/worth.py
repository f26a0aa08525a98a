"""The worth of a set of indexes: the workload's milliseconds, what writers pay, and the rent of its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.choice.bounds import (
    RENT_SHARE,
    SLOWER_MOST,
    SLOWER_WEIGHT,
    STATEMENT_MS_MIN,
    STATEMENT_SHARE_MIN,
    WORKLOAD_SHARE_MIN,
)

if TYPE_CHECKING:
    from tercet.advisor.choice.ledger import Found, Ledger, Names
    from tercet.advisor.choice.writing import Writes


@dataclass(frozen=True, slots=True)
class Score:
    """The price of everything under one set; the lower the better."""

    total: float
    # The same, were every statement free to become slower.
    soft: float
    found: tuple[Found, ...]
    size_bytes: int


class Worth:
    """Weighs sets of indexes of one workload against one another."""

    def __init__(self, ledger: Ledger, writes: Writes, *, share: float = STATEMENT_SHARE_MIN) -> None:
        """`share` is what some statement must gain by an index."""
        self.share = share
        self.ledger = ledger
        self.writes = writes
        self._weights = tuple(max(query.calls, 0.0) for query in ledger.queries)
        self._prices: dict[str, float] = {}
        # From here on each statement loses.
        self._bearable = tuple(before.ms * SLOWER_MOST for before in ledger.before)
        # The sets that were weighed since nobody is asked, with the guesses that this was by.
        self._scores: dict[Names, Score] = {}
        self._guessed: object = None
        self.ms_before = self.ms(tuple(ledger.before))
        self._tables = max(ledger.reckoner.ground.tables_bytes, 1)
        # What an index has to save at least, and what each of its bytes has to.
        self.least = self._rent = 0.0
        self.remains(self.ms_before)

    def remains(self, ms: float) -> None:
        """So much the workload takes whatever is made: the shares that indexes have to save are taken from it.

        Else one statement that hardly ends would make all that the others gain by indexes look like nothing.
        """
        self.least = WORKLOAD_SHARE_MIN * ms
        self._rent = RENT_SHARE * ms / self._tables

    def ms(self, found: tuple[Found, ...]) -> float:
        """All calls of all statements."""
        return sum(weight * one.ms for weight, one in zip(self._weights, found, strict=True))

    async def score(self, using: Names, near: tuple[Names, Score] | None = None) -> Score:
        """What this set is worth; `near` is another one whose score is known, so that only what differs is asked."""
        if self.ledger.guessed is None:
            return await self._score(using, near)
        if self.ledger.guessed is not self._guessed:
            self._scores, self._guessed = {}, self.ledger.guessed
        if using not in self._scores:
            self._scores[using] = await self._score(using, near)
        return self._scores[using]

    async def _score(self, using: Names, near: tuple[Names, Score] | None) -> Score:
        if near is None:
            found = [await self.ledger.need(at, using) for at in range(len(self.ledger.queries))]
        else:
            found = list(near[1].found)
            touched = {at for name in using ^ near[0] for at in self.ledger.concerned(name)}
            guessing = self.ledger.guessed is not None
            for at in touched:
                found[at] = self.ledger.guess(at, using) if guessing else await self.ledger.need(at, using)
        every = tuple(found)
        size = self.ledger.size(using)
        total = self.ms(every) + self.rent(size) + sum(map(self.price, sorted(using)))
        return Score(total + SLOWER_WEIGHT * self._lost(every), total, every, size)

    def rent(self, size_bytes: int) -> float:
        """What so many bytes have to save."""
        return size_bytes * self._rent

    def price(self, name: str) -> float:
        """What writers pay for an index while the workload runs once."""
        if name not in self._prices:
            index, size = self.ledger.candidates[name].index, self.ledger.sizes[name].size_bytes
            self._prices[name] = self.writes.ms(index, size)
        return self._prices[name]

    def slower(self, score: Score, most: float = SLOWER_MOST) -> list[int]:
        """The statements that lose more than they should; of what was run, there is no doubt that needs more room."""
        return [
            at
            for at, (one, before) in enumerate(zip(score.found, self.ledger.before, strict=True))
            if one.ms - before.ms > STATEMENT_MS_MIN
            and one.ms > before.ms * (SLOWER_MOST if self.ledger.sure(at, one) else most)
        ]

    def earns(self, score: Score, without: Score) -> bool:
        """Whether an index is worth its place: the whole is better with it, and somebody feels it."""
        if without.total - score.total <= self.least:
            return False
        return any(
            gone.ms - one.ms > max(self.share * gone.ms, STATEMENT_MS_MIN)
            for one, gone in zip(score.found, without.found, strict=True)
        )

    def _lost(self, found: tuple[Found, ...]) -> float:
        return sum(
            weight * (one.ms - most)
            for weight, one, most in zip(self._weights, found, self._bearable, strict=True)
            if one.ms > most
        )
