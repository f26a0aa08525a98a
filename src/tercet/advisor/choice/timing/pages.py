"""How many pages a scan comes by, and how many rows it must have looked at to cost what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tercet.advisor.catalog import Table
    from tercet.advisor.choice.timing.ground import Ground, Shape

# Halvings of the number of rows between what a step hands on and all there are.
_HALVINGS = 30
# How near the planner's cost is near enough.
_NEAR = 0.01


@dataclass(frozen=True, slots=True)
class Heap:
    """A table's rows and pages, each at least one."""

    rows: float
    pages: float

    @classmethod
    def of(cls, table: Table) -> Heap:
        """What the statistics tell of a table."""
        return cls(max(table.rows, 1.0), max(float(table.pages), 1.0))

    @property
    def rows_a_page(self) -> float:
        """How many rows lie on a page."""
        return max(self.rows / self.pages, 1.0)


def distinct_pages(pages: float, fetches: float, cache: float = float("inf")) -> float:
    """Pages read by so many fetches at random, those found again in a cache counted once (Mackert and Lohman, 1989)."""
    if pages <= cache:
        return min(2.0 * pages * fetches / (2.0 * pages + fetches), pages)
    limit = 2.0 * pages * cache / (2.0 * pages - cache)
    if fetches <= limit:
        return 2.0 * pages * fetches / (2.0 * pages + fetches)
    return cache + (fetches - limit) * (pages - cache) / pages


def planned_cost(
    ground: Ground,
    heap: Heap,
    shape: Shape,
    rows: float,
    loops: float,
    conditions: tuple[int, int],
    *,
    seen: float = 0.0,
) -> float:
    """What the planner would charge for one of so many index scans that look at `rows` rows each.

    `conditions` are those that the index answers, and those that are asked of the row; `seen` is the share of rows for
    which the table need not be visited.
    """
    random, in_order = ground.setting("random_page_cost"), ground.setting("seq_page_cost")
    cache, operator = ground.setting("effective_cache_size"), ground.setting("cpu_operator_cost")
    share = min(rows / heap.rows, 1.0)
    leaves = max(ceil(share * shape.pages), 1)
    least = max(ceil(share * heap.pages), 1)
    if loops > 1:
        leaf_cost = distinct_pages(shape.pages, leaves * loops, cache) * random / loops
        most_cost = distinct_pages(heap.pages, rows * loops, cache) * random / loops
        least_cost = distinct_pages(heap.pages, least * loops, cache) * random / loops
    else:
        leaf_cost = leaves * random
        most_cost = distinct_pages(heap.pages, rows, cache) * random
        least_cost = random + (least - 1) * in_order
    pages_cost = most_cost + shape.planned_correlation**2 * (least_cost - most_cost)
    answered, asked = conditions
    per_row = ground.setting("cpu_index_tuple_cost") + ground.setting("cpu_tuple_cost") + operator * (answered + asked)
    descent = operator * (ceil(log2(max(shape.tuples, 2.0))) + (shape.height + 1) * 50.0)
    return leaf_cost + pages_cost * (1.0 - seen) + rows * per_row + descent


def entries_passed(ground: Ground, heap: Heap, shape: Shape, cost: float, rows: float, answered: int) -> float:
    """How many entries an index scan at least passes over that a later column rules out, in one scan of this cost.

    Only the first columns say where a scan begins and ends; the planner charges for all that lies between.
    """
    random, operator = ground.setting("random_page_cost"), ground.setting("cpu_operator_cost")
    table = distinct_pages(heap.pages, rows) * random + rows * ground.setting("cpu_tuple_cost")
    descent = operator * (ceil(log2(max(shape.tuples, 2.0))) + (shape.height + 1) * 50.0)
    each = ground.setting("cpu_index_tuple_cost") + operator * answered
    each += shape.pages / max(shape.tuples, 1.0) * random
    return max((cost - table - descent - random) / each - rows, 0.0)


def rows_looked_at(
    ground: Ground,
    heap: Heap,
    shape: Shape,
    cost: float,
    least: float,
    loops: float,
    conditions: tuple[int, int],
    *,
    seen: float = 0.0,
) -> float:
    """How many rows an index scan looks at, when it hands on `least` of them and the planner asks `cost` for it."""
    low, high = min(least, heap.rows), heap.rows
    if planned_cost(ground, heap, shape, low, loops, conditions, seen=seen) >= cost * (1 - _NEAR):
        return low
    for _ in range(_HALVINGS):
        middle = (low * high) ** 0.5 if low > 0 else high / 2
        if planned_cost(ground, heap, shape, middle, loops, conditions, seen=seen) > cost:
            high = middle
        else:
            low = middle
    return low
