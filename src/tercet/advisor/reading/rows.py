"""The rows that the catalogues have answered, put together to a Catalog."""

from __future__ import annotations

from collections import defaultdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from tercet.advisor.catalog import Activity, Catalog, Column, ForeignKey, Qualified, Standing, Statistics, Table
from tercet.advisor.reading.arrays import elements
from tercet.sql import Expression, Index
from tercet.sql.schema import Key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

# The rows of each statement of catalog.sql, by its name.
Answers = dict[str, list[tuple[Any, ...]]]


class _Server(NamedTuple):
    version: int
    standby: bool
    search_path: list[str]
    extensions: list[str]
    available: list[str]
    names: list[str]
    settings: list[str]
    seconds: float | None
    by_bytes: bool
    schemas: list[str]


class _Table(NamedTuple):
    oid: int
    schema: str
    name: str
    kind: Any
    rows: float
    pages: int
    all_visible: int
    size: int
    row_security: bool
    persistence: Any
    parent: int | None
    partition_key: str | None
    readable: bool
    inserted: int
    updated: int
    hot_updated: int
    deleted: int
    scans: int
    scanned: int

    @property
    def qualified(self) -> Qualified:
        return (self.schema, self.name)


class _Index(NamedTuple):
    oid: int
    table: int
    name: str
    method: str
    unique: bool
    valid: bool
    immediate: bool
    identity: bool
    clustered: bool
    nulls_equal: bool
    size: int
    pages: int
    tuples: float
    scans: int
    definition: str | None
    where: str | None
    parent: int | None
    constraint: Any
    foreign_keys: list[str]
    keys: int
    texts: list[str | None]
    expressions: list[bool]
    options: list[int]
    class_schemas: list[str | None]
    classes: list[str | None]
    collation_schemas: list[str | None]
    collations: list[str | None]


def catalog(answers: Mapping[str, Sequence[tuple[Any, ...]]], *, read_bytes: int, read_seconds: float) -> Catalog:
    """The Catalog that these rows are of."""
    server = _Server(*answers["server"][0])
    found = [_Table(*row) for row in answers["tables"]]
    readable = {one.oid: one for one in found if one.readable}
    columns = _columns(answers["columns"], answers["statistics"], readable, by_bytes=server.by_bytes)
    indexes = _indexes(answers["indexes"], readable, _scans(answers.get("replica", ())))
    keys = _foreign_keys(answers["foreign_keys"])
    partitions: dict[int | None, list[Qualified]] = defaultdict(list)
    for one in readable.values():
        partitions[one.parent].append(one.qualified)
    tables = {
        one.qualified: Table(
            name=one.qualified,
            kind=one.kind,
            oid=one.oid,
            rows=one.rows,
            pages=one.pages,
            all_visible_pages=one.all_visible,
            size_bytes=one.size,
            columns=tuple(columns[one.oid]),
            indexes=tuple(indexes[one.oid]),
            primary_key=_primary_key(indexes[one.oid]),
            foreign_keys=tuple(keys[one.oid]),
            activity=_activity(one, indexes[one.oid], server.seconds or 0.0),
            parent=readable[one.parent].qualified if one.parent in readable else None,
            partitions=tuple(partitions[one.oid]),
            partition_key=one.partition_key,
            row_security=one.row_security,
            persistence=one.persistence,
        )
        for one in readable.values()
    }
    return Catalog(
        tables=MappingProxyType(tables),
        version=server.version,
        settings=MappingProxyType(dict(zip(server.names, server.settings, strict=True))),
        search_path=tuple(server.search_path),
        extensions=frozenset(server.extensions),
        available=frozenset(server.available),
        views=MappingProxyType({(schema, name): text for schema, name, text in answers["views"] if text}),
        standby=server.standby,
        hidden=tuple(one.qualified for one in found if not one.readable),
        read_bytes=read_bytes,
        read_seconds=read_seconds,
    )


def _columns(
    rows: Iterable[tuple[Any, ...]],
    statistics: Iterable[tuple[Any, ...]],
    tables: Mapping[int, _Table],
    *,
    by_bytes: bool,
) -> dict[int, list[Column]]:
    known = {(schema, table, column): _statistics(*rest) for schema, table, column, *rest in statistics}
    found: dict[int, list[Column]] = defaultdict(list)
    for oid, name, number, kind, category, not_null, collation, alignment, length in rows:
        table = tables.get(oid)
        if table is None:
            continue
        found[oid].append(
            Column(
                name=name,
                number=number,
                type=kind,
                category=category,
                not_null=not_null,
                collation="C" if by_bytes and collation == "default" else collation,
                statistics=known.get((table.schema, table.name, name)),
                alignment=alignment,
                length=length,
            )
        )
    return found


