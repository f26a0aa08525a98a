"""One checksum for rows, whoever brings them: the same answer gives the same text.

A row is a SQLAlchemy row, a mapping, an asyncpg record, a dataclass, a msgspec Struct or a tuple. Where the
names of its columns are known they count and their order does not, so a SELECT and a cached Struct can agree;
in a plain tuple the order counts. The order of the rows always counts.

What is the same: numerics of equal value (1.0 and 1.00, for sum() and numeric(12,2) print different scales),
moments of equal instant in any zone, lists and tuples, 0.0 and -0.0, one NaN and another. What is not: 1 and
True, 1 and 1.0, a decimal and a float, a text and an enum, a moment with and without a zone, NULL and
anything.
"""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Any
from uuid import UUID

import msgspec

from tercet.errors import NotComparable

# Hashed first, so that a later change of the encoding can never give a checksum of today by chance.
_HEAD = b"tercet rows 1\n"

# A value that holds itself would never end; nobody nests an answer this deep.
_DEPTH_MAX = 64

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_NAIVE = datetime(1970, 1, 1)  # noqa: DTZ001 - naive moments are counted from a naive one
_MICROSECOND = timedelta(microseconds=1)
_ADDRESSES = (IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network)


def checksum(rows: Iterable[object], *, names: Sequence[str] | None = None) -> str:
    """The sha256 over these rows in their order, 64 hexadecimal digits; `names` gives tuples their columns.

    Rows are read one by one and not kept. Raises NotComparable for a value that has no canonical form.
    """
    digest = hashlib.sha256(_HEAD)
    for encoded in _encoded(rows, names):
        digest.update(encoded)
    return digest.hexdigest()


def row_checksums(rows: Iterable[object], *, names: Sequence[str] | None = None) -> tuple[str, ...]:
    """The checksum of each row by itself, to find the first that differs."""
    return tuple(hashlib.sha256(_HEAD + encoded).hexdigest() for encoded in _encoded(rows, names))


def _encoded(rows: Iterable[object], names: Sequence[str] | None) -> Iterator[bytes]:
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
        raise NotComparable("The answer", kind=type(rows).__name__, mend="Give rows: a list of them, for instance.")
    for number, row in enumerate(rows):
        yield _framed(b"R", _row(row, names, f"row {number}"))


def _row(row: object, names: Sequence[str] | None, place: str) -> bytes:
    """Names and values, sorted by name; or values in their order where nobody knows names."""
    fields = _fields(row)
    if fields is None and isinstance(row, list | tuple):
        if names is not None:
            if len(names) != len(row):
                mend = f"It has {len(row)} values, and {len(names)} names were given."
                raise NotComparable(place, kind=type(row).__name__, mend=mend)
            fields = list(zip(names, row, strict=True))
        else:
            return _framed(b"T", b"".join(_value(value, f"{place}, column {at}", 0) for at, value in enumerate(row)))
    if fields is None:  # a bare value, as scalars() gives them, is a row of one nameless column
        return _framed(b"T", _value(row, f"{place}, column 0", 0))
    # Sorting is stable: columns of the same name stay in the order in which they were selected.
    fields.sort(key=lambda item: item[0])
    parts = (
        _framed(b"k", name.encode("utf-8", "surrogatepass")) + _value(value, f"{place}, {name}", 0)
        for name, value in fields
    )
    return _framed(b"M", b"".join(parts))


def _fields(row: object) -> list[tuple[str, object]] | None:
    """The (name, value) pairs of what knows its names, each way in which Python says so; else None."""
    if isinstance(row, msgspec.Struct):
        return [(name, getattr(row, name)) for name in row.__struct_fields__]
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return [(field.name, getattr(row, field.name)) for field in dataclasses.fields(row)]
    names = getattr(row, "_fields", None)
    if isinstance(names, tuple) and isinstance(row, Sequence):  # SQLAlchemy's Row, and named tuples
        return [(str(name), value) for name, value in zip(names, row, strict=True)]
    items = getattr(row, "items", None)
    if callable(items) and (isinstance(row, Mapping) or hasattr(row, "keys")):  # asyncpg's Record is no Mapping
        return [(str(name), value) for name, value in items()]
    return None


