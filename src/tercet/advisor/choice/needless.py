"""Indexes that are there and need not be: suspected by others, proved by planning every statement without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.choice.bounds import STATEMENT_MS_MIN
from tercet.advisor.choice.chosen import Dropped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tercet.advisor.candidates.finding import Finding
    from tercet.advisor.catalog import Standing, Table
    from tercet.advisor.choice.ledger import Ledger, Names
    from tercet.advisor.choice.writing import Writes
    from tercet.sql import Index

# A plan of equal worth may differ by this.
_SAME = 1.01


async def needless(
    ledger: Ledger, writes: Writes, using: Names, suspects: Sequence[Finding] = ()
) -> tuple[Dropped, ...]:
    """Those that a picked one replaces, and those of the suspects that no statement misses.

    Never one that a rule, a replica or a foreign key rests on. What is dropped once is gone for the next.
    """
    hidden: set[str] = set()
    dropped: list[Dropped] = []
    for standing, why, by in _suspects(ledger, using, suspects):
        # An invalid index is in no plan, and may be unknown to an engine.
        plain = standing.valid
        if by in hidden or (
            plain and not await _same_without(ledger, using, frozenset({*hidden, standing.index.name}))
        ):
            continue
        hidden.add(standing.index.name)
        dropped.append(Dropped(standing, why, by, writes.cost(standing.index, standing.size_bytes)))
    return tuple(dropped)


def _suspects(ledger: Ledger, using: Names, suspects: Sequence[Finding]) -> Iterator[tuple[Standing, str, str | None]]:
    picked = [ledger.candidates[name] for name in sorted(using)]
    found = {(one.table, one.index.name): one for one in suspects if one.action == "drop"}
    for name, table in ledger.reckoner.ground.catalog.tables.items():
        for one in table.indexes:
            if one.needed or one.parent is not None:
                continue
            new = next(
                (c.name for c in picked if one.index.name in c.replaces or _begins(ledger, table, one.index, c.index)),
                None,
            )
            suspect = found.get((name, one.index.name))
            if new is not None and one.valid and not one.index.unique:
                yield one, f"{new} does its work as well.", new
            elif suspect is not None:
                yield one, suspect.why, next(iter(suspect.instead), None)


def _begins(ledger: Ledger, table: Table, index: Index, wider: Index) -> bool:
    return ledger.reckoner.ground.table_of(wider) is table and covers(wider, index)


def covers(wider: Index, index: Index) -> bool:
    """Whether whoever asks this b-tree can ask the wider one instead."""
    carried = {*wider.include, *(key.of for key in wider.keys)}
    return (
        index.method == wider.method == "btree"
        and index.where == wider.where
        and index.keys == wider.keys[: len(index.keys)]
        and set(index.include) <= carried
    )


async def _same_without(ledger: Ledger, using: Names, hiding: Names) -> bool:
    for at in range(len(ledger.queries)):
        there, gone = await ledger.found(at, using), await ledger.found(at, using, hiding)
        if there is None and gone is None:
            continue
        if there is None or gone is None or gone.ms > there.ms * _SAME + STATEMENT_MS_MIN:
            return False
    return True
