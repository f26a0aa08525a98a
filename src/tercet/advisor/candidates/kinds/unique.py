"""Unique: a column whose values are all different, as far as statistics tell: to be proved, and to gain by it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.advisor.candidates.draft import Kind, Made

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tercet.advisor.catalog import Catalog, Table


def made(table: Table, found: Sequence[Made], catalog: Catalog) -> Iterator[Made]:
    """The unique twin of an index over one such column; not on a partitioned table, whose key it would need."""
    del catalog
    if table.kind == "p" or table.parent is not None:
        return
    known = {frozenset(columns) for columns in table.unique_keys}
    for one in found:
        draft = one.draft
        plain = draft.method == "btree" and not draft.where and not draft.include and not draft.keys[0].operators
        if len(draft.keys) != 1 or not plain or not draft.columns:
            continue
        if frozenset(draft.columns) not in known and _all_different(table, draft.columns[0]):
            yield Made(replace(draft, unique=True), one.queries)


def _all_different(table: Table, name: str) -> bool:
    column = table.column(name)
    known = column.statistics if column is not None else None
    if column is None or known is None or column.category == "D":  # that no two moments are the same is chance
        return False
    return known.distinct == -1.0 and known.null_fraction == 0.0


KIND = Kind("unique", of_table=made)
