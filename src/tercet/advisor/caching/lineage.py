"""What an answer depends on: which tables, and of which only the rows that a parameter names."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tercet.advisor.views.statement.safety import IMMUTABLE
from tercet.advisor.views.statement.shape import AGGREGATES, called, conjuncts, equality

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tercet.advisor.catalog import Catalog, Table
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


@dataclass(slots=True)
class Sources:
    """The tables of a statement's own FROM by alias; of an outer join's, those that may be missing."""

    tables: dict[str, Table] = field(default_factory=dict)
    strict: list[Tree] = field(default_factory=list)
    # Conditions that bind rows of some tables only, by their aliases.
    outer: list[tuple[Tree, frozenset[str]]] = field(default_factory=list)

    def column(self, tree: Tree) -> tuple[str, str] | None:
        """(alias, column) of a reference, if it is one to a table here."""
        names = [one.text("sval") for one in tree.trees("fields")]
        if tree.kind != "ColumnRef" or not all(names):
            return None
        *alias, name = names
        if alias:
            table = self.tables.get(alias[-1])
            return (alias[-1], name) if table is not None and table.column(name) is not None else None
        found = [one for one, table in self.tables.items() if table.column(name) is not None]
        return (found[0], name) if len(found) == 1 else None


def sources(statement: Tree, catalog: Catalog, search_path: Sequence[str]) -> Sources:
    """The tables of its own FROM, and the conditions between them."""
    found = Sources()
    if statement.kind == "SelectStmt" and statement.text("op") in {"", "SETOP_NONE"}:
        hidden = {one.text("ctename") for one in statement.walk() if one.kind == "CommonTableExpr"}
        for item in statement.trees("from_clause"):
            _join(item, found, _Names(catalog, search_path, hidden), missing=False)
        found.strict.extend(conjuncts(statement.tree("where_clause")))
    return found


@dataclass(frozen=True, slots=True)
class _Names:
    catalog: Catalog
    search_path: Sequence[str]
    hidden: set[str]

    def table(self, item: Tree) -> Table | None:
        name, schema = item.text("relname"), item.text("schemaname")
        if not schema and name in self.hidden:
            return None
        places = (schema,) if schema else (*self.search_path, *self.catalog.search_path)
        return next((one for place in places if (one := self.catalog.tables.get((place, name)))), None)


def _join(item: Tree, found: Sources, names: _Names, *, missing: bool) -> frozenset[str]:
    """Take up an item of FROM; the aliases below it."""
    if item.kind == "RangeVar":
        table = names.table(item)
        alias = item.tree("alias")
        known = alias.text("aliasname") if alias is not None else item.text("relname")
        if table is not None and (alias is None or alias.get("colnames") is None):
            found.tables[known] = table
        return frozenset({known})
    left, right = item.tree("larg"), item.tree("rarg")
    if item.kind != "JoinExpr" or left is None or right is None:
        return frozenset()
    kind = item.text("jointype")
    first = _join(left, found, names, missing=missing or kind in {"JOIN_RIGHT", "JOIN_FULL"})
    second = _join(right, found, names, missing=missing or kind in {"JOIN_LEFT", "JOIN_FULL"})
    conditions = conjuncts(item.tree("quals"))
    if kind == "JOIN_INNER" and not missing:
        found.strict.extend(conditions)
    elif kind != "JOIN_FULL":
        bound = {"JOIN_LEFT": second, "JOIN_RIGHT": first}.get(kind, first | second)
        found.outer.extend((one, bound) for one in conditions)
    return first | second


def depends(statement: Tree, catalog: Catalog, search_path: Sequence[str]) -> tuple[Dependence, ...]:
    """Each table behind the answer with what binds its rows. Raises Unkept for what no feed of changes tells."""
    own = sources(statement, catalog, search_path)
    bound = _bound(own)
    hidden = {one.text("ctename") for one in statement.walk() if one.kind == "CommonTableExpr"}
    names = _Names(catalog, search_path, hidden)
    # A table that stands in a subquery too, or twice, is bound only as far as every place of it is.
    places: dict[str, int] = defaultdict(int)
    found: dict[tuple[str, str], list[Dependence]] = defaultdict(list)
    for one in statement.walk():
        if one.kind != "RangeVar" or (not one.get("schemaname") and one.text("relname") in hidden):
            continue
        table = names.table(one)
        if table is None:
            raise Unkept(f"{one.text('relname')} is no table that is known: what it is made from is not told")
        _check_told(table)
        places[str(table.name)] += 1
        found[table.name] = []
    for alias, table in own.tables.items():
        bindings = tuple(Binding(column, value) for (place, column), value in bound.items() if place == alias)
        found[table.name].append(Dependence(table, bindings))
    return tuple(_each(found, places, catalog))


def _each(
    found: dict[tuple[str, str], list[Dependence]], places: dict[str, int], catalog: Catalog
) -> Iterator[Dependence]:
    for name, several in found.items():
        if several and len(several) == places[str(name)] and all(one.bindings for one in several):
            yield from several
        else:
            yield Dependence(catalog.tables[name])


def _bound(own: Sources) -> dict[tuple[str, str], Tree]:
    """The one value that each column has in every row behind the answer, followed through the joins."""
    values: dict[tuple[str, str], Tree] = {}
    conditions = [(one, None) for one in own.strict] + [(one, aliases) for one, aliases in own.outer]
    changed = True
    while changed:
        changed = False
        for condition, aliases in conditions:
            sides = equality(condition)
            for one, other in (sides, sides[::-1]) if sides is not None else ():
                column = own.column(one)
                if column is None or column in values or (aliases is not None and column[0] not in aliases):
                    continue
                there = own.column(other)
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
