"""Field paths: which ones an expression reads, and whether two of them touch each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The whole document: nothing can be said of single fields.
WHOLE = ""
_ROOTS = ("$$ROOT", "$$CURRENT")


def touch(one: str, other: str) -> bool:
    """Whether a change of one path can change what is under the other."""
    if WHOLE in {one, other}:
        return True
    return one == other or one.startswith(other + ".") or other.startswith(one + ".")


def touches(paths: set[str] | frozenset[str], others: set[str] | frozenset[str]) -> bool:
    """Whether any of these touches any of those."""
    return any(touch(one, other) for one in paths for other in others)


def read_by(expression: Any) -> set[str]:
    """The paths that an expression reads; WHOLE among them if it may read any."""
    if isinstance(expression, str):
        return _path(expression)
    if isinstance(expression, Mapping):
        if "$literal" in expression:
            return set()
        found = set().union(*(read_by(one) for one in expression.values()))
        # By name only, or a program of its own.
        if {"$getField", "$setField", "$function", "$accumulator", "$where"} & set(expression):
            found.add(WHOLE)
        return found
    if isinstance(expression, list | tuple):
        return set().union(*(read_by(one) for one in expression))
    return set()


def _path(text: str) -> set[str]:
    for root in _ROOTS:
        if text == root:
            return {WHOLE}
        if text.startswith(root + "."):
            return {text[len(root) + 1 :]}
    if text.startswith("$$"):
        return set()
    return {text[1:]} if text.startswith("$") and len(text) > 1 else set()


def variables(expression: Any) -> set[str]:
    """The names of the variables ($$name) that an expression reads."""
    if isinstance(expression, str):
        return {expression[2:].partition(".")[0]} if expression.startswith("$$") else set()
    if isinstance(expression, Mapping):
        return set().union(*(variables(one) for one in expression.values()))
    if isinstance(expression, list | tuple):
        return set().union(*(variables(one) for one in expression))
    return set()
