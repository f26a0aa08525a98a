"""A $lookup that compares inside its pipeline also says localField and foreignField, which enters by an index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tercet.advisor.mongo.rules.rule import Facts, Found, Rule, stage

if TYPE_CHECKING:
    from tercet.advisor.mongo.rules.rule import Pipeline

_SIDES = 2
# Fields and a pipeline in one $lookup.
_BOTH_FROM = (5, 0)


def apply(pipeline: Pipeline, facts: Facts) -> Found | None:
    """Say it for the first $lookup that does not."""
    if facts.version < _BOTH_FROM:
        return None
    for at, one in enumerate(pipeline):
        name, given = stage(one)
        if name != "$lookup" or not isinstance(given, Mapping) or "localField" in given or "from" not in given:
            continue
        pair = _compared(given)
        if pair is None:
            continue
        local, foreign = pair
        said = {"from": given["from"], "localField": local, "foreignField": foreign}
        both = {"$lookup": {**said, **{key: value for key, value in given.items() if key != "from"}}}
        # The pipeline stays, so nothing is added; what it finds, the fields find too: equal values, null and
        # missing among them. Only equal empty arrays are not found by them.
        unless = () if foreign == "_id" else ((str(given["from"]), foreign),)
        return Found((*pipeline[:at], both, *pipeline[at + 1 :]), unless)
    return None


def _compared(given: Mapping[str, Any]) -> tuple[str, str] | None:
    """The local and the foreign field that the first $match of its pipeline asks to be equal."""
    let, inner = given.get("let") or {}, given.get("pipeline") or ()
    name, condition = stage(inner[0]) if inner else ("", None)
    if name != "$match" or not isinstance(condition, Mapping):
        return None
    for sides in _equalities(condition.get("$expr")):
        for mine, theirs in (sides, sides[::-1]):
            if not (isinstance(mine, str) and mine.startswith("$$") and isinstance(theirs, str)):
                continue
            local = let.get(mine[2:])
            if _field(local) and _field(theirs):
                return str(local)[1:], theirs[1:]
    return None


def _equalities(expression: Any) -> list[tuple[Any, Any]]:
    if not isinstance(expression, Mapping) or len(expression) != 1:
        return []
    operator, sides = next(iter(expression.items()))
    if operator == "$and" and isinstance(sides, list | tuple):
        return [pair for side in sides for pair in _equalities(side)]
    if operator == "$eq" and isinstance(sides, list | tuple) and len(sides) == _SIDES:
        return [(sides[0], sides[1])]
    return []


def _field(value: Any) -> bool:
    """Whether it is a field at the top: a path through arrays means one thing here and another there."""
    return isinstance(value, str) and value.startswith("$") and not value.startswith("$$") and "." not in value


RULE = Rule(
    "lookup_by_field",
    "whatever the comparison in its pipeline finds, equal fields find as well, and the pipeline still compares",
    apply,
)
