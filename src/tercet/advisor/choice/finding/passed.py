"""What was not picked for a statement that is left as it is, and the figures that spoke against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.choice.bounds import STATEMENT_MS_MIN, WORKLOAD_SHARE_MIN
from tercet.units import duration, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.choice.finding.search import Place, Search
    from tercet.advisor.choice.ledger import Ledger


async def passed_over(search: Search, ledger: Ledger, place: Place) -> tuple[tuple[str, str], ...]:
    """For each statement that uses nothing of what was picked: what would help it most, and why it was not picked.

    By the plans that are known: nobody is asked any more.
    """
    found: list[tuple[str, str]] = []
    with ledger.guessing():
        for at, query in enumerate(ledger.queries):
            best = next(iter(ledger.faster(at)), None)
            if at in ledger.refused or best is None or place[1].found[at].used & place[0]:
                continue
            trial = await search.place(place[0] | best, place)
            found.append((query.fingerprint, "".join(_said(search, ledger, at, place, trial))))
    return tuple(found)


def _said(search: Search, ledger: Ledger, at: int, place: Place, trial: Place) -> Iterator[str]:
    """What it would save, then the first that speaks against it."""
    worth, new = search.worth, trial[0] - place[0]
    before = place[1].found[at].ms
    one, calls = before - trial[1].found[at].ms, ledger.queries[at].calls
    yield f"{', '.join(sorted(new))} would save {_ms(one)} of the {_ms(before)} of a call"
    if one <= (bound := max(worth.share * before, STATEMENT_MS_MIN)):
        yield f", and an index has to save {_ms(bound)} of it"
        return
    saved = worth.ms(place[1].found) - worth.ms(trial[1].found)
    yield f", {_ms(saved)} in all ({calls:,.0f} call{'' if calls == 1 else 's'})"
    if not search.fits(trial[1].size_bytes):
        yield f", but its {size(ledger.size(new))} do not fit the budget beside what was picked"
        return
    written, room = sum(worth.price(name) for name in sorted(new)), worth.rent(ledger.size(new))
    if saved - written - room <= worth.least:
        if written:
            yield f"; its writes take {_ms(written)} of that"
        yield f"; its {size(ledger.size(new))} of room count for {_ms(room)}, and beyond that"
        yield f" an index has to save {_ms(worth.least)}, {WORKLOAD_SHARE_MIN:.1%} of what the workload takes at best"
    elif worth.slower(trial[1]):
        yield ", but another statement would become slower"
    else:
        yield ", and the search ended before it was weighed against the others"


def _ms(value: float) -> str:
    return duration(max(value, 0.0) / 1e3)
