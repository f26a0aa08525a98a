"""The milliseconds of a plan, step by step."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tercet.advisor.choice.timing.pages import Heap, distinct_pages, entries_passed, rows_looked_at
from tercet.advisor.choice.timing.rows import Rows
from tercet.advisor.choice.timing.speeds import Speeds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.advisor.choice.timing.ground import Ground, Shape
    from tercet.sql import Node, Plan

_AND = re.compile(r"\bAND\b")
_PARALLEL = re.compile(r"^(Parallel|Partial|Finalize) ")
# The sides of a join.
_BOTH = 2
_APART = frozenset({"InitPlan", "SubPlan"})
# A table whose pages are more than this share of shared buffers is read past them, by a small ring.
_RESIDENT_SHARE = 0.25
# From here on the rows of a table lie in the order of a column.
_FOLLOWS = 0.9
_JOINED = re.compile(r"= \(?(?:(\w+)\.)?(\w+)\)?")
# What the leader reads beside its workers, less for each of them it has to serve (parallel_leader_participation).
_LEADER, _SERVING = 1.0, 0.3
# Groups beyond these do not fit into a processor's own memory, and each row goes out to find its own.
_GROUPS_NEAR = 20_000


class Reckoner:
    """Weighs plans of one database with the speeds of one server."""

    def __init__(self, ground: Ground, speeds: Speeds | None = None) -> None:
        self.ground = ground
        self.speeds = speeds or Speeds()
        self._others: dict[Sequence[str], Reckoner] = {}

    def under(self, search_path: Sequence[str]) -> Reckoner:
        """The same for plans of statements with this search_path; () is the database's own."""
        if not search_path:
            return self
        if search_path not in self._others:
            self._others[search_path] = Reckoner(self.ground.under(search_path), self.speeds)
        return self._others[search_path]

    def ms(self, plan: Plan, *, off: float = 1.0) -> float:
        """What one call takes, in milliseconds of the server that the speeds are of.

        With `off` each nested loop has so many times the outer rows that were planned: a plan that cannot
        bear it is fragile.
        """
        return _Walk(self, plan.root, off).step(plan.root, 1.0) / 1e3


