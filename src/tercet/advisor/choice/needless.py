"""Indexes that are there and need not be, proved by planning every statement without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.choice.bounds import STATEMENT_MS_MIN
from tercet.advisor.choice.chosen import Dropped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.catalog import Standing, Table
    from tercet.advisor.choice.ledger import Ledger, Names
    from tercet.advisor.choice.writing import Writes
    from tercet.sql import Index

# An index that was not asked for as long as this is hardly one for the end of the month. Less says nothing.
UNUSED_SECONDS = 35 * 86_400.0
# A plan of equal worth may differ by this.
_SAME = 1.01


async def needless(ledger: Ledger, writes: Writes, using: Names) -> tuple[Dropped, ...]:
    """Those that a picked one replaces, that another repeats, and that nobody has used for long.

    Never one that a rule, a replica or a foreign key rests on. What is dropped once is gone for the next.
    """
    hidden: set[str] = set()
    dropped: list[Dropped] = []
    for standing, why, by in _suspects(ledger, using):
        if by in hidden or not await _same_without(ledger, using, frozenset({*hidden, standing.index.name})):
            continue
        hidden.add(standing.index.name)
        dropped.append(Dropped(standing, why, by, writes.cost(standing.index, standing.size_bytes)))
    return tuple(dropped)


def _suspects(ledger: Ledger, using: Names) -> Iterator[tuple[Standing, str, str | None]]:
    picked = [ledger.candidates[name] for name in sorted(using)]
    for table in ledger.reckoner.ground.catalog.tables.values():
        for one in table.indexes:
            if one.needed or one.index.unique or not one.valid or one.parent is not None:
                continue
            new = next(
                (c.name for c in picked if one.index.name in c.replaces or _begins(ledger, table, one.index, c.index)),
                None,
            )
            old = next((o.index.name for o in table.indexes if o is not one and o.valid and _repeats(one, o)), None)
            if new is not None:
                yield one, f"{new} does its work as well.", new
            elif old is not None:
                yield one, f"{old} does its work as well.", old
            elif one.scans == 0 and table.activity.seconds >= UNUSED_SECONDS:
                days = table.activity.seconds / 86_400
                yield one, f"Nobody has used it in {days:.0f} days, on any server that was asked.", None


def _begins(ledger: Ledger, table: Table, index: Index, wider: Index) -> bool:
    return ledger.reckoner.ground.table_of(wider) is table and covers(wider, index)


def _repeats(one: Standing, other: Standing) -> bool:
    """Whether another one that is there does the same; of two that are alike, the younger repeats the elder."""
    if not covers(other.index, one.index):
        return False
    return not covers(one.index, other.index) or other.needed or other.index.unique or other.oid < one.oid


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
