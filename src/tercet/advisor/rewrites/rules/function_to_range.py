"""A day, month or year cut out of a moment and compared becomes a range of moments: an index can answer that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tercet.advisor.rewrites.building import changed_here, compared, expression
from tercet.advisor.rewrites.rule import Block, Changed
from tercet.advisor.rewrites.sources import function, operator
from tercet.sql.condition import all_of
from tercet.sql.tree import Tree

if TYPE_CHECKING:
    from tercet.advisor.rewrites.facts import Facts

_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "="}
_YEARS = range(1, 9999)
_DECEMBER = 12
# Zones whose clock never goes back, so that a range there is a range of moments.
_STEADY_ZONES = frozenset({"UTC", "GMT", "Etc/UTC", "utc"})


@dataclass(frozen=True, slots=True)
class _Cut:
    """A moment cut to a unit; `zone` where the column has one and is seen in UTC."""

    column: Tree
    unit: str
    zone: bool = False


def apply(block: Block, facts: Facts) -> Changed | None:
    """The same rows by the bounds of the day, month or year."""
    done = False

    def change(node: Tree) -> Tree | None:
        nonlocal done
        sign, left, right = operator(node), node.tree("lexpr"), node.tree("rexpr")
        if sign not in _FLIPPED or left is None or right is None:
            return None
        found = _cut(left, block, facts)
        if found is None:
            left, right, sign = right, left, _FLIPPED[sign]
            found = _cut(left, block, facts)
        bounds = _bounds(right, found.unit) if found is not None else None
        if found is None or bounds is None:
            return None
        done = True
        return _ranged(found, sign, *bounds)

    where = block.select.tree("where_clause")
    if where is None:
        return None
    changed = changed_here(where, change)
    why = "the moments have no zone, or are seen in UTC"
    return Changed(block.select.replaced(where_clause=changed), why) if done else None


def cut(tree: Tree) -> tuple[Tree, str] | None:
    """What date_trunc('day', c), c::date or extract(year from c) cuts, and to which unit."""
    name, arguments = function(tree), tree.trees("args")
    if tree.kind == "TypeCast":
        inner, unit = tree.tree("arg"), "day" if _type(tree) == "date" else ""
    elif name in {"date_trunc", "extract", "date_part"} and len(arguments) == 2:  # noqa: PLR2004 - unit and moment
        said = arguments[0].tree("sval")
        inner, unit = arguments[1], said.text("sval").lower() if said is not None else ""
        if name != "date_trunc":
            unit = "number of year" if unit == "year" else ""
    else:
        return None
    return None if inner is None or unit not in {"day", "month", "year", "number of year"} else (inner, unit)


def range_of(column: Tree, unit: str, sign: str, value: Tree) -> Tree | None:
    """The range of moments, with the offset of UTC, that holds where a column cut to a unit is so compared."""
    bounds = _bounds(value, unit)
    return None if bounds is None else _ranged(_Cut(column, unit, zone=True), sign, *bounds)


def _cut(tree: Tree, block: Block, facts: Facts) -> _Cut | None:
    """A moment cut to a unit that is the same for everybody."""
    parts = cut(tree)
    if parts is None:
        return None
    inner, unit = parts
    zoned = _in_utc(inner)
    column = zoned or inner
    found = block.scope.find(column) if column.kind == "ColumnRef" else None
    if found is None:
        return None
    if zoned is None:
        return _Cut(column, unit) if facts.local_time(found) else None
    with_zone = found.column is not None and found.column.type.endswith("with time zone")
    return _Cut(column, unit, zone=True) if with_zone else None


def _type(tree: Tree) -> str:
    kind = tree.tree("type_name")
    words = kind.trees("names") if kind is not None else ()
    return words[-1].text("sval") if words else ""


def _in_utc(tree: Tree) -> Tree | None:
    """The column of `column AT TIME ZONE 'UTC'`."""
    arguments = tree.trees("args")
    if function(tree) != "timezone" or len(arguments) != 2:  # noqa: PLR2004 - zone and moment
        return None
    zone = arguments[0].tree("sval")
    return arguments[1] if zone is not None and zone.text("sval") in _STEADY_ZONES else None


def _bounds(value: Tree, unit: str) -> tuple[datetime, datetime] | None:
    """The unit that a constant names, from and until; None if it is no beginning of one."""
    if unit == "number of year":
        number = value.tree("ival") if value.kind == "A_Const" else None
        year = number.get("ival") if number is not None else None
        return (_at(year), _at(year + 1)) if isinstance(year, int) and year in _YEARS else None
    inner = value.tree("arg") if value.kind == "TypeCast" and _type(value) in {"date", "timestamp"} else value
    said = inner.tree("sval") if inner is not None and inner.kind == "A_Const" else None
    try:
        start = datetime.fromisoformat(said.text("sval").strip()) if said is not None else None
    except ValueError:
        return None
    if start is None or start.tzinfo is not None or start != _floor(start, unit) or start.year not in _YEARS:
        return None
    return start, _next(start, unit)


def _at(year: int) -> datetime:
    return datetime(year, 1, 1)  # noqa: DTZ001 - it is compared with moments without a zone


def _floor(moment: datetime, unit: str) -> datetime:
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return day if unit == "day" else day.replace(day=1) if unit == "month" else day.replace(day=1, month=1)


def _next(moment: datetime, unit: str) -> datetime:
    if unit == "day":
        return moment + timedelta(days=1)
    if unit == "month" and moment.month < _DECEMBER:
        return moment.replace(month=moment.month + 1)
    return _at(moment.year + 1)


def _ranged(found: _Cut, sign: str, start: datetime, end: datetime) -> Tree:
    low, high = (_written(moment, zone=found.zone) for moment in (start, end))
    match sign:
        case "<":
            return compared(found.column, "<", low)
        case "<=":
            return compared(found.column, "<", high)
        case ">":
            return compared(found.column, ">=", high)
        case ">=":
            return compared(found.column, ">=", low)
        case _:
            both = all_of((compared(found.column, ">=", low), compared(found.column, "<", high)))
            return both if both is not None else Tree("Null")


def _written(moment: datetime, *, zone: bool) -> Tree:
    text = moment.isoformat(sep=" ")
    return expression(f"timestamptz '{text}+00'" if zone else f"timestamp '{text}'")
