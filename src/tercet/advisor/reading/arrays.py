"""Arrays in the text form in which PostgreSQL shows those whose type it does not tell (anyarray in pg_stats)."""

from __future__ import annotations

import re

_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def elements(text: str | None, *, delimiter: str = ",") -> tuple[str, ...]:
    """The elements of an array of one dimension, each in the text form of its type; none for NULL.

    Elements that are arrays or rows themselves stand in quotes there, and come out whole. Raises ValueError for what
    is no such array.
    """
    if text is None or text == "{}":
        return ()
    if not (text.startswith("{") and text.endswith("}")):
        raise ValueError(f"no array: {text!r}")
    inside = text[1:-1]
    if '"' not in inside:
        return tuple(inside.split(delimiter))
    token = rf'"((?:[^"\\]|\\.)*)"|([^{re.escape(delimiter)}]+)'
    found = re.findall(token, inside, re.DOTALL)
    return tuple(_ESCAPED.sub(r"\1", quoted) if quoted else plain for quoted, plain in found)
