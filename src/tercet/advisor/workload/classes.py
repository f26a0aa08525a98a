"""Values for $1, $2 … out of the statistics: one that is met often, one that is rare, one that nobody has."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from tercet.advisor.query import Example
from tercet.advisor.workload.literals import askable, cast_to, filled, listed, literal, parameters
from tercet.advisor.workload.roles import Role, roles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.advisor.catalog import Catalog, Column, Statistics
    from tercet.advisor.query import Query

Class = Literal["common", "rare", "beyond"]

# Most of what a program asks for is there; what is asked for beyond the statistics is what has come since.
_WEIGHTS: tuple[tuple[Class, float], ...] = (("common", 0.5), ("rare", 0.4), ("beyond", 0.1))
# Pages and lists as programs ask for them.
_LIMITS: Mapping[Class, str] = MappingProxyType({"common": "20", "rare": "100", "beyond": "1000"})
_OFFSETS: Mapping[Class, str] = MappingProxyType({"common": "0", "rare": "200", "beyond": "10000"})
_LISTED = 5
# How far along the sorted values a bound lies: a wide range and a narrow one.
_PLACES: Mapping[tuple[str, str], float] = MappingProxyType(
    {
        ("lower", "common"): 0.5, ("lower", "rare"): 0.98, ("upper", "common"): 0.5, ("upper", "rare"): 0.02,
        ("between_lower", "common"): 0.25, ("between_upper", "common"): 0.75,
        ("between_lower", "rare"): 0.9, ("between_upper", "rare"): 0.91,
    }
)  # fmt: skip
# What stands for a parameter that is compared with no column, by the first word of its type.
_PLAIN: Mapping[str, str] = MappingProxyType(
    {
        "smallint": "1", "integer": "1", "bigint": "1", "numeric": "1", "real": "1", "double": "1", "text": "a",
        "character": "a", "boolean": "t", "interval": "30 days", "date": "today", "timestamp": "now", "time": "12:00",
        "jsonb": "{}", "json": "{}", "uuid": "00000000-0000-4000-8000-000000000000", "name": "a", "tsquery": "a",
        "int": "1", "int2": "1", "int4": "1", "int8": "1", "decimal": "1", "float4": "1", "float8": "1", "bool": "t",
        "varchar": "a", "bpchar": "a", "timestamptz": "now", "regclass": "pg_class", "oid": "1", "bytea": "",
        "jsonpath": "$",
    }
)  # fmt: skip
_TEXTS = frozenset({"text", "character", "name", "citext"})
_WHOLE_MAX: Mapping[str, int] = MappingProxyType({"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1})
_A_YEAR = timedelta(days=365)
# Behind every text that people write.
_LAST = "\N{CJK UNIFIED IDEOGRAPH-9FA5}"


@dataclass(frozen=True, slots=True)
class _Values:
    """What is known of a column's values, as text: `ordered` from the least to the greatest, and the `common` ones."""

    ordered: tuple[str, ...]
    common: tuple[str, ...]

    @property
    def any(self) -> tuple[str, ...]:
        return self.ordered or self.common

    def at(self, place: float) -> str:
        return self.any[min(len(self.any) - 1, int(place * len(self.any)))]


def examples(
    query: Query, catalog: Catalog, types: Mapping[int, str] | None = None, *, otherwise: str | None = None
) -> tuple[Example, ...]:
    """The query's examples with values in place of $1, $2 …, one for each class; those without any stay as they are.

    `types` are the parameters' types by their numbers, as the server tells them. Where a parameter is of no known
    type and compared with no column, `otherwise` is put (an SQL literal); without that the text stays generic.
    """
    found: list[Example] = []
    for one in query.examples:
        found += _classed(one, catalog, types or {}, query.search_path, otherwise) if parameters(one.sql) else (one,)
    merged: dict[str, Example] = {}
    for one in found:
        weight = one.weight + (merged[one.sql].weight if one.sql in merged else 0.0)
        merged[one.sql] = Example(one.sql, weight, one.origin)
    return tuple(merged.values())


def _classed(
    one: Example, catalog: Catalog, types: Mapping[int, str], search_path: tuple[str, ...], otherwise: str | None
) -> list[Example]:
    sql = askable(one.sql)
    known, lists = roles(sql, catalog, search_path), listed(sql)
    types = {**cast_to(sql), **types}
    made = []
    for kind, weight in _WEIGHTS:
        values = {}
        for number in parameters(sql):
            written = _written(known.get(number), types.get(number), kind, several=number in lists) or otherwise
            if written is None:
                return [Example(sql, one.weight, "generic")]
            values[number] = written
        made.append(Example(filled(sql, values), one.weight * weight, kind))
    return made


