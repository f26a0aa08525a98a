"""Why a statement is left alone: what serves it already, or what stands against making it faster."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tercet.advisor.candidates.propose import TINY_PAGES
from tercet.advisor.candidates.roles.scans import whole
from tercet.advisor.flow.rewriting import GAIN_MIN
from tercet.advisor.flow.stand import tables_of
from tercet.advisor.port import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.candidate import Candidate
    from tercet.advisor.catalog import Catalog
    from tercet.advisor.flow.draft import Draft, Wishes
    from tercet.advisor.port import WhatIf


async def why_alone(
    draft: Draft, candidates: Sequence[Candidate], catalog: Catalog, engine: WhatIf, wishes: Wishes
) -> str:
    """One clause; it is said where no piece of advice is for the statement."""
    if draft.refused:
        return f"it could not be planned: {draft.refused}"
    served = ", ".join(draft.plan_before.indexes) if draft.plan_before is not None else ""
    serves = f"{served} {'serve' if ',' in served else 'serves'} it already" if served else ""
    tables = [whole(catalog.tables[name], catalog) for name in tables_of(draft.asked, catalog)]
    if hidden := _hidden(draft, catalog):
        return f"this login may not read {', '.join(hidden)}, so nothing is known of what it asks there"
    if tables and all(0 <= table.pages <= TINY_PAGES for table in tables):
        return f"its tables have at most {TINY_PAGES} pages, which are read at once whatever the indexes"
    own = [one.name for one in candidates if draft.asked.fingerprint in one.queries]
    if not own:
        return serves or "it asks for nothing by which an index could leave rows out"
    sql = draft.asked.examples[0].sql
    before, after = await engine.cost(sql), await engine.cost(sql, using=own)
    if isinstance(before, Refused) or isinstance(after, Refused) or after.total * GAIN_MIN >= before.total:
        tried = f"none of {len(own)} indexes that were tried makes it a tenth faster"
        return f"{serves}, and {tried}" if serves else tried
    names = ", ".join(sorted(after.used & set(own)))
    room = " or does not fit the budget" if wishes.budget_bytes is not None else ""
    gain = f"{names} would make it {before.total / after.total:.1f} times cheaper for the planner"
    return f"{gain}, which is not worth its writes and its room{room}"


def _hidden(draft: Draft, catalog: Catalog) -> list[str]:
    """The tables that a statement names and that the login may not read."""
    path = draft.asked.search_path or catalog.search_path
    known = {f"{schema}.{name}" for schema, name in catalog.hidden}
    known |= {name for schema, name in catalog.hidden if schema in path}
    return sorted(name for name in draft.asked.statement.tables if _bare(name) in known)


def _bare(name: str) -> str:
    """A name as SQL has it without its quotes; which dot divides it does not matter here."""
    return re.sub('"(")?', r"\1", name)
