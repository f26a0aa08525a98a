"""A $match on the key of a $group, asked of the documents before they are grouped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tercet.advisor.mongo.rules.rule import Facts, Found, Rule, stage
from tercet.advisor.mongo.shape import is_operators

if TYPE_CHECKING:
    from tercet.advisor.mongo.rules.rule import Pipeline

# Those that say the same of a value before and after it has become a key; null and missing do not.
_OPERATORS = frozenset({"$eq", "$gt", "$gte", "$lt", "$lte", "$in"})


def apply(pipeline: Pipeline, _facts: Facts) -> Found | None:
    """Move the first such $match."""
    for at in range(1, len(pipeline)):
        (before, group), (name, condition) = stage(pipeline[at - 1]), stage(pipeline[at])
        if (before, name) == ("$group", "$match") and isinstance(group, Mapping) and isinstance(condition, Mapping):
            asked = _of_the_key(group.get("_id"), condition)
            if asked:
                return Found((*pipeline[: at - 1], {"$match": asked}, pipeline[at - 1], *pipeline[at + 1 :]))
    return None


def _of_the_key(key: Any, condition: Mapping[str, Any]) -> dict[str, Any] | None:
    """The conditions as asked of the fields that the key is made of; None if one is of anything else."""
    fields = {"_id": key} if not isinstance(key, Mapping) else {f"_id.{part}": value for part, value in key.items()}
    asked: dict[str, Any] = {}
    for name, value in condition.items():
        field = fields.get(name)
        # A path through arrays means one thing to an expression and another to a filter.
        if not isinstance(field, str) or not field.startswith("$") or field.startswith("$$") or "." in field:
            return None
        if not _plain(value) or field[1:] in asked:
            return None
        asked[field[1:]] = value
    return asked


def _plain(value: Any) -> bool:
    if not is_operators(value):
        return _scalar(value)
    # Two conditions on an array may be met by two elements of it, before and after alike.
    return set(value) <= _OPERATORS and all(
        all(map(_scalar, one)) if name == "$in" else _scalar(one) for name, one in value.items()
    )


def _scalar(value: Any) -> bool:
    return value is not None and not isinstance(value, Mapping | list | tuple) and type(value).__name__ not in {
        "Regex", "Pattern", "MinKey", "MaxKey", "float",
    }  # fmt: skip


RULE = Rule(
    "match_before_group",
    "groups whose key does not meet it are made of documents that do not meet it, and of no others",
    apply,
)
