"""Indexes and materialized views as values, and the DDL that makes them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from tercet.errors import SchemaInvalid
from tercet.sql.identifier import NAME_BYTES_MAX, Name, identifier, table_parts
from tercet.sql.tokens import fragment, one_query

if TYPE_CHECKING:
    from collections.abc import Sequence

# INDEX_MAX_KEYS of every ordinary PostgreSQL build; included columns count too.
INDEX_COLUMNS_MAX = 32

# What PostgreSQL's own access methods can do. One that an extension brings is left to the server to judge.
_KNOWN = frozenset({"btree", "hash", "gist", "spgist", "gin", "brin"})
_UNIQUE = frozenset({"btree"})
_ORDERED = frozenset({"btree"})
_INCLUDING = frozenset({"btree", "gist", "spgist"})

_WRITTEN = re.compile(r"(?P<name>\S+)(?:\s+(?P<way>asc|desc))?(?:\s+nulls\s+(?P<nulls>first|last))?", re.IGNORECASE)
_PLAIN = re.compile(r"[^\W\d][\w$]*")


@dataclass(frozen=True, slots=True)
class Expression:
    """A piece of SQL that is no column's name: Expression("lower(email)"). It is written down as it is."""

    sql: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "sql", fragment(self.sql, "An expression"))


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an index; `nulls` None is PostgreSQL's own order (last going up, first going down)."""

    of: str | Expression
    descending: bool = False
    nulls: Literal["first", "last"] | None = None
    operators: Name | None = None
    collation: Name | None = None

    @classmethod
    def read(cls, written: str | Expression | Key) -> Key:
        """The key that a person writes as "created_at desc nulls last"; an expression is given as one."""
        if isinstance(written, Key):
            return written
        if isinstance(written, Expression):
            return cls(written)
        match = _WRITTEN.fullmatch(written.strip())
        if match is None or not _PLAIN.fullmatch(match["name"]):
            raise SchemaInvalid(
                f"The index column {written!r}",
                reason="it is no plain column name with an order behind it",
                mend='Write "created_at desc nulls last", Expression("lower(email)"), '
                'or Key("odd name", operators="text_pattern_ops").',
            )
        nulls: Literal["first", "last"] | None = None
        if match["nulls"]:
            nulls = "first" if match["nulls"].lower() == "first" else "last"
        return cls(match["name"], descending=(match["way"] or "").lower() == "desc", nulls=nulls)

    @property
    def ordered(self) -> bool:
        """Whether it asks for another order than the plain one."""
        return self.descending or self.nulls is not None

    def sql(self) -> str:
        """The key as it stands in CREATE INDEX."""
        parts = [f"({self.of.sql})" if isinstance(self.of, Expression) else identifier(self.of)]
        if self.collation is not None:
            parts.append(f"collate {identifier(self.collation)}")
        if self.operators is not None:
            parts.append(identifier(self.operators))
        if self.descending:
            parts.append("desc")
        if self.nulls is not None:
            parts.append(f"nulls {self.nulls}")
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Index:
    """An index of a table: its keys in their order, what it carries along, and which rows it holds.

        Index("users_recent", "users", ("created_at desc",), include=("id",), where="status = 'active'")

    Wrong combinations (a unique GIN, say) are refused here, before a server is asked. Raises SchemaInvalid.
    """

    name: str
    table: Name
    columns: Sequence[str | Expression | Key]
    include: Sequence[str] = ()
    where: str | None = None
    unique: bool = False
    method: str = "btree"
    keys: tuple[Key, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for what, given in (("columns", self.columns), ("include", self.include)):
            if isinstance(given, str):
                raise self._invalid(f"{what} is a single text", f"Write {what}=({given!r},).")
        object.__setattr__(self, "columns", tuple(self.columns))
        object.__setattr__(self, "include", tuple(self.include))
        object.__setattr__(self, "keys", tuple(Key.read(column) for column in self.columns))
        if self.where is not None:
            object.__setattr__(self, "where", fragment(self.where, f"The condition of index {self.name!r}"))
        table_parts(self.table)
        self.create()  # every name is looked at while it is quoted
        self._check()

    def create(self, *, concurrently: bool = True) -> str:
        """The statement that makes it; concurrently it blocks no writer, and must run outside a transaction.

        There is no IF NOT EXISTS on purpose: the invalid remains of a failed build would pass for the index.
        """
        parts = [
            f"create {'unique ' if self.unique else ''}index{' concurrently' if concurrently else ''}",
            f"{identifier(self.name)} on {self.qualified_table} using {identifier(self.method)}",
            f"({', '.join(key.sql() for key in self.keys)})",
        ]
        if self.include:
            parts.append(f"include ({', '.join(identifier(column) for column in self.include)})")
        if self.where is not None:
            parts.append(f"where ({self.where})")
        return " ".join(parts)

    def drop(self, *, concurrently: bool = True) -> str:
        """The statement that removes it, or the invalid remains of it; if there is none, nothing happens."""
        return f"drop index{' concurrently' if concurrently else ''} if exists {self.qualified}"

    @property
    def qualified(self) -> str:
        """Its quoted name, in the schema of its table if that is known."""
        return identifier((*table_parts(self.table)[:-1], self.name))

    @property
    def qualified_table(self) -> str:
        """Its table's quoted name."""
        return identifier(table_parts(self.table))

    def on(self, table: Name, *, name: str | None = None) -> Index:
        """The same index of another table, an empty copy for instance."""
        return replace(self, table=table, name=name or self.name)

    def _check(self) -> None:
        if not self.keys:
            raise self._invalid("it has no columns", "Name at least one.")
        if len(self.keys) + len(self.include) > INDEX_COLUMNS_MAX:
            raise self._invalid(f"it has more than {INDEX_COLUMNS_MAX} columns", "PostgreSQL allows no more.")
        plain = [key.of for key in self.keys if isinstance(key.of, str)]
        for column in self.include:
            if column in plain or self.include.count(column) > 1:
                raise self._invalid(f"it carries {column!r} twice", "Name each column once.")
        if self.method not in _KNOWN:
            return
        for asked, able, what in (
            (self.unique, _UNIQUE, "be unique"),
            (any(key.ordered for key in self.keys), _ORDERED, "be ordered"),
            (bool(self.include), _INCLUDING, "include columns"),
        ):
            if asked and self.method not in able:
                raise self._invalid(f"a {self.method} index cannot {what}", f"That takes {' or '.join(sorted(able))}.")
        if self.method == "hash" and len(self.keys) > 1:
            raise self._invalid("a hash index has one column", "Use btree for several.")

    def _invalid(self, reason: str, mend: str) -> SchemaInvalid:
        return SchemaInvalid(f"The index {self.name!r}", reason=reason, mend=mend)


@dataclass(frozen=True, slots=True)
class View:
    """A materialized view; `key` are the columns that tell its rows apart, and become its unique index.

    Without that index it could not be refreshed while people read it.
    """

    name: Name
    query: str
    key: Sequence[str]
    indexes: Sequence[Index] = ()

    def __post_init__(self) -> None:
        what = f"The view {self.name!r}"
        parts = table_parts(self.name)
        if isinstance(self.key, str):
            raise SchemaInvalid(what, reason="key is a single text", mend=f"Write key=({self.key!r},).")
        if not self.key:
            mend = "Name the columns that tell its rows apart."
            raise SchemaInvalid(what, reason="it has no key", mend=mend)
        object.__setattr__(self, "key", tuple(self.key))
        object.__setattr__(self, "indexes", tuple(self.indexes))
        object.__setattr__(self, "query", one_query(self.query, f"The query of view {self.name!r}"))
        for index in self.indexes:
            if table_parts(index.table) != parts:
                mend = f"Give it table={self.name!r}."
                raise SchemaInvalid(what, reason=f"index {index.name!r} is on {index.table!r}", mend=mend)
        names = [index.name for index in self.all_indexes]
        if len(set(names)) < len(names):
            raise SchemaInvalid(what, reason=f"two indexes share a name: {names}", mend="Name them apart.")

    @property
    def qualified(self) -> str:
        """Its quoted name."""
        return identifier(table_parts(self.name))

    @property
    def unique_index(self) -> Index:
        """The index over the key; its name is the view's with "_key" behind it."""
        name = _key_name(table_parts(self.name)[-1])
        return Index(name, self.name, tuple(Key(column) for column in self.key), unique=True)

    @property
    def all_indexes(self) -> tuple[Index, ...]:
        """The unique index of its key, and the others."""
        return (self.unique_index, *self.indexes)

    def create(self) -> str:
        """The statement that makes and fills it; its indexes, and ANALYZE, come after."""
        return f"create materialized view {self.qualified} as\n{self.query}\nwith data"

    def refresh(self, *, concurrently: bool = True) -> str:
        """The statement that computes it anew; concurrently its readers go on, and it takes longer."""
        return f"refresh materialized view {'concurrently ' if concurrently else ''}{self.qualified}"

    def drop(self) -> str:
        """The statement that removes it and its indexes; if there is none, nothing happens."""
        return f"drop materialized view if exists {self.qualified}"


def _key_name(view: str) -> str:
    """The view's name and "_key", cut at whole characters to what PostgreSQL keeps."""
    room = NAME_BYTES_MAX - len("_key")
    return view.encode()[:room].decode(errors="ignore") + "_key"
