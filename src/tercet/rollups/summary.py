"""A summary declared: which counts and sums of which table, and the SQL that keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from tercet.rollups.blocks import blocks
from tercet.sql import Index, identifier
from tercet.sql.identifier import Name, table_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# What each change of the child table adds to the summary, as rows of (key, n, the sums' columns).
_ADDED = "select {child_key} as key, 1 as n{plus} from tercet_added"
_REMOVED = "select {child_key} as key, -1 as n{minus} from tercet_removed"


@dataclass(frozen=True, slots=True)
class Summary:
    """For each row of `parent`, the number of its `child` rows and the sums of their columns.

    `sums` maps a column of the summary to the child's column that it adds up. A parent without children has
    zeros, as a LEFT JOIN with COALESCE would give, and NULLs add nothing. Kept by triggers inside the writer's
    own transaction: a reader never sees a summary that disagrees with the rows beside it. The price is one more
    row written for each parent that a statement touches, and writers of the same parent wait for each other.
    Meant for exact types (integers, numeric): a sum of floats that is added to and taken from drifts.
    """

    name: Name
    parent: Name
    child: Name
    child_key: str
    parent_key: str = "id"
    key: str = ""
    count: str = "row_count"
    sums: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    indexes: tuple[Index, ...] = ()

    def create(self) -> Iterator[str]:
        """The statements that make it, in order, to be run in one transaction.

        Its functions search no schema, so that nobody can slip them a table of their own: the tables must be
        named with their schemas here, which create_summary sees to.
        """
        written = blocks("tercet.rollups", "summary.sql")
        names = self._names()
        yield written["table"].format_map(names)
        yield written["keys"].format_map(names)
        yield written["born"].format_map(names)
        yield written["emptied"].format_map(names)
        yield written["rekeyed"].format_map(names)
        moves = {
            "insert": _ADDED.format_map(names),
            "delete": _REMOVED.format_map(names),
            "update": f"{_ADDED} union all {_REMOVED}".format_map(names),
        }
        for event, rows in moves.items():
            yield written["moved"].format_map({**names, "function": names[f"function_{event}"], "moves": rows})
        for event in ("born", "rekeyed", *moves, "truncate"):
            yield written[f"on_{event}"].format_map(names)

    def drop(self) -> Iterator[str]:
        """The statements that take it away, with its triggers."""
        names = self._names()
        yield f"drop table if exists {names['summary']}"
        for event in ("born", "rekeyed", "insert", "delete", "update", "emptied"):
            yield f"drop function if exists {names[f'function_{event}']}() cascade"

    def _names(self) -> dict[str, str]:
        """Everything that the braces of summary.sql stand for."""
        sums = {identifier(into): identifier(column) for into, column in self.sums.items()}
        *schema, name = table_parts(self.name)
        events = ("born", "rekeyed", "insert", "delete", "update", "emptied", "truncate")
        return {
            "summary": identifier(self.name),
            "parent": identifier(self.parent),
            "parent_key": identifier(self.parent_key),
            "child": identifier(self.child),
            "child_key": identifier(self.child_key),
            "key": identifier(self.key or self.child_key),
            "count": identifier(self.count),
            "sum_names": "".join(f", {into}" for into in sums),
            "sums_of_child": "".join(f", coalesce(sum(c.{column}), 0) as {into}" for into, column in sums.items()),
            "sums_not_null": "".join(f", alter {into} set not null" for into in sums),
            "sums_zero": "".join(f", {into} = 0" for into in sums),
            "sums_counted": "".join(f", {into} = c.{into}" for into in sums),
            "sums_moved": "".join(f", {into} = s.{into} + d.{into}" for into in sums),
            "delta_sums": "".join(f", sum(m.{into}) as {into}" for into in sums),
            "delta_matters": " or ".join(["sum(m.n) <> 0", *(f"sum(m.{into}) <> 0" for into in sums)]),
            "plus": "".join(f", coalesce({column}, 0) as {into}" for into, column in sums.items()),
            "minus": "".join(f", -coalesce({column}, 0) as {into}" for into, column in sums.items()),
            **{f"function_{event}": identifier((*schema, f"{name}_{event}")) for event in events},
            **{f"trigger_{event}": identifier(f"{name}_{event}") for event in events},
        }
