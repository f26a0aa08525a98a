"""The values of $1, $2 … in a statement, found in another text of it, and put into a third."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tercet.errors import SqlInvalid
from tercet.sql.tree import Tree, parse, write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tercet.sql.tree import Part

_PARAMETER = re.compile(r"\$\d")


def parametric(sql: str) -> bool:
    """Whether a parameter is left in it that somebody has to give a value."""
    if _PARAMETER.search(sql) is None:
        return False
    try:
        return any(tree.kind == "ParamRef" for tree in parse(sql).walk())
    except SqlInvalid:
        return False


def filled(text: str, template: str, example: str) -> str | None:
    """`text` with the values for which `example` is what `template` is with them; None if one is not to be found.

    A rewrite of a statement with $1 in it becomes one that can be run, by the values of an example of the statement.
    """
    if not parametric(text):
        return text
    try:
        values: dict[int, Tree] = {}
        if not _match(parse(template), parse(example), values):
            return None
        tree = parse(text)
        wanted = {_number(one) for one in tree.walk() if one.kind == "ParamRef"}
        return write(_put(tree, values)) if wanted <= values.keys() else None
    except SqlInvalid:
        return None


def _match(template: Part | None, example: Part | None, values: dict[int, Tree]) -> bool:
    """Whether the two are the same but for parameters; those are noted with what stands in their place."""
    if isinstance(template, Tree) and isinstance(example, Tree):
        if template.kind == "ParamRef":
            return values.setdefault(_number(template), example) == example
        names = {name for name, _ in (*template.parts, *example.parts)}
        return template.kind == example.kind and all(
            _match(template.get(name), example.get(name), values) for name in names
        )
    if isinstance(template, tuple) and isinstance(example, tuple):
        return len(template) == len(example) and all(
            _match(one, other, values) for one, other in zip(template, example, strict=True)
        )
    return template == example


def _put(tree: Tree, values: Mapping[int, Tree]) -> Tree:
    return tree.mapped(lambda one: values[_number(one)] if one.kind == "ParamRef" else one)


def _number(parameter: Tree) -> int:
    number = parameter.get("number")
    return number if isinstance(number, int) else 0
