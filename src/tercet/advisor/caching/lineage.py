"""What an answer depends on: which tables, and of which only the rows that a parameter names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tercet.advisor.scope import reference
from tercet.advisor.views.statement.safety import IMMUTABLE
from tercet.advisor.views.statement.shape import AGGREGATES, called, equality

if TYPE_CHECKING:
    from tercet.advisor.catalog import Qualified, Table
    from tercet.advisor.scope import Block, Reference
    from tercet.sql import Tree

# What an answer may be worked out with besides: nothing that depends on who asks, when, or how often.
_CALLS = IMMUTABLE | AGGREGATES | {
    "row_number", "rank", "dense_rank", "lag", "lead", "first_value", "last_value", "ntile", "array_agg",
    "string_agg", "json_agg", "jsonb_agg", "json_build_object", "jsonb_build_object", "jsonb_array_length",
    "cardinality", "array_length", "unnest", "generate_series", "concat", "position", "overlay", "like_escape",
    "initcap", "lpad", "rpad", "repeat", "reverse", "percentile_cont", "percentile_disc", "stddev", "variance",
}  # fmt: skip


class Unkept(Exception):
    """A statement whose answers are not to be kept; `why` is a sentence's end."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Binding:
    """A column of a table that every row behind the answer has one value in: a constant's or a parameter's tree."""

    column: str
    value: Tree


@dataclass(frozen=True, slots=True)
class Dependence:
    """A table that an answer is made from; without bindings, from any of its rows."""

    table: Table
    bindings: tuple[Binding, ...] = ()


def depends(block: Block) -> tuple[Dependence, ...]:
    """Each table behind the answer, through views and subqueries, with what binds its rows in each place.

    Raises Unkept for what no feed of changes tells.
    """
    found: dict[Qualified, list[Dependence]] = {}
    for part in block.walk():
        bound = _bound(part)
        for source in part.sources:
            if source.table is None:
                continue
            _check_told(source.table)
            bindings = tuple(Binding(at.column, value) for at, value in bound.items() if at.source == source.number)
            found.setdefault(source.table.name, []).append(Dependence(source.table, bindings))
    # Where one place takes any row, the others add nothing.
    return tuple(
        one
        for places in found.values()
        for one in (places if all(place.bindings for place in places) else [Dependence(places[0].table)])
    )


def _bound(block: Block) -> dict[Reference, Tree]:
    """The one value that a column has in every row that matters, followed through the joins."""
    everything = frozenset(range(len(block.sources)))
    conditions = [(one, everything) for one in block.where]
    for join in block.joins:
        # A condition of an outer join says nothing of the rows that are there without it.
        told = {"left": join.right, "right": join.left, "full": frozenset[int]()}.get(join.kind, join.left | join.right)
        conditions.extend((one, told) for one in join.on)
    values: dict[Reference, Tree] = {}
    changed = True
    while changed:
        changed = False
        for condition, told in conditions:
            sides = equality(condition)
            for one, other in (sides, sides[::-1]) if sides is not None else ():
                column, there = reference(one), reference(other)
                if column is None or column.up or column in values or column.source not in told:
                    continue
                value = other if _constant(other) else values.get(there) if there is not None else None
                if value is not None:
                    values[column] = value
                    changed = True
    return values


def _constant(tree: Tree) -> bool:
    if tree.kind == "TypeCast":
        inner = tree.tree("arg")
        return inner is not None and _constant(inner)
    return tree.kind == "ParamRef" or (tree.kind == "A_Const" and not tree.get("isnull"))


def _check_told(table: Table) -> None:
    """Raise Unkept for a table whose changes nobody is told of, or that shows each asker something else."""
    name = table.name[1]
    if table.row_security:
        raise Unkept(f"{name} has row-level security: the answer depends on who asks")
    if table.kind == "m":
        raise Unkept(f"{name} is a materialized view: no feed tells of its refreshes")
    if not table.primary_key:
        raise Unkept(f"{name} has no primary key: no feed can tell which of its rows has changed")
    if table.kind == "f" or table.persistence != "p":
        raise Unkept(f"no feed tells of changes of {name}: it is foreign, unlogged or temporary")


def check_same(statement: Tree) -> None:
    """Raise Unkept where two callers who ask the same may be owed different answers."""
    if statement.kind != "SelectStmt":
        raise Unkept("it is no SELECT")
    for one in statement.walk():
        if one.kind == "LockingClause":
            raise Unkept("it locks rows (FOR UPDATE)")
        if one.kind == "SQLValueFunction":
            who = "USER" in one.text("op") or "ROLE" in one.text("op")
            raise Unkept(f"it depends on {'who asks' if who else 'the moment at which it is asked'}")
        if one.kind in {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "IntoClause"}:
            raise Unkept("it writes")
        if one.kind == "RangeTableSample":
            raise Unkept("it looks at other rows each time (TABLESAMPLE)")
        if one.kind == "FuncCall" and called(one) not in _CALLS:
            name = called(one)
            if name in {"now", "clock_timestamp", "statement_timestamp", "transaction_timestamp", "age", "timeofday"}:
                raise Unkept("it depends on the moment at which it is asked")
            if name in {"current_setting", "pg_backend_pid", "current_schemas", "inet_client_addr"}:
                raise Unkept(f"it depends on who asks ({name}())")
            raise Unkept(f"{name}() may answer differently each time, as far as its name tells")