def _value(value: object, place: str, depth: int) -> bytes:
    """A tag for the type, the length, the value: no two values can run into each other."""
    if value is None:
        return b"-"
    if depth > _DEPTH_MAX:
        raise NotComparable(place, kind=f"value nested more than {_DEPTH_MAX} deep")
    if isinstance(value, Enum):
        name = _framed(b"k", type(value).__name__.encode())
        return _framed(b"E", name + _value(value.value, place, depth + 1))
    for kind, encode in _SCALARS:
        if isinstance(value, kind):
            return encode(value)
    return _nested(value, place, depth)


def _nested(value: object, place: str, depth: int) -> bytes:
    deeper = depth + 1
    if isinstance(value, AbstractSet):
        return _framed(b"s", b"".join(sorted(_value(item, place, deeper) for item in value)))
    if isinstance(value, Mapping):
        pairs = ((_value(key, place, deeper), item) for key, item in value.items())
        ordered = sorted(pairs, key=lambda pair: pair[0])
        return _framed(b"m", b"".join(key + _value(item, place, deeper) for key, item in ordered))
    fields = _fields(value)
    if fields is not None:
        return _nested(dict(fields), place, depth)
    if isinstance(value, list | tuple):
        return _framed(b"l", b"".join(_value(item, place, deeper) for item in value))
    raise NotComparable(place, kind=type(value).__name__)


def _framed(tag: bytes, content: bytes) -> bytes:
    return tag + len(content).to_bytes(8, "big") + content


def _float(value: float) -> bytes:
    if value != value:  # every NaN is the same "not a number" here  # noqa: PLR0124
        return b"fN"
    return b"f" + struct.pack(">d", value + 0.0)  # adding 0.0 turns -0.0 into 0.0


def _decimal(value: Decimal) -> bytes:
    """Sign, digits and exponent without trailing zeros; normalize() would round to the context."""
    sign, digits, exponent = value.as_tuple()
    if isinstance(exponent, str):  # F is an infinity, n and N are NaN
        return _framed(b"d", b"nan" if exponent != "F" else b"-inf" if sign else b"inf")
    text = "".join(map(str, digits))
    kept = text.rstrip("0").lstrip("0")
    if not kept:
        return _framed(b"d", b"0")
    exponent += len(text) - len(text.rstrip("0"))
    return _framed(b"d", f"{'-' if sign else ''}{kept}e{exponent}".encode())


def _datetime(value: datetime) -> bytes:
    zoned = value.utcoffset() is not None
    # Both moments are taken apart into microseconds: isoformat() in UTC would overflow at the ends of time.
    start = _EPOCH if zoned else _EPOCH_NAIVE
    return _framed(b"Z" if zoned else b"N", str((value - start) // _MICROSECOND).encode())


def _time(value: time) -> bytes:
    offset = value.utcoffset()
    zone = "" if offset is None else f" {offset // _MICROSECOND}"
    return _framed(b"t", (value.replace(tzinfo=None).isoformat("microseconds") + zone).encode())


def _text(tag: bytes, written: Callable[[Any], str]) -> Callable[[Any], bytes]:
    return lambda value: _framed(tag, written(value).encode("utf-8", "surrogatepass"))


# In this order: True is an int to Python, and a moment is a date.
_SCALARS: tuple[tuple[type | tuple[type, ...], Callable[[Any], bytes]], ...] = (
    (str, _text(b"S", str)),
    (bool, lambda value: b"b1" if value else b"b0"),
    (int, _text(b"i", lambda value: format(value, "x"))),
    (float, _float),
    (Decimal, _decimal),
    (datetime, _datetime),
    (date, _text(b"D", date.isoformat)),
    (time, _time),
    (timedelta, _text(b"V", lambda value: str(value // _MICROSECOND))),
    (UUID, lambda value: b"U" + value.bytes),
    ((bytes, bytearray, memoryview), lambda value: _framed(b"B", bytes(value))),
    (_ADDRESSES, _text(b"A", str)),
)
