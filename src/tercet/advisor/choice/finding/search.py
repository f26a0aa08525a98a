"""The search for the best set of indexes under a budget: cut back, grow, and better what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.choice.bounds import SLOWER_DOUBTED, SLOWER_OUTWEIGHED
from tercet.advisor.choice.needless import covers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tercet.advisor.choice.ledger import Names
    from tercet.advisor.choice.worth import Score, Worth

# Of the plans that make a statement faster, so many are tried to mend it.
_HELPED_MOST = 8

# What one set is, and what it is worth.
Place = tuple["Names", "Score"]


class Search:
    """Looks for sets of indexes that fit into a budget; the same answer each time it is let come to its end."""

    def __init__(
        self, worth: Worth, *, budget_bytes: int | None, late: Callable[[], bool], tell: Callable[[str], None]
    ) -> None:
        self.worth = worth
        self._ledger = worth.ledger
        self._budget = budget_bytes
        self._late = late
        self._tell = tell

    def fits(self, size: int) -> bool:
        """Whether so many bytes are within the budget."""
        return self._budget is None or size <= self._budget

    async def place(self, using: Names, near: Place | None = None) -> Place:
        """A set with its worth."""
        return using, await self.worth.score(using, near)

    async def cut_back(self, place: Place) -> Place:
        """Take away what is not worth its bytes, then what is least worth them, until the budget holds."""
        while place[0]:
            without = [(name, await self._without(place, name)) for name in sorted(place[0])]
            if self.fits(place[1].size_bytes):
                best = min(without, key=lambda one: (one[1][1].total, one[0]))
                if best[1][1].total > place[1].total:
                    return place
            else:
                best = min(without, key=lambda one: (self._loss_a_byte(place, one[1], one[0]), one[0]))
            place = best[1]
        return place

    async def grow(self, place: Place, moves: Mapping[Names, float]) -> Place:
        """Take what saves most for each byte, again and again, while it fits; one move may be several indexes together.

        What a move saved when it was last tried is taken for the most it may save now, and it is tried again only
        when it is first in line; `moves` says what each is expected to save before it was tried at all. Statements may
        become slower on the way: what is taken later often mends it.
        """
        waiting = {move: saved / max(self._ledger.size(move), 1) for move, saved in moves.items()}
        order = {move: at for at, move in enumerate(sorted(moves, key=sorted))}
        fresh: dict[Names, Place] = {}
        while waiting and not self._late():
            move = min(waiting, key=lambda one: (-waiting[one], order[one]))
            if waiting[move] * self._ledger.size(move) <= self.worth.least:
                del waiting[move]
                continue
            if move in fresh:
                place = fresh[move]
                fresh.clear()
                waiting = {one: worth for one, worth in waiting.items() if not one <= place[0]}
                self._tell(f"{len(place[0])} indexes")
                continue
            trial = await self._widened(place, move)
            if not self.fits(trial[1].size_bytes):
                del waiting[move]
                continue
            fresh[move] = trial
            more = max(trial[1].size_bytes - place[1].size_bytes, 1)
            waiting[move] = (place[1].soft - trial[1].soft) / more
        return place

    async def better(self, place: Place, pool: Names) -> Place:
        """Leave out, exchange and add, as long as that makes it better."""
        moved = True
        while moved and not self._late():
            moved = False
            for name in sorted(place[0]):
                trial = await self._without(place, name)
                if trial[1].total <= place[1].total:
                    place, moved = trial, True
            for name in sorted(pool - place[0]):
                if self._late():
                    return place
                self._tell(name)
                trial = await self._with(place, name)
                if self._improves(trial, place):
                    place, moved = trial, True
        return place

    async def repair(self, place: Place) -> Place:
        """Mend what makes a statement slower than it may become: by another index, else by one less."""
        tried: set[str] = set()
        while place[0] and (slower := self.worth.slower(place[1], SLOWER_DOUBTED)):
            guilty = sorted({name for at in slower for name in place[1].found[at].used & place[0]})
            if not guilty:
                return place
            trials = [await self._without(place, name) for name in guilty]
            for name in guilty:
                for other in sorted(self._alike(name) - place[0] - tried):
                    trial = await self._fitted(await self.place((place[0] - {name}) | {other}, place), other)
                    trials += [trial] if self._improves(trial, place) else []
            trials += [one for at in slower for one in await self._helped(place, at)]
            best = min(trials, key=lambda one: (one[1].total, sorted(one[0])))
            if best[1].total - place[1].total > SLOWER_OUTWEIGHED * (place[1].total - place[1].soft):
                return place
            place = best
            # Each is taken in once, so that it ends.
            tried |= place[0]
        return place

    async def _helped(self, place: Place, at: int) -> list[Place]:
        """With what else makes this statement faster, by the plans that are known."""
        found = []
        for names in self._ledger.faster(at)[:_HELPED_MOST]:
            if names - place[0]:
                trial = await self._widened(place, names)
                found += [trial] if self._improves(trial, place) else []
        return found

    def _alike(self, name: str) -> Names:
        """Candidates of the same table that begin with the same key, if any plan is known to use them."""
        own = self._ledger.candidates[name].index
        known = self._ledger.candidates
        return frozenset(
            other
            for other, one in known.items()
            if other in self._ledger.liked and one.index.table == own.table and one.index.keys[0] == own.keys[0]
        )

    async def earned(self, place: Place) -> Place:
        """Take away what does not earn its place, the least worth first."""
        while place[0]:
            without = {name: await self._without(place, name) for name in sorted(place[0])}
            idle = [name for name, gone in without.items() if not self.worth.earns(place[1], gone[1])]
            if not idle:
                return place
            place = without[min(idle, key=lambda name: (without[name][1].total, name))]
        return place

    async def _without(self, place: Place, name: str) -> Place:
        return await self.place(place[0] - {name}, place)

    async def _widened(self, place: Place, move: Names) -> Place:
        """With these as well, in place of those that they begin like."""
        begun = frozenset().union(*(self._covered(place[0], name) for name in move))
        return await self.place((place[0] - begun) | move, place)

    async def _with(self, place: Place, name: str) -> Place:
        """The best of: one more; one for those it begins like; one for another of its table; and what then fits."""
        best, added = place, await self.place(place[0] | {name}, place)
        if added[1].soft >= place[1].soft:
            # What gains nothing beside the others gains nothing in the place of one of them.
            covered = await self._fitted(await self._widened(place, frozenset({name})), name)
            return covered if self._improves(covered, place) else place
        same = {one for one in place[0] if self._table(one) == self._table(name)}
        leaves: list[frozenset[str]] = [
            frozenset(),
            self._covered(place[0], name),
            *(frozenset({one}) for one in sorted(same)),
        ]
        for leave in dict.fromkeys(leaves):
            trial = await self._fitted(await self.place((place[0] - leave) | {name}, place), name)
            if self._improves(trial, best):
                best = trial
        return best

    async def _fitted(self, place: Place, keep: str) -> Place:
        """As it is if it fits, else without those that are least worth their bytes; `keep` stays."""
        while not self.fits(place[1].size_bytes):
            others = sorted(place[0] - {keep})
            if not others:
                return place
            trials = [(name, await self._without(place, name)) for name in others]
            place = min(trials, key=lambda one: (self._loss_a_byte(place, one[1], one[0]), one[0]))[1]
        return place

    def _improves(self, trial: Place, place: Place) -> bool:
        return self.fits(trial[1].size_bytes) and trial[1].total < place[1].total

    def _loss_a_byte(self, place: Place, without: Place, name: str) -> float:
        loss = without[1].total - place[1].total
        # What loses nothing goes first, the worst of it before the rest.
        return loss / max(self._ledger.sizes[name].size_bytes, 1) if loss > 0 else loss

    def _table(self, name: str) -> object:
        return self._ledger.candidates[name].index.table

    def _covered(self, using: Names, name: str) -> Names:
        """Those that begin this one: whoever asks them can ask it."""
        index = self._ledger.candidates[name].index
        others = {one: self._ledger.candidates[one].index for one in using}
        return frozenset(one for one, other in others.items() if other.table == index.table and covers(index, other))
