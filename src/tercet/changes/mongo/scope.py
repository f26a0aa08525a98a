"""What of a database is wanted, as the stages of a change stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tercet.errors import SchemaInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tercet.changes.change import Wants

# What is told of a document beside its key:
# "keys"    what the event carries anyway: all that is wanted of an insert or a replacement, and of an update the
#           fields that it has set.
# "lookup"  an update's whole document, read again when the event is: it may be a later state, or gone.
# "stored"  the document before and after, as the server has kept them (changeStreamPreAndPostImages).
# "wanted"  keys where nothing else is wanted; else what the server has kept, and a lookup for the rest.
Images = Literal["wanted", "keys", "lookup", "stored"]

EVERY = "*"
KEY = "_id"

# What every event is read for; a change stream must have its `_id`.
_ALWAYS = ("_id", "operationType", "clusterTime", "wallTime", "ns", "to", "documentKey", "lsid", "txnNumber")
_BEFORE, _AFTER = "fullDocumentBeforeChange", "fullDocument"


@dataclass(frozen=True, slots=True)
class Scope:
    """The collections of one database that are wanted, and the fields wanted of each."""

    database: str
    tables: Mapping[str, frozenset[str] | None]
    # Collections that "*" does not mean: what is written because of a change must not be one.
    hidden: frozenset[str] = frozenset()

    @classmethod
    def of(cls, database: str, wants: Wants, *, hidden: Iterable[str] = ()) -> Scope:
        """What is wanted, by collection; "orders" and, in the database shop, "shop.orders" are the same."""
        tables: dict[str, frozenset[str] | None] = {}
        for name, columns in wants.tables.items():
            table = _named(name.removeprefix(f"{database}."))
            known = tables.get(table, frozenset())
            tables[table] = None if columns is None or known is None else known | frozenset(map(_path, columns))
        return cls(database, tables, frozenset(hidden))

    @property
    def single(self) -> str | None:
        """The one collection that is wanted, if it is one: its own stream needs no right to read the others."""
        return next(iter(self.tables)) if len(self.tables) == 1 and EVERY not in self.tables else None

    @property
    def names(self) -> tuple[str, ...]:
        """The collections that are wanted by name."""
        return tuple(sorted(self.tables.keys() - {EVERY}))

    @property
    def every(self) -> bool:
        """Whether the whole database is wanted."""
        return EVERY in self.tables

    @property
    def only_keys(self) -> bool:
        """Whether nothing is wanted of any document but its key."""
        return all(columns is not None and columns <= {KEY} for columns in self.tables.values())

    def wanted(self, table: str) -> bool:
        """Whether this collection's changes are."""
        return table in self.tables or (EVERY in self.tables and table not in self.hidden)

    def columns(self, table: str) -> frozenset[str] | None:
        """The fields wanted of it; None is all of them."""
        return self.tables[table] if table in self.tables else self.tables[EVERY]

    def stages(self) -> list[dict[str, object]]:
        """What the server leaves out of the stream: other collections, and fields that nobody wants."""
        stages: list[dict[str, object]] = []
        if self.every:
            if self.hidden:
                stages.append({"$match": {"$nor": [{"ns.coll": {"$in": sorted(self.hidden)}}]}})
        else:
            ours = {"$in": list(self.names)}
            stages.append({"$match": {"$or": [{"ns.coll": ours}, {"to.coll": ours}]}})
        if fields := self._fields():
            stages.append({"$project": dict.fromkeys(fields, 1)})
        return stages

    def _fields(self) -> tuple[str, ...]:
        """The fields of the events that are wanted; none means all of them."""
        if self.only_keys:
            return _ALWAYS
        union: set[str] = set()
        for columns in self.tables.values():
            if columns is None:
                return ()
            union |= columns
        # A path and what lies below it together are refused, and the first has the other.
        paths = sorted(path for path in union if not any(path.startswith(f"{other}.") for other in union))
        return (*_ALWAYS, "updateDescription", *(f"{image}.{path}" for image in (_AFTER, _BEFORE) for path in paths))


def _named(name: str) -> str:
    if not name or "\0" in name or name.startswith("$"):
        raise SchemaInvalid(f"A collection {name!r}", reason="MongoDB has none of such a name", mend="Name it: orders.")
    return name


def _path(column: str) -> str:
    if "\0" in column or any(not part or part.startswith("$") for part in column.split(".")):
        raise SchemaInvalid(f"A field {column!r}", reason="it is no path in a document", mend="Name it: address.city.")
    return column
