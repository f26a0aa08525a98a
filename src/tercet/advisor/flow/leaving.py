"""Why a statement is left alone: what serves it already, or what stands against making it faster."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tercet.advisor.candidates.propose import TINY_PAGES
from tercet.advisor.candidates.roles.scans import whole
from tercet.advisor.equivalence.moments import cut_in_conditions
from tercet.advisor.flow.stand import tables_of
from tercet.errors import SqlInvalid
from tercet.sql.tree import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.candidate import Candidate
    from tercet.advisor.catalog import Catalog
    from tercet.advisor.choice import Choice
    from tercet.advisor.flow.draft import Draft


def why_alone(draft: Draft, candidates: Sequence[Candidate], catalog: Catalog, choice: Choice) -> str:
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
    if why := choice.why_not(draft.asked.fingerprint):
        return why
    own = sum(draft.asked.fingerprint in one.queries for one in candidates)
    if own:
        none = (
            f"none of {own} indexes that were tried makes" if own > 1 else "the one index that was tried does not make"
        )
        tried = f"{none} it a tenth faster"
        return f"{serves}, and {tried}" if serves else tried
    return serves or _nothing(draft, catalog)


def _nothing(draft: Draft, catalog: Catalog) -> str:
    """Why no index is even thought of."""
    statement = draft.asked.statement
    if statement.kind == "insert" and not statement.reads:
        return "it only adds rows, and each index makes that dearer"
    try:
        zoned = next(iter(cut_in_conditions(parse(draft.asked.sql), catalog)), None)
    except SqlInvalid:
        zoned = None
    if zoned is not None:
        return f"{zoned} depends on the session's TimeZone, so it is not IMMUTABLE and no index can hold it"
    return "it asks for nothing by which an index could leave rows out"


def _hidden(draft: Draft, catalog: Catalog) -> list[str]:
    """The tables that a statement names and that the login may not read."""
    path = draft.asked.search_path or catalog.search_path
    known = {f"{schema}.{name}" for schema, name in catalog.hidden}
    known |= {name for schema, name in catalog.hidden if schema in path}
    return sorted(name for name in draft.asked.statement.tables if _bare(name) in known)


def _bare(name: str) -> str:
    """A name as SQL has it without its quotes; which dot divides it does not matter here."""
    return re.sub('"(")?', r"\1", name)
