"""SQL text cut into tokens: enough to keep a fragment in its place, far from a parser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tercet.errors import SchemaInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator

# Strings as they are with standard_conforming_strings on (the default since PostgreSQL 9.1).
_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<comment>--[^\n]*|/\*)
  | (?P<string>[eE]'(?:[^'\\]|''|\\.)*'
             | (?:[bBxXnN]|[uU]&)?'(?:[^']|'')*'
             | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
  | (?P<quoted>(?:[uU]&)?"(?:[^"]|"")*")
  | (?P<number>\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)
  | (?P<word>[^\W\d][\w$]*)
  | (?P<cast>::)
  | (?P<operator>(?:(?!--|/\*)[+\-*/<>=~!@\#%^&|`?])+)
  | (?P<mark>.)
    """,
    re.VERBOSE | re.DOTALL,
)
# A grammar in C recurses over what it has read; one of eight megabytes of stack gets some twenty thousand steps deep,
# and what is read of it afterwards, no deeper than a hundred.
DEPTH_MAX = 4_000
_OPENS, _CLOSES = frozenset("(["), frozenset(")]")
# Each of these is a step deeper than the last, or begins anew where they stand in a list.
_JOINED = frozenset({"union", "except", "intersect", "join"})
_APPLIED = frozenset({"not", "is", "isnull", "notnull", "collate", "at", "like", "ilike", "similar", "in", "between"})
_LISTED = frozenset({"and", "or"})
_CHAINED = re.compile(rf"[-+*/<>=~!@#%^&|`?:(\[]+|\b(?:{'|'.join(sorted(_JOINED | _APPLIED))})\b", re.IGNORECASE)
_BLOCK_EDGE = re.compile(r"/\*|\*/")


def tokens(text: str) -> Iterator[tuple[str, str]]:
    """Every token of a text as (kind, token), spaces left out; joined by spaces they mean the same.

    A quote that is never closed comes out as a mark of its own, and a block comment that is never closed too.
    """
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:  # the last alternative takes any character
            raise AssertionError(at)
        kind, found = match.lastgroup or "mark", match.group()
        if kind == "tag":
            kind = "string"
        if found == "/*":
            end = _comment_end(text, at)
            kind, found = ("mark", found) if end is None else ("comment", text[at:end])
        at += len(found)
        if kind != "space":
            yield kind, found


def too_deep(text: str) -> bool:
    """Whether the tree of a text may be so deep that a grammar in C ends the process over it, its stack being full."""
    if len(text) <= DEPTH_MAX or sum(1 for _ in _CHAINED.finditer(text)) <= DEPTH_MAX:
        return False
    # Of each open bracket: what joins tables and queries, and the operators since the last comma, AND or OR.
    levels, depth = [[0, 0]], 0
    for kind, found in tokens(text):
        word = found.lower() if kind == "word" else ""
        if found in _OPENS:
            levels.append([0, 0])
        elif found in _CLOSES and len(levels) > 1:
            depth -= sum(levels.pop())
        elif found == "," or word in _LISTED or word in _JOINED:
            depth -= levels[-1][1]
            levels[-1][1] = 0
        if kind in {"operator", "cast"} or word in _JOINED or word in _APPLIED:
            levels[-1][word not in _JOINED] += 1
            depth += 1
        if depth + len(levels) > DEPTH_MAX:
            return True
    return False


def _comment_end(text: str, start: int) -> int | None:
    """Where a block comment ends; PostgreSQL's may hold others."""
    depth = 0
    for edge in _BLOCK_EDGE.finditer(text, start):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    return None


def fragment(text: str, what: str) -> str:
    """The text, trimmed, if it stays where it is put: quotes and brackets closed, no comment, no semicolon.

    Whether it is right SQL only a server can tell. Raises SchemaInvalid.
    """
    text = text.strip()
    mend = "Write one expression, as it would stand in a WHERE clause."
    if not text:
        raise SchemaInvalid(what, reason="it is empty", mend=mend)
    depth = 0
    for kind, token in tokens(text):
        if kind == "comment":
            raise SchemaInvalid(what, reason=f"it holds a comment: {text!r}", mend="Leave the comment out.")
        if kind == "mark" and token in {";", "'", '"', "\0", "/*"}:
            raise SchemaInvalid(what, reason=f"a {token!r} stands open in {text!r}", mend=mend)
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token, 0) if kind == "mark" else 0
        if depth < 0:
            break
    if depth:
        raise SchemaInvalid(what, reason=f"its brackets do not close: {text!r}", mend=mend)
    return text


def one_query(text: str, what: str) -> str:
    """The text of a single query without the semicolon behind it; comments may stay. Raises SchemaInvalid."""
    mend = "Give one SELECT (or WITH, VALUES, TABLE) statement."
    found = list(tokens(text))
    meaning = [token for token in found if token[0] != "comment"]
    while meaning and meaning[-1] == ("mark", ";"):
        meaning.pop()
    if not meaning:
        raise SchemaInvalid(what, reason="it is empty", mend=mend)
    if ("mark", ";") in meaning:
        raise SchemaInvalid(what, reason="it holds more than one statement", mend=mend)
    for mark in ("'", '"', "\0", "/*"):
        if ("mark", mark) in meaning:
            raise SchemaInvalid(what, reason=f"a {mark!r} is not closed", mend=mend)
    first = meaning[0][1].lower()
    if first not in {"select", "with", "values", "table", "("}:
        raise SchemaInvalid(what, reason=f"it begins with {first!r}", mend=mend)
    return _without_end(text)


def _without_end(text: str) -> str:
    """The text up to the semicolon that ends it, if one does; what stands behind it are only comments."""
    kept, at = text, 0
    for kind, token in tokens(text):
        at = text.index(token, at)
        if (kind, token) == ("mark", ";"):
            kept = text[:at]
            break
        at += len(token)
    return kept.strip()
