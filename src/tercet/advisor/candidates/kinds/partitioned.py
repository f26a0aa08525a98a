"""Partitioned: an index of the whole table, where a statement has named one of its partitions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tercet.advisor.candidates.draft import Draft, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.candidates.draft import Around
    from tercet.advisor.candidates.roles.scan import Scan


def drafts(scan: Scan, around: Around) -> Iterator[Draft]:
    """What was drafted for a partition, on its parent: the next partition will be asked the same.

    A statement that names the parent gets its index there anyway.
    """
    parent = scan.table.parent
    if parent is None or parent not in around.catalog.tables:
        return
    for draft in around.made:
        if draft.table is None:
            yield replace(draft, table=parent, why=f"{draft.why}, in every partition")


KIND = Kind("partitioned", drafts)
