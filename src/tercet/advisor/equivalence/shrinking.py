"""Data made as small as can be while two statements still differ on it (after Zeller's delta debugging)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.equivalence.edges.data import Rows
from tercet.advisor.equivalence.postgres_scratch import insert
from tercet.advisor.equivalence.verdict import Counterexample

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tercet.advisor.equivalence.edges.data import Row

Answers = tuple[tuple[str, ...], tuple[str, ...]]
Piece = tuple[int, "Row"]

# Enough to come from hundreds of rows to a handful; each trial fills and asks anew.
_TRIALS_MAX = 200


async def shrunk(
    data: Sequence[Rows], differ: Callable[[Sequence[Rows]], Awaitable[Answers | None]]
) -> Counterexample | None:
    """The least part of the data on which `differ` still gives both answers; None if it gives none at all."""
    answers = await differ(data)
    if answers is None:
        return None
    pieces: list[Piece] = [(place, row) for place, rows in enumerate(data) for row in rows.rows]
    trials, size = 0, max(1, len(pieces) // 2)
    while trials < _TRIALS_MAX and pieces:
        dropped = False
        start = 0
        while start < len(pieces) and trials < _TRIALS_MAX:
            fewer = pieces[:start] + pieces[start + size :]
            trials += 1
            found = await differ(_gathered(data, fewer))
            if found is None:
                start += size
            else:
                pieces, answers, dropped = fewer, found, True
        if size == 1 and not dropped:
            break
        size = max(1, size // 2)
    return Counterexample(
        tuple(insert(one.table, one.rows) for one in _gathered(data, pieces) if one.rows), answers[0], answers[1]
    )


def _gathered(data: Sequence[Rows], pieces: Sequence[Piece]) -> tuple[Rows, ...]:
    return tuple(Rows(one.table, tuple(row for at, row in pieces if at == place)) for place, one in enumerate(data))
