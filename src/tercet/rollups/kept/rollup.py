"""A rollup declared: which table, by which keys, what of each group."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from tercet.errors import SchemaInvalid
from tercet.sql import Expression, Index, identifier
from tercet.sql.identifier import NAME_BYTES_MAX, Name, table_parts
from tercet.sql.tokens import fragment

Way = Literal["triggers", "delta"]
Of = Literal["count", "sum", "avg", "min", "max"]
Stored = Literal["rows", "count", "sum", "min", "max"]

# Hexadecimal digits that tell apart long names of which only the beginnings fit.
_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a group: Measure("count") of its rows, Measure("sum", "total") of a column or an Expression."""

    kind: Of
    of: str | Expression | None = None

    @property
    def sql(self) -> str:
        """What is measured, as SQL over the table's row; "" where rows are counted."""
        return _sql(self.of) if self.of is not None else ""


@dataclass(frozen=True, slots=True)
class Parent:
    """The table that the first key refers to, joined when the rollup is read.

    `keep` shows its rows without children too, as a LEFT JOIN would, with a count of 0; `columns` are its columns that
    are shown, by the names they get; `where` is a condition over its own row.
    """

    table: Name
    key: str = "id"
    keep: bool = True
    columns: Mapping[str, str] | Sequence[str] = ()
    where: str | None = None


@dataclass(frozen=True, slots=True)
class Rollup:
    """A view under `name` over the groups of `table`, kept up to date by what its writers do.

        Rollup("spent", "orders", ("user_id",), {"orders": Measure("count"), "total": Measure("sum", "total")})

    `by` are columns, or expressions by the names that they get; NULL is a group as in GROUP BY. `where` is a condition
    over one row of the table. way "triggers": each statement changes the groups of its rows, and what is read is never
    behind; writers of one group wait for each other. way "delta": each statement appends to a log that is merged later;
    `exact` reads the log too, else what is read is as old as the last merge. `indexes` are over the measures and keys.
    """

    name: Name
    table: Name
    by: Mapping[str, str | Expression] | Sequence[str]
    measures: Mapping[str, Measure]
    where: str | None = None
    parent: Parent | None = None
    way: Way = "triggers"
    exact: bool = True
    indexes: tuple[Index, ...] = ()
    # What GROUP BY takes, by the names that the keys get.
    keys: Mapping[str, str] = field(init=False, repr=False)
    # What is stored of a group: (kind, of what) by the name of its column there. "rows" is always there.
    stored: Mapping[tuple[Stored, str], str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        given = self.by
        if isinstance(given, str):
            raise self._invalid("by is a single text", f"Write by=({given!r},).")
        by = given if isinstance(given, Mapping) else {name: name for name in given}
        object.__setattr__(self, "keys", MappingProxyType({name: _sql(of) for name, of in by.items()}))
        object.__setattr__(self, "measures", MappingProxyType(dict(self.measures)))
        if self.where is not None:
            object.__setattr__(self, "where", fragment(self.where, f"The condition of the rollup {self.name!r}"))
        table_parts(self.name)
        table_parts(self.table)
        self._check()
        object.__setattr__(self, "stored", MappingProxyType(_stored(self.measures)))

    @property
    def qualified(self) -> str:
        """The quoted name under which it is read."""
        return identifier(table_parts(self.name))

    @property
    def place(self) -> Name:
        """The table that holds its groups."""
        return self.beside("kept")

    @property
    def log(self) -> Name:
        """The table that holds what is not merged yet."""
        return self.beside("log")

    def beside(self, what: str) -> Name:
        """The name of something of its own, in its schema: its name with a word behind it, cut if it is too long."""
        return beside(self.name, what)

    @property
    def first(self) -> str:
        """The name of its first key."""
        return next(iter(self.keys))

    @property
    def first_column(self) -> str | None:
        """The table's column that its first key is; None if that is an expression."""
        of = self.by[self.first] if isinstance(self.by, Mapping) else self.first
        return of if isinstance(of, str) else None

    @property
    def additive(self) -> bool:
        """Whether it only holds what can be added to and taken from."""
        return all(one.kind not in {"min", "max"} for one in self.measures.values())

    def _check(self) -> None:
        if not self.keys:
            raise self._invalid("it has no key", "Name at least one column in by.")
        if not self.measures:
            raise self._invalid("it measures nothing", 'Give it measures={"rows": Measure("count")}, for instance.')
        names = [*self.keys, *self.measures, *(parent_columns(self.parent) if self.parent else ())]
        for name in names:
            identifier(name)
            if name.startswith("tercet_"):
                raise self._invalid(
                    f"its column {name!r} begins with tercet_", "Those names are its own: take another."
                )
        if len(set(names)) < len(names):
            raise self._invalid(f"two of its columns share a name: {names}", "Name them apart.")
        for name, one in self.measures.items():
            if one.of is None and one.kind != "count":
                raise self._invalid(f"{name!r} is a {one.kind} of nothing", f'Write Measure("{one.kind}", "column").')
        if self.way not in {"triggers", "delta"}:
            raise self._invalid(f"it is kept by {self.way!r}", 'Take "triggers" or "delta".')
        if self.way == "delta" and not self.additive:
            mend = 'Take way="triggers", or a materialized view that is refreshed.'
            raise self._invalid("a least or greatest value cannot be told by adding up a log", mend)

    def _invalid(self, reason: str, mend: str) -> SchemaInvalid:
        return SchemaInvalid(f"The rollup {self.name!r}", reason=reason, mend=mend)


def beside(of: Name, what: str) -> Name:
    """The name of what belongs to the rollup of this name; see Rollup.beside."""
    *schema, name = table_parts(of)
    full = f"{name}_{what}"
    if len(full.encode()) > NAME_BYTES_MAX:
        end = f"_{hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]}_{what}"
        full = name.encode()[: NAME_BYTES_MAX - len(end)].decode(errors="ignore") + end
    return (*schema, full)


def parent_columns(parent: Parent) -> Mapping[str, str]:
    """The parent's columns by the names that they get."""
    return parent.columns if isinstance(parent.columns, Mapping) else {name: name for name in parent.columns}


def _sql(of: str | Expression) -> str:
    return of.sql if isinstance(of, Expression) else identifier(of)


def _stored(measures: Mapping[str, Measure]) -> dict[tuple[Stored, str], str]:
    """A column for each thing that has to be kept, under a measure's own name where one shows it as it is."""
    found: dict[tuple[Stored, str], str] = {}
    for name, one in measures.items():
        if one.kind != "avg":
            found.setdefault(("rows" if not one.sql else one.kind, one.sql), name)
    found.setdefault(("rows", ""), "tercet_rows")
    for number, one in enumerate(measures.values()):
        if one.kind in {"sum", "avg"}:
            found.setdefault(("sum", one.sql), f"tercet_sum_{number}")
            # How many of its values are not NULL: the sum of none is NULL, and an average needs them.
            found.setdefault(("count", one.sql), f"tercet_count_{number}")
    return found
