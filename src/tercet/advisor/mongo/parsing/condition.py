"""A filter as conditions on paths: equality, range, or something that no index order helps with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tercet.advisor.mongo.parsing.paths import WHOLE, read_by
from tercet.advisor.mongo.shape import anchored, is_operators, value_class

if TYPE_CHECKING:
    from tercet.advisor.mongo.shape import Document

# A longer list is walked like a range: its order no longer serves a sort.
_SHORT_IN = 200
_RANGES = frozenset({"$gt", "$gte", "$lt", "$lte"})
# What needs an index of its own kind, or runs a program.
_SPECIAL = frozenset({"$text", "$near", "$nearSphere", "$geoWithin", "$geoIntersects", "$where", "$geoNear"})


@dataclass(frozen=True)
class Condition:
    """One path and how it is asked: "equal" (also a short $in), "range", or "other" ($ne, $regex, $size …)."""

    path: str
    kind: Literal["equal", "range", "other"]
    # The one value that it must be equal to, where there is one.
    value: Any = None
    single: bool = False
    exists: bool = False


@dataclass(frozen=True)
class Conditions:
    """A filter taken apart: what holds together, the branches of its $or, and whether an index can be told at all."""

    all_of: tuple[Condition, ...] = ()
    # Each branch with what holds beside it.
    any_of: tuple[Conditions, ...] = ()
    special: str = ""
    reads: frozenset[str] = frozenset()

    def of(self, kind: str) -> tuple[str, ...]:
        """The paths asked in this way, in the order of the filter; one asked by equality is only that."""
        equal = [one.path for one in self.all_of if one.kind == "equal"]
        paths = [one.path for one in self.all_of if one.kind == kind and (kind == "equal" or one.path not in equal)]
        return tuple(dict.fromkeys(paths))


def conditions(condition: Document) -> Conditions:
    """The conditions of a filter."""
    together: list[Condition] = []
    branches: list[Document] = []
    special: list[str] = []
    _gather(condition, together, branches, special)
    any_of = tuple(conditions({"$and": [branch]}) for branch in branches)
    return Conditions(tuple(together), any_of, special[0] if special else "", frozenset(paths_of(condition)))


def paths_of(condition: Document) -> set[str]:
    """Every path that a filter looks at."""
    found: set[str] = set()
    for name, value in condition.items():
        if name in {"$and", "$or", "$nor"}:
            found |= set().union(*(paths_of(one) for one in value))
        elif name == "$expr":
            found |= read_by(value)
        elif name.startswith("$"):
            # $comment reads nothing; $where, $text, $jsonSchema and what is not known yet may read anything.
            found |= set() if name == "$comment" else {WHOLE}
        else:
            found.add(name)
    return found


def _gather(condition: Document, together: list[Condition], branches: list[Document], special: list[str]) -> None:
    for name, value in condition.items():
        if name == "$and":
            for one in value:
                _gather(one, together, branches, special)
        elif name == "$or":
            if len(value) == 1:
                _gather(value[0], together, branches, special)
            elif not branches:
                branches.extend(value)
        elif name in _SPECIAL:
            special.append(name)
        elif name == "$expr":
            together.extend(_from_expression(value))
        elif not name.startswith("$"):
            together.extend(_on(name, value, special))


def _on(path: str, value: Any, special: list[str]) -> list[Condition]:
    if not is_operators(value):
        if value_class(value) in {"prefix", "pattern"}:
            return [Condition(path, "range" if anchored(value) else "other")]
        return [Condition(path, "equal", value, single=True)]
    found: list[Condition] = []
    for operator, operand in value.items():
        if operator in _SPECIAL:
            special.append(operator)
        elif operator == "$elemMatch" and isinstance(operand, Mapping) and not is_operators(operand):
            found.extend(one for name, inner in operand.items() if not name.startswith("$")
                         for one in _on(f"{path}.{name}", inner, special))  # fmt: skip
        elif operator == "$elemMatch":
            found.extend(_on(path, operand, special))
        elif operator != "$options":
            found.append(_operator(path, operator, operand))
    return found


def _operator(path: str, operator: str, operand: Any) -> Condition:
    if operator == "$eq":
        return Condition(path, "equal", operand, single=True)
    if operator in {"$in", "$all"} and isinstance(operand, Sequence):
        short = len(operand) <= _SHORT_IN or operator == "$all"
        return Condition(path, "equal" if short else "range")
    if operator in _RANGES or (operator == "$regex" and anchored(operand)):
        return Condition(path, "range")
    return Condition(path, "other", exists=operator == "$exists" and operand is True)


def _from_expression(expression: Any) -> list[Condition]:
    """What of an $expr an index can be entered by: {$eq: ["$field", constant]} and the like, also under $and."""
    if not isinstance(expression, Mapping) or len(expression) != 1:
        return []
    operator, sides = next(iter(expression.items()))
    if not isinstance(sides, Sequence) or isinstance(sides, str):
        return []
    if operator == "$and":
        return [one for side in sides for one in _from_expression(side)]
    if operator not in {"$eq", *_RANGES} or len(sides) != 2:  # noqa: PLR2004 - both sides of a comparison
        return []
    fields = [side for side in sides if isinstance(side, str) and side.startswith("$") and side[1:2] != "$"]
    if len(fields) != 1:
        return []
    return [Condition(fields[0][1:], "equal" if operator == "$eq" else "range")]
