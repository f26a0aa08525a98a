"""Values put into the places of $1, $2 … in a statement's text, which otherwise stays as it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tercet.sql import literal as as_string

if TYPE_CHECKING:
    from collections.abc import Mapping

# What may hold anything without being a constant or a parameter: comments and quoted names; and strings.
NAMES = r"""--[^\n]*|/\*.*?\*/|"(?:[^"]|"")*\""""
STRINGS = r"""[eE]'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|(?P<tag>\$(?:[^\W\d]\w*)?\$).*?(?P=tag)"""
WORDS = r"""[^\W\d][\w$]*"""

_PLACES = re.compile(rf"{NAMES}|{STRINGS}|{WORDS}|\$(?P<number>\d+)(?:\s*/\*, \.\.\. \*/)?", re.DOTALL)

# What pg_stat_statements writes behind the first of a list.
_LIST = " /*, ... */"

# Constants that pg_stat_statements has replaced where the grammar allows no parameter: "date $1" was "date '…'".
_TYPED = re.compile(
    r"\b(date|interval|timestamp(?:\s+with(?:out)?\s+time\s+zone)?|timestamptz|time|numeric|json|jsonb|inet|uuid)"
    r"\s+\$(\d+)",
    re.IGNORECASE,
)
_CAST = re.compile(
    r"\$(\d+)::((?:timestamp|time) with(?:out)? time zone|double precision|character varying|[a-z_][\w.]*(?:\[\])?)",
    re.IGNORECASE,
)
_FIELD = re.compile(r"\b(extract\s*\(\s*)\$(\d+)(\s+from\b)", re.IGNORECASE)


def filled(sql: str, values: Mapping[int, str]) -> str:
    """The text with SQL (a literal, a list of them) in the place of each parameter that has a value here."""

    def put(match: re.Match[str]) -> str:
        number = match.group("number")
        return values.get(int(number), match.group()) if number else match.group()

    return _PLACES.sub(put, sql)


def parameters(sql: str) -> tuple[int, ...]:
    """The numbers of the parameters in a text, each once, in their order."""
    found = (match.group("number") for match in _PLACES.finditer(sql))
    return tuple(sorted({int(number) for number in found if number}))


def listed(sql: str) -> frozenset[int]:
    """The parameters that stand for a whole list: "in ($1 /*, ... */)"."""
    return frozenset(
        int(match.group("number")) for match in _PLACES.finditer(sql) if match.group("number") and "/*" in match.group()
    )


def cast_to(sql: str) -> dict[int, str]:
    """The types to which parameters are cast in the text itself ("$1::date")."""
    return {int(number): type_.strip().lower() for number, type_ in _CAST.findall(sql)}


def askable(sql: str) -> str:
    """The text of pg_stat_statements as a server takes it again: `date $1` becomes `$1::date`.

    Which field EXTRACT was asked for is lost; any is as good for planning. The parameters are numbered without gaps.
    """
    text = _TYPED.sub(r"$\2::\1", _FIELD.sub(r"\1year\3", sql))
    order = {number: at for at, number in enumerate(parameters(text), 1)}
    if all(number == at for number, at in order.items()):
        return text
    lists = listed(text)
    return filled(text, {number: f"${at}{_LIST if number in lists else ''}" for number, at in order.items()})


def literal(value: str | None, type: str | None = None) -> str:  # noqa: A002 - the word of the field
    """A value as SQL, with its type where that is known."""
    if value is None:
        return f"null::{type}" if type else "null"
    quoted = as_string(value)
    # What stands before it must not become a part of its E.
    if quoted.startswith("E"):
        quoted = f" {quoted}"
    return f"{quoted}::{type}" if type else quoted
