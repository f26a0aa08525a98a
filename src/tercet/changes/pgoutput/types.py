"""PostgreSQL's text of a value, as Python's value; by the type's number.

A value that Python's type cannot hold stays the text that PostgreSQL wrote: times that are infinite, before the year 1
or after 9999, the time 24:00, an interval with months or years, a document that is nested too deeply. Of a type that is
not named here (an enum, a range, a composite, anything that an extension brought) every value is text.

The text is only unambiguous on a connection that has SETTINGS.
"""

from __future__ import annotations

import json
import re
from binascii import unhexlify
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import TypeAlias
from uuid import UUID

from tercet.changes.pgoutput.arrays import array_of

Convert: TypeAlias = Callable[[bytes], object]

# What the connection must be set to that reads a slot: pgoutput writes values as that connection's settings say.
SETTINGS = MappingProxyType(
    {
        "client_encoding": "UTF8",
        "DateStyle": "ISO",
        "IntervalStyle": "iso_8601",
        "TimeZone": "UTC",
        "bytea_output": "hex",
        "extra_float_digits": "1",
    }
)

# As PostgreSQL writes an interval of ISO 8601; every part has a sign of its own.
_INTERVAL = re.compile(r"P(?:(-?\d+)D)?(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?)(\d+)(?:\.(\d+))?S)?)?")


def text(raw: bytes) -> str:
    """Text; what is not UTF-8, as a database in SQL_ASCII can hold it, comes as lone surrogates."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode(errors="surrogateescape")


def _or_text(convert: Callable[[str], object]) -> Convert:
    """Reads what Python can hold, and leaves the rest as text."""

    def read(raw: bytes) -> object:
        written = raw.decode()
        try:
            return convert(written)
        except (ValueError, OverflowError, RecursionError):
            return written

    return read


def _truth(raw: bytes) -> bool:
    return raw == b"t"


def _bytea(raw: bytes) -> bytes:
    return unhexlify(raw[2:])


def _number(raw: bytes) -> Decimal:
    return Decimal(raw.decode())


def _time(written: str) -> time:
    if written.startswith("24"):
        raise ValueError("Python's day ends before")
    return time.fromisoformat(written)


def _interval(written: str) -> timedelta:
    found = _INTERVAL.fullmatch(written)
    if found is None:
        raise ValueError("not of days and less")
    days, hours, minutes, minus, seconds, fraction = found.groups()
    micros = int(seconds or 0) * 1_000_000 + int((fraction or "").ljust(6, "0"))
    return timedelta(
        days=int(days or 0), hours=int(hours or 0), minutes=int(minutes or 0), microseconds=-micros if minus else micros
    )


def _uuid(raw: bytes) -> UUID:
    return UUID(raw.decode())


# By the type's name: its number, its array's number, and what reads it. They are the same on every server.
_BUILT_IN: tuple[tuple[str, int, int, Convert], ...] = (
    ("bool", 16, 1000, _truth),
    ("bytea", 17, 1001, _bytea),
    ("char", 18, 1002, text),
    ("name", 19, 1003, text),
    ("int8", 20, 1016, int),
    ("int2", 21, 1005, int),
    ("int4", 23, 1007, int),
    ("text", 25, 1009, text),
    ("oid", 26, 1028, int),
    ("json", 114, 199, _or_text(json.loads)),
    ("float4", 700, 1021, float),
    ("float8", 701, 1022, float),
    ("bpchar", 1042, 1014, text),
    ("varchar", 1043, 1015, text),
    ("date", 1082, 1182, _or_text(date.fromisoformat)),
    ("time", 1083, 1183, _or_text(_time)),
    ("timestamp", 1114, 1115, _or_text(datetime.fromisoformat)),
    ("timestamptz", 1184, 1185, _or_text(datetime.fromisoformat)),
    ("interval", 1186, 1187, _or_text(_interval)),
    ("timetz", 1266, 1270, _or_text(_time)),
    ("numeric", 1700, 1231, _number),
    ("uuid", 2950, 2951, _uuid),
    ("jsonb", 3802, 3807, _or_text(json.loads)),
)

# Arrays of built-in types whose elements stay text, by name: addresses, ranges, money, bits, xml, times of a machine.
_TEXT_ARRAYS = {
    "_xml": 143,
    "_cidr": 651,
    "_money": 791,
    "_macaddr8": 775,
    "_macaddr": 1040,
    "_inet": 1041,
    "_bit": 1561,
    "_varbit": 1563,
    "_xid8": 271,
    "_pg_lsn": 3221,
    "_tsvector": 3643,
    "_tsquery": 3645,
    "_int4range": 3905,
    "_numrange": 3907,
    "_tsrange": 3909,
    "_tstzrange": 3911,
    "_daterange": 3913,
    "_int8range": 3927,
    "_jsonpath": 4073,
}

_text_array = array_of(text)


def _user_array(raw: bytes) -> object:
    """Of a type whose name begins as an array's does; the text says whether it is one."""
    return _text_array(raw) if raw[:1] in (b"{", b"[") else raw.decode()


def _by_number() -> dict[int, Convert]:
    known: dict[int, Convert] = dict.fromkeys(_TEXT_ARRAYS.values(), _text_array)
    for _, number, array, convert in _BUILT_IN:
        known[number] = convert
        known[array] = array_of(convert)
    return known


def _by_name() -> dict[str, Convert]:
    known: dict[str, Convert] = dict.fromkeys(_TEXT_ARRAYS, _text_array)
    for name, _, _, convert in _BUILT_IN:
        known[name] = convert
        known[f"_{name}"] = array_of(convert)
    return known


BY_NUMBER = MappingProxyType(_by_number())
_BY_NAME = MappingProxyType(_by_name())


def converter(schema: str, name: str) -> Convert:
    """What reads a type that somebody has made, by what PostgreSQL tells of it.

    Of a domain it tells the type beneath, which lies in its own schema (told as ""). An array of such a type is told
    by PostgreSQL's own name for it, which begins with "_": its elements stay text.
    """
    if not schema:
        return _BY_NAME.get(name, text)
    return _user_array if name.startswith("_") else text
