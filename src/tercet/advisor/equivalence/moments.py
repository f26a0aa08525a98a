"""Bounds of time that depend on who asks, or leave out a moment that was meant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tercet.advisor.equivalence.verdict import Finding
from tercet.advisor.rewrites.rules.function_to_range import cut, range_of
from tercet.advisor.rewrites.sources import blocks, function, operator
from tercet.sql.tree import write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tercet.advisor.catalog import Catalog
    from tercet.advisor.rewrites.sources import Scope
    from tercet.sql.tree import Tree

_DAY = re.compile(r"\s*\d{4}-\d{1,2}-\d{1,2}\s*")
_MOMENT = re.compile(r"\s*\d{4}-\d{1,2}-\d{1,2}([T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?\s*")
_MIDNIGHT = re.compile(r"\s*\d{4}-\d{1,2}-\d{1,2}([T ]0{1,2}:00(:00(\.0+)?)?)?\s*")
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "="}
# date_trunc(unit, moment, zone) says its zone.
_WITH_ZONE = 3


def moments(select: Tree, scope: Scope) -> Iterator[Finding]:
    """What the conditions and outputs of a SELECT leave to the session's TimeZone, or cut off at midnight."""
    waiting = [one for one in select.below() if one.kind != "SelectStmt"]
    while waiting:
        tree = waiting.pop(0)
        yield from _compared(tree, scope)
        yield from _cut(tree, scope)
        bound = _condition(tree, scope)
        if bound is not None:
            yield bound[1]
        waiting.extend(one for one in tree.below() if one.kind != "SelectStmt" and (bound is None or one != bound[0]))


def cut_in_conditions(query: Tree, catalog: Catalog) -> Iterator[str]:
    """What is compared in a WHERE and depends on the session's TimeZone: no index can hold such a thing."""
    for select, scope in blocks(query, catalog):
        where = select.tree("where_clause")
        for tree in where.walk() if where is not None else ():
            bound = _condition(tree, scope)
            if bound is not None:
                yield write(bound[0])


def _zoned(tree: Tree | None, scope: Scope) -> str:
    """The type of a column that holds moments; "" for anything else."""
    found = scope.find(tree) if tree is not None and tree.kind == "ColumnRef" else None
    kind = found.column.type if found is not None and found.column is not None else ""
    return kind if kind.startswith("timestamp") else ""


def _text(tree: Tree | None) -> str | None:
    """The words of a constant, also behind a cast to a date or a moment."""
    if tree is not None and tree.kind == "TypeCast":
        kind = tree.tree("type_name")
        words = {one.text("sval") for one in kind.trees("names")} if kind is not None else set()
        return _text(tree.tree("arg")) if words & {"date", "timestamp", "timestamptz"} else None
    word = tree.tree("sval") if tree is not None and tree.kind == "A_Const" else None
    return None if word is None else word.text("sval")


def _compared(tree: Tree, scope: Scope) -> Iterator[Finding]:
    left, right = tree.tree("lexpr"), tree.tree("rexpr")
    if tree.kind == "A_Expr" and tree.text("kind") == "AEXPR_BETWEEN" and right is not None and left is not None:
        if kind := _zoned(left, scope):
            ends = right.trees("items")
            for end in ends:
                yield from _zone(left, end, kind)
            last = _text(ends[1])
            if last is not None and _DAY.fullmatch(last):
                yield _last_day(left, last)
        return
    sign = operator(tree)
    if sign not in _FLIPPED or left is None or right is None:
        return
    if not _zoned(left, scope):
        left, right, sign = right, left, _FLIPPED[sign]
    kind = _zoned(left, scope)
    words = _text(right)
    if not kind or words is None:
        return
    yield from _zone(left, right, kind)
    if sign == ">" and _MIDNIGHT.fullmatch(words):
        what = f"{write(left)} > '{words}' leaves out midnight itself"
        yield Finding("bounds", what, f"{write(left)} >= '{words}'", open=False)
    if sign == "<=" and _DAY.fullmatch(words):
        yield _last_day(left, words)


def _last_day(column: Tree, words: str) -> Finding:
    mend = f"{write(column)} < date '{words.strip()}' + 1"
    return Finding("bounds", f"{write(column)} up to '{words}' leaves out that day after midnight", mend, open=False)


def _zone(column: Tree, value: Tree, kind: str) -> Iterator[Finding]:
    words = _text(value)
    if kind.endswith("with time zone") and words is not None and _MOMENT.fullmatch(words):
        full = words.strip() if ":" in words else f"{words.strip()} 00:00:00"
        what = f"{write(column)} against '{words}' depends on the session's TimeZone"
        yield Finding("time_zone", what, f"timestamptz '{full}+00', with the offset that is meant")


def _condition(tree: Tree, scope: Scope) -> tuple[Tree, Finding] | None:
    """A comparison with a day, a month or a year of a moment with a zone, and its side that is cut."""
    sign, left, right = operator(tree), tree.tree("lexpr"), tree.tree("rexpr")
    if sign not in _FLIPPED or left is None or right is None:
        return None
    column = _cut_of(left, scope)
    if column is None:
        left, right, sign = right, left, _FLIPPED[sign]
        column = _cut_of(left, scope)
    if column is None:
        return None
    found = cut(left)
    moment = range_of(column, found[1], sign, right) if found is not None else None
    asked = write(moment) if moment is not None else f"the range of {write(column)} that is meant"
    what = f"{write(left)} depends on the session's TimeZone, so it is not IMMUTABLE and no index can hold it"
    mend = f"ask for {asked}, or cut {write(column)} AT TIME ZONE 'UTC', each with the zone that is meant"
    return left, Finding("time_zone", what, mend)


def _cut(tree: Tree, scope: Scope) -> Iterator[Finding]:
    column = _cut_of(tree, scope)
    if column is not None:
        mend = f"{write(column)} AT TIME ZONE 'UTC', with the zone that is meant"
        yield Finding("time_zone", f"{write(tree)} depends on the session's TimeZone", mend)


def _cut_of(tree: Tree, scope: Scope) -> Tree | None:
    """The moment with a zone of which a day, a month or a year is taken, which is another in each zone."""
    column: Tree | None = None
    if tree.kind == "TypeCast":
        kind = tree.tree("type_name")
        words = {one.text("sval") for one in kind.trees("names")} if kind is not None else set()
        column = tree.tree("arg") if words & {"date", "timestamp"} else None
    elif function(tree) in {"date_trunc", "extract", "date_part"}:
        arguments = tree.trees("args")
        column = arguments[1] if 1 < len(arguments) < _WITH_ZONE else None
    return column if column is not None and _zoned(column, scope).endswith("with time zone") else None
