"""A table as a Relation message describes it, and the plan by which its rows are read.

The plan is made once a description: of each column it knows whether to read or to skip its value, and it stops behind
the last one that is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from tercet.changes.change import NOTHING, Change, Row
from tercet.changes.pgoutput.message import (
    COLUMN_FACTS,
    COUNT,
    IDENTITY,
    KEY,
    NEW,
    NULL,
    NUMBER,
    OLD,
    TEXT,
    UNCHANGED,
    broken,
    kind_text,
    string,
)
from tercet.changes.pgoutput.types import BY_NUMBER, Convert, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.changes.pgoutput.wanted import Wanted

# Reads a tuple that begins there: the values that are wanted, and where it ends (or where reading ended).
_ReadTuple: TypeAlias = Callable[[bytes, int], tuple[dict[str, object], int]]
# Reads a change whose tuples begin there.
ReadChange: TypeAlias = Callable[[bytes, int], Change]

# What introduces a value, the length of its text, and the text.
_BEFORE_TEXT = 5
# What introduces a value that has no text.
_WITHOUT_TEXT = (NULL, UNCHANGED)


@dataclass(frozen=True, slots=True)
class Column:
    """A column as its relation describes it."""

    name: str
    type: int
    # Whether the replica identity has it: only then an old key tells its value.
    identity: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table's description."""

    number: int
    schema: str
    table: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How the changes of one table are read: each raises FeedBroken, or what reading beyond a message's end raises."""

    insert: ReadChange
    update: ReadChange
    delete: ReadChange
    truncate: Change


def relation_name(data: bytes, at: int) -> tuple[int, str, str, int]:
    """A relation's number, schema and table, and where the rest of its description begins."""
    (number,) = NUMBER.unpack_from(data, at)
    schema, at = string(data, at + 4)
    table, at = string(data, at)
    return number, schema or "pg_catalog", table, at


def read_relation(data: bytes, at: int) -> Relation:
    """The description that begins there, behind the kind."""
    number, schema, table, at = relation_name(data, at)
    (count,) = COUNT.unpack_from(data, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        flags = data[at]
        name, at = string(data, at + 1)
        type_number, _modifier = COLUMN_FACTS.unpack_from(data, at)
        at += COLUMN_FACTS.size
        columns.append(Column(name, type_number, bool(flags & IDENTITY)))
    return Relation(number, schema, table, tuple(columns))


def plan(relation: Relation, wanted: Wanted, types: Mapping[int, Convert]) -> Plan | None:
    """How its changes are read, or None where nobody wants them; `types` read what PostgreSQL does not bring itself."""
    columns = wanted.columns(relation.schema, relation.table, [column.name for column in relation.columns])
    if columns is None:
        return None
    schema, table = relation.schema, relation.table
    steps = _steps(relation, columns, types)
    identity = frozenset(column.name for column in relation.columns if column.identity)
    read_new = _tuple_reader(relation, steps, whole=False)
    read_old = _tuple_reader(relation, steps, whole=True)
    read_key = _tuple_reader(relation, _steps(relation, columns & identity, types), whole=True)

    def before(data: bytes, at: int) -> tuple[Row, int]:
        if data[at] == KEY:
            return read_key(data, at + 1)
        if data[at] == OLD:
            return read_old(data, at + 1)
        raise _unexpected(relation, data[at])

    def insert(data: bytes, at: int) -> Change:
        if data[at] != NEW:
            raise _unexpected(relation, data[at])
        return Change("insert", schema, table, read_new(data, at + 1)[0])

    def delete(data: bytes, at: int) -> Change:
        return Change("delete", schema, table, NOTHING, before(data, at)[0])

    return Plan(insert, _update(relation, len(columns), read_new, before), delete, Change("truncate", schema, table))


def _update(
    relation: Relation, count: int, read_new: _ReadTuple, before: Callable[[bytes, int], tuple[Row, int]]
) -> ReadChange:
    schema, table = relation.schema, relation.table

    def update(data: bytes, at: int) -> Change:
        if data[at] == NEW:
            return Change("update", schema, table, read_new(data, at + 1)[0])
        old, at = before(data, at)
        if data[at] != NEW:
            raise _unexpected(relation, data[at])
        new, _ = read_new(data, at + 1)
        if len(new) < count:
            # Some were not sent again, as they have not changed: the old row has them, where it covers them.
            for name, value in old.items():
                new.setdefault(name, value)
        return Change("update", schema, table, new, old)

    return update


def _steps(
    relation: Relation, columns: frozenset[str], types: Mapping[int, Convert]
) -> tuple[tuple[str, Convert | None], ...]:
    return tuple(
        (
            column.name,
            (BY_NUMBER.get(column.type) or types.get(column.type, text)) if column.name in columns else None,
        )
        for column in relation.columns
    )


def _until_last(steps: tuple[tuple[str, Convert | None], ...]) -> tuple[tuple[str, Convert | None], ...]:
    last = max((place for place, (_, convert) in enumerate(steps) if convert is not None), default=-1)
    return steps[: last + 1]


def _tuple_reader(relation: Relation, steps: tuple[tuple[str, Convert | None], ...], *, whole: bool) -> _ReadTuple:
    count = len(steps)
    if not whole:
        steps = _until_last(steps)
    count_of, length_of = COUNT.unpack_from, NUMBER.unpack_from

    def read(data: bytes, at: int) -> tuple[dict[str, object], int]:
        if count_of(data, at)[0] != count:
            raise broken(f"a row of {count_of(data, at)[0]} columns for {_name(relation)}, which has {count}")
        at += 2
        row: dict[str, object] = {}
        name = ""
        try:
            for name, convert in steps:
                if data[at] == TEXT:
                    begin = at + _BEFORE_TEXT
                    at = begin + length_of(data, at + 1)[0]
                    if convert is not None and at <= len(data):
                        row[name] = convert(data[begin:at])
                else:
                    if _is_null(relation, name, data[at]) and convert is not None:
                        row[name] = None
                    at += 1
        except (ValueError, ArithmeticError):
            # Not "from" it: its sentence holds the value.
            raise broken(f"a value in {_name(relation)}.{name} that is not of its type") from None
        if at > len(data):
            raise broken(f"a row of {_name(relation)} that ends within its column {name}")
        return row, at

    return read


def _is_null(relation: Relation, column: str, kind: int) -> bool:
    if kind not in _WITHOUT_TEXT:
        raise broken(f"a value of the kind {kind_text(kind)} in {_name(relation)}.{column}")
    return kind == NULL


def _name(relation: Relation) -> str:
    return f"{relation.schema}.{relation.table}"


def _unexpected(relation: Relation, kind: int) -> Exception:
    return broken(f"a row of the kind {kind_text(kind)} in a change of {_name(relation)}")
