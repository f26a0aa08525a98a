"""Names and types as they stand in a Python program."""

from __future__ import annotations

import keyword
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# The types that come back from the database, by PostgreSQL's names for theirs.
TYPES: Mapping[str, str] = MappingProxyType({
    "smallint": "int", "integer": "int", "bigint": "int", "numeric": "Decimal", "real": "float",
    "double precision": "float", "text": "str", "character varying": "str", "character": "str", "name": "str",
    "boolean": "bool", "uuid": "UUID", "date": "date", "timestamp with time zone": "datetime",
    "timestamp without time zone": "datetime", "interval": "timedelta", "bytea": "bytes",
})  # fmt: skip

# Where a type has to be imported from.
HOMES: Mapping[str, str] = MappingProxyType({
    "Decimal": "decimal", "UUID": "uuid", "date": "datetime", "datetime": "datetime", "timedelta": "datetime",
    "Any": "typing",
})  # fmt: skip

# Names that the written lines use themselves.
_TAKEN = frozenset({"cache", "db", "rows", "row", "connection", "self"})


def type_of(name: str) -> str | None:
    """Python's type of a column's, as format_type writes that; None if nobody knows."""
    return TYPES.get(name.partition("(")[0].strip()) if "[" not in name else None


def singular(table: str) -> str:
    """One of what a table holds: users → user, categories → category."""
    if table.endswith("ies") and len(table) > len("ties"):
        return f"{table[:-3]}y"
    if table.endswith(("sses", "xes", "shes", "ches")):
        return table[:-2]
    return table[:-1] if table.endswith("s") and not table.endswith("ss") else table


def usable(name: str) -> bool:
    """Whether a name can stand in a program, and in the places of a tag."""
    return name.isidentifier() and name.isascii() and not keyword.iskeyword(name)


def distinct(wish: str, taken: Collection[str], *, otherwise: str = "value") -> str:
    """The wish, or what comes next to it: a name that can stand in a program, and does not yet."""
    stem = wish if usable(wish) else otherwise
    name, count = stem, 1
    while name in taken or name in _TAKEN:
        count += 1
        name = f"{stem}_{count}"
    return name


def camel(name: str) -> str:
    """user_orders as the name of a class."""
    return "".join(part.capitalize() for part in name.split("_"))
