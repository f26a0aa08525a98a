"""Where the planner's count of rows is known to be too low: joins by several columns that belong together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.catalog import Table
    from tercet.advisor.choice.timing.ground import Ground
    from tercet.sql import Node

# "l_partkey = partsupp.ps_partkey", "l.l_suppkey = s.s_suppkey"; a column of the scan itself has no alias before it.
_EQUAL = re.compile(r"(?:(\w+)\.)?(\w+) = (?:(\w+)\.)?(\w+)\b(?!\()")
_AND = re.compile(r"\bAND\b")
_JOINS = ("Index Cond", "Hash Cond", "Merge Cond")


class Rows:
    """The tables of one plan by their aliases, and how many times too few rows its steps promise."""

    def __init__(self, ground: Ground, root: Node) -> None:
        self._ground = ground
        # By identity: two steps of a plan may look exactly alike.
        self._more: dict[int, float] = {}
        self._aliases = {node.alias or node.relation: node for node in root.walk() if node.relation}

    def more(self, node: Node) -> float:
        """How many times more rows a step is likely to give than is planned; 1 where nothing speaks against it.

        The planner multiplies the shares of each column as if they had nothing to do with one another. Values of two
        columns that are joined together come in no more combinations than the smaller table has rows, so at
        least that many find each other where each row has its partner, as those of a foreign key have.
        """
        if id(node) in self._more:
            return self._more[id(node)]
        found = self._combined(node)
        for child in node.children:
            if child.relationship not in {"InitPlan", "SubPlan"} and not child.type.startswith("Bitmap Index"):
                found *= self.more(child)
        # Groups are counted from values, which do not become more by it.
        found = 1.0 if node.type.endswith(("Aggregate", "Unique", "Group", "Limit")) else found
        self._more[id(node)] = found
        return found

    def each(self, node: Node, rows: float) -> float:
        """How many rows of a table with `rows` one value of columns that belong together is likely to find; else 0."""
        return max((rows / combinations for _, combinations in self._joined(node)), default=0.0)

    def matched(self, node: Node, rows: float) -> float | None:
        """How many rows of a table with `rows` one value of another finds, where nothing else is asked."""
        pairs = list(self._equal(node))
        if len(pairs) != 1 or _AND.search(dict(node.conditions).get("Index Cond", "")):
            return None
        return rows / max(*pairs[0], 1.0)

    def fewer(self, node: Node) -> float:
        """What share of the rows that are planned for one loop of an index scan is likely to come.

        The planner divides by the values of the scanned column alone; as for any join, the one with more counts. Of
        values whose rows lie together a sample sees few, so the difference may be large.
        """
        share = 1.0
        for own, other in self._equal(node):
            share *= own / max(own, other, 1.0)
        return share

    def _equal(self, node: Node) -> Iterator[tuple[float, float]]:
        """How many values the column of an index scan has, and the column of another table that is asked for them."""
        for left, column, right, other in _EQUAL.findall(dict(node.conditions).get("Index Cond", "")):
            ends = [(left or node.alias or "", column), (right or node.alias or "", other)]
            if ends[1][0] == node.alias:
                ends.reverse()
            if ends[0][0] != node.alias or ends[1][0] == node.alias:
                continue
            tables = [self._table(alias) if alias in self._aliases else None for alias, _ in ends]
            if tables[0] is not None and tables[1] is not None:
                yield distinct(tables[0], ends[0][1]), distinct(tables[1], ends[1][1])

    def _combined(self, node: Node) -> float:
        return max((thought / combinations for thought, combinations in self._joined(node)), default=1.0)

    def _joined(self, node: Node) -> Iterator[tuple[float, float]]:
        """For each pair of tables joined by several columns: those the planner counts, and those there can be."""
        written = next((text for which, text in node.conditions if which in _JOINS), "")
        pairs: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for left, column, right, other in _EQUAL.findall(written):
            one, two = left or node.alias or "", right or node.alias or ""
            if one != two and one in self._aliases and two in self._aliases:
                pairs.setdefault((one, two), []).append((column, other))
        for (one, two), columns in pairs.items():
            first, second = self._table(one), self._table(two)
            if len(columns) == 1 or first is None or second is None:
                continue
            thought = 1.0
            for left, right in columns:
                thought *= max(distinct(first, left), distinct(second, right), 1.0)
            yield thought, max(min(thought, first.rows, second.rows), 1.0)

    def _table(self, alias: str) -> Table | None:
        node = self._aliases[alias]
        return self._ground.table(node.relation, node.schema)


def distinct(table: Table, name: str) -> float:
    """How many values a column has, by its statistics; 1 where there are none."""
    column = table.column(name)
    if column is None or column.statistics is None:
        return 1.0
    counted = column.statistics.distinct
    return counted if counted >= 0 else -counted * max(table.rows, 1.0)
