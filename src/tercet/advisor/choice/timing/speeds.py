"""How long the smallest things take a server, as measured; what a plan's steps are weighed with."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


# One unit is a page read in order, and a row costs 0.01 of it; what a step adds to the cost of those below it.
_UNITS: Mapping[str, float] = MappingProxyType(
    {
        "Seq Scan": 4.5,
        "Hash": 1.0,
        "Hash Join": 12.0,
        "Merge Join": 10.0,
        "Sort": 4.0,
        "Incremental Sort": 4.0,
        "HashAggregate": 16.0,
        "GroupAggregate": 9.0,
        "Aggregate": 12.0,
        "Gather": 3.0,
        "Gather Merge": 6.0,
    }
)


@dataclass(frozen=True, slots=True)
class Speeds:
    """Microseconds of one process. The defaults were measured over plans of PostgreSQL 15 with warm data.

    They matter by their ratios: how fast a server is as a whole is learnt from the times of its statements.
    """

    # A page read one after the other: copied from the system's cache, its rows still to be looked at.
    page: float = 1.2
    # A page found in shared buffers, pinned and let go; each level of a tree is one.
    hit: float = 0.25
    # A page that has left shared buffers and is copied from the system's cache, another going out for it.
    miss: float = 2.8
    # More for the first such page of each scan, before its like come in a row.
    strayed: float = 2.4
    # The same for a bitmap scan, which asks for pages ahead and in their order.
    mapped: float = 4.0
    # A row put into a hash table.
    stored: float = 0.2
    # A row whose group lies far away in memory.
    far: float = 0.4
    # A row of an index with the visit of its row in the table, the page at hand.
    row: float = 0.25
    # A row that is answered from the index alone.
    entry: float = 0.12
    # An entry that a later column of the same index rules out, while the scan goes on.
    passed: float = 0.011
    # One condition on one row.
    condition: float = 0.06
    # Starting a scan once more with another value.
    rescan: float = 0.4
    # A row that a nested loop has put together.
    pair: float = 0.15
    # Asking a Memoize for what it holds.
    remembered: float = 0.35
    # Several processes have fewer cores than they are, and other sessions are there too.
    crowd: float = 1.5
    # For other steps, microseconds of one unit of the planner's cost, by the last words of their names.
    units: Mapping[str, float] = field(default_factory=lambda: _UNITS)
    other: float = 6.0
