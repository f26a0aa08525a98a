"""Which candidates are worth a search: those that win when everything is there, and those that help alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tercet.advisor.choice.bounds import STATEMENT_MS_MIN

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from tercet.advisor.candidate import Candidate
    from tercet.advisor.choice.ledger import Ledger, Names
    from tercet.advisor.port import Progress
    from tercet.sql import Index

# Keys of a candidate that counts as narrow: what is left of an index when bytes are dear.
NARROW_KEYS = 2
# What a candidate must save of a statement when it is there alone.
ALONE_SHARE = 0.005


def promising(candidates: Iterable[Candidate], most: int, ran: Collection[str]) -> tuple[Candidate, ...]:
    """The first candidates of each statement, which come in the order of what they promise, and those that were run."""
    taken: Counter[str] = Counter()
    kept = []
    for one in candidates:
        if any(taken[query] < most for query in one.queries) or not one.queries or one.name in ran:
            taken.update(one.queries)
            kept.append(one)
    return tuple(kept)


async def winners(ledger: Ledger, progress: Progress) -> dict[Names, float]:
    """What the planner picks together for each statement, and what all its calls save by that.

    It is asked with all candidates there and with the narrow ones only; the statements that pick the same are added up.
    What the planner likes and the clock does not is left out.
    """
    picked: dict[Names, float] = {}
    count = len(ledger.queries)
    narrow = frozenset(name for name, one in ledger.candidates.items() if _narrow(one.index))
    for at, query in enumerate(ledger.queries):
        progress(f"all candidates of {query.label or query.fingerprint}", at, count)
        every = ledger.relevant(at)
        best = await ledger.need(at, every)
        # Without those, it shows its second thoughts: what is left where the first do not fit.
        for using in dict.fromkeys((every, every & narrow, every - best.used, (every & narrow) - best.used)):
            found = await ledger.need(at, using)
            used, saved = found.used & using, (ledger.before[at].ms - found.ms) * query.calls
            if used and saved > 0:
                picked[used] = picked.get(used, 0.0) + saved
    return picked


async def helpers(
    ledger: Ledger, of: Callable[[int], Names], progress: Progress, late: Callable[[], bool]
) -> dict[Names, float]:
    """Those that alone save a part of a statement, and how much; `of` says which are tried for each."""
    picked: dict[Names, float] = {}
    count = len(ledger.queries)
    for at, query in enumerate(ledger.queries):
        progress(f"each candidate of {query.label or query.fingerprint}", at, count)
        before = ledger.before[at].ms
        for name in sorted(of(at)):
            if late():
                return picked
            found = await ledger.need(at, frozenset({name}))
            saved = before - found.ms
            if name in found.used and saved > max(ALONE_SHARE * before, STATEMENT_MS_MIN):
                alone = frozenset({name})
                picked[alone] = picked.get(alone, 0.0) + saved * query.calls
    return picked


async def remaining(ledger: Ledger) -> float:
    """What all calls take at best, by the plans that are known."""
    total = 0.0
    with ledger.guessing():
        for at, query in enumerate(ledger.queries):
            ways = [await ledger.need(at, using) for using in (frozenset[str](), *ledger.faster(at)[:1])]
            total += max(query.calls, 0.0) * min(one.ms for one in ways)
    return total


def _narrow(index: Index) -> bool:
    return len(index.keys) <= NARROW_KEYS and not index.include
