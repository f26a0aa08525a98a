"""What stands on the other side of a condition: a constant, or something that is known only when it runs."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tercet.advisor.candidates.same import type_of

if TYPE_CHECKING:
    from tercet.sql import Tree

# What makes a constant another one with each call, or is no constant at all.
_CHANGING = frozenset({"ParamRef", "FuncCall", "SQLValueFunction", "Column", "ColumnRef", "Block", "SubLink"})
_SPAN = re.compile(r"(-?\d+)\s*(day|month|year|week|hour)s?", re.IGNORECASE)
_DAYS = {"day": 1.0, "week": 7.0, "hour": 1 / 24}
_DAY_AND_TIME = 11


def constant(tree: Tree) -> bool:
    """Whether a tree is the same value in every call."""
    return not any(one.kind in _CHANGING for one in tree.walk())


def value(tree: Tree) -> str | None:
    """The value of a constant in the text form of its type; None where only a server could tell."""
    match tree.kind:
        case "A_Const":
            return _literal(tree)
        case "TypeCast":
            inside = tree.tree("arg")
            return value(inside) if inside is not None and type_of(tree) != "interval" else None
        case "A_Expr":
            return _computed(tree)
        case _:
            return None


def _literal(tree: Tree) -> str | None:
    if tree.get("isnull"):
        return None
    for name in ("ival", "fval", "sval", "boolval"):
        one = tree.tree(name)
        if one is not None:
            found = one.get(name)
            if name == "boolval":
                return "t" if found else "f"
            return str(found if found is not None else 0 if name == "ival" else "")
    return None


def _computed(tree: Tree) -> str | None:
    """A negative number, or a day moved by an interval: what statements write as constants."""
    name = tree.trees("name")[-1].text("sval") if tree.trees("name") else ""
    left, right = tree.tree("lexpr"), tree.tree("rexpr")
    if right is None:
        return None
    if left is None:
        found = value(right)
        return f"-{found}" if name == "-" and found is not None else None
    span, start = _span(right), value(left)
    if name in {"+", "-"} and span is not None and start is not None:
        return _moved(start, span[0] if name == "+" else -span[0], span[1])
    return None


def _span(tree: Tree) -> tuple[int, str] | None:
    inside = tree.tree("arg") if tree.kind == "TypeCast" and type_of(tree) == "interval" else None
    match = _SPAN.fullmatch((_literal(inside) or "").strip()) if inside is not None else None
    return (int(match[1]), match[2].lower()) if match else None


def _moved(start: str, number: int, unit: str) -> str | None:
    try:
        moment = datetime.fromisoformat(start)
        if unit in _DAYS:
            moment += timedelta(days=number * _DAYS[unit])
        else:
            months = moment.year * 12 + moment.month - 1 + number * (12 if unit == "year" else 1)
            year, month = divmod(months, 12)
            moment = moment.replace(year=year, month=month + 1, day=min(moment.day, monthrange(year, month + 1)[1]))
    except (ValueError, OverflowError):
        return None
    return moment.isoformat(sep=" ")[: 10 if len(start) < _DAY_AND_TIME else None]
