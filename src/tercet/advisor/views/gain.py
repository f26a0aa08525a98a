"""What a view would gain, as the planner thinks, before it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.port import Refused
from tercet.advisor.views.candidate import Gain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.port import WhatIf
    from tercet.advisor.query import Example, Query
    from tercet.advisor.views.candidate import ViewCandidate


async def gain(candidate: ViewCandidate, engine: WhatIf, queries: Sequence[Query]) -> tuple[Gain, ...] | Refused:
    """The cost of each statement that the view answers, over the tables and over the view; weighted by examples.

    A statement that the engine cannot plan either way is left out.
    """
    supposed = await engine.suppose_view(candidate.view, rows=candidate.rows)
    if isinstance(supposed, Refused):
        return supposed
    # An engine knows the view's indexes by their names, and plans with those it is told to.
    using = frozenset(index.name for index in candidate.view.all_indexes)
    asked = {query.fingerprint: query for query in queries}
    found = []
    for answer in candidate.answers:
        query = asked.get(answer.fingerprint)
        if query is None:
            continue
        before = await _cost(engine, query.examples, frozenset(), query.search_path)
        after = await _cost(engine, answer.examples, using, query.search_path)
        if before is not None and after is not None:
            found.append(Gain(answer.fingerprint, before, after))
    return tuple(found)


async def _cost(
    engine: WhatIf, examples: Sequence[Example], using: frozenset[str], search_path: tuple[str, ...]
) -> float | None:
    total, weight = 0.0, 0.0
    for example in examples:
        costed = await engine.cost(example.sql, using=using, search_path=search_path)
        if not isinstance(costed, Refused):
            total += costed.total * example.weight
            weight += example.weight
    return total / weight if weight else None
