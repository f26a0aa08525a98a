"""Which indexes are thought of, in a form that the engine can plan with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.candidates import extensions, propose
from tercet.advisor.shadow import Shadow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.candidate import Candidate
    from tercet.advisor.catalog import Catalog
    from tercet.advisor.flow.draft import Wishes
    from tercet.advisor.port import WhatIf
    from tercet.advisor.query import Query


async def thought_of(
    queries: Sequence[Query], catalog: Catalog, engine: WhatIf, wishes: Wishes
) -> tuple[Candidate, ...]:
    """The candidates for these statements; what they need besides is made in the shadow, never on production.

    That values are all different is proved by looking at them, and what that gains by running it: where nothing is
    built, no unique index is thought of.
    """
    found = propose(queries, catalog)
    if not wishes.runs:
        found = tuple(one for one in found if not one.index.unique)
    needed = tuple(dict.fromkeys(each for one in found for each in extensions(one.index, catalog)))
    if needed and isinstance(engine, Shadow):
        await engine.extend(needed)
    return found
