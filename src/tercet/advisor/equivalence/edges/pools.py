"""Values of a type where answers change: around constants, zero, the empty text, other cases, ends of days."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from tercet.advisor.rewrites.proved import INTEGERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_NUMERIC = re.compile(r"numeric\((\d+),(-?\d+)\)")
_LENGTH = re.compile(r"(?:character varying|character|bpchar|varchar|char)\((\d+)\)")
# Without a constant to go by, moments lie around this one: the end of a leap year's February is near.
_SOME_DAY = "2024-03-01"
_YEARS = range(1900, 2200)
# Enough for ties and for joins that meet, few enough for both to happen.
_SMALL = range(-1, 7)
_TEXTS = ("a", "A", "b", "", "ab", "a b", "B")
# Not more strings of a JSON path, or words of a text, than give a few dozen combinations.
_WORDS_MAX = 6

_FIXED = {
    "boolean": ("true", "false"),
    "bytea": ("\\x", "\\x00", "\\x61"),
    "interval": ("0", "1 day", "-1 hour", "1 month"),
    "time without time zone": ("00:00", "12:00", "23:59:59.999999"),
    "time with time zone": ("00:00+00", "12:00+02"),
    "uuid": tuple(f"00000000-0000-4000-8000-00000000000{digit}" for digit in range(6)),
    "inet": ("10.0.0.1", "10.0.0.2", "::1"),
    "cidr": ("10.0.0.0/8", "10.1.0.0/16"),
    "macaddr": ("08:00:2b:01:02:03",),
    "tsvector": ("", "'a'", "'a' 'b'"),
    "xml": ("<a/>",),
    "point": ("(0,0)", "(1,2)"),
    "money": ("0", "1", "-1"),
    "oid": ("0", "1", "2"),
    "int4range": ("empty", "[1,3)", "[2,5)"),
    "int8range": ("empty", "[1,3)", "[2,5)"),
    "numrange": ("empty", "[1,3)", "[2,5)"),
    "daterange": ("empty", "[2024-01-01,2024-02-01)"),
    "tsrange": ("empty", "[2024-01-01,2024-02-01)"),
    "tstzrange": ("empty", "[2024-01-01 00:00+00,2024-02-01 00:00+00)"),
    "bit(1)": ("0", "1"),
}


def pool(kind: str, words: Sequence[str], *, now: bool = False, labels: Sequence[str] = ()) -> tuple[str, ...]:
    """Values of a type as text: first those that belong to the constants, then the usual ones.

    None at all for a type that nobody here knows. `labels` are an enumeration's.
    """
    if labels:
        return tuple(labels)
    if kind.endswith("[]"):
        inner = pool(kind[:-2], words, now=now)[:_WORDS_MAX]
        quoted = ['"' + one.replace("\\", "\\\\").replace('"', '\\"') + '"' for one in inner]
        return tuple(dict.fromkeys(("{}", *(f"{{{one}}}" for one in quoted), f"{{{','.join(quoted[:2])}}}", "{NULL}")))
    return tuple(dict.fromkeys(_values(kind, words, now=now)))


def _values(  # noqa: PLR0911 - a table of types
    kind: str, words: Sequence[str], *, now: bool
) -> Iterable[str]:
    if kind in INTEGERS:
        return _integers(words, *INTEGERS[kind])
    if kind in {"real", "double precision"}:
        # Quarters add up without rounding: a sum is the same in any order.
        return _decimals(words, 2, 7, Decimal("0.25"))
    if kind.startswith("numeric"):
        shape = _NUMERIC.fullmatch(kind)
        digits, scale = (int(shape[1]), int(shape[2])) if shape else (20, 2)
        return _decimals(words, scale, digits - scale, Decimal(1).scaleb(-scale))
    if kind == "date" or kind.startswith("timestamp"):
        return _moments(kind, words, now=now)
    if kind in {"text", "name", "citext", '"char"', "bpchar"} or _LENGTH.fullmatch(kind) or kind == "character varying":
        length = _LENGTH.fullmatch(kind)
        return _texts(words, int(length[1]) if length else 60)
    if kind in {"json", "jsonb"}:
        return _documents(words)
    return (*(word for word in words if kind in {"uuid", "inet", "interval"}), *_FIXED.get(kind, ()))


def _integers(words: Sequence[str], least: int, most: int) -> Iterator[str]:
    for number in _numbers(words):
        for near in (int(number) - 1, int(number), int(number) + 1):
            if least <= near <= most:
                yield str(near)
    yield from (str(number) for number in _SMALL)


def _decimals(words: Sequence[str], scale: int, digits: int, step: Decimal) -> Iterator[str]:
    exact, room = Decimal(1).scaleb(-scale), Decimal(10) ** max(digits, 0)
    for number in (*_numbers(words), Decimal(0), Decimal(1), Decimal(-1), Decimal("2.5")):
        for near in (number - step, number, number + step):
            if abs(near) < room and near.adjusted() < 20:  # noqa: PLR2004 - no column of money is longer
                yield str(near.quantize(exact))


def _numbers(words: Sequence[str]) -> Iterator[Decimal]:
    for word in words:
        try:
            number = Decimal(word)
        except InvalidOperation:
            continue
        if number.is_finite() and number.adjusted() < 20:  # noqa: PLR2004 - beyond every integer type
            yield number


def _texts(words: Sequence[str], room: int) -> Iterator[str]:
    for word in words:
        # What a LIKE pattern takes, and what it just does not.
        for plain in (word, word.replace("%", "").replace("_", "q"), word.replace("%", "zz").replace("_", "q")):
            for near in (plain, plain.upper(), plain.lower(), f"{plain}x", f"x{plain}"):
                yield near[:room]
    yield from (word[:room] for word in _TEXTS)


def _moments(kind: str, words: Sequence[str], *, now: bool) -> Iterator[str]:
    day = kind == "date"
    step = timedelta(days=1) if day else timedelta(microseconds=1)
    zone = "+00" if kind.endswith("with time zone") else ""
    for moment in _read((*words, *(() if any(True for _ in _read(words)) else (_SOME_DAY,)))):
        for near in (
            moment, moment - step, moment + step, moment + timedelta(days=1), moment + timedelta(days=1) - step,
            moment - timedelta(days=20), moment + timedelta(days=31), moment + timedelta(days=365),
            moment + timedelta(hours=12),
        ):  # fmt: skip
            yield near.date().isoformat() if day else f"{near.isoformat(sep=' ')}{zone}"
    if now:
        yield from ("today", "yesterday", "tomorrow", "now")


def _read(words: Sequence[str]) -> Iterator[datetime]:
    for word in words:
        if word.isdigit():
            if int(word) in _YEARS:
                yield datetime(int(word), 1, 1)  # noqa: DTZ001 - written down again with a zone of its own
            continue
        try:
            yield datetime.fromisoformat(word.strip()).replace(tzinfo=None)
        except ValueError:
            try:
                yield datetime.combine(date.fromisoformat(word.strip()[:10]), datetime.min.time())
            except ValueError:
                continue


def _documents(words: Sequence[str]) -> Iterator[str]:
    yield from ("{}", "[]", "null", '"a"', "1")
    few = [word.replace("\\", "\\\\").replace('"', '\\"') for word in words[:_WORDS_MAX]]
    for name in few:
        for value in (*few, "1"):
            yield f'{{"{name}": "{value}"}}'
        yield f'{{"{name}": null}}'