class _Walk:
    """One way through one plan; microseconds everywhere."""

    def __init__(self, reckoner: Reckoner, root: Node, off: float) -> None:
        self._ground = reckoner.ground
        self._speeds = reckoner.speeds
        self._rows = Rows(reckoner.ground, root)
        self._off = off
        # How many processes share the rows that are told of one.
        self._processes = 1.0

    def step(self, node: Node, loops: float, part: float = 1.0, local: bool = False) -> float:
        """A step with all below it, in all its loops; of each loop only this part, where a LIMIT above ends it."""
        if _blocks(node):
            part = 1.0
        plain = [child for child in node.children if child.relationship not in _APART]
        apart = [child for child in node.children if child.relationship in _APART]
        took = self._apart(node, plain, apart, loops * part)
        kind = _PARALLEL.sub("", node.type)
        if kind == "Nested Loop" and len(plain) == _BOTH:
            return took + self._nested(node, plain[0], plain[1], loops, part)
        own = self._own(node, kind, plain, sum(child.cost for child in node.children), loops, local) * part
        if kind == "Bitmap Heap Scan":
            return took + own
        if kind in {"Gather", "Gather Merge"}:
            return took + own + self._together(node, plain, loops, part)
        part *= _ended(node, kind, plain)
        return took + own + sum(self.step(child, loops, part, local) for child in plain)

    def _apart(self, node: Node, plain: list[Node], apart: list[Node], loops: float) -> float:
        """What is computed once (an InitPlan), and what anew for each row (a SubPlan)."""
        took = 0.0
        for child in apart:
            if child.relationship == "InitPlan":
                took += self.step(child, 1.0)
                continue
            others = sum(one.cost for one in (*plain, *apart) if one is not child)
            times = 1.0 if _hashed(node) else max((node.cost - others) / max(child.cost, 0.01), 1.0)
            took += self.step(child, loops * times)
        return took

    def _together(self, node: Node, plain: list[Node], loops: float, part: float) -> float:
        before, workers = self._processes, node.workers_planned
        self._processes = workers + max(_LEADER - _SERVING * workers, 0.0)
        took = sum(self.step(child, loops, part) for child in plain)
        self._processes = before
        return took * (self._speeds.crowd if workers > 1 else 1.0)

    def _nested(self, node: Node, outer: Node, inner: Node, loops: float, part: float) -> float:
        rows = max(outer.rows_planned * part, 1.0) * self._off * self._rows.more(outer)
        took = self.step(outer, loops, part)
        held = len(inner.children) == 1
        if held and inner.type == "Memoize":
            missed = min(max((node.cost - outer.cost) / max(inner.cost, 0.01) * part, 1.0) * self._off, rows)
            took += loops * rows * self._speeds.remembered + self.step(inner.children[0], loops * missed)
        elif held and inner.type == "Materialize":
            pairs = rows * max(inner.rows_planned, 1.0)
            took += self.step(inner.children[0], loops) + loops * pairs * self._speeds.condition
        else:
            took += self.step(inner, loops * rows, local=self._local(outer, inner))
        return took + loops * max(rows, node.rows_planned * part * self._off) * self._speeds.pair

    def _own(self, node: Node, kind: str, plain: list[Node], below: float, loops: float, local: bool) -> float:
        match kind:
            case "Seq Scan":
                return self._sequential(node, below) * loops
            case "Index Scan" | "Index Only Scan":
                return self._indexed(node, loops, local, only=kind == "Index Only Scan")
            case "Bitmap Heap Scan":
                return self._bitmap(node, plain, loops)
        units = self._speeds.units.get(kind, self._speeds.other)
        own = max(node.cost - below, 0.0) * units
        if kind == "Aggregate" and len(plain) == 1:
            own *= self._rows.fewer(plain[0])
        if kind == "Hash":
            own += sum(child.rows_planned for child in plain) * self._speeds.stored
        own += sum((self._rows.more(child) - 1.0) * child.rows_planned * self._speeds.far for child in plain)
        if kind == "HashAggregate" and node.rows_planned > _GROUPS_NEAR:
            own += sum(child.rows_planned for child in plain) * self._speeds.far
        return own * loops

    def _sequential(self, node: Node, below: float) -> float:
        table = self._ground.table(node.relation, node.schema)
        units = self._speeds.units["Seq Scan"]
        if table is None:
            return node.cost * units
        shared = self._ground.setting("seq_page_cost")
        pages = max(float(table.pages), 1.0)
        computing = max(node.cost - below - pages * shared, 0.0) * units
        processes = self._processes if node.type.startswith("Parallel") else 1.0
        return computing + pages * self._speeds.page / processes

    def _indexed(self, node: Node, loops: float, local: bool, *, only: bool) -> float:
        table, shape = self._ground.table(node.relation, node.schema), self._ground.shape(node.index)
        if table is None or shape is None:
            return node.cost * self._speeds.other * loops
        heap, answered, asked = Heap.of(table), _count(node, "Index Cond"), _count(node, "Filter")
        if only:
            return self._entries(node, shape, heap, table.all_visible_pages, loops)
        # Those that a filter takes away are not told: the statistics know them, or the step's cost.
        known, rows = self._rows.matched(node, heap.rows), node.rows_planned
        if known is not None:
            rows = known
        elif asked:
            planner = loops * self._processes
            rows = rows_looked_at(self._ground, heap, shape, max(node.cost, 0.01), rows, planner, (answered, asked))
        rows = max(rows, self._rows.each(node, heap.rows))
        speeds = self._speeds
        took = loops * (speeds.rescan + (shape.height + 1) * speeds.hit)
        took += loops * rows * (speeds.row + asked * speeds.condition)
        if answered > 1 and not asked and loops == 1.0:
            took += entries_passed(self._ground, heap, shape, node.cost, rows, answered) * speeds.passed
        return took + self._visits(heap, shape, rows, loops, local)

    def _entries(self, node: Node, shape: Shape, heap: Heap, visible: float, loops: float) -> float:
        speeds = self._speeds
        answered, asked = _count(node, "Index Cond"), _count(node, "Filter")
        seen, rows = min(visible / heap.pages, 1.0), max(node.rows_planned, 1.0)
        processes = self._processes if node.type.startswith("Parallel") else 1.0
        if asked or not answered:
            # What the index costs is what it reads: its own pages, and its rows.
            planner = loops * self._processes / processes
            rows = rows_looked_at(self._ground, heap, shape, node.cost, rows, planner, (answered, asked), seen=seen)
            rows /= processes
        elif (known := self._rows.matched(node, heap.rows)) is not None:
            rows = known
        rows = max(rows, self._rows.each(node, heap.rows))
        took = loops * (speeds.rescan + (shape.height + 1) * speeds.hit)
        took += loops * rows * (speeds.entry + asked * speeds.condition)
        leaves = rows / max(shape.tuples, 1.0) * shape.pages * loops
        took += min(leaves, distinct_pages(shape.pages, leaves + loops)) * speeds.miss * 0.5
        return took + (1.0 - seen) * self._visits(heap, shape, rows, loops, False)

    def _visits(self, heap: Heap, shape: Shape, rows: float, loops: float, local: bool) -> float:
        """Pages of the table that are come by, one row after the other, in the order of the index."""
        speeds = self._speeds
        follows = shape.correlation**2
        visits = loops * (follows * max(rows / heap.rows_a_page, min(rows, 1.0)) + (1.0 - follows) * rows)
        cold = self._cold(heap, visits * self._processes, local) / self._processes
        return visits * speeds.hit + cold * speeds.miss + min(cold, loops) * speeds.strayed

    def _cold(self, heap: Heap, visits: float, local: bool) -> float:
        """How many of the pages that are come by have to be fetched from the system's cache."""
        buffers = self._ground.setting("shared_buffers")
        if heap.pages <= buffers * _RESIDENT_SHARE:
            return 0.0
        different = distinct_pages(heap.pages, visits)
        if local or different <= buffers:
            return min(different, visits)
        return max(different, visits * (1.0 - buffers / different))

    def _bitmap(self, node: Node, plain: list[Node], loops: float) -> float:
        table = self._ground.table(node.relation, node.schema)
        took = sum(self._below_bitmap(child, loops) for child in plain)
        if table is None:
            return took + node.cost * self._speeds.other * loops
        heap = Heap.of(table)
        rows = max((child.rows_planned for child in plain), default=node.rows_planned)
        # A partial scan of several processes has its bitmap whole.
        processes = self._processes if node.type.startswith("Parallel") else 1.0
        follows = max((self._follows(child) for child in plain), default=0.0)
        spread = distinct_pages(heap.pages, rows)
        pages = follows * min(max(rows / heap.rows_a_page, 1.0), heap.pages) + (1.0 - follows) * spread
        speeds = self._speeds
        cold = self._cold(heap, pages * loops, False)
        took += (pages * loops * speeds.hit + cold * speeds.mapped) / processes
        return took + loops * rows * (speeds.row + _count(node, "Filter") * speeds.condition) / processes

    def _follows(self, node: Node) -> float:
        shape = self._ground.shape(node.index)
        if shape is not None:
            return shape.correlation**2
        return max((self._follows(child) for child in node.children), default=0.0)

    def _below_bitmap(self, node: Node, loops: float) -> float:
        if node.index is None:
            return sum(self._below_bitmap(child, loops) for child in node.children)
        shape, speeds = self._ground.shape(node.index), self._speeds
        height = shape.height if shape else 1
        return loops * (speeds.rescan + (height + 1) * speeds.hit + node.rows_planned * speeds.condition)

    def _local(self, outer: Node, inner: Node) -> bool:
        """Whether an index is asked in the order in which its table lies, since the outer rows come in that order."""
        shape, condition = self._ground.shape(inner.index), dict(inner.conditions).get("Index Cond", "")
        if shape is None or abs(shape.correlation) < _FOLLOWS:
            return False
        match = _JOINED.search(condition)
        if match is None:
            return False
        source, name = _first_scan(outer), match[2]
        if source is None:
            return False
        if match[1] not in {None, source.alias, source.relation}:
            name = _same(outer, f"{match[1]}.{name}", source.alias or "")
        if source.type.endswith(("Index Scan", "Index Only Scan")):
            return name in self._columns(source)[:1]
        table = self._ground.table(source.relation, source.schema)
        column = table.column(name) if table else None
        statistics = column.statistics if column else None
        return bool(statistics and abs(statistics.correlation or 0.0) >= _FOLLOWS)

    def _columns(self, node: Node) -> tuple[str, ...]:
        shape = self._ground.shape(node.index)
        return shape.columns if shape else ()


