"""The statements that make a shadow's relations out of what was read of production's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.advisor.shadow.taken.dump import Made
from tercet.sql import identifier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.shadow.taken.dump import Column, Dump, Relation, Standing


def relations(dump: Dump) -> Iterator[Made]:
    """The tables; a materialized view is one too, since the planner makes no difference."""
    for relation in dump.relations:
        yield Made(f"table {relation.schema}.{relation.name}", _relation(relation))


def indexes(dump: Dump) -> Iterator[Made]:
    """The indexes in production's order, which decides between two that cost the same; then what rests on them."""
    partitioned = {(relation.schema, relation.name) for relation in dump.relations if relation.kind == "p"}
    after = []
    for index in dump.indexes:
        what, name = f"index {index.schema}.{index.name}", identifier(index.schema, index.name)
        table, on_parent = identifier(index.schema, index.table), (index.schema, index.table) in partitioned
        if index.constraint_ddl and on_parent:
            yield Made(what, f"alter table only {table} add constraint {identifier(index.name)} {index.constraint_ddl}")
        else:
            yield Made(what, index.ddl)
            if index.constraint_ddl and index.method == "btree":
                after.append(Made(f"constraint of {what}", _constraint(index, table)))
        if index.parent is not None:
            parent = identifier(index.parent.schema, index.parent.name)
            after.append(Made(f"partition {what}", f"alter index {parent} attach partition {name}"))
    yield from after


def _relation(relation: Relation) -> str:
    parts = [f"create table {identifier(relation.schema, relation.name)}"]
    parents = [identifier(parent.schema, parent.name) for parent in relation.parents or ()]
    if relation.bound is not None and parents:
        parts.append(f"partition of {parents[0]} {relation.bound}")
    else:
        parts.append(f"({', '.join(_column(column) for column in relation.columns or ())})")
        if parents:
            parts.append(f"inherits ({', '.join(parents)})")
    if relation.partition_key is not None:
        parts.append(f"partition by {relation.partition_key}")
    if relation.options:
        parts.append(f"with ({', '.join(relation.options)})")
    return " ".join(parts)


def _column(column: Column) -> str:
    parts = [identifier(column.name), column.type]
    if column.collation is not None:
        parts.append(f"collate {identifier(column.collation.schema, column.collation.name)}")
    if column.virtual is not None:
        parts.append(f"generated always as ({column.virtual}) virtual")
    if column.not_null:
        parts.append("not null")
    return " ".join(parts)


def _constraint(index: Standing, table: str) -> str:
    kind = "primary key" if index.primary else "unique"
    late = " deferrable" if index.deferrable else ""
    name = identifier(index.name)
    return f"alter table only {table} add constraint {name} {kind} using index {name}{late}"
