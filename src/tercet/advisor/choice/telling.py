"""What is told of each index that was picked: whom it helps, what it costs, what it was preferred to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.advisor.advice import Rejected
from tercet.advisor.choice.bounds import STATEMENT_MS_MIN
from tercet.advisor.choice.chosen import Picked
from tercet.units import duration, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.advisor.choice.finding.search import Place, Search
    from tercet.advisor.choice.ledger import Names
    from tercet.advisor.choice.worth import Worth
    from tercet.sql import Index

# Less than that of a whole workload is no difference.
_SAID_MS = 0.01


async def tell(
    search: Search, worth: Worth, place: Place, pool: Names, frail: Mapping[str, tuple[str, ...]], *, most: int
) -> tuple[Picked, ...]:
    """The picked ones, those that save most first."""
    told = []
    for name in sorted(place[0]):
        gone = await search.place(place[0] - {name}, place)
        candidate, supposed = worth.ledger.candidates[name], worth.ledger.sizes[name]
        helped = sorted(
            ((without.ms - there.ms, query.fingerprint)
            for query, there, without in zip(worth.ledger.queries, place[1].found, gone[1].found, strict=True)),
            key=lambda one: (-one[0], one[1]),
        )  # fmt: skip
        told.append(
            Picked(
                replace(candidate, why=candidate.why_for(who for _, who in helped)),
                supposed,
                worth.ms(gone[1].found) - worth.ms(place[1].found),
                tuple((who, ms) for ms, who in helped if ms > STATEMENT_MS_MIN),
                worth.writes.cost(candidate.index, supposed.size_bytes),
                await _rejected(search, worth, place, pool, name, most),
                frail.get(name, ()),
            )
        )
    return tuple(sorted(told, key=lambda one: (-one.benefit_ms, one.candidate.name)))


async def _rejected(
    search: Search, worth: Worth, place: Place, pool: Names, name: str, most: int
) -> tuple[Rejected, ...]:
    """Others of the same table and for the same statements, put into its place."""
    ledger = worth.ledger
    own = ledger.candidates[name]
    alike = [
        other
        for other in sorted(pool - place[0])
        if ledger.candidates[other].index.table == own.index.table
        and ledger.candidates[other].queries & own.queries
        # That it might be unique as well says nothing against it.
        and not ledger.candidates[other].index.unique
    ]
    # Those that begin like it are the ones that a reader would ask for: a unique one's plain twin before all.
    alike.sort(key=lambda other: (*_unlike(ledger.candidates[other].index, own.index), other))
    told = []
    for other in alike[:most]:
        trial = await search.place((place[0] - {name}) | {other}, place)
        told.append(Rejected(ledger.candidates[other].index.create(), _why(worth, place, trial, search)))
    return tuple(told)


def _unlike(other: Index, own: Index) -> tuple[bool, bool]:
    return other.keys[0] != own.keys[0], own.unique and other.keys != own.keys


def _why(worth: Worth, place: Place, trial: Place, search: Search) -> str:
    saved = worth.ms(trial[1].found) - worth.ms(place[1].found)
    more = trial[1].size_bytes - place[1].size_bytes
    words = "In its place the workload would take "
    words += f"{duration(abs(saved) / 1e3)} {'more' if saved > 0 else 'less'}" if abs(saved) >= _SAID_MS else "as long"
    if more:
        words += f", for {size(abs(more))} {'more' if more > 0 else 'less'}"
    if not search.fits(trial[1].size_bytes):
        words += ", which is beyond the budget"
    elif worth.slower(trial[1]):
        words += ", and a statement would become slower"
    return f"{words}."
