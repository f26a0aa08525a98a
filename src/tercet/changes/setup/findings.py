"""What was found at a PostgreSQL, as far as it matters to a feed of its changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

from tercet.changes.change import USUAL_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping

# A table's schema and its name.
Place: TypeAlias = tuple[str, str]

Identity = Literal["default", "full", "index", "nothing"]
Form = Literal["table", "partitioned", "unlogged", "temporary", "foreign", "view"]

# What the feed's publication is called unless it is said otherwise.
PUBLICATION = "tercet"

# From here on a replica can decode its log (PostgreSQL 16).
DECODING_REPLICA = 160_000
# From here on a publication can name columns (PostgreSQL 15).
COLUMN_LISTS = 150_000


def place_of(written: str) -> Place:
    """The place of a table as people write it: "orders" is in the usual schema, "sales.orders" in its own."""
    schema, dot, name = written.partition(".")
    return (schema, name) if dot else (USUAL_SCHEMA, written)


def written_of(place: Place) -> str:
    """How people write a place."""
    schema, name = place
    return f"{schema}.{name}" if schema != USUAL_SCHEMA or "." in name else name


@dataclass(frozen=True, slots=True)
class Server:
    """The server and the login."""

    version: str
    # As the server counts: 180001.
    number: int
    replica: bool
    wal_level: str
    slots_max: int
    slots: int
    senders_max: int
    senders: int
    # How much log a slot may hold back before it is given up; None is no bound.
    keep_bytes: int | None
    login: str
    database: str
    superuser: bool
    # Whether the login has the attribute REPLICATION, or what a managed server gives in its place.
    replication: bool
    # Whether it may make a schema.
    may_create: bool
    # Whether the table of the triggers is there.
    change_table: bool = False
    # Whether something between shares the server's connections between transactions.
    pooled: bool = False

    @property
    def may_replicate(self) -> bool:
        """Whether the login may make and read slots."""
        return self.superuser or self.replication


@dataclass(frozen=True, slots=True)
class Slot:
    """A logical slot, whoever made it."""

    name: str
    plugin: str
    temporary: bool
    active: bool
    # "reserved", "extended" (beyond max_wal_size), "unreserved" (about to be lost) or "lost".
    wal_status: str | None
    # Whether it is of the database that was asked.
    here: bool
    # How far what was confirmed is behind, and how much log is kept for it; None where nothing is.
    lag_bytes: int | None
    kept_bytes: int | None
    # How much more may be written before it is in danger; None without a bound.
    safe_bytes: int | None


@dataclass(frozen=True, slots=True)
class Published:
    """How a publication has one table; the columns are None for all of them."""

    columns: tuple[str, ...] | None = None
    filter: str | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """A publication, ours or another."""

    name: str
    all_tables: bool
    insert: bool
    update: bool
    delete: bool
    truncate: bool
    via_root: bool
    # Whether the login may change it.
    ours: bool
    tables: Mapping[Place, Published] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def needs_identity(self) -> bool:
        """Whether PostgreSQL refuses an UPDATE or a DELETE on its tables that have no identity."""
        return self.update or self.delete

    def of(self, table: Table, root: Table | None = None) -> Published | None:
        """How it has this table, or the root of which the table is a partition."""
        found = self.tables.get(table.place)
        return found if found is not None or root is None else self.tables.get(root.place)


@dataclass(frozen=True, slots=True)
class Column:
    """A column, as far as it can be part of an identity."""

    not_null: bool
    generated: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is wanted, or a leaf of one."""

    place: Place
    form: Form
    columns: Mapping[str, Column]
    identity: Identity = "default"
    primary: tuple[str, ...] = ()
    # A primary key that is checked at the commit only is no identity.
    deferrable: bool = False
    # The index of REPLICA IDENTITY USING INDEX; None where there is none, or none any more.
    index: str | None = None
    index_columns: tuple[str, ...] = ()
    # Those of our own triggers that it has.
    triggers: tuple[str, ...] = ()
    # The columns that these do not tell.
    silent: tuple[str, ...] = ()
    # Where it is partitioned: the tables that hold the rows.
    leaves: tuple[Table, ...] = ()

    @property
    def covered(self) -> frozenset[str]:
        """The columns whose old values are told; none at all means that PostgreSQL refuses its UPDATEs."""
        match self.identity:
            case "full":
                return frozenset(self.columns)
            case "index":
                return frozenset(self.index_columns)
            case "default":
                return frozenset() if self.deferrable else frozenset(self.primary)
            case _:
                return frozenset()

    @property
    def holders(self) -> tuple[Table, ...]:
        """The tables whose identities count: its leaves, or itself."""
        return self.leaves or (self,)

    @property
    def plain_columns(self) -> frozenset[str]:
        """Those that a publication tells without being asked."""
        return frozenset(name for name, column in self.columns.items() if not column.generated)

    def __str__(self) -> str:
        return written_of(self.place)


@dataclass(frozen=True, slots=True)
class Findings:
    """All of it, as it was at one moment."""

    server: Server
    slots: tuple[Slot, ...] = ()
    publications: tuple[Publication, ...] = ()
    # Those that are wanted and there, by place.
    tables: Mapping[Place, Table] = field(default_factory=lambda: MappingProxyType({}))

    def publication(self, name: str = PUBLICATION) -> Publication | None:
        """The publication of that name."""
        return next((one for one in self.publications if one.name == name), None)