def _written(role: Role | None, type_: str | None, kind: Class, *, several: bool) -> str | None:
    """One parameter as SQL; None where nothing can be said for it."""
    if role is not None and role.meant in {"limit", "offset"}:
        return (_LIMITS if role.meant == "limit" else _OFFSETS)[kind]
    column = role.column if role is not None else None
    if role is None or column is None or column.statistics is None or _elsewhere(role, column, type_):
        return _plain(type_ or (column.type if column is not None and _fits(role) else None))
    values = _values(column.statistics, column)
    if not values.any:
        return _plain(type_ or column.type)
    if role.meant == "array" and not several:
        return literal(_array(_some(values, kind, column)), type_ or f"{column.type}[]")
    type_ = type_ or column.type
    if several:
        return ", ".join(literal(value, type_) for value in _some(values, kind, column))
    return literal(_one(values, role, kind, column), type_)


def _fits(role: Role | None) -> bool:
    return role is not None and role.meant not in {"array", "part"}


def _elsewhere(role: Role, column: Column, type_: str | None) -> bool:
    """Whether the parameter is of another kind than the column: "at > now() - $1" has an interval."""
    if role.meant != "part":
        return False
    if column.category == "S":
        return type_ is not None and _word(type_) not in _TEXTS
    return type_ is None or _word(type_) != _word(column.type)


def _one(values: _Values, role: Role, kind: Class, column: Column) -> str:
    if kind == "beyond":
        return _beyond(values.any, column)
    if role.meant == "pattern":
        text = values.at(0.5)
        return f"{text[:3]}%" if kind == "common" else f"%{text[1:6]}%"
    place = _PLACES.get((role.meant, kind))
    if place is not None:
        return values.at(place)
    return _some(values, kind, column)[0]


def _some(values: _Values, kind: Class, column: Column) -> tuple[str, ...]:
    """Up to five values of a class."""
    if kind == "beyond":
        return (_beyond(values.any, column),)
    if kind == "common":
        return (values.common or values.ordered[len(values.ordered) // 2 :])[:_LISTED]
    # A value of the histogram is one among many; without one, the rarest of the usual ones.
    start = len(values.ordered) // 3
    return (values.ordered[start:] if values.ordered else values.common[::-1])[:_LISTED]


def _values(statistics: Statistics, column: Column) -> _Values:
    ordered = statistics.histogram
    if not ordered and statistics.common:
        ordered = tuple(sorted(statistics.common, key=lambda value: _order(value, column)))
        return _Values(() if len(ordered) == 1 else ordered, statistics.common)
    return _Values(ordered, statistics.common)


def _order(value: str, column: Column) -> tuple[Decimal, str]:
    number = _number(value) if column.category == "N" else None
    return (number if number is not None else Decimal(0)), value


def _beyond(values: tuple[str, ...], column: Column) -> str:
    """A value greater than all that the statistics know; the greatest of them where there is none."""
    greatest = max(values, key=lambda value: _order(value, column)) if column.category == "N" else values[-1]
    match column.category:
        case "N":
            return _number_beyond(greatest, column)
        case "D":
            return _moment_beyond(greatest)
        case "S":
            return _LAST
        case _:
            return "ffffffff-ffff-4fff-bfff-ffffffffffff" if column.type == "uuid" else greatest


def _number_beyond(greatest: str, column: Column) -> str:
    number = _number(greatest)
    if number is None or not number.is_finite():
        return greatest
    further = number + max(Decimal(1), abs(number) / 10)
    whole = _WHOLE_MAX.get(column.type)
    return f"{further:f}" if whole is None else str(min(int(further), whole))


def _moment_beyond(greatest: str) -> str:
    try:
        if len(greatest) <= len("2024-01-01"):
            return (date.fromisoformat(greatest) + _A_YEAR).isoformat()
        return (datetime.fromisoformat(greatest) + _A_YEAR).isoformat(" ")
    except (ValueError, OverflowError):
        return greatest


def _number(value: str) -> Decimal | None:
    try:
        return Decimal(value)
    except InvalidOperation:
        return None


def _array(values: tuple[str, ...]) -> str:
    quoted = ('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values)
    return "{" + ",".join(quoted) + "}"


def _plain(type_: str | None) -> str | None:
    """A value of a type, of which nothing else is known."""
    if type_ is None:
        return None
    value = _PLAIN.get(_word(type_.removesuffix("[]")))
    if value is None:
        return None
    return literal(_array((value,)) if type_.endswith("[]") else value, type_)


def _word(type_: str) -> str:
    return type_.partition("(")[0].partition(" ")[0]
