"""Values out of the change table's JSON, as the values that the log would have told.

The triggers write a row as jsonb, which is robust: a column that is dropped does not break the writer. What jsonb does
not keep apart is told as JSON has it: a composite is a dict (the log tells its text), and a jsonb null is None, as
SQL's NULL is.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from tercet.changes.change import NOTHING, Row
from tercet.changes.pgoutput.types import BY_NUMBER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# A column's type by its number, and its elements' where it is an array.
Kind: TypeAlias = tuple[int, int | None]

_FLOATS = frozenset({700, 701})
_NUMERIC = 1700
_DOCUMENTS = frozenset({114, 3802})


def document_of(text: str | None) -> dict[str, object]:
    """A row as the table of changes has it; numbers keep all their digits until it is known what they are."""
    return {} if text is None else json.loads(text, parse_float=Decimal)


def row_of(document: dict[str, object], kinds: Mapping[str, Kind | None], wanted: frozenset[str]) -> Row:
    """The wanted columns of a row; a column that is gone by now stays what JSON has."""
    if not document:
        return NOTHING
    return {name: _value(value, kinds.get(name)) for name, value in document.items() if name in wanted}


def _value(value: object, kind: Kind | None) -> object:
    if value is None or kind is None:
        return value
    number, element = kind
    if element is not None:
        return _elements(value, _reader(element))
    return _reader(number)(value)


def _elements(value: object, read: Callable[[object], object]) -> object:
    if isinstance(value, list):
        return [_elements(one, read) for one in value]
    return None if value is None else read(value)


def _reader(number: int) -> Callable[[object], object]:
    if number in _FLOATS:
        return _float
    if number == _NUMERIC:
        return _numeric
    if number in _DOCUMENTS:
        return _document
    return _scalar(number)


def _float(value: object) -> object:
    # "NaN" and "Infinity" are no numbers of JSON.
    return float(value) if isinstance(value, int | Decimal | str) else value


def _numeric(value: object) -> object:
    return Decimal(value) if isinstance(value, int | Decimal | str) else value


def _document(value: object) -> object:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [_document(one) for one in value]
    if isinstance(value, dict):
        return {key: _document(one) for key, one in value.items()}
    return value


def _scalar(number: int) -> Callable[[object], object]:
    convert = BY_NUMBER.get(number)

    def read(value: object) -> object:
        return convert(value.encode()) if convert is not None and isinstance(value, str) else value

    return read
