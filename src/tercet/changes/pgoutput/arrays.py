"""PostgreSQL's text of an array, as nested lists."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    Convert: TypeAlias = Callable[[bytes], object]

# A brace, a value in quotes, or one without; commas only stand between.
_TOKEN = re.compile(rb'([{}])|"((?:[^"\\]|\\.)*)"|([^{},"]+)', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


def array_of(convert: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """Reads arrays whose elements this one reads: NULL is None, each dimension is a list, bounds are dropped."""

    def read(text: bytes) -> object:
        if text[:1] == b"[":
            # "[0:2][1:3]={…}": the bounds, where they are not the usual ones.
            text = text[text.index(b"=") + 1 :]
        if text == b"{}":
            return []
        if b"{" in text[1:] or b'"' in text or b"\\" in text:
            return _nested(text, convert)
        return [None if item == b"NULL" else convert(item) for item in text[1:-1].split(b",")]

    return read


def _nested(text: bytes, convert: Callable[[bytes], object]) -> list[object]:
    arrays: list[list[object]] = []
    path: list[list[object]] = []
    for token in _TOKEN.finditer(text):
        brace, quoted, bare = token.groups()
        if not path and (arrays or brace != b"{"):
            raise ValueError("something of an array is outside of its braces")
        if quoted is not None:
            path[-1].append(convert(_ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted))
        elif bare is not None:
            path[-1].append(None if bare == b"NULL" else convert(bare))
        elif brace == b"{":
            inner: list[object] = []
            if path:
                path[-1].append(inner)
            else:
                arrays.append(inner)
            path.append(inner)
        else:
            path.pop()
    if path or len(arrays) != 1:
        raise ValueError("the braces of an array do not match")
    return arrays[0]
