"""A database's schema and statistics as values: what the planner knows, and what its users do."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.sql import Index

# (schema, name), neither of them quoted.
Qualified = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Statistics:
    """What ANALYZE knows of a column, as pg_stats tells it; values are in the text form of their type."""

    null_fraction: float = 0.0
    width: float = 0.0
    # Above zero a number of values; below, their share of the rows, negated.
    distinct: float = 0.0
    common: tuple[str, ...] = ()
    common_frequencies: tuple[float, ...] = ()
    histogram: tuple[str, ...] = ()
    # How far the order on the disk follows that of the values: -1 to 1; None if they have none.
    correlation: float | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `type` is as format_type writes it ("character varying(20)"), `category` pg_type's typcategory."""

    name: str
    number: int
    type: str
    category: str = "U"
    not_null: bool = False
    collation: str | None = None
    statistics: Statistics | None = None
    alignment: Literal["c", "s", "i", "d"] = "i"
    # Bytes, or -1 for what varies.
    length: int = -1


@dataclass(frozen=True, slots=True)
class Standing:
    """An index that is there. `scans` counts those of the primary and of every replica that was asked."""

    index: Index
    definition: str
    oid: int
    valid: bool = True
    # p primary key, u unique, x exclusion: dropping the index would drop the rule.
    constraint: Literal["p", "u", "x"] | None = None
    # Foreign keys of other tables that rest on it, by name.
    foreign_keys: tuple[str, ...] = ()
    replica_identity: bool = False
    clustered: bool = False
    size_bytes: int = 0
    pages: int = 0
    tuples: float = 0.0
    scans: int = 0
    # Partitions of a partitioned index, and what it is a partition of, as oids.
    parent: int | None = None
    # Its rule may be broken until the commit, so that it proves nothing of what a transaction sees.
    deferrable: bool = False
    # False for NULLS NOT DISTINCT, which no Index can say: its DDL is the definition only.
    nulls_distinct: bool = True

    @property
    def needed(self) -> bool:
        """Whether something rests on it besides queries."""
        return bool(self.constraint or self.foreign_keys or self.replica_identity or self.clustered)


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key of a table: its columns hold the target's."""

    name: str
    columns: tuple[str, ...]
    target: Qualified
    target_columns: tuple[str, ...]
    validated: bool = True


@dataclass(frozen=True, slots=True)
class Activity:
    """What was done to a table since its counters began."""

    inserted: int = 0
    updated: int = 0
    hot_updated: int = 0
    deleted: int = 0
    sequential_scans: int = 0
    sequential_rows: int = 0
    index_scans: int = 0
    # How long that took; 0 if nobody knows.
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Table:
    """A table, a partitioned table, a foreign table or a materialized view (pg_class.relkind r, p, f, m)."""

    name: Qualified
    kind: Literal["r", "p", "f", "m"] = "r"
    oid: int = 0
    # As the planner was told by the last ANALYZE; -1 if there was none.
    rows: float = -1.0
    pages: int = 0
    all_visible_pages: int = 0
    # With its TOAST and its free space and visibility maps, without indexes.
    size_bytes: int = 0
    columns: tuple[Column, ...] = ()
    indexes: tuple[Standing, ...] = ()
    primary_key: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    activity: Activity = Activity()
    parent: Qualified | None = None
    partitions: tuple[Qualified, ...] = ()
    partition_key: str | None = None
    row_security: bool = False
    persistence: Literal["p", "u", "t"] = "p"

    def column(self, name: str) -> Column | None:
        """The column of this name, if there is one."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def unique_keys(self) -> tuple[tuple[str, ...], ...]:
        """The sets of plain columns that tell rows apart, by valid unique indexes without a condition.

        Rows that hold a NULL in one of them are not told apart, unless the columns are NOT NULL.
        Neither do rules that may be broken until the commit, nor those of a table that others inherit from.
        """
        if self.kind == "r" and self.partitions:
            return ()
        return tuple(
            tuple(key.of for key in one.index.keys if isinstance(key.of, str))
            for one in self.indexes
            if one.index.unique and one.valid and not one.deferrable
            and one.index.where is None and _plain(one.index)
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Catalog:
    """One database as it stood when it was read."""

    tables: Mapping[Qualified, Table] = field(default_factory=lambda: MappingProxyType({}))
    # As server_version_num has it, 180006 for 18.6.
    version: int = 0
    # The planner's settings and the few others that change plans, as pg_settings holds them.
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    search_path: tuple[str, ...] = ("public",)
    extensions: frozenset[str] = frozenset()
    # Extensions that could be made here (pg_available_extensions).
    available: frozenset[str] = frozenset()
    # Plain views by name, with their definitions.
    views: Mapping[Qualified, str] = field(default_factory=lambda: MappingProxyType({}))
    standby: bool = False
    # Tables that are there and that the login may not read: nothing is known of them.
    hidden: tuple[Qualified, ...] = ()
    # What reading it took from production.
    read_bytes: int = 0
    read_seconds: float = 0.0

    def find(self, name: str, schema: str | None = None) -> Table | None:
        """The table that this name means, by the search path where no schema is given."""
        for place in (schema,) if schema else (*self.search_path, "pg_catalog"):
            table = self.tables.get((place, name))
            if table is not None:
                return table
        return None


def _plain(index: Index) -> bool:
    return all(isinstance(key.of, str) for key in index.keys)
