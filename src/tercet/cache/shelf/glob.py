"""Patterns over keys: Redis' globs, over direct keys and over the names of functions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tercet.cache.encoding.key import PREFIX_CHARS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# What has a meaning in a glob.
_SPECIAL = re.compile(r"([*?\[\]\\^])")

# In front of the names of cached functions, and of keys that were given as they are; in upper case where the
# name had to be shortened.
FUNCTION, DIRECT = "f", "k"
SHORTENED = (FUNCTION.upper(), DIRECT.upper())


class Globs:
    """Some patterns as one question: is this entry meant?

    A pattern is meant for a direct key as a whole (`users:list:*`), and for the name of a cached function with
    whatever arguments (`shop.users.*`). `*` is anything, `?` one character, `[a-z]` one of some, `[^a]` one of
    the others, and `\\` takes the next character as it is.
    """

    __slots__ = ("_meant", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        each = [_regex(pattern) for pattern in self.patterns]
        inside = "|".join(each)
        self._meant = re.compile(rf"{DIRECT}:(?:{inside})|{FUNCTION}:(?:{inside})\(.*", re.DOTALL) if each else None

    def match(self, name: str, full: str = "") -> bool:
        """Whether the entry of this name is meant; a shortened one whose full key is not given may be."""
        if self._meant is None:
            return False
        whole = full or name
        if whole.startswith(SHORTENED):
            return True
        return self._meant.fullmatch(whole) is not None

    @property
    def around(self) -> str:
        """A glob over names that finds every entry that is meant, and some others."""
        beginning = _common([_beginning(pattern) for pattern in self.patterns])
        # A shortened name shows only the first characters of its key.
        return f"[{DIRECT}{FUNCTION}{''.join(SHORTENED)}]:{escaped(beginning[:PREFIX_CHARS])}*"


def escaped(text: str) -> str:
    """This text as a glob that matches it alone."""
    return _SPECIAL.sub(r"\\\1", text)


def _regex(pattern: str) -> str:
    """The same as a regular expression; between two stars the first fit is taken for good, as globs may."""
    parts: list[list[str]] = [[]]
    for kind, text in _pieces(pattern):
        if kind == "*":
            parts.append([])
        else:
            parts[-1].append("." if kind == "?" else text)
    first, *rest = ("".join(part) for part in parts)
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>.*?{part})" for part in middle if part) + f".*{last}"


def _beginning(pattern: str) -> str:
    """What every match begins with."""
    said = []
    for kind, text in _pieces(pattern):
        if kind != "=":
            break
        said.append(re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL))
    return "".join(said)


def _common(texts: Sequence[str]) -> str:
    """What they all begin with."""
    first, last = min(texts, default=""), max(texts, default="")
    same = next((place for place, sign in enumerate(first) if last[place] != sign), len(first))
    return first[:same]


def _pieces(pattern: str) -> Iterator[tuple[str, str]]:
    """What it consists of: `*`, `?`, a `[` class or one `=` character, and the last two as an expression."""
    place = 0
    while place < len(pattern):
        sign = pattern[place]
        place += 1
        if sign in "*?":
            yield sign, ""
        elif sign == "[":
            text, place = _class(pattern, place)
            yield "[", text
        else:
            if sign == "\\" and place < len(pattern):
                sign = pattern[place]
                place += 1
            yield "=", re.escape(sign)


def _class(pattern: str, place: int) -> tuple[str, int]:
    """A class from behind its bracket, and where it ends: as Redis reads it, also where it is never closed."""
    negated = pattern[place : place + 1] == "^"
    place += negated
    inside: list[str] = []
    while place < len(pattern):
        sign = pattern[place]
        if sign == "]":
            place += 1
            break
        if sign == "\\" and place + 1 < len(pattern):
            inside.append(re.escape(pattern[place + 1]))
            place += 2
        elif pattern[place + 1 : place + 2] == "-" and place + 2 < len(pattern):
            low, high = sorted((sign, pattern[place + 2]))
            inside.append(f"{re.escape(low)}-{re.escape(high)}")
            place += 3
        else:
            inside.append(re.escape(sign))
            place += 1
    if not inside:
        return ("." if negated else "(?!)"), place
    return f"[{'^' if negated else ''}{''.join(inside)}]", place