def _statistics(
    null_fraction: float,
    width: float,
    distinct: float,
    common: str | None,
    frequencies: list[float] | None,
    histogram: str | None,
    correlation: float | None,
    delimiter: str,
) -> Statistics:
    return Statistics(
        null_fraction=null_fraction,
        width=width,
        distinct=distinct,
        common=elements(common, delimiter=delimiter),
        common_frequencies=tuple(frequencies or ()),
        histogram=elements(histogram, delimiter=delimiter),
        correlation=correlation,
    )


def _scans(rows: Iterable[tuple[Any, ...]]) -> Mapping[Qualified, int]:
    """The scans of all replicas, by the index."""
    found: dict[Qualified, int] = defaultdict(int)
    for schema, name, scans in rows:
        found[schema, name] += scans
    return found


def _indexes(
    rows: Iterable[tuple[Any, ...]], tables: Mapping[int, _Table], elsewhere: Mapping[Qualified, int]
) -> dict[int, list[Standing]]:
    found: dict[int, list[Standing]] = defaultdict(list)
    for one in (_Index(*row) for row in rows):
        table = tables.get(one.table)
        if table is None or one.definition is None:  # it has gone meanwhile
            continue
        found[one.table].append(
            Standing(
                index=_index(one, table.qualified),
                definition=one.definition,
                oid=one.oid,
                valid=one.valid,
                constraint=one.constraint,
                foreign_keys=tuple(one.foreign_keys),
                replica_identity=one.identity,
                clustered=one.clustered,
                size_bytes=one.size,
                pages=one.pages,
                tuples=one.tuples,
                scans=one.scans + elsewhere.get((table.schema, one.name), 0),
                parent=one.parent,
                deferrable=not one.immediate,
                nulls_distinct=not one.nulls_equal,
            )
        )
    return found


def _index(one: _Index, table: Qualified) -> Index:
    keys = tuple(_keys(one))
    plain = {key.of for key in keys}
    # PostgreSQL lets a column be carried twice; once is enough to say so.
    include = dict.fromkeys(text for text in one.texts[one.keys :] if text and text not in plain)
    return Index(
        one.name, table, keys, include=tuple(include), where=one.where, unique=one.unique, method=one.method
    )  # fmt: skip


def _keys(one: _Index) -> Iterator[Key]:
    for at in range(one.keys):
        text = one.texts[at] or ""
        descending, first = bool(one.options[at] & 1), bool(one.options[at] & 2)
        yield Key(
            Expression(text) if one.expressions[at] else text,
            descending=descending,
            nulls=None if first == descending else "first" if first else "last",
            operators=_name(one.class_schemas[at], one.classes[at]),
            collation=_name(one.collation_schemas[at], one.collations[at]),
        )


def _name(schema: str | None, name: str | None) -> str | tuple[str, ...] | None:
    if name is None or schema in {None, "pg_catalog"}:
        return name
    return (schema or "", name)


def _primary_key(indexes: Iterable[Standing]) -> tuple[str, ...]:
    for one in indexes:
        if one.constraint == "p":
            return tuple(key.of for key in one.index.keys if isinstance(key.of, str))
    return ()


def _foreign_keys(rows: Iterable[tuple[Any, ...]]) -> dict[int, list[ForeignKey]]:
    found: dict[int, list[ForeignKey]] = defaultdict(list)
    for oid, name, columns, schema, table, target_columns, validated in rows:
        key = ForeignKey(name, tuple(columns), (schema, table), tuple(target_columns), validated=validated)
        found[oid].append(key)
    return found


def _activity(table: _Table, indexes: Iterable[Standing], seconds: float) -> Activity:
    return Activity(
        inserted=table.inserted,
        updated=table.updated,
        hot_updated=table.hot_updated,
        deleted=table.deleted,
        sequential_scans=table.scans,
        sequential_rows=table.scanned,
        index_scans=sum(one.scans for one in indexes),
        seconds=seconds,
    )
