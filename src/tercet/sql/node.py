"""One step of a plan, and the pages that it has touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Buffers:
    """Pages as EXPLAIN counts them, in blocks of the server (8 kB unless built otherwise)."""

    shared_hit: int = 0
    shared_read: int = 0
    shared_dirtied: int = 0
    shared_written: int = 0
    local_hit: int = 0
    local_read: int = 0
    temp_read: int = 0
    temp_written: int = 0

    @property
    def touched(self) -> int:
        """Pages of tables and indexes that were looked at, wherever they were found; the noise-free cost."""
        return self.shared_hit + self.shared_read + self.local_hit + self.local_read


@dataclass(frozen=True, slots=True)
class Node:
    """A step of a plan with everything below it.

    Times are wall-clock milliseconds over all loops, below a Gather those of the average process. What
    was not measured is None: all of it without ANALYZE, the times with TIMING OFF. `exclusive_ms` leaves out
    what the steps below took, a CTE or InitPlan being charged to the step that has it computed.
    """

    type: str
    rows_planned: float
    cost: float
    startup_cost: float = 0.0
    relation: str | None = None
    schema: str | None = None
    alias: str | None = None
    index: str | None = None
    relationship: str | None = None
    subplan: str | None = None
    join: str | None = None
    # On average in one loop, as EXPLAIN tells it: a whole number before PostgreSQL 18.
    rows_per_loop: float | None = None
    loops: int | None = None
    ms: float | None = None
    exclusive_ms: float | None = None
    rows_removed: float = 0.0
    heap_fetches: int | None = None
    disk_kb: int = 0
    spilled: bool = False
    workers_planned: int = 0
    workers_launched: int = 0
    buffers: Buffers | None = None
    conditions: tuple[tuple[str, str], ...] = ()
    children: tuple[Node, ...] = ()

    @property
    def rows(self) -> float | None:
        """The rows that it has given in all loops together; None if it was not run with ANALYZE."""
        if self.rows_per_loop is None or self.loops is None:
            return None
        return self.rows_per_loop * self.loops

    @property
    def never_executed(self) -> bool:
        """Whether the run never came to it."""
        return self.loops == 0

    @property
    def misestimate(self) -> float | None:
        """How many times more rows came than were planned: 10 is ten times more, 0.1 ten times fewer.

        Under one row counts as one, as the planner counts. A step that a LIMIT above has stopped early looks
        overestimated without being so. None where nothing was measured.
        """
        if self.rows_per_loop is None or not self.loops:
            return None
        return max(self.rows_per_loop, 1.0) / max(self.rows_planned, 1.0)

    @property
    def title(self) -> str:
        """The step and what it works on: "Index Only Scan on orders o using ix_orders_user_id"."""
        words = [self.type]
        if self.join and self.join != "Inner":
            words.append(f"({self.join})")
        if self.relation or self.alias:
            names = dict.fromkeys(name for name in (self.relation, self.alias) if name)
            words.append(f"on {' '.join(names)}")
        if self.index:
            words.append(f"using {self.index}")
        return " ".join(words)

    def walk(self) -> Iterator[Node]:
        """This step and all below it, each before what is below it."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))