def _first_scan(node: Node) -> Node | None:
    """The scan whose order the rows of this step have: the outermost of loops, the probing side of hash joins."""
    while node.relation is None:
        plain = [child for child in node.children if child.relationship not in _APART]
        if not plain or node.type.endswith(("Sort", "Aggregate", "Gather")):
            return None
        node = plain[0]
    return node


def _same(node: Node, written: str, alias: str) -> str:
    """The column of that alias which the joins below make equal to this one; "" if they make none."""
    pattern = re.compile(
        rf"\b{re.escape(alias)}\.(\w+) = {re.escape(written)}\b|\b{re.escape(written)} = {re.escape(alias)}\.(\w+)\b"
    )
    for step in node.walk():
        for _, condition in step.conditions:
            if match := pattern.search(condition):
                return match[1] or match[2]
    return ""


def _count(node: Node, which: str) -> int:
    """How many conditions are under this head."""
    written = dict(node.conditions).get(which)
    return 0 if not written else 1 + len(_AND.findall(written))


def _hashed(node: Node) -> bool:
    return any("hashed SubPlan" in written for _, written in node.conditions)


def _blocks(node: Node) -> bool:
    """Whether a step has to have all rows before it gives the first."""
    return node.type in {"Sort", "Hash", "Aggregate"} or node.type.endswith(("HashAggregate", "Parallel Hash"))


def _ended(node: Node, kind: str, plain: list[Node]) -> float:
    """The part of what is below that a step takes: a limit ends early, a merge when one side has ended."""
    if kind == "Limit" and plain:
        run = plain[0].cost - plain[0].startup_cost
        return min(max((node.cost - plain[0].startup_cost) / run, 0.0), 1.0) if run > 0 else 1.0
    below = sum(child.cost for child in plain)
    return min(node.cost / below, 1.0) if kind == "Merge Join" and below > 0 else 1.0
