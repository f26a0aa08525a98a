"""Which patterns ask for a beginning, so that an ordered index can find it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tercet.sql.tree import Tree

# A beginning of plain characters behind ^; what follows may be any.
_ANCHORED = re.compile(r"(?:\^|\\A)[^\\.\[\](){}*+?|^$]{2,}|(?:\^|\\A)[^\\.\[\](){}*+?|^$](?![*+?{])")


def pattern_kind(operator: str, pattern: Tree) -> Literal["prefix", "pattern"]:
    """Whether a pattern fixes the beginning of what it matches; one that is not written there does not."""
    if operator == "^@":
        return "prefix"
    written = text(pattern)
    if written is None:
        return "pattern"
    if operator == "~~":
        return "prefix" if written[:1] not in {"", "%", "_"} else "pattern"
    if operator == "~":
        # An alternative at the top could begin otherwise.
        return "prefix" if _ANCHORED.match(written) and "|" not in written else "pattern"
    return "pattern"


def text(tree: Tree) -> str | None:
    """The text that a constant is, casts around it taken away; None for what is none."""
    while tree.kind == "TypeCast" and (inside := tree.tree("arg")) is not None:
        tree = inside
    value = tree.tree("sval") if tree.kind == "A_Const" else None
    return value.text("sval") if value is not None else None
